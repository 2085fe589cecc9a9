"""What a person may get wrong in the two files written by hand, and what is said of it."""

from pathlib import Path

import pytest

from processing.errors import InputError
from processing.plain_value import read_json, read_yaml

BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdef", "bcdefg", strict=True)
)


def written(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path) -> None:
    assert read_json(written(tmp_path, "a.json", b'\xef\xbb\xbf{"a": 1}')) == {"a": 1}
    assert read_yaml(written(tmp_path, "a.yaml", b"\xef\xbb\xbfa: 1")) == {"a": 1}


def test_dates_become_text_and_keys_too(tmp_path: Path) -> None:
    assert read_yaml(written(tmp_path, "a.yaml", "1: 2024-01-02\n")) == {"1": "2024-01-02"}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ('{"a": 1, "a": 2}', '"a" stands twice'),
        ("[" * 100_000, "nests deeper than 50 levels"),
        ("[" * 60 + "]" * 60, "nests deeper than 50 levels"),
        ('{"a": {"b": NaN}}', "a.b is nan, which JSON does not have"),
        ('{"a": [1e999]}', "a.0 is inf, which JSON does not have"),
        (r'{"a": "\ud800"}', "a is half of a character"),
        ("", "is not JSON"),
        ("9" * 5000, "is not JSON"),
        (b"\xff\xfe{\x00", r"is not UTF-8 text \(byte 0\)"),
    ],
)
def test_a_broken_json_file_is_one_sentence(tmp_path: Path, content: str | bytes, says: str) -> None:
    with pytest.raises(InputError, match=rf"^f\.json: .*{says}"):
        read_json(written(tmp_path, "f.json", content))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("a: 1\nb: 2\na: 3\n", '"a" stands twice in .*, line 3'),
        ("base:\n  x: 1\nbase:\n  y: 2\n", '"base" stands twice'),
        ("[" * 5_000, "nests deeper than 50 levels"),
        (BOMB, "more than 100000 values"),
        ("a: &a {b: *a}\n", "nests deeper than 50 levels"),
        ("a: .inf\n", "a is inf, which JSON does not have"),
        ("a: !!set {b}\n", "a is no value"),
        ("a: 2024-99-99\n", "is not YAML"),
        ("a: !!python/object/apply:os.system [ls]\n", "is not YAML"),
        ("a:\n\tb: 1\n", "is not YAML"),
        ('a: "\\ud800"\n', "half of a character"),
    ],
)
def test_a_broken_yaml_file_is_one_sentence(tmp_path: Path, content: str, says: str) -> None:
    with pytest.raises(InputError, match=rf"^f\.yaml: .*{says}"):
        read_yaml(written(tmp_path, "f.yaml", content))


def test_a_file_that_is_not_there_is_named_with_its_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"^{tmp_path}/x.json: cannot be read: No such file"):
        read_json(tmp_path / "x.json")
