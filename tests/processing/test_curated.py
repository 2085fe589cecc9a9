from pathlib import Path

import pytest

from processing import curated
from processing.errors import InputError


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, newline="")
    return path


def test_json_lines_are_kept_as_they_are(tmp_path: Path) -> None:
    line = '{ "question": "a\u2028b",  "answer": {"n": 1} }'
    found = curated.load(written(tmp_path, "test.jsonl", f"\n{line}\r\n\n"))
    assert found.lines == (line.encode(),)
    assert found.examples[0].source == "test.jsonl:2"
    assert found.examples[0].messages[1].content == '{"n":1}'


def test_csv_rows_become_objects_with_their_json_cells_read(tmp_path: Path) -> None:
    text = 'question,answer,context\r\n"a, ""b""\nc",yes,\r\n'
    found = curated.load(written(tmp_path, "test.csv", text))
    assert found.lines == (b'{"question":"a, \\"b\\"\\nc","answer":"yes","context":""}',)
    messages = 'messages\n"[{""role"":""user"",""content"":""q""},{""role"":""assistant"",""content"":""a""}]"\n'
    assert curated.load(written(tmp_path, "test.csv", messages)).examples[0].targets == (1,)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "holds no rows"),
        ("{}\n", r"test\.jsonl:1: a test row needs"),
        (
            '{"question": "a", "answer": "b"}\n{"messages": [{"role": "user", "content": "a"}]}\n',
            r"test\.jsonl:2: the row",
        ),
        ("nonsense\n", r"test\.jsonl:1: not_json"),
        ('{"messages": [{"role": "robot"}]}\n', r"test\.jsonl:1: message 0: role"),
    ],
)
def test_a_bad_row_is_never_left_out_in_silence(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        curated.load(written(tmp_path, "test.jsonl", text))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("question,answer\na\n", r"test\.csv:2: the row has 1 cells and the header 2"),
        ("question,answer\na,b\nc,d, e\n", r"test\.csv:3: the row has 3 cells and the header 2"),
        ('question,answer\n"a,b\n', r"test\.csv:\d: is not CSV"),
        ("question,question,answer\na,b,c\n", r"test\.csv:1: has two columns of one name"),
        ("messages\nnonsense\n", r"test\.csv:2: messages is not JSON"),
        ("question,answer\na,\n", r"test\.csv:2: a test row needs"),
        ("question;answer\na;b\n", r"test\.csv:2: a test row needs"),
        ("question,answer\n", "holds no rows"),
        ("", "holds no rows"),
    ],
)
def test_a_bad_csv_row_is_never_mended_in_silence(tmp_path: Path, text: str, says: str) -> None:
    """A row that was cut short got the answer `null`, one with a comma too many lost what stood behind it."""
    with pytest.raises(InputError, match=says):
        curated.load(written(tmp_path, "test.csv", text))


def test_a_csv_cell_may_hold_a_whole_book_and_blank_lines_are_passed_over(tmp_path: Path) -> None:
    found = curated.load(written(tmp_path, "test.csv", f'\ufeffquestion,answer\n\n"{"x" * 200_000}",yes\n\n'))
    assert [len(example.messages[0].content or "") for example in found.examples] == [200_000]


@pytest.mark.parametrize("row", ['{"question": "a", "answer": null}', '{"question": "a", "answer": "b", "tools": [1]}'])
def test_a_row_without_answer_or_with_broken_tools_is_an_error(tmp_path: Path, row: str) -> None:
    with pytest.raises(InputError, match=r"^test\.jsonl:1: "):
        curated.load(written(tmp_path, "test.jsonl", row))
