"""The page and the plots show every contender, run nothing, and come out the same each time."""

import re
import struct
import sys
import warnings
from html.parser import HTMLParser
from pathlib import Path

import pytest

from processing.errors import InputError
from processing.evaluation.comparison import compare
from processing.evaluation.cutoffs import hold, read_cutoffs
from processing.evaluation.evaluate import Evaluated, Wanted
from processing.evaluation.page import evaluation_page, sides_of
from processing.evaluation.plots import write_plots
from store.datasets.evaluation_store import EvaluationStore
from tests.processing.evaluation.versions import PRICE, frozen, label_for, label_row, opened, right_in, run, text_row
from tests.processing.teachers import Body, Teachers, last_user

HOSTILE = "<script>x</script>模$\\frac{1$\u202e"


class Seen(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}


async def made(store: EvaluationStore, teachers: Teachers) -> Evaluated:
    rows = [label_row(number, tags=[HOSTILE] if number < 9 else ["plain"]) for number in range(30)]
    await frozen(store, rows)

    def reply(body: Body) -> Body:
        if last_user(body) == "question 3?":
            return {"content": "", "finish_reason": "length"}
        return right_in(0.9 if body["model"] == "good" else 0.4, label_for)(body)

    teachers.reply = reply
    models = {"good": {"price": PRICE}, HOSTILE: {"price": PRICE}}
    return await run(store, teachers, Wanted("support", ("good", HOSTILE)), models=models)


async def test_the_page_holds_what_models_and_rows_say_as_text_alone(tmp_path: Path, teachers: Teachers) -> None:
    async with await opened(tmp_path) as store:
        found = await made(store, teachers)
    held = hold(read_cutoffs("accuracy=0.8"), found.evaluations)
    page = evaluation_page(found.evaluations, found.comparison, found.metrics, warnings=found.warnings, held=held)
    seen = Seen()
    seen.feed(page)
    assert not seen.tags & {"script", "img", "link", "iframe", "a"}
    assert not {name for name in seen.attributes if name.startswith("on") or name in ("href", "src", "style")}
    assert "\u202e" not in page
    assert "default-src 'none'" in page
    for said in ("support-v1: evaluation on test", "good better", "✗ NOT MET", "✓ met", "count as wrong"):
        assert said in page
    assert page.count("<svg") == 5  # scores, cost, latency, two confusion matrices
    assert (
        evaluation_page(found.evaluations, found.comparison, found.metrics, warnings=found.warnings, held=held) == page
    )


async def test_plots_are_whole_pictures_and_the_same_bytes_each_time(tmp_path: Path, teachers: Teachers) -> None:
    async with await opened(tmp_path) as store:
        found = await made(store, teachers)
    sides = sides_of(found.evaluations, found.comparison)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a glyph that is missing, a formula that does not parse
        first = write_plots(sides, found.metrics, tmp_path / "one")
        second = write_plots(sides, found.metrics, tmp_path / "two")
    assert [path.name for path in first] == [
        "scores.png",
        "cost.png",
        "latency.png",
        "confusion-1.png",
        "confusion-2.png",
    ]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    for path in first:
        content = path.read_bytes()
        assert content[:8] == b"\x89PNG\r\n\x1a\n"
        width, height = struct.unpack(">II", content[16:24])
        assert width > 500
        assert height > 250


async def test_what_is_unknown_is_left_out_of_the_charts(tmp_path: Path, teachers: Teachers) -> None:
    async with await opened(tmp_path) as store:
        await frozen(store, [text_row(number, original_response="who knows") for number in range(4)])
        found = await run(store, teachers, Wanted("support", has_recorded=True))
    page = evaluation_page(found.evaluations, None, found.metrics)
    assert page.count("<svg") == 1
    assert "unknown cost" in page
    written = write_plots(sides_of(found.evaluations, None), found.metrics, tmp_path / "plots")
    assert [path.name for path in written] == ["scores.png"]


async def test_without_matplotlib_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(InputError, match=re.escape("pip install 'tracemill[plots]'")):
        write_plots([], [], tmp_path)


async def test_two_evaluations_of_one_model_are_told_apart(tmp_path: Path, teachers: Teachers) -> None:
    async with await opened(tmp_path) as store:
        await frozen(store, [label_row(number) for number in range(9)])
        teachers.reply = right_in(1.0, label_for)
        wanted = Wanted("support", ("m",), suite="classification")
        one = (await run(store, teachers, wanted)).evaluations[0]
        two = (await run(store, teachers, wanted, models={"m": {"extra_body": {"top_p": 0.5}}})).evaluations[0]
        found = compare([(each, await store.predictions(each.evaluation_id)) for each in (one, two)])
    assert found.names == (f"m ({one.evaluation_id[:6]})", f"m ({two.evaluation_id[:6]})")
