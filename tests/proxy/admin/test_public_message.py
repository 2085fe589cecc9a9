"""What a message tells over HTTP of where files lie."""

from pathlib import Path

import pytest

from proxy.admin.public_message import public_message


@pytest.mark.parametrize(
    ("message", "public"),
    [
        ("/srv/data/jobs/.incoming-1/uploaded/my rows.docx: is none", "my rows.docx: is none"),
        ("[Errno 28] No space left: '/srv/data/work.db'", "[Errno 28] No space left: 'work.db'"),
        ("/srv/data: cannot be made", "the data directory: cannot be made"),
        ("It lies in /srv/data.", "It lies in the data directory."),
        ("/srv/database/x and /mnt/srv/data/x", "/srv/database/x and /mnt/srv/data/x"),
    ],
)
def test_files_of_the_data_directory_are_told_by_their_names_alone(message: str, public: str) -> None:
    assert public_message(message, Path("/srv/data")) == public


def test_a_data_directory_is_known_however_it_was_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "link").symlink_to("data")
    for named in (Path("link"), tmp_path / "link"):
        for spelling in (named, tmp_path / "link", tmp_path / "data"):
            assert public_message(f"{spelling}/work.db: is locked", named) == "work.db: is locked"
    assert public_message("./rows.jsonl: is empty", Path()) == "./rows.jsonl: is empty"
