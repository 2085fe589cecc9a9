"""The files that some targets want beside the rows."""

import json
from collections.abc import Mapping
from typing import Final

import yaml

from processing.exports.format import Companion
from store.recorded.message import Json

_NO_TASK_HERE: Final = ("models", "not_used")
_BASE_TASKS: Final = {True: "tool-calling-closed-book", False: "question-answering"}


def llama_factory(companion: Companion) -> dict[str, bytes]:
    """Make `dataset_info.json`, which names each file and its columns."""
    columns = {"messages": "conversations", "system": "system", "tools": "tools"}
    if companion.has_images:
        columns["images"] = "images"
    entries = {
        _entry_name(companion, part): {"file_name": file, "formatting": "sharegpt", "columns": columns}
        for part, file in companion.parts.items()
    }
    return {"dataset_info.json": _pretty(entries)}


def axolotl(companion: Companion) -> dict[str, bytes]:
    """Make the part of a configuration that names the data and says which messages are learned."""
    shared = {
        "ds_type": "json",
        "type": "chat_template",
        "field_messages": "messages",
        "field_tools": "tools",
        "roles_to_train": [],
        "message_field_training": "train",
        "train_on_eos": "turn",
    }
    wanted: dict[str, Json] = {}
    if "train" in companion.parts:
        wanted["datasets"] = [{"path": companion.parts["train"], **shared}]
    if "test" in companion.parts:
        wanted["test_datasets"] = [{"path": companion.parts["test"], "split": "train", **shared}]
    return {"axolotl.yaml": yaml.safe_dump(wanted, sort_keys=False, allow_unicode=False).encode()}


def distil(companion: Companion) -> dict[str, bytes]:
    """Make the job description and the configuration of an upload directory.

    The traces beside them are in OpenAI's form, whatever the version was made from; the rest of the configuration
    stands as it was. Where none is known it names the task alone.
    """
    if companion.job_description is None:
        return {}
    described = {name: value for name, value in companion.job_description.items() if value is not None}
    config: dict[str, Json] = {"base": {"task": _BASE_TASKS[companion.has_tools]}}
    if companion.config is not None:
        config = {name: value for name, value in companion.config.items() if name not in _NO_TASK_HERE}
        models = companion.config.get("models")
        if isinstance(models, Mapping):
            config["models"] = {name: _without_nulls(model) for name, model in models.items()}
    processing = config.get("trace_processing")
    config["trace_processing"] = {
        **(processing if isinstance(processing, Mapping) else {}),
        "observation_format": "openai_messages",
    }
    return {
        "job_description.json": _pretty(described),
        "config.yaml": yaml.safe_dump(config, sort_keys=False, allow_unicode=False).encode(),
    }


def _without_nulls(model: Json) -> Json:
    if not isinstance(model, Mapping):
        return model
    return {name: value for name, value in model.items() if value is not None}


def _entry_name(companion: Companion, part: str) -> str:
    return f"{companion.label}-{part}"


def _pretty(value: Mapping[str, Json]) -> bytes:
    return json.dumps(value, indent=2).encode() + b"\n"
