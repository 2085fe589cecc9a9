"""The file of the proxy keys: `proxy-keys.json` in the data directory, for its owner alone.

It holds digests and no keys, so what is lost with it is names. A key is 32 random bytes: nobody can try them all, so
one round of SHA-256 with the file's salt is as good as a slow hash, which is for passwords that people think up.
"""

import fcntl
import hashlib
import json
import os
import re
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from proxy.errors import KeyFileError

KEY_FILE = "proxy-keys.json"
_LOCK_FILE = "proxy-keys.lock"
KEY_PREFIX = "tm-"

_VERSION = 1
_NAME = re.compile(r"[A-Za-z0-9._@-]{1,64}")
_HEX = re.compile(r"([0-9a-f]{2})+")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyEntry:
    """What is known of one key.

    Attributes:
        name: Unique in the file; recorded with the calls that the key let in.
        digest: `key_digest` of the key.
        last4: The key's last four characters, to tell keys apart.
        created_at: UTC.
        routes: Names of the routes that it opens; none means all.
    """

    name: str
    digest: str
    last4: str
    created_at: datetime
    routes: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, told: dict[str, Any]) -> Self:
        """Read an entry of the file. Raises TypeError or ValueError when it is none."""
        entry = cls(**{**told, "created_at": datetime.fromisoformat(told.get("created_at", "")).astimezone(UTC)})
        texts = (entry.name, entry.digest, entry.last4, *entry.routes)
        if not all(isinstance(text, str) for text in texts) or not isinstance(entry.routes, list):
            raise TypeError("an entry holds texts")
        if not _NAME.fullmatch(entry.name) or not _HEX.fullmatch(entry.digest):
            raise ValueError("an entry's name or digest is none")
        return replace(entry, routes=tuple(entry.routes))

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` reads."""
        return {**asdict(self), "created_at": f"{self.created_at:%Y-%m-%dT%H:%M:%SZ}", "routes": list(self.routes)}


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyList:
    """The file's content."""

    salt: str = field(default_factory=lambda: secrets.token_hex(16))
    keys: tuple[KeyEntry, ...] = ()

    @classmethod
    def from_json(cls, told: dict[str, Any]) -> Self:
        """Read the file's object. Raises TypeError, ValueError, KeyError or AttributeError when it is none."""
        if (
            told.keys() != {"version", "salt", "keys"}
            or told["version"] != _VERSION
            or not _HEX.fullmatch(told["salt"])
        ):
            raise ValueError("no list of keys")
        return cls(salt=told["salt"], keys=tuple(KeyEntry.from_json(entry) for entry in told["keys"]))

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` reads."""
        return {"version": _VERSION, "salt": self.salt, "keys": [entry.to_json() for entry in self.keys]}


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key just made; the only place where the key itself stands."""

    entry: KeyEntry
    key: str

    def __repr__(self) -> str:
        return f"NewKey({self.entry.name!r})"


def key_digest(salt: str, key: bytes) -> str:
    """Return the salted digest of a key, hexadecimal."""
    return hashlib.sha256(bytes.fromhex(salt) + key).hexdigest()


def read_keys(data_dir: Path) -> KeyList:
    """Read the file; one that is not there has no keys.

    Raises:
        KeyFileError: It cannot be read, or holds something else.
    """
    path = data_dir / KEY_FILE
    try:
        return KeyList.from_json(json.loads(path.read_bytes()))
    except FileNotFoundError:
        return KeyList()
    except OSError as error:
        raise KeyFileError(f"{path}: cannot be read ({error.strerror}).") from error
    except (AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        raise KeyFileError(
            f"{path}: is no file of proxy keys; move it away and make the keys anew with `tracemill keys add`."
        ) from error


def add_key(data_dir: Path, name: str, routes: tuple[str, ...] = ()) -> NewKey:
    """Make a key and note it.

    Args:
        data_dir: The data directory; it is made when it is not there.
        name: 1 to 64 letters, digits and `. _ @ -`.
        routes: Names of the routes it opens; none means all.

    Raises:
        KeyFileError: The name is taken or no name, or the file cannot be written.
    """
    if not _NAME.fullmatch(name):
        raise KeyFileError(f"{name!r} is no name for a key; use 1 to 64 letters, digits and . _ @ -")
    key = KEY_PREFIX + secrets.token_urlsafe(32)
    with _locked(data_dir):
        known = read_keys(data_dir)
        if any(entry.name == name for entry in known.keys):
            raise KeyFileError(f"a key named {name!r} is there already; revoke it first, or take another name.")
        entry = KeyEntry(
            name=name,
            digest=key_digest(known.salt, key.encode()),
            last4=key[-4:],
            created_at=datetime.now(UTC).replace(microsecond=0),
            routes=routes,
        )
        _write(data_dir, replace(known, keys=(*known.keys, entry)))
    return NewKey(entry, key)


def revoke_key(data_dir: Path, name: str) -> None:
    """Take a key away; a running server knows within two seconds.

    Raises:
        KeyFileError: There is none of that name, or the file cannot be written.
    """
    with _locked(data_dir):
        known = read_keys(data_dir)
        kept = tuple(entry for entry in known.keys if entry.name != name)
        if len(kept) == len(known.keys):
            raise KeyFileError(f"no key is named {name!r}; `tracemill keys list` names them.")
        _write(data_dir, replace(known, keys=kept))


@contextmanager
def _locked(data_dir: Path) -> Iterator[None]:
    """Let one command at a time read and write the file."""
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(data_dir / _LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise KeyFileError(f"{data_dir}: cannot be written ({error.strerror}); give another --data-dir.") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _write(data_dir: Path, keys: KeyList) -> None:
    """Replace the file as a whole: a reader finds the old one or the new one."""
    path = data_dir / KEY_FILE
    try:
        descriptor, temporary = tempfile.mkstemp(prefix=".proxy-keys-", dir=data_dir)  # 0600 from the start
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(json.dumps(keys.to_json(), indent=1).encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        folder = os.open(data_dir, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise KeyFileError(f"{path}: cannot be written ({error.strerror}); the keys are as they were.") from error
