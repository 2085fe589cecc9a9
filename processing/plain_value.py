"""Reads the files a person writes by hand, job description and configuration, into plain JSON values.

Stricter than for traces, which others wrote: a key that stands twice, a number that JSON does not have or a file nested
beyond reason is a slip of the person's, and is said instead of passed on.
"""

import json
import math
from collections.abc import Hashable, Iterable
from datetime import date
from pathlib import Path

import yaml

from processing.errors import InputError
from store.recorded.message import Json

MAX_DEPTH = 50
MAX_VALUES = 100_000
"""Most values in one file; YAML's aliases can write millions of them in a few lines."""


def read_json(path: Path) -> Json:
    """Read a JSON file.

    Raises:
        InputError: It cannot be read, is not JSON, or holds a key twice.
    """
    text = _text(path)
    try:
        value = json.loads(text, object_pairs_hook=_unique)
    except RecursionError as exc:
        raise _too_deep(path) from exc
    except ValueError as exc:
        raise InputError(path.name, f"is not JSON: {exc}.") from exc
    return _checked(value, path)


def read_yaml(path: Path) -> Json:
    """Read a YAML file; dates become text.

    Raises:
        InputError: It cannot be read, is not YAML, or holds a key twice or a value that JSON does not have.
    """
    text = _text(path)
    try:
        value = yaml.load(text, Loader=_UniqueKeys)  # noqa: S506 - a SafeLoader
    except RecursionError as exc:
        raise _too_deep(path) from exc
    except (ValueError, yaml.YAMLError) as exc:
        raise InputError(path.name, f"is not YAML: {' '.join(str(exc).split())}") from exc
    return _checked(value, path)


class _UniqueKeys(yaml.SafeLoader):
    """YAML without keys that stand twice, which PyYAML would let win in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Json]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(None, None, f'"{key.value}" stands twice', key.start_mark)
                seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


def _unique(pairs: Iterable[tuple[str, Json]]) -> dict[str, Json]:
    found: dict[str, Json] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f'"{key}" stands twice')
        found[key] = value
    return found


def _text(path: Path) -> str:
    try:
        # Editors on Windows put a byte order mark in front.
        return path.read_text(encoding="utf-8-sig")
    except OSError as exc:
        raise InputError(str(path), f"cannot be read: {exc.strerror}.") from exc
    except UnicodeDecodeError as exc:
        raise InputError(path.name, f"is not UTF-8 text (byte {exc.start}). Save it as UTF-8.") from exc


def _checked(value: Json, path: Path) -> Json:
    """The value with dates as text, once it is sure that it can be written as JSON."""
    left = MAX_VALUES

    def check(item: Json, where: tuple[str, ...]) -> Json:
        nonlocal left
        left -= 1
        if left < 0 or len(where) > MAX_DEPTH:
            raise _too_deep(path)
        if isinstance(item, dict):
            return {_key(key): check(inner, (*where, str(key))) for key, inner in item.items()}
        if isinstance(item, list):
            return [check(inner, (*where, str(number))) for number, inner in enumerate(item)]
        if item is None or isinstance(item, bool | int):
            return item
        if isinstance(item, float) and math.isfinite(item):
            return item
        if isinstance(item, str) and _is_unicode(item):
            return item
        if isinstance(item, date):
            return item.isoformat()
        found = f"{item}" if isinstance(item, float) else "half of a character" if isinstance(item, str) else "no value"
        raise InputError(path.name, f"{'.'.join(where) or 'the file'} is {found}, which JSON does not have.")

    return check(value, ())


def _key(key: Json) -> str:
    return key if isinstance(key, str) and _is_unicode(key) else ascii(key)


def _is_unicode(text: str) -> bool:
    """Whether the text can be stored: a lone surrogate cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _too_deep(path: Path) -> InputError:
    return InputError(path.name, f"nests deeper than {MAX_DEPTH} levels, or holds more than {MAX_VALUES} values.")
