"""Files become versions: every record ends as kept, dropped or failed, and what a file holds is what a row says."""

import gzip
import json
from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from processing.datasets.mapping import read_map
from processing.datasets.upload import UploadSettings, upload
from processing.datasets.upload_report import UploadReport
from processing.errors import InputError
from store.datasets.dataset_store import DatasetStore
from store.datasets.row import Part, Row, RowState
from store.errors import DatasetError

SEED = '{"prompt": "...%d", "response": "yes", "metadata": {"source_trace_id": "t_af91", "customer": {"id": %d}}}\n'


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[DatasetStore]:
    async with await DatasetStore.open(tmp_path / "data" / "work.db") as opened:
        yield opened


async def rows_of(store: DatasetStore, report: UploadReport, state: RowState | None = RowState.KEPT) -> list[Row]:
    assert report.version is not None
    return [row async for row in store.rows(report.version, state=state)]


async def content_of(store: DatasetStore, path: Path, text: str | bytes, **fields: Any) -> dict[str, Any]:
    """The only row that a file with this text gives."""
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    report = await upload(path, path.stem.partition(".")[0], store, **fields)
    (row,) = await rows_of(store, report)
    return dict(row.content)


def said(content: dict[str, Any]) -> list[Any]:
    return [(m["role"], m["content"]) for m in content["messages"]]


async def test_the_file_of_the_first_page_becomes_a_dataset(store: DatasetStore, tmp_path: Path) -> None:
    big = 123456789012345678901234567890
    path = tmp_path / "invoices.jsonl"
    path.write_text(SEED % (1, big) + SEED % (2, 2), "utf-8")
    mapped: list[str] = []
    report = await upload(
        path, "invoice-extraction-v1", store, note="first", mapped=lambda found, _: mapped.extend(found.lines())
    )
    assert mapped == ["prompt   <- prompt", "response <- response", "metadata <- metadata"]
    rows = await rows_of(store, report)
    assert {row.content["metadata"]["source_trace_id"] for row in rows} == {"t_af91"}
    assert {row.content["metadata"]["customer"]["id"] for row in rows} == {big, 2}
    assert report.version is not None
    assert (report.version.label, report.version.note) == ("invoice-extraction-v1", "first")
    assert report.version.manifest["upload"] == report.counts()
    assert report.version.manifest["source"]["files"][0]["name"] == "invoices.jsonl"


async def test_every_record_ends_once_and_says_where_it_stands(store: DatasetStore, tmp_path: Path) -> None:
    lines = [
        '{"prompt": "a\u2028b", "response": "1"}',
        '{"prompt": "a\u2028b ", "response": "1"}',
        "",
        '{"prompt": NaN, "response": "1"}',
        '{"prompt": "x", "response": 1e400}',
        '{"prompt": "x"}',
        '{"prompt": " ", "response": "1"}',
        "[1]",
        "{",
        '{"prompt": "y", "response": {"total": 12.50}}',
    ]
    path = tmp_path / "all.jsonl"
    path.write_bytes("\n".join(lines).encode() + b'\n{"prompt": "\xff"}\r\n')
    report = await upload(path, "all", store)
    assert report.counts() == {
        "entered": 10,
        "kept": 2,
        "dropped": 1,
        "failed": 7,
        "reasons": {
            "dropped": {"exact_duplicate": 1},
            "failed": {
                "no_prompt": 1,
                "no_response": 1,
                "not_json": 3,
                "not_object": 1,
                "not_utf8": 1,
            },
            "kept": {"uploaded": 2},
        },
        "parts": {"unsplit": 2},
        "trailing_messages": 0,
        "repeated_keys": 0,
    }
    assert [problem.place for problem in report.problems] == [f"all.jsonl:{line}" for line in (2, 4, 5, 6, 7, 8, 9, 11)]
    assert "NaN" in report.problems[1].detail
    assert report.version is not None
    assert report.version.counts.entered == 10
    (dropped,) = await rows_of(store, report, RowState.DROPPED)
    kept = await rows_of(store, report)
    assert dropped.end.detail["duplicate_of"] in {row.row_id for row in kept}
    assert {row.content["response"] for row in kept} == {"1", '{"total":12.5}'}


async def test_strict_writes_nothing_when_a_record_is_no_row(store: DatasetStore, tmp_path: Path) -> None:
    path = tmp_path / "s.jsonl"
    path.write_text(SEED % (1, 1) + '{"prompt": "x"}\n')
    with pytest.raises(InputError, match=r"s\.jsonl:2: response holds nothing \(no_response\)"):
        await upload(path, "strict", store, UploadSettings(strict=True))
    assert await store.datasets() == []


async def test_a_file_without_any_row_leaves_no_dataset(store: DatasetStore, tmp_path: Path) -> None:
    path = tmp_path / "s.jsonl"
    path.write_text('{"prompt": "x", "response": null}\n')
    with pytest.raises(InputError, match="gave no row: 1 no_response"):
        await upload(path, "none", store)
    path.write_text("prompt,response\na,b\n")
    with pytest.raises(InputError, match=r"s\.jsonl:1: .*None of the first 2 records can be read: is the format right"):
        await upload(path, "none", store)
    path.write_text("")
    with pytest.raises(InputError, match="holds no record"):
        await upload(path, "none", store)
    assert await store.datasets() == []


@pytest.mark.parametrize(
    ("record", "messages"),
    [
        ({"question": "q", "answer": "a", "topic": "t"}, [("user", "q"), ("assistant", "a")]),
        ({"question": "q", "answer": "a", "context": "c"}, [("user", "c\n\nq"), ("assistant", "a")]),
        ({"Instruction": "do", "input": "it", "output": "o"}, [("user", "do\n\nit"), ("assistant", "o")]),
        ({"instruction": "do", "input": "", "output": "o"}, [("user", "do"), ("assistant", "o")]),
        ({"text": "t", "label": 3}, [("user", "t"), ("assistant", "3")]),
        (
            {"system": "s", "conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]},
            [("system", "s"), ("user", "q"), ("assistant", "a")],
        ),
        (
            {"prompt": [{"role": "user", "content": "q"}], "completion": [{"role": "assistant", "content": "a"}]},
            [("user", "q"), ("assistant", "a")],
        ),
        ({"prompt": "q", "chosen": "a", "rejected": "b"}, [("user", "q"), ("assistant", "a")]),
        (
            {
                "chosen": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}],
                "rejected": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "b"}],
            },
            [("user", "q"), ("assistant", "a")],
        ),
        (
            {
                "input": {"messages": [{"role": "user", "content": "q"}], "tools": []},
                "preferred_output": [{"role": "assistant", "content": "a"}],
                "non_preferred_output": [{"role": "assistant", "content": "b"}],
            },
            [("user", "q"), ("assistant", "a")],
        ),
        (
            {"messages": json.dumps([{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}])},
            [("user", "q"), ("assistant", "a")],
        ),
    ],
)
async def test_known_shapes_are_read_as_they_are_meant(
    store: DatasetStore, tmp_path: Path, record: dict[str, Any], messages: list[Any]
) -> None:
    content = await content_of(store, tmp_path / "shape.jsonl", json.dumps(record))
    assert said(content) == messages
    assert content["response"] == messages[-1][1]


async def test_columns_without_a_place_become_metadata(store: DatasetStore, tmp_path: Path) -> None:
    record = {"prompt": "q", "chosen": "a", "rejected": "b", "metadata": {"topic": 1}, "topic": 2, "source": "web"}
    content = await content_of(store, tmp_path / "meta.jsonl", json.dumps(record))
    found = content["metadata"]
    assert (found["rejected"], found["topic"], found["column_topic"], found["source"]) == ("b", 1, 2, "web")


async def test_a_score_of_another_scale_is_not_taken_for_a_judges(store: DatasetStore, tmp_path: Path) -> None:
    metadata = {"judge_score": 4.5, "tags": "reviewed"}
    record = {"prompt": "q", "response": "a", "metadata": metadata}
    content = await content_of(store, tmp_path / "score.jsonl", json.dumps(record))
    assert content["metadata"]["judge_score"] is None
    assert content["metadata"]["uploaded_judge_score"] == 4.5
    assert content["metadata"]["tags"] == ["reviewed"]


async def test_a_line_of_our_own_export_keeps_its_trace(store: DatasetStore, tmp_path: Path) -> None:
    trace = "01890a5d-ac96-774b-bcce-b302099a8057"
    messages = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    line = json.dumps({"messages": messages, "metadata": {"trace_id": trace}})
    content = await content_of(store, tmp_path / "traces.jsonl", line)
    assert content["metadata"]["source_trace_id"] == trace


async def test_a_dataset_of_ours_uploaded_again_has_the_same_rows(store: DatasetStore, tmp_path: Path) -> None:
    first = await content_of(store, tmp_path / "one.jsonl", SEED % (1, 1))
    again = await content_of(store, tmp_path / "two.jsonl", json.dumps(first))
    assert again == first


async def test_tool_calls_of_every_shape_become_calls(store: DatasetStore, tmp_path: Path) -> None:
    tool = {"name": "look", "description": "d", "parameters": {"type": "object", "properties": {}}}
    shared = {
        "tools": json.dumps([tool]),
        "conversations": [
            {"from": "human", "value": "q"},
            {"from": "function_call", "value": '{"name": "look", "arguments": {"at": 9007199254740993}}'},
            {"from": "observation", "value": "seen"},
            {"from": "gpt", "value": "done"},
            {"from": "human", "value": "thanks"},
        ],
    }
    (tmp_path / "sharegpt.jsonl").write_text(json.dumps(shared))
    report = await upload(tmp_path / "sharegpt.jsonl", "sharegpt", store)
    (row,) = await rows_of(store, report)
    messages = row.content["messages"]
    assert [message["role"] for message in messages] == ["user", "assistant", "tool", "assistant"]
    assert messages[1]["tool_calls"][0]["function"] == {"name": "look", "arguments": '{"at":9007199254740993}'}
    assert messages[2]["tool_call_id"] == messages[1]["tool_calls"][0]["id"]
    assert row.content["tools"] == [{"type": "function", "function": tool}]
    assert (report.trailing_messages, row.end.detail["trailing_messages"]) == (1, 1)
    line = {"question": "q", "answer": '{"name": "look", "parameters": {"at": 1}}'}
    content = await content_of(store, tmp_path / "distil.jsonl", json.dumps(line))
    assert content["messages"][1]["tool_calls"][0]["function"] == {"name": "look", "arguments": '{"at":1}'}
    plain = {"prompt": "q", "response": '{"name": "look", "parameters": {"at": 1}}'}
    content = await content_of(store, tmp_path / "plain.jsonl", json.dumps(plain))
    assert content["messages"][1]["content"] == plain["response"]


@pytest.mark.parametrize(
    ("record", "problem"),
    [
        ({"a": 1, "b": 2}, r"Its columns are: a, b\. Say it: for instance --map prompt=a,response=b"),
        ({"text": "t"}, "no columns that tell"),
        ({"question": "q", "answer": "a", "prompt": "p", "response": "r"}, "several ways"),
        ({"instruction": "i", "output": "o", "response": "r"}, "several ways"),
    ],
)
async def test_unclear_columns_are_shown_with_what_to_write(
    store: DatasetStore, tmp_path: Path, record: dict[str, Any], problem: str
) -> None:
    (tmp_path / "x.jsonl").write_text(json.dumps(record))
    with pytest.raises(InputError, match=problem):
        await upload(tmp_path / "x.jsonl", "x", store)


async def test_a_map_decides_what_columns_are(store: DatasetStore, tmp_path: Path) -> None:
    record = {"title": "T", "body": "B", "verdict": "ok", "id": 7, "junk": "j", "set": "test"}
    told = read_map("prompt=title+body, response=verdict, metadata.ticket=id, ignore=junk, part=set")
    path = tmp_path / "told.jsonl"
    path.write_text(json.dumps(record))
    report = await upload(path, "told", store, UploadSettings(told=told))
    (row,) = await rows_of(store, report)
    assert said(dict(row.content)) == [("user", "T\n\nB"), ("assistant", "ok")]
    assert row.content["metadata"]["ticket"] == 7
    assert "junk" not in row.content["metadata"]
    assert row.part is Part.TEST
    with pytest.raises(InputError, match=r'names the column "nope", and told\.jsonl has none\. Its columns are: title'):
        await upload(path, "told", store, UploadSettings(told=read_map("prompt=nope,response=verdict")), add=True)
    for bad in ("prompt", "prompt=", "promt=a", "prompt=a,prompt=b", "metadata.=x"):
        with pytest.raises(InputError, match="--map"):
            read_map(bad)


async def test_csv_of_every_dialect_is_read(store: DatasetStore, tmp_path: Path) -> None:
    whole = [("user", 'Say "hi",\nplease\u2028now'), ("assistant", "hi; there")]
    for number, text in enumerate(
        [
            '\ufeffprompt,response,tag\r\n"Say ""hi"",\nplease\u2028now",hi; there,x\r\n',
            'prompt;response;tag\n"Say ""hi"",\nplease\u2028now";"hi; there";x\n',
            'prompt\tresponse\ttag\n"Say ""hi"",\nplease\u2028now"\thi; there\tx',
        ]
    ):
        content = await content_of(store, tmp_path / f"csv{number}.csv", text)
        assert said(content) == whole
        assert content["metadata"]["tag"] == "x"
    packed = await content_of(store, tmp_path / "packed.tsv.gz", gzip.compress(b"question\tanswer\nq\ta\n"))
    assert said(packed) == [("user", "q"), ("assistant", "a")]


async def test_a_bad_csv_record_fails_alone(store: DatasetStore, tmp_path: Path) -> None:
    path = tmp_path / "bad.csv"
    path.write_bytes(b'prompt,response\na,1\nb,2,3\n"c"x,4\n\xff,5\n,6\n\nd,7\n"e,8\n')
    report = await upload(path, "bad", store)
    reasons = {"wrong_cells": 1, "not_csv": 2, "not_utf8": 1, "no_prompt": 1}
    assert report.counts()["reasons"] == {"kept": {"uploaded": 2}, "failed": dict(sorted(reasons.items()))}
    assert [problem.place for problem in report.problems] == [f"bad.csv:{line}" for line in (3, 4, 5, 6, 9)]


async def test_csv_without_header_is_read_by_the_numbers_of_its_columns(store: DatasetStore, tmp_path: Path) -> None:
    path = tmp_path / "bare.csv"
    path.write_text("first question,first answer\nsecond question,second answer\n")
    report = await upload(
        path, "bare", store, UploadSettings(told=read_map("prompt=column_1,response=column_2"), has_header=False)
    )
    assert report.count(RowState.KEPT) == 2
    path.write_text("prompt,prompt\na,b\n")
    with pytest.raises(InputError, match="two columns of one name: prompt"):
        await upload(path, "bare", store, add=True)


@pytest.mark.parametrize(
    ("header", "record", "named"),
    [(",prompt,response", "0,q,a", "column_1"), ("Prompt,response,", "q,a,0", "column_3")],
)
async def test_a_csv_header_may_leave_a_column_without_a_name(
    store: DatasetStore, tmp_path: Path, header: str, record: str, named: str
) -> None:
    content = await content_of(store, tmp_path / "frame.csv", f"{header}\n{record}\n")
    assert said(content) == [("user", "q"), ("assistant", "a")]
    assert content["metadata"][named] == "0"


@pytest.mark.parametrize("role", [{"a": 1}, ["user"], 5, None])
async def test_a_role_that_is_no_text_fails_its_record_alone(store: DatasetStore, tmp_path: Path, role: Any) -> None:
    lines = [
        {"messages": [{"role": one, "content": "q"}, {"role": "assistant", "content": "a"}]} for one in ("user", role)
    ]
    path = tmp_path / "roles.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    report = await upload(path, "roles", store)
    assert report.counts()["reasons"] == {"kept": {"uploaded": 1}, "failed": {"bad_message": 1}}


@pytest.mark.parametrize("more", ['[{"prompt": "lost", "response": "b"}]', '{"prompt": "lost", "response": "b"}', "]"])
async def test_what_follows_an_array_is_not_lost_in_silence(store: DatasetStore, tmp_path: Path, more: str) -> None:
    path = tmp_path / "two.json"
    path.write_text(f'[{{"prompt": "p", "response": "r"}}]\n{more}\n')
    report = await upload(path, "two", store)
    assert report.counts()["reasons"] == {"kept": {"uploaded": 1}, "failed": {"broken_file": 1}}


@pytest.mark.parametrize("ending", ["jsonl", "json"])
async def test_a_key_that_stands_twice_is_flagged_and_said(store: DatasetStore, tmp_path: Path, ending: str) -> None:
    lines = [
        '{"prompt": "first", "response": "a"}',
        '{"prompt": "lost", "prompt": "second", "response": "b"}',
        '{"prompt": "third", "response": "c", "metadata": {"topic": 1, "topic": 2}}',
    ]
    path = tmp_path / f"twice.{ending}"
    path.write_text("\n".join(lines) if ending == "jsonl" else f"[{','.join(lines)}]")
    report = await upload(path, "twice", store)
    assert (report.count(RowState.KEPT), report.counts()["repeated_keys"]) == (3, 2)
    flagged = {row.content["prompt"]: row.end.detail.get("repeated_key") for row in await rows_of(store, report)}
    assert flagged == {"first": None, "second": "prompt", "third": "topic"}
    said = f'A key stands twice in 2 of 3 records; its last value counts. The first is "prompt" in twice.{ending}:2.'
    assert said in report.warnings


async def test_one_array_of_objects_is_read_like_lines(store: DatasetStore, tmp_path: Path) -> None:
    records = [{"instruction": f"i{n}", "input": "", "output": "x" * 3000, "n": 10**20 + n} for n in range(1000)]
    path = tmp_path / "alpaca.json"
    path.write_text(json.dumps(records, indent=2))
    report = await upload(path, "alpaca", store)
    assert (report.entered, report.count(RowState.KEPT)) == (1000, 1000)
    assert {row.content["metadata"]["n"] for row in await rows_of(store, report)} == {r["n"] for r in records}
    path.write_text(json.dumps(records[:3])[:-20])
    report = await upload(path, "cut", store)
    assert report.counts()["reasons"] == {"kept": {"uploaded": 2}, "failed": {"broken_file": 1}}


async def test_a_packed_file_that_is_cut_keeps_what_came_before(store: DatasetStore, tmp_path: Path) -> None:
    text = "".join(SEED % (n, n) for n in range(3000)).encode()
    path = tmp_path / "cut.jsonl.gz"
    path.write_bytes(gzip.compress(text)[:-2000])
    report = await upload(path, "cut", store)
    assert report.counts()["reasons"]["failed"] == {"broken_file": 1}
    assert 0 < report.count(RowState.KEPT) == report.entered - 1


async def test_adding_knows_the_rows_that_are_there(store: DatasetStore, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(SEED % (1, 1))
    first = await upload(path, "grow", store)
    assert first.version is not None
    with pytest.raises(DatasetError):
        await upload(path, "grow", store)
    await store.freeze(first.version)
    path.write_text(SEED % (1, 9) + SEED % (2, 2))
    report = await upload(path, "grow", store, add=True)
    assert report.counts()["reasons"] == {"kept": {"uploaded": 1}, "dropped": {"exact_duplicate": 1}}
    assert report.version is not None
    assert (report.version.label, report.version.counts.kept) == ("grow-v2", 2)
    again = await upload(path, "grow", store, add=True)
    assert again.version is not None
    assert (again.version.id, again.version.counts.kept) == (report.version.id, 2)


async def test_a_row_that_was_erased_stays_away_and_is_counted(store: DatasetStore, tmp_path: Path) -> None:
    path = tmp_path / "e.jsonl"
    path.write_text(SEED % (1, 1) + SEED % (2, 2))
    first = await upload(path, "first", store)
    assert first.version is not None
    gone = next(row for row in await rows_of(store, first) if row.content["metadata"]["customer"]["id"] == 1)
    await store.discard(first.version)
    erased = (bytes.fromhex(gone.row_hash), 1, "2026-11-21T00:00:00Z")
    await store.transact(lambda db: db.execute("INSERT INTO erased_rows VALUES (?, ?, ?)", erased))
    report = await upload(path, "second", store)
    assert report.counts()["reasons"] == {"failed": {"not_stored": 1}, "kept": {"uploaded": 1}}
    assert (report.problems[0].place, report.version and report.version.counts.entered) == ("e.jsonl:1", 2)


async def test_the_order_of_lines_does_not_change_the_version(store: DatasetStore, tmp_path: Path) -> None:
    lines = [SEED % (n, n) for n in range(30)]
    hashes = set()
    for name, ordered in (("one", lines), ("two", lines[::-1])):
        (tmp_path / f"{name}.jsonl").write_text("".join(ordered))
        report = await upload(tmp_path / f"{name}.jsonl", name, store, UploadSettings(part=Part.TRAIN))
        assert report.version is not None
        hashes.add((await store.freeze(report.version)).hash)
    assert len(hashes) == 1


NUMBERS = count()
CELL = st.text(max_size=12) | st.sampled_from(["", "prompt", '"', ",", "\n", "null", '{"a":1}', "[", "\udcff"])
TEXT_LINE = st.lists(CELL, min_size=1, max_size=4).map(",".join).map(lambda line: line.encode("utf-8", "surrogatepass"))
JSON_LINE = st.recursive(
    st.none() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["prompt", "response", "messages", "role", "content", "tools", "from", "value", "metadata"]
            ),
            inner | st.sampled_from(["user", "assistant", "human", "gpt", "function_call"]),
            max_size=4,
        )
    ),
    max_leaves=8,
).map(lambda value: json.dumps(value).encode())


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(TEXT_LINE | JSON_LINE | st.binary(max_size=10), max_size=6), st.sampled_from(["jsonl", "csv", "json"]))
async def test_whatever_a_file_holds_its_records_are_counted_or_it_is_refused(
    store: DatasetStore, tmp_path: Path, lines: list[bytes], ending: str
) -> None:
    path = tmp_path / f"f.{ending}"
    head = b'{"prompt": "p", "response": "r"}' if ending == "jsonl" else b"prompt,response\np,r"
    path.write_bytes(b"\n".join([head, *lines]))
    try:
        report = await upload(
            path, f"f{next(NUMBERS)}", store, UploadSettings(told={"prompt": "prompt", "response": "response"})
        )
    except InputError:
        return
    assert report.version is not None
    counts = report.version.counts
    assert report.entered == counts.kept + counts.dropped + counts.failed == counts.entered


NAME = st.sampled_from(
    ["messages", "conversations", "prompt", "response", "chosen", "tools", "metadata", "system", "x"]
)
TURN = st.dictionaries(
    st.sampled_from(["role", "from", "content", "value", "tool_calls", "weight"]),
    st.sampled_from(
        ["user", "assistant", "human", "gpt", "function_call", "observation", '{"name": "f"}', "text", 1, None]
    ),
    max_size=4,
)
SHAPED = st.dictionaries(NAME, st.lists(TURN, max_size=4) | st.text(max_size=4) | st.integers() | TURN, max_size=5)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(SHAPED, min_size=1, max_size=5))
async def test_whatever_columns_there_are_a_guess_ends_in_counts_or_in_a_sentence(
    store: DatasetStore, tmp_path: Path, records: list[Any]
) -> None:
    path = tmp_path / "g.jsonl"
    path.write_text("\n".join(json.dumps(record) for record in records))
    try:
        report = await upload(path, f"g{next(NUMBERS)}", store)
    except InputError:
        return
    assert report.entered == len(records) == sum(report.count(state) for state in RowState)
