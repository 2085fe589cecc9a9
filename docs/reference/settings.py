"""The page of the settings of `tracemill serve`, its routes and its prices."""

import dataclasses
import json
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

from pydantic import TypeAdapter

from docs.reference.table import table
from docs.reference.values import values
from proxy.calls.route_config import RouteConfig
from proxy.price_config import PriceEntry
from proxy.settings import ENV_PREFIX, KIB, MIB, ServeSettings
from store.price import KINDS as PRICE_KINDS
from tracemill.serve_command import WITHOUT_FLAG, flag_of

HEAD = """# Settings of `tracemill serve`

Made by `make docs` from `proxy/settings.py`; change it there. A setting can be given as a flag where the table names
one, as an environment variable, or as a key of a YAML file (`--config FILE`, or `tracemill.yaml` in the current
folder). Flags win over the environment, the environment over the file, the file over the defaults. An unknown key in
the file is an error at start.

"""
ROUTES = """
## A route

Each entry of `routes` has these keys; [routes.md](routes.md) shows them at work.

"""
PRICES = """
## A price

Each entry of `prices` has these keys; [cost.md](cost.md) shows them at work. It needs `input` and `output`, or a
`provider`.

"""


def settings_page() -> str:
    """Return the page of all settings."""
    keys = ("key", "values", "default", "meaning")
    return "".join(
        [
            HEAD,
            table(("key", "flag", "environment", "default", "meaning"), map(_setting, fields(ServeSettings))),
            ROUTES,
            table(keys, _route_keys()),
            PRICES,
            table(keys, map(_price_key, fields(PriceEntry))),
        ]
    )


def _setting(field: dataclasses.Field[Any]) -> tuple[str, ...]:
    name = field.name
    flag = "" if name in WITHOUT_FLAG else f"`{flag_of(name)}`"
    return f"`{name}`", flag, f"`{ENV_PREFIX}{name.upper()}`", _setting_default(name, field.default), _meaning(field)


def _setting_default(name: str, value: object) -> str:
    if value is None or value == ():
        return "none"
    if name.endswith("_bytes") and isinstance(value, int):
        return f"{value // MIB} MiB" if value >= MIB else f"{value // KIB} KiB"
    return f"`{value}`"


def _route_keys() -> Iterator[tuple[str, ...]]:
    schemas = TypeAdapter(RouteConfig).json_schema()
    for field, schema in zip(fields(RouteConfig), schemas["properties"].values(), strict=True):
        yield f"`{field.name}`", _route_values(schema, schemas), _route_default(field), _meaning(field)


def _route_values(schema: Any, schemas: Any) -> str:  # noqa: ANN401 - a piece of a JSON Schema
    if "$ref" in schema:
        schema = schemas["$defs"][schema["$ref"].rpartition("/")[2]]
    if "anyOf" in schema:
        schema = next(one for one in schema["anyOf"] if one.get("type") != "null")
    return "mapping of text" if schema.get("type") == "object" else values(schema).replace("list of names", "list")


def _route_default(field: dataclasses.Field[Any]) -> str:
    if field.default_factory is not dataclasses.MISSING:
        return "none"
    if field.default is dataclasses.MISSING:
        return "required"
    value = field.default
    return "none" if value in (None, (), {}) else f"`{json.dumps(value)}`".replace('"', "")


def _price_key(field: dataclasses.Field[Any]) -> tuple[str, ...]:
    kind = "dollars" if field.name in PRICE_KINDS else "day" if field.name == "starts_on" else "text"
    held = "`flex`, `priority`, `batch`" if field.name == "tier" else kind
    default = "none" if field.default is None else f"`{field.default}`"
    return f"`{field.name}`", held, default, _meaning(field)


def _meaning(field: dataclasses.Field[Any]) -> str:
    return str(field.metadata["description"])
