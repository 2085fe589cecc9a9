from pathlib import Path
from typing import Any

import pytest

from processing import config_file
from processing.config import WITHOUT_EFFECT, Config
from processing.errors import InputError


def parse(raw: object) -> Config:
    return config_file.parse(raw, source="config.yaml")


def message(raw: object) -> str:
    with pytest.raises(InputError) as caught:
        parse(raw)
    return str(caught.value)


def test_the_seeds_example_takes_every_documented_default(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(
        "base:\n  task: classification\n  student_model_name: Llama-3.2-3B-Instruct\n\n"
        "trace_processing:\n  observation_format: openai_messages\n  convert_to_single_turn: true\n  relabel: true\n"
    )
    found = config_file.load(path)
    processing = found.trace_processing
    assert found.base.student_model_name == "Llama-3.2-3B-Instruct"
    assert (processing.min_relevance_score, processing.min_coherence_score) == (4, 3)
    assert (processing.num_traces_as_training_base, processing.num_traces_as_testing_base) == (200, 200)
    assert (processing.min_generated_examples, processing.relevance_filtering_batch_size) == (20, 32)
    assert found.committee == (
        "zai.glm-5",
        "Qwen3-235B-A22B-Instruct-2507",
        "openai.gpt-oss-120b-thinking",
        "deepseek.v3.2",
    )
    assert found.is_single_turn
    assert found.base.llm_num_parallel_requests == 4


def test_a_json_file_reads_like_the_yaml_one(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text('{"base": {"task": "chat-completion", "random_seed": null}}')
    assert config_file.load(path).seed == "None"


def test_an_unknown_key_is_an_error_that_names_the_nearest() -> None:
    text = message({"base": {"task": "chat-completion"}, "trace_processing": {"relabell": True}})
    assert text == 'config.yaml: trace_processing.relabell is not a known key; did you mean "relabel".'


def test_an_unknown_section_is_an_error_too() -> None:
    assert 'did you mean "trace_processing"' in message({"base": {"task": "chat-completion"}, "trace_procesing": {}})


def test_a_wrong_value_names_what_is_allowed() -> None:
    text = message({"base": {"task": "chat-completion"}, "trace_processing": {"observation_format": "langfuze"}})
    assert text.startswith('config.yaml: trace_processing.observation_format is "langfuze"; expected one of "openai_me')
    text = message({"base": {"task": "chat-completion"}, "trace_processing": {"relabel": "yes"}})
    assert text == 'config.yaml: trace_processing.relabel is "yes"; expected true or false.'
    text = message({"base": {"task": "chat-completion"}, "trace_processing": {"min_relevance_score": 6}})
    assert text == "config.yaml: trace_processing.min_relevance_score is 6; expected less than or equal to 5."


def test_the_task_is_required_and_says_what_it_may_be() -> None:
    assert 'base.task is missing. Expected one of "question-answering"' in message({"base": {}})


def test_open_book_is_refused_with_the_reason() -> None:
    assert "nothing in a trace tells the context" in message({"base": {"task": "question-answering-open-book"}})


def test_single_turn_is_off_by_default_for_multi_turn_tasks() -> None:
    raw = {"base": {"task": "multi-turn-tool-calling-closed-book"}}
    assert not parse(raw).is_single_turn
    assert parse({**raw, "trace_processing": {"convert_to_single_turn": True}}).is_single_turn


def test_the_earliest_name_of_single_turn_is_an_alias() -> None:
    raw = {"base": {"task": "chat-completion"}, "trace_processing": {"expand_multiturn_conversations": False}}
    assert not parse(raw).is_single_turn


def test_training_keys_are_accepted_and_listed_as_not_used() -> None:
    found = parse(
        {
            "base": {"task": "chat-completion"},
            "tuning": {"num_train_epochs": 4, "rlvr_dataset_size": 2},
            "evaluation": {"num_few_shot_examples": 1},
            "synthgen": {"generation_target": 10_000},
        }
    )
    assert found.not_used == {
        "tuning.num_train_epochs": 4,
        "tuning.rlvr_dataset_size": 2,
        "evaluation.num_few_shot_examples": 1,
        "synthgen.generation_target": 10_000,
    }


def test_a_file_that_is_not_yaml_is_named(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("base: [")
    with pytest.raises(InputError, match=r"config\.yaml: is not YAML"):
        config_file.load(path)


def test_a_model_entry_takes_prices_and_checks_its_keys() -> None:
    raw = {"base": {"task": "chat-completion"}, "models": {"m": {"base_url": "http://x/v1", "pric": {}}}}
    assert 'models.m.pric is not a known key; did you mean "price"' in message(raw)


@pytest.mark.parametrize(
    ("section", "says"),
    [
        ({"trace_processing": {"relabelling_committee_models": ["a", "b", "a"]}}, 'names "a" twice'),
        ({"trace_processing": {"teacher_model_name": ""}}, "teacher_model_name"),
        ({"models": {"m": {"extra_body": {"stream": True}}}}, "extra_body sets stream, which Tracemill fills itself"),
        ({"not_used": {"a": 1}}, "not_used is not a known key"),
        ({"trace_processing": {"relabel": "x" * 5_000}}, "…; expected true or false"),
    ],
)
def test_what_would_spoil_a_run_later_is_said_at_once(section: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says) as caught:
        config_file.parse({"base": {"task": "chat-completion"}, **section}, source="config.yaml")
    assert len(str(caught.value)) < 400


def test_keys_that_change_nothing_today_are_named_when_they_are_given() -> None:
    given = {"base": {"task": "chat-completion", "teacher_model_name": "big", "student_model_name": "small"}}
    assert parse({**given, "tuning": {"epochs": 3}}).ineffective == ["base.teacher_model_name", "tuning.epochs"]
    assert parse({"base": {"task": "chat-completion"}}).ineffective == []
    for name in WITHOUT_EFFECT:
        section, _, key = name.partition(".")
        assert key in type(getattr(parse(given), section)).model_fields
