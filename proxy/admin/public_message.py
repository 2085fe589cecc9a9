"""A message as it may be answered over HTTP: where files lie on this machine is no client's business.

Messages are written for whoever stands before the machine, and name files as they lie there. Of those in the data
directory a client is told the names alone.
"""

import os
import re
from pathlib import Path


def public_message(message: str, data_dir: Path) -> str:
    """Leave out of a message the folders of files that lie in the data directory; nothing else changes."""
    spellings = {str(data_dir), str(data_dir.absolute()), os.path.realpath(data_dir)} - {"."}
    either = "|".join(re.escape(spelling) for spelling in sorted(spellings, key=len, reverse=True))
    # Folders in the data directory are ours, so none has a space in its name; the file behind them may.
    without = re.sub(rf"(?<![\w./-])(?:{either})/(?:[^\s/'\"]+/)*(?=[^\s'\":])", "", message)
    return re.sub(rf"(?<![\w./-])(?:{either})(?![\w-]|\.\w)/?", "the data directory", without)
