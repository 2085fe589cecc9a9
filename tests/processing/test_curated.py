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
