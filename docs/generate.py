"""Write the reference pages that are made from the code; `make docs` runs it, a test compares."""

from pathlib import Path
from typing import Any

from pydantic_core import PydanticUndefined

from proxy.settings import ENV_PREFIX, MIB, ServeSettings

DOCS = Path(__file__).parent
SETTINGS_HEAD = """# Settings of `tracemill serve`

Made by `make docs` from `proxy/settings.py`; change it there. A setting can be given as a flag where the table names
one, as an environment variable, or as a key of a YAML file (`--config FILE`, or `tracemill.yaml` in the current
folder). Flags win over the environment, the environment over the file, the file over the defaults. An unknown key in
the file is an error at start.

| key | flag | environment | default | meaning |
|---|---|---|---|---|
"""
FLAGS = {"drain_timeout_s": "--drain-timeout"}
WITHOUT_FLAG = {"admin_token", "max_capture_bytes", "max_pending_bytes", "max_journal_bytes"}


def settings_page() -> str:
    """Return the page of all settings."""
    rows = [_row(name, field) for name, field in ServeSettings.model_fields.items()]
    return SETTINGS_HEAD + "".join(rows)


def _row(name: str, field: Any) -> str:  # noqa: ANN401 - pydantic's own type of a field
    flag = "" if name in WITHOUT_FLAG else f"`{FLAGS.get(name, '--' + name.replace('_', '-'))}`"
    cells = (f"`{name}`", flag, f"`{ENV_PREFIX}{name.upper()}`", _default(name, field.default), field.description)
    return f"| {' | '.join(cells)} |\n"


def _default(name: str, value: object) -> str:
    if value is PydanticUndefined:
        return "required"
    if value is None:
        return "none"
    if name.endswith("_bytes") and isinstance(value, int):
        return f"{value // MIB} MiB"
    return f"`{value}`"


if __name__ == "__main__":
    (DOCS / "settings.md").write_text(settings_page())
