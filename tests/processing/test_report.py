"""The report: every count in it, examples side by side, and pages that hostile traces cannot use."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from processing.candidates import ORIGINAL
from processing.foreign_text import visible
from processing.model_family import family_of
from processing.report_html import html_page
from processing.report_page import page
from tests.processing.teachers import GOOD, Body, Teachers
from tests.processing.test_pipeline import chat, inputs, run, traces

HOSTILE = (
    "<script>alert(1)</script><img src=x onerror=alert(2)></dd></section>\"'><svg onload=alert(3)>"
    "](http://evil.example/a) ![x](http://evil.example/b) | `code` \u202egnp.exe \x1b[31m {{7*7}} &lt;b&gt;"
)


class Page(HTMLParser):
    """What a browser would make of a page: tags with attributes, and the text of each."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.said: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "rect", "line", "circle"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.said.append(data)


def read(folder: Path) -> Any:
    return json.loads((folder / "out" / "report.json").read_text())


async def test_five_right_and_five_wrong_stand_side_by_side_with_votes_and_reasons(
    teachers: Teachers, tmp_path: Path
) -> None:
    lines = traces(40)
    for number, line in enumerate(lines):
        if number % 2:
            line["messages"][-1]["content"] = f"{GOOD}{line['messages'][-2]['content']}"
    await run(inputs(lines), teachers, tmp_path)
    report = read(tmp_path)
    right, wrong = report["examples"]["right"], report["examples"]["wrong"]
    assert (len(right), len(wrong)) == (5, 5)
    for side in (right, wrong):  # of the test set first; from the sample what that lacks
        assert [one["set"] for one in side] == sorted(one["set"] for one in side)
        assert side[0]["set"] == "test"
    assert all(one["recorded"] == one["label"] for one in right)
    assert all(one["recorded"].startswith("A recorded answer") for one in wrong)
    assert all(one["label"] == f"{GOOD}{one['asked']}" for one in right + wrong)
    assert {one["judge_reason"] for one in right} == {None}
    assert {one["judge_reason"] for one in wrong} == {"compared"}
    votes = wrong[0]["votes"]
    assert [(vote["source"], vote["agrees"]) for vote in votes] == [
        ("one", True),
        ("two", True),
        ("three", True),
        ("recorded answer", False),
    ]
    for text in (page(report), html_page(report)):
        assert all(one["row_id"] in text for one in right + wrong)
        assert "3 of 4 as the label" in text


async def test_counts_of_composition_agreement_and_cost_add_up(teachers: Teachers, tmp_path: Path) -> None:
    _, dataset = await run(inputs([*traces(50), chat("something off topic", "yes")]), teachers, tmp_path)
    report = dataset.report
    for part in ("train", "test"):
        made = report["composition"][part]
        assert made["rows"] == report["rows"][f"{part}.jsonl"]
        assert sum(made["original_models"].values()) == made["rows"]
    agreement = report["agreement"]
    assert sum(agreement["counts"]) == agreement["compared"]
    kept = report["rows"]["train.jsonl"] + report["rows"]["test.jsonl"]
    assert agreement["compared"] + agreement["not_compared"] == kept + report["rows"]["review.jsonl"]
    one = report["committee"]["one"]
    assert one["agrees"] + one["differs"] + one["no_answer"] == kept
    for purpose, bill in report["calls"].items():
        parts = [call for call in report["calls_by_model"] if call["purpose"] == purpose]
        assert sum(call["calls"] for call in parts) == bill["calls"]
        assert sum(call["prompt_tokens"] for call in parts) == bill["prompt_tokens"]
    assert {call["model"] for call in report["calls_by_model"] if call["purpose"] == "relabel"} == {
        "one",
        "two",
        "three",
    }


async def test_a_person_reads_how_the_judge_did_and_what_votes_count_for(teachers: Teachers, tmp_path: Path) -> None:
    _, dataset = await run(inputs(traces(50)), teachers, tmp_path)
    asked = dataset.report["base_model"]["test"]["judge"]["asked"]
    assert asked > 0
    weighed = {**dataset.report, "relabel": {**dataset.report["relabel"], "reliability": {"one": 0.85, ORIGINAL: 0.7}}}
    for write in (page, html_page):
        assert f"On test the judge was asked about {asked} answers" in write(dataset.report)
        assert "Votes count by how often" not in write(dataset.report)
        assert "Votes count by how often" in write(weighed)
        assert "0.85" in write(weighed)
        assert "0.7" in write(weighed)


async def test_what_to_be_wary_of_is_said(teachers: Teachers, tmp_path: Path) -> None:
    given = inputs(
        traces(12),
        relevance_filtering=False,
        relabelling_committee_models=["acme/judge-large", "Qwen3-8B"],
        num_traces_as_unfiltered_sample=0,
    )
    object.__setattr__(given.config.evaluation, "llm_as_a_judge_model_name", "openrouter/qwen-max")
    _, dataset = await run(given, teachers, tmp_path)
    told = " ".join(dataset.report["warnings"])
    for words in ("below 200", "relevance filtering is off", "same family as Qwen3-8B (committee)"):
        assert words in told
    assert "acme" not in told


@pytest.mark.parametrize(
    ("one", "other", "are_kin"),
    [
        ("openai.gpt-oss-120b", "gpt-4o-mini", True),
        ("o3-mini", "gpt-5", True),
        ("Qwen3-235B-A22B-Instruct-2507", "qwq-32b", True),
        ("zai.glm-5", "deepseek.v3.2", False),
        ("meta-llama/Llama-3.2-3B", "us.meta.llama3-70b", True),
        ("one", "two", False),
        ("judge", "judge", True),
    ],
)
def test_models_are_kin_by_their_names(one: str, other: str, are_kin: bool) -> None:
    assert (family_of(one) == family_of(other)) is are_kin


async def test_hostile_traces_are_text_in_every_form(teachers: Teachers, tmp_path: Path) -> None:
    lines = traces(20)
    for number, line in enumerate(lines):
        line["messages"][1]["content"] = f"{HOSTILE} {number * 7919}"
        line["messages"][2]["content"] = f"{HOSTILE} answered {number}"
    teachers.reply = lambda body: {"content": f"{HOSTILE} of {body['model']}"}
    teachers.arbiter = _hostile_verdict
    await run(inputs(lines), teachers, tmp_path)
    report = read(tmp_path)
    assert report["examples"]["wrong"]
    html = (tmp_path / "out" / "report.html").read_text()
    seen = Page(html)
    assert seen.open == []
    assert {tag for tag, _ in seen.tags} <= {
        "html", "head", "meta", "title", "style", "body", "main", "section", "div", "h1", "h2", "h3", "p", "ul", "li",
        "b", "i", "span", "table", "thead", "tbody", "tr", "th", "td", "article", "dl", "dt", "dd", "details",
        "summary", "svg", "rect", "line", "circle", "text",
    }  # fmt: skip
    names = {name for _, attributes in seen.tags for name in attributes}
    assert not [name for name in names if name.startswith("on") or name in ("href", "src", "style")]
    said = "".join(seen.said)
    assert "<script>alert(1)</script>" in said
    assert "\u202e" not in html
    assert "\x1b" not in html
    markdown = (tmp_path / "out" / "report.md").read_text()
    assert "\u202e" not in markdown
    assert not re.search(r"(?<!\\)<|(?<!\\)\[|(?<!\\)!", markdown)
    columns = [len(re.findall(r"(?<!\\)\|", line)) for line in markdown.splitlines() if "alert" in line]
    assert set(columns) == {7}


def _hostile_verdict(data: Body) -> Body:
    return {"reason": HOSTILE, "best": min(data["candidates"]), "also_correct": [], "none_correct": False}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("क्\u200dष", "क्\u200dष"),
        ("👩\u200d🚀 ❤\ufe0f\u200d🔥", "👩\u200d🚀 ❤\ufe0f\u200d🔥"),
        ("pay\u200dpal", "pay\\u200dpal"),
        ("می\u200c\u202eخ", "می\\u200c\\u202eخ"),
    ],
)
def test_joiners_stay_where_a_script_is_written_with_them(text: str, shown: str) -> None:
    """Persian was shown with an escape in the middle of its words."""
    assert visible(text) == shown


async def test_the_page_allows_itself_nothing_but_its_own_style(teachers: Teachers, tmp_path: Path) -> None:
    await run(inputs(traces(12)), teachers, tmp_path)
    html = (tmp_path / "out" / "report.html").read_text()
    policy = next(a["content"] for tag, a in Page(html).tags if a.get("http-equiv") == "Content-Security-Policy")
    style = re.search(r"<style>(.*?)</style>", html, re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert policy == f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    assert "http" not in html.replace("http-equiv", "")
    assert html.count("<svg") >= 4
    # What is wide scrolls in a frame of its own; the page keeps the width of its window.
    assert html.count('<div class="wide"><svg') == html.count("<svg")
    assert html.count('<div class="wide"><table') == html.count("<table")


async def test_a_run_that_scores_nothing_has_a_report_too(teachers: Teachers, tmp_path: Path) -> None:
    await run(inputs(traces(8), relabel=False, relevance_filtering=False), teachers, tmp_path)
    assert teachers.requests == []
    report = read(tmp_path)
    assert report["examples"] == {"right": [], "wrong": []}
    assert "None was found" in html_page(report)
    assert "relabel is off" in page(report)
