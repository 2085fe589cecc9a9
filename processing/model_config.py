"""The configuration of commands that only ask models: where each is asked, and how many questions at once."""

from collections.abc import Mapping
from pathlib import Path

from processing.config import Config
from processing.config_file import parse
from processing.errors import InputError
from processing.plain_value import read_json, read_yaml

_ANY_TASK = "chat-completion"
_PARALLEL = "llm_num_parallel_requests"
_SEED = "random_seed"


def load_models(path: Path | None, *sections: str) -> Config:
    """Read `models` and `base.llm_num_parallel_requests` of a configuration file; a run's own file will do.

    Without a file every model is asked at TRACEMILL_TEACHER_BASE_URL under its own name. What else the file says has no
    effect.

    Args:
        path: The file.
        sections: Sections of the file that count too; with any, so does `base.random_seed`.

    Raises:
        InputError: The file cannot be read, is no mapping, or one of the two is wrong.
    """
    raw: object = {}
    if path is not None:
        raw = read_json(path) if path.suffix == ".json" else read_yaml(path)
    source = "" if path is None else path.name
    if not isinstance(raw, Mapping):
        raise InputError(source, 'is empty or not a mapping; it needs at least "models: {…}".')
    base = raw.get("base")
    wanted = (_PARALLEL, *((_SEED,) if sections else ()))
    given = {name: base[name] for name in wanted if name in base} if isinstance(base, Mapping) else {}
    counting = {name: raw[name] for name in ("models", *sections) if raw.get(name) is not None}
    return parse({"base": {"task": _ANY_TASK, **given}, **counting}, source=source)
