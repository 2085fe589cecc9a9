"""Reads a configuration file and says what is wrong with it.

Keys that only concern training are accepted, carried into the manifest and listed as not used; any other unknown key is
an error, so that a misspelt key never works as if it had not been written.
"""

import difflib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from processing.config import Config, Model, ObservationFormat, Price, Task
from processing.errors import InputError
from processing.plain_value import read_json, read_yaml

_OPEN_BOOK = "question-answering-open-book"
_TRAINING_ONLY = {
    "evaluation": {"num_few_shot_examples", "batch_size"},
    "synthgen": {
        "basic_mutators_to_use",
        "data_generation_strategy",
        "generation_in_single_call",
        "generation_iteration_size",
        "generation_target",
        "match_generated_distribution_to_seed",
        "mutation_topics",
        "num_distractor_context_blocks",
        "num_negative_exemplars_per_generation",
        "num_positive_exemplars_per_generation",
        "num_unlabelled_exemplars_per_generation",
        "parse_num_iterations",
        "teacher_max_tokens",
        "teacher_temperature",
    },
}
_ALIASES = {("trace_processing", "expand_multiturn_conversations"): "convert_to_single_turn"}


def load(path: Path) -> Config:
    """Read a configuration file; the suffix decides between YAML and JSON.

    Raises:
        InputError: The file cannot be read, is not YAML or JSON, or holds an unknown key or a wrong value.
    """
    raw = read_json(path) if path.suffix == ".json" else read_yaml(path)
    return parse(raw, source=path.name)


def parse(raw: object, *, source: str) -> Config:
    """Check a configuration that is already a value; `source` names it in messages.

    Raises:
        InputError: An unknown key or a wrong value; the message names every one.
    """
    if not isinstance(raw, Mapping):
        raise InputError(source, 'is empty or not a mapping; it needs at least "base: {task: …}".')
    kept, not_used = _take_out_training_keys(raw)
    _refuse_open_book(kept, source)
    if "not_used" in kept:  # a field of the configuration that only we fill
        raise InputError(source, f"not_used is not a known key{_nearest(['not_used'])}.")
    try:
        return Config.model_validate({**kept, "not_used": not_used})
    except ValidationError as exc:
        raise InputError(source, " ".join(_sentence(error) for error in exc.errors())) from exc


def _take_out_training_keys(raw: Mapping[Any, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    kept: dict[str, Any] = {}
    not_used: dict[str, Any] = {}
    for section, value in raw.items():
        name = str(section)
        if name == "tuning" and isinstance(value, Mapping):
            not_used.update({f"tuning.{key}": item for key, item in value.items()})
        elif name.startswith("rlvr_") or name == "tuning":
            not_used[name] = value
        elif isinstance(value, Mapping):
            kept[name] = {}
            for raw_key, item in value.items():
                key = _ALIASES.get((name, str(raw_key)), str(raw_key))
                if key.startswith("rlvr_") or key in _TRAINING_ONLY.get(name, ()):
                    not_used[f"{name}.{key}"] = item
                else:
                    kept[name][key] = item
        else:
            # A section with nothing under it ("evaluation:") is null in YAML and means the defaults.
            kept[name] = {} if value is None else value
    return kept, not_used


def _refuse_open_book(raw: Mapping[str, Any], source: str) -> None:
    base = raw.get("base")
    if isinstance(base, Mapping) and base.get("task") == _OPEN_BOOK:
        raise InputError(
            source,
            f'base.task is "{_OPEN_BOOK}", which cannot be made from traces: nothing in a trace tells the context from '
            'the question. Use "question-answering-closed-book" or "question-answering".',
        )


_VALUE_CHARS = 100
_EXPECTED = {
    "bool_type": "true or false",
    "int_type": "a whole number",
    "float_type": "a number",
    "string_type": "text",
    "tuple_type": "a list of names",
    "dict_type": "a mapping",
    "model_type": "a mapping",
}


def _sentence(error: ErrorDetails) -> str:
    where = ".".join(str(part) for part in error["loc"])
    if error["type"] == "missing":
        choices = f" Expected one of {_quoted(get_args(Task))}." if where == "base.task" else ""
        return f"{where} is missing.{choices}"
    if error["type"] == "extra_forbidden":
        return f"{where} is not a known key{_nearest(error['loc'])}."
    if error["type"] == "value_error":  # ours; the value may be a URL with a password in it
        return f"{where} {error['msg'].removeprefix('Value error, ')}."
    value = json.dumps(error["input"], ensure_ascii=False, default=str)
    value = value if len(value) <= _VALUE_CHARS else f"{value[:_VALUE_CHARS]}…"
    if error["type"] == "literal_error":
        allowed = get_args(Task if where == "base.task" else ObservationFormat)
        return f"{where} is {value}; expected one of {_quoted(allowed)}."
    return f"{where} is {value}; expected {_EXPECTED.get(error['type'], _bound(error))}."


def _bound(error: ErrorDetails) -> str:
    return error["msg"].removeprefix("Input should be ")


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


def _nearest(loc: Sequence[int | str]) -> str:
    model: type[BaseModel] = Config
    if loc[0] == "models":
        model = Price if "price" in loc else Model
    elif len(loc) > 1:
        section = Config.model_fields[str(loc[0])].annotation
        model = section if isinstance(section, type) and issubclass(section, BaseModel) else Config
    names = [name for name in model.model_fields if name != "not_used"]
    close = difflib.get_close_matches(str(loc[-1]), names, n=1, cutoff=0.5)
    return f'; did you mean "{close[0]}"' if close else f"; known are {_quoted(names)}"
