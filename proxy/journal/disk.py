"""The system calls that a journal writes with: one place, and a parameter, so that each of them can be made to fail."""

import os


class Disk:
    """The operating system's own calls, unchanged."""

    open = staticmethod(os.open)
    write = staticmethod(os.write)
    writev = staticmethod(os.writev)
    fstat = staticmethod(os.fstat)
    fdatasync = staticmethod(os.fdatasync)
    fsync = staticmethod(os.fsync)
    mkdir = staticmethod(os.mkdir)
    rename = staticmethod(os.rename)
    unlink = staticmethod(os.unlink)
