"""The salt of a data directory: for the fingerprints of keys and the placeholders of redaction."""

import os
from pathlib import Path

SALT_FILE = "key-salt"


def key_salt(data_dir: Path) -> str:
    """Return the salt, hexadecimal; it is made at the first start and then stays."""
    path = data_dir / SALT_FILE
    if not path.exists():
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(os.urandom(16).hex())
    return path.read_text().strip()
