"""The page of the Python client names what there is, and its examples run."""

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path

import tracemill
from proxy.admin.app import create_admin_app
from tests.proxy.admin.serving import listening, write
from tests.proxy.admin.test_api import CUT, WHOLE
from tests.tracemill.test_client import DECLARED, PROCEDURES

PAGE = (Path(__file__).parents[2] / "docs" / "client.md").read_text()


def test_the_page_names_every_method_and_every_error() -> None:
    methods, errors = PAGE.split("## Errors")
    assert set(re.findall(r"`(\w+)\(", methods.partition("| method |")[2])) == {*DECLARED, *PROCEDURES}
    kinds = {name for name in tracemill.__all__ if name.endswith("Error")}
    assert set(re.findall(r"`(\w+Error)`", errors)) == kinds


async def test_the_examples_run(tmp_path: Path) -> None:
    await write(tmp_path, WHOLE, CUT)
    examples = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert len(examples) == 2
    async with listening(create_admin_app(tmp_path)) as port:
        for example in examples:
            code = example.replace("gpt-*", "m-*").replace("has_tool_calls", "complete")
            code = code.replace("Client()", f'Client("http://127.0.0.1:{port}")').replace("8081", str(port))
            done = await asyncio.to_thread(
                subprocess.run,
                [sys.executable, "-c", code],
                capture_output=True,
                text=True,
                env=os.environ,
                check=False,
            )
            assert (done.returncode, done.stderr) == (0, "")
            assert "client_disconnect" in done.stdout or "parallel_tool_calls" in done.stdout
