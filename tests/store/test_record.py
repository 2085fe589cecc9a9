"""Tests for `store.record`: what a record promises besides what mypy checks."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from store.trace import Reply

_CHANGING = """
from store.trace import Reply

Reply(0, b"{}").index = 1
"""


def test_records_of_the_same_values_are_equal_and_hash_alike() -> None:
    one, same, other = Reply(0, b"{}", "stop"), Reply(0, b"{}", "stop"), Reply(1, b"{}", "stop")

    assert one == same
    assert hash(one) == hash(same)
    assert {one, same, other} == {one, other}
    assert replace(one, index=1) == other


def test_a_record_has_no_fields_but_its_own() -> None:
    with pytest.raises(AttributeError):
        Reply(0, b"{}").note = "x"  # type: ignore[attr-defined]


def test_the_type_checker_lets_nobody_set_a_field(tmp_path: Path) -> None:
    program = tmp_path / "changing.py"
    program.write_text(_CHANGING)

    checked = subprocess.run(
        [sys.executable, "-m", "mypy", "--follow-imports", "silent", f"--cache-dir={tmp_path}", str(program)],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
    )

    assert 'Property "index" defined in "Reply" is read-only' in checked.stdout
