"""Text files as other programs leave them: other encodings, other line ends, quotes that nobody closed."""

import codecs
import gzip
from collections.abc import Iterator
from pathlib import Path

import pytest

from processing.datasets.csv_file import csv_records
from processing.datasets.json_file import json_records
from processing.datasets.prompt_file import read_prompts
from processing.datasets.record import Record, RecordFault
from processing.errors import InputError

TEXTS = {
    "rows.csv": "prompt,response\nWarm in Zürich?,žádný\n\U0001f600,zwei\n",
    "rows.jsonl": '{"prompt": "Warm in Zürich?", "response": "žádný"}\n{"prompt": "\U0001f600", "response": "zwei"}\n',
    "rows.json": '[{"prompt": "Warm in Zürich?", "response": "žádný"},\n {"prompt": "\U0001f600", "response": "zwei"}]',
}
ROWS = [
    {"prompt": "Warm in Zürich?", "response": "žádný"},
    {"prompt": "\U0001f600", "response": "zwei"},
]
MARKS = {
    "utf-8": codecs.BOM_UTF8,
    "utf-16-le": codecs.BOM_UTF16_LE,
    "utf-16-be": codecs.BOM_UTF16_BE,
    "utf-32-le": codecs.BOM_UTF32_LE,
    "utf-32-be": codecs.BOM_UTF32_BE,
}


def records(path: Path, content: bytes) -> Iterator[Record]:
    path.write_bytes(content)
    return csv_records(path, path.name) if ".csv" in path.name else json_records(path, path.name)


def read(path: Path, content: bytes) -> list[object]:
    """The values of a file that is whole."""
    found = list(records(path, content))
    assert [record.fault for record in found] == [None] * len(found)
    return [record.value for record in found]


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("encoding", MARKS)
def test_a_byte_order_mark_tells_the_encoding(tmp_path: Path, name: str, encoding: str) -> None:
    content = MARKS[encoding] + TEXTS[name].encode(encoding)
    assert read(tmp_path / name, content) == ROWS
    assert read(tmp_path / f"{name}.gz", gzip.compress(content)) == ROWS
    returned = MARKS[encoding] + TEXTS[name].replace("\n", "\r").encode(encoding)
    assert read(tmp_path / name, returned) == ROWS


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("encoding", [encoding for encoding in MARKS if encoding != "utf-8"])
def test_another_encoding_without_a_mark_is_refused_by_its_name(tmp_path: Path, name: str, encoding: str) -> None:
    told = encoding.upper().replace("-LE", "LE").replace("-BE", "BE")
    said = f"{name}: is {told} without a byte order mark.*iconv -f {told} -t UTF-8 {name}"
    with pytest.raises(InputError, match=said):
        list(records(tmp_path / name, TEXTS[name].encode(encoding)))


def test_lines_that_end_as_on_old_macs_are_lines(tmp_path: Path) -> None:
    lines = TEXTS["rows.jsonl"].encode().replace(b"\n", b"\r")
    assert [record.number for record in records(tmp_path / "rows.jsonl", lines)] == [1, 2]
    assert read(tmp_path / "rows.csv", b'prompt,response\ra,"b\rc"\r') == [{"prompt": "a", "response": "b\nc"}]
    prompts = tmp_path / "prompts.txt"
    prompts.write_bytes(b"one\rtwo\r")
    assert [item.place for item in read_prompts(prompts).items] == ["prompts.txt:1", "prompts.txt:2"]


def test_a_return_among_other_line_ends_stays_what_it_is(tmp_path: Path) -> None:
    content = b'{"prompt": "a",\r"response": "b"}\n{"prompt": "c", "response": "d"}\n'
    assert [record.number for record in records(tmp_path / "rows.jsonl", content)] == [1, 2]
    assert read(tmp_path / "rows.csv", b'prompt,response\n"a\rb",c\r\n') == [{"prompt": "a\rb", "response": "c"}]


@pytest.mark.parametrize("name", ["rows.csv", "rows.jsonl"])
def test_a_text_that_ends_inside_a_character_is_a_broken_file(tmp_path: Path, name: str) -> None:
    content = TEXTS[name].encode("utf-16")[:-3]
    *_, last = records(tmp_path / name, content)
    assert last.fault is RecordFault.BROKEN_FILE
    assert "UTF-16" in (last.detail or "")


def test_half_of_a_character_fails_its_record_alone(tmp_path: Path) -> None:
    content = codecs.BOM_UTF16_LE + "prompt,response\n\ud800,b\nc,d\n".encode("utf-16-le", "surrogatepass")
    assert [record.fault for record in records(tmp_path / "rows.csv", content)] == [RecordFault.NOT_UTF8, None]


@pytest.mark.parametrize(
    ("text", "begins", "opens", "behind"),
    [
        ('prompt,response\na,1\n"b,2\nc,3\nd,4\n', 3, 3, 2),
        ('prompt,response\n"a\nstill ""a""\n","1\n2\n3""\nb,2\n', 2, 4, 3),
    ],
)
def test_a_quote_that_is_never_closed_is_told_by_its_line(
    tmp_path: Path, text: str, begins: int, opens: int, behind: int
) -> None:
    *_, last = records(tmp_path / "rows.csv", text.encode())
    assert (last.number, last.fault) == (begins, RecordFault.NOT_CSV)
    said = f"the quote that opens in line {opens} is never closed, and {behind} more lines were taken for its text."
    assert said in (last.detail or "")


def test_a_record_with_wrong_quotes_tells_how_far_it_goes(tmp_path: Path) -> None:
    found = list(records(tmp_path / "rows.csv", b'prompt,response\n"a,1\nb,2\nc,"3"\nd,4\n'))
    assert [(record.number, record.fault) for record in found] == [(2, RecordFault.NOT_CSV), (5, None)]
    assert "in line 4, to which the record goes on" in (found[0].detail or "")


def test_a_csv_record_has_a_bound_and_nothing_behind_it_is_guessed_at(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    lines = "".join(f"{number},x\n" for number in range(100_000))
    path.write_text(f'prompt,response\nfirst,1\n"second,2\n{lines}')
    kept, failed = csv_records(path, path.name, max_record_bytes=10_000)
    assert kept.value == {"prompt": "first", "response": "1"}
    assert (failed.number, failed.fault) == (3, RecordFault.NOT_CSV)
    assert "more than 10,000 bytes" in (failed.detail or "")
    assert "opens in line 3; nothing behind it was read" in (failed.detail or "")


def test_a_csv_line_that_is_too_long_fails_alone(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    with path.open("wb") as file:
        file.write(b"prompt,response\na,1\n")
        file.seek(70 * 2**20)
        file.write(b"\nb,2\n")
    found = list(csv_records(path, path.name))
    assert [(record.number, record.fault) for record in found] == [(2, None), (3, RecordFault.TOO_LONG), (4, None)]
