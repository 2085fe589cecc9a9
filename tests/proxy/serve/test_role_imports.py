"""Each process loads what it needs: memory and start time are paid once for each of them."""

import json
import subprocess
import sys

import pytest

from proxy.declaration import Secret
from proxy.settings import ServeSettings
from proxy.settings_json import to_json

_SCRIPT = """
import importlib, json, sys
if sys.argv[1].startswith("proxy."):
    import proxy.serve.process
importlib.import_module(sys.argv[1])
from proxy.settings import ServeSettings
from proxy.settings_json import from_json
settings = from_json(ServeSettings, json.loads(sys.stdin.readline()))
if sys.argv[1] == "proxy.serve.worker":
    settings.route_table()
print(json.dumps(sorted(sys.modules)))
"""
CHECKING = ("pydantic", "pydantic_core", "pydantic_settings", "yaml")
WEB = ("starlette", "uvicorn")
COMMANDS = ("typer", "rich", "click")
CLIENT = ("httpx2", "email", "importlib.metadata")


def loaded(module: str) -> set[str]:
    """Tell what a process holds that got its settings and is about to serve."""
    settings = ServeSettings(upstream="http://127.0.0.1:9/v1", admin_token=Secret("a-token-of-the-admin"))
    told = json.dumps(to_json(settings, in_the_clear=True)) + "\n"
    command = [sys.executable, "-c", _SCRIPT, module]
    done = subprocess.run(command, input=told, capture_output=True, text=True, timeout=30, check=True)
    return set(json.loads(done.stdout))


@pytest.mark.parametrize(
    ("module", "unused"),
    [
        ("proxy.serve.worker", (*CHECKING, *WEB, *COMMANDS, "sqlite3")),
        ("proxy.serve.ingest_process", (*CHECKING, *WEB, *COMMANDS, *CLIENT, "uvloop")),
        ("proxy.serve.otlp_process", (*CHECKING, *WEB, *COMMANDS)),
        ("tracemill.serving_process", (*CHECKING, *WEB, *COMMANDS, *CLIENT, "_ssl", "_hashlib", "uvloop", "sqlite3")),
        (
            "proxy.serve.admin_process",
            (*CHECKING, "typer", "rich", "httpx2", "uvloop", "brotli", "proxy.ingest.ingest"),
        ),
    ],
)
def test_a_process_does_not_load_what_it_never_uses(module: str, unused: tuple[str, ...]) -> None:
    assert loaded(module).isdisjoint(unused)
