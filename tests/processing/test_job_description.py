import json
from pathlib import Path

import pytest

from processing import job_description
from processing.errors import InputError

WEATHER = {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}}


def message(raw: object, task: str = "chat-completion") -> str:
    with pytest.raises(InputError) as caught:
        job_description.parse(raw, task=task, source="job_description.json")
    return str(caught.value)


def test_the_seeds_banking_description_is_read(tmp_path: Path) -> None:
    path = tmp_path / "job_description.json"
    path.write_text(json.dumps({"task_description": "You are a helpful banking assistant."}))
    found = job_description.load(path, task="chat-completion")
    assert found.as_text() == "You are a helpful banking assistant."


def test_unknown_fields_are_named() -> None:
    text = message({"task_description": "x", "task": 1, "classes": {}})
    assert text.startswith("job_description.json: has unknown fields classes, task; known are classes_description")


def test_a_missing_description_is_an_error() -> None:
    assert "task_description" in message({})
    assert "task_description" in message([])


def test_classification_needs_its_classes() -> None:
    assert "classes_description is missing" in message({"task_description": "x"}, task="classification")


def test_tools_have_unique_names_and_real_schemas() -> None:
    assert 'two tools named "get_weather"' in message({"task_description": "x", "tools": [WEATHER, WEATHER]})
    broken = {"type": "function", "function": {"name": "a", "parameters": {"type": 3}}}
    assert "parameters is not a JSON Schema" in message({"task_description": "x", "tools": [broken]})
    assert "empty list" in message({"task_description": "x", "tools": []})
    assert "tools.0 has no name" in message({"task_description": "x", "tools": [{}]})


def test_a_broken_file_is_an_input_error(tmp_path: Path) -> None:
    path = tmp_path / "job_description.json"
    path.write_text("{")
    with pytest.raises(InputError, match="is not JSON"):
        job_description.load(path, task="chat-completion")
