"""The configuration of `tracemill generate`: the sections of a run's that say how models are asked and what is kept."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from processing.config import Config
from processing.config_file import parse
from processing.errors import InputError
from processing.plain_value import read_json, read_yaml
from processing.teachers import Teachers
from store.recorded.message import Json

_SECTIONS: Final = ("models", "synthgen", "with_trace", "extract_reasoning_content", "debug_override_save_all_traces")
_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "base": ("llm_num_parallel_requests", "random_seed"),
    "trace_processing": ("max_correction_steps", "max_restarts"),
}


def load_generate(path: Path | None) -> Config:
    """Read what counts here of a configuration file; a run's own file will do, and so does one without a task.

    Raises:
        InputError: The file cannot be read, is no mapping, or one of the values is wrong.
    """
    if path is None:
        raw: object = {}
    else:
        raw = read_json(path) if path.suffix == ".json" else read_yaml(path)
    source = "" if path is None else path.name
    if not isinstance(raw, Mapping):
        raise InputError(source, 'is empty or not a mapping; it needs at least "models: {…}".')
    kept: dict[str, Any] = {name: raw[name] for name in _SECTIONS if raw.get(name) is not None}
    for section, keys in _KEYS.items():
        found = raw.get(section)
        kept[section] = {key: found[key] for key in keys if key in found} if isinstance(found, Mapping) else {}
    # Any task will do: it decides nothing here.
    return parse({**kept, "base": {"task": "chat-completion", **kept["base"]}}, source=source)


def asked_with(teachers: Teachers, models: Sequence[str]) -> dict[str, Json]:
    """Give what of a configuration decides the rows, as `read_asked_with` reads it; without keys."""
    written = teachers.config.as_manifest()
    kept: dict[str, Json] = {name: written[name] for name in _SECTIONS}
    for section, keys in _KEYS.items():
        # How many are asked at once decides nothing, and does not stand there.
        kept[section] = {key: written[section][key] for key in keys if key in written[section]}
    return {**kept, "models": teachers.asked_at(models)}


def read_asked_with(written: Mapping[str, Json]) -> Config:
    """Read what a manifest says that models were asked with.

    Raises:
        InputError: It is no configuration.
    """
    base = {"task": "chat-completion", **(written.get("base") or {})}
    return parse({**written, "base": base}, source="manifest")
