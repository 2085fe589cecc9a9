"""The page of the configuration of a run."""

import inspect
import json
import re
from typing import Any

from pydantic import BaseModel

from docs.reference.table import table
from docs.reference.values import values
from processing.config import WITHOUT_EFFECT, Config, Model, Price

HEAD = """# The configuration of a run

Made by `make docs` from `processing/config.py`; change it there. `tracemill process` takes it as `config.yaml`,
`config.yml` or `config.json`. Only `base.task` is required. An unknown key is an error that names the nearest known
one, and so is a key that stands twice. Keys that only concern training (`tuning`, `rlvr_…`, the generator's settings of
`synthgen`, `evaluation.num_few_shot_examples` and `evaluation.batch_size`) are accepted, kept in the manifest and named
in the report as having no effect here. [processing.md](processing.md) shows a whole run.
"""


def config_page() -> str:
    """Return the page of all keys of a run's configuration."""
    fields = {name: field for name, field in Config.model_fields.items() if name not in ("models", "not_used")}
    sections = {name: field.annotation for name, field in fields.items() if _is_section(field)}
    parts = [_section(name, model) for name, model in sections.items()]
    alone = {name: field for name, field in fields.items() if name not in sections}
    parts.append("\n## Keys without a section\n\n" + _keys("", Config, alone))
    parts.append(_section("models.NAME", Model))
    parts.append(_section("models.NAME.price", Price))
    return HEAD + "".join(parts)


def _is_section(field: Any) -> bool:  # noqa: ANN401 - pydantic's own type of a field
    return isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)


def _section(name: str, model: Any) -> str:  # noqa: ANN401 - a section of the configuration
    told = (inspect.getdoc(model) or "").splitlines()[0]
    return f"\n## {name}\n\n{told}\n\n" + _keys(f"{name}.", model, model.model_fields)


def _keys(prefix: str, model: Any, fields: Any) -> str:  # noqa: ANN401
    meanings = _attributes(model)
    schema = model.model_json_schema()
    rows = [
        (f"`{key}`", values(_resolved(schema, key)), _default(field), effect, meanings[key])
        for key, field in fields.items()
        for effect in [WITHOUT_EFFECT.get(f"{prefix}{key}", "yes")]
    ]
    return table(("key", "values", "default", "effect today", "meaning"), rows)


def _resolved(schema: Any, key: str) -> Any:  # noqa: ANN401 - pieces of a JSON Schema
    """Give a property, and of one that only names a definition that definition."""
    found = schema["properties"][key]
    return schema["$defs"][found["$ref"].rpartition("/")[2]] if "$ref" in found else found


def _attributes(model: Any) -> dict[str, str]:  # noqa: ANN401
    """What a docstring says under `Attributes:`, by name."""
    found: dict[str, str] = {}
    name = ""
    for line in (inspect.getdoc(model) or "").partition("Attributes:\n")[2].splitlines():
        start = re.match(r"    (\w+): (.*)", line)
        if start:
            name = start[1]
        found[name] = f"{found.get(name, '')} {start[2] if start else line.strip()}".strip()
    return found


def _default(field: Any) -> str:  # noqa: ANN401
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    return ", ".join(f"`{one}`" for one in value) if isinstance(value, tuple) else f"`{json.dumps(value)}`"
