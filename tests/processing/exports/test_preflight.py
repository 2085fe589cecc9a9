"""Every row that a target cannot hold is left out for a reason of the closed list, and counted."""

import json
from pathlib import Path
from typing import Any

import pytest

from processing.exports.column import require_holdable
from processing.exports.formats import FORMATS
from processing.exports.reason import CannotHoldError, LeftOut, NotCarried
from processing.exports.wanted import Wanted
from tests.processing.exports.versions import call, calls, export, made, picture, png, result, says, system, user

AUDIO = {"type": "input_audio", "input_audio": {"data": "", "format": "wav"}}
TWICE = made(user("q"), calls(call("a", "{}"), call("b", "{}", "c2")), result("1"), result("2", "c2"), says("x"))
BARE = {"type": "function", "function": {"name": "f", "arguments": "{}"}}
UNNAMED = {"role": "tool", "content": "x"}
RAW = {"row_id": "raw", "messages": [{"role": "user", "content": "q"}], "metadata": {}}
CASES: list[tuple[LeftOut, str, dict[str, Any]]] = [
    (LeftOut.NO_ANSWER, "openai", RAW),
    (LeftOut.NO_PROMPT, "trl", {**RAW, "messages": [says("a")]}),
    (LeftOut.NOT_A_ROW, "openai", {**RAW, "messages": [{"role": "stranger", "content": "q"}]}),
    (LeftOut.NOT_A_ROW, "parquet", {**made(user("a"), says("b")), "prompt": ["a"]}),
    (LeftOut.UNTRAINED_ANSWER, "trl-messages", made(user("a"), says("b", 0), user("c"), says("d"))),
    (LeftOut.INVALID_ARGUMENTS, "trl", made(user("a"), calls(call("f", '{"a":1}{"b":2}')))),
    (LeftOut.INVALID_ARGUMENTS, "axolotl", made(user("a"), calls(call("f", "[1]")))),
    (LeftOut.NO_CALL_ID, "openai", made(user("q"), calls(BARE, BARE), UNNAMED, UNNAMED, says("x"))),
    (LeftOut.SEVERAL_CALLS, "distil", TWICE),
    (LeftOut.CALL_WITH_TEXT, "distil", made(user("a"), calls(call("f", "{}"), content="Let me see."))),
    (LeftOut.CALL_WITH_TEXT, "sharegpt", made(user("a"), calls(call("f", "{}"), content="Let me see."))),
    (LeftOut.SEVERAL_TOOL_RESULTS, "sharegpt", TWICE),
    (LeftOut.TURNS_DO_NOT_ALTERNATE, "sharegpt", made(user("a"), user("b"), says("c"))),
    (LeftOut.LATE_SYSTEM_MESSAGE, "sharegpt", made(user("a"), says("b", 0), system("late"), user("c"), says("d"))),
    (LeftOut.MARK_IN_TEXT, "sharegpt", made(user("what is <image>?"), says("a mark"))),
    (LeftOut.IMAGE, "distil", made(user([picture(png())]), says("red"))),
    (LeftOut.IMAGE_NOT_INLINE, "trl", made(user([picture("https://example.com/a.png")]), says("red"))),
    (LeftOut.IMAGE_NOT_INLINE, "trl", made(user([picture("data:image/png;base64,%%%")]), says("red"))),
    (LeftOut.OTHER_PART, "openai", made(user([AUDIO]), says("noise"))),
    (LeftOut.NO_ORIGINAL, "dpo", made(user("a"), says("b"))),
    (LeftOut.SAME_AS_ORIGINAL, "dpo", made(user("a"), says("b"), original_response="b ")),
    (LeftOut.LONE_SURROGATE, "hf", made(user("a"), says("\ud800"))),
    (LeftOut.NUMBER_OUT_OF_RANGE, "trl", made(user("a"), calls(call("f", '{"n": 123456789012345678901234567890}')))),
    (LeftOut.NUMBER_OUT_OF_RANGE, "distil", made(user("a"), calls(call("f", '{"n": 1e400}')))),
    (LeftOut.NUMBER_OUT_OF_RANGE, "trl", made(user("a"), calls(call("f", '{"n": 1e305}')))),
    (LeftOut.NUMBER_OUT_OF_RANGE, "hf", made(user("a"), says("b"), number=5e-324)),
]


@pytest.mark.parametrize(("reason", "name", "row"), CASES, ids=[f"{reason}-{name}" for reason, name, _ in CASES])
def test_a_row_that_a_target_cannot_hold_has_its_reason(reason: LeftOut, name: str, row: dict[str, Any]) -> None:
    with pytest.raises(CannotHoldError) as refused:
        written(name, row)

    assert refused.value.reason is reason


def written(name: str, row: dict[str, Any]) -> None:
    for line in FORMATS[name].convert(row).lines:
        require_holdable(line, FORMATS[name].columns, has_images=True)


def test_every_reason_is_met_by_a_test() -> None:
    elsewhere = {LeftOut.UNSTRUCTURED, LeftOut.ERASED, LeftOut.HISTORY_CHANGED}

    assert {reason for reason, _, _ in CASES} | elsewhere == set(LeftOut)


async def test_what_is_left_out_is_counted_listed_and_the_rest_is_written(tmp_path: Path) -> None:
    good, bad = made(user("a"), says("b")), made(user("c"), user("d"), says("e"))

    found = await export(
        tmp_path / "store", [good, bad], Wanted("sharegpt", tmp_path / "out"), unstructured=[made(user("x"), says("y"))]
    )

    assert found.manifest["left_out"] == {"unstructured": 1, "turns_do_not_alternate": 1}
    assert found.manifest["parts"] == {"train": {"rows": 1, "lines": 1}}
    listed = [json.loads(line) for line in (tmp_path / "out.left-out.jsonl").read_bytes().splitlines()]
    assert {(line["row_id"], line["part"], line["reason"]) for line in listed} >= {
        (bad["row_id"], "train", "turns_do_not_alternate")
    }
    assert len(listed) == 2
    assert found.left_out_file == tmp_path / "out.left-out.jsonl"


async def test_what_stays_behind_of_a_row_is_counted_by_kind(tmp_path: Path) -> None:
    rows = [made(system("s"), user("a"), says("b", reasoning_content="c"), tags=["x"]), made(user("d"), says("e"))]

    found = await export(
        tmp_path / "store", rows, Wanted("distil-messages", check=True), manifest={"job_description": {}}
    )

    assert found.manifest["not_carried"] == {"metadata": 1, "reasoning": 1, "system": 1}
    assert set(found.manifest["not_carried"]) <= set(NotCarried)
    assert found.out is None


async def test_an_unstructured_row_is_no_failure_of_strict(tmp_path: Path) -> None:
    rows = [made(user("a"), says("b"))]

    found = await export(
        tmp_path / "store",
        rows,
        Wanted("openai", tmp_path / "out", strict=True),
        unstructured=[made(user("x"), says("y"))],
    )

    assert found.manifest["left_out"] == {"unstructured": 1}
