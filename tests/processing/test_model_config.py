import json
from pathlib import Path

import pytest

from processing.errors import InputError
from processing.model_config import load_models


def test_models_and_how_many_at_once_count_and_nothing_else_does(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(
        "base: {task: no-such-task, llm_num_parallel_requests: 9}\nmodels: {m: {base_url: 'http://x/v1'}}\nother: 1\n"
    )
    config = load_models(path)
    assert config.lanes == 9
    assert config.models["m"].base_url == "http://x/v1"


def test_without_a_file_no_model_is_configured() -> None:
    assert load_models(None).models == {}
    assert load_models(None).lanes == 4


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"models": {"m": {"base_ur": "x"}}}', "models.m.base_ur is not a known key"),
        ('{"base": {"llm_num_parallel_requests": 0}}', "llm_num_parallel_requests"),
        ("[]", "not a mapping"),
    ],
)
def test_what_is_wrong_in_them_is_said(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "c.json"
    path.write_text(json.dumps(json.loads(text)))
    with pytest.raises(InputError, match=problem):
        load_models(path)
