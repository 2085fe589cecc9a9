"""What takes several calls, by what it is about; see `tracemill.client.step`."""

from tracemill.client.procedures import birth, job, version

__all__ = ["birth", "job", "version"]
