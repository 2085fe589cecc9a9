"""Imported calls, through the front door: beside a running server, and all the way into conversations."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from processing.sources import from_store, read_traces
from proxy.ingest.import_writing import ImportWriting
from proxy.serve.ingest_process import ingest_as_served
from store.recorded.import_reading import ImportReader
from store.trace import Trace
from store.traces import TraceReader
from tests.server import Server
from tests.upstream import Answer, ReceivedCall, ScriptedUpstream, plain

SEEDS = Path(__file__).parents[1] / "processing" / "data" / "seeds"


def nothing(_call: ReceivedCall) -> Answer:
    return plain(b"{}")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with ScriptedUpstream(nothing) as upstream, Server(upstream.base_url, tmp_path / "data") as running:
        yield running


def test_an_import_beside_a_running_server_is_found_on_its_admin_side(server: Server, tmp_path: Path) -> None:
    files = [str(SEEDS / "langfuse.jsonl"), str(SEEDS / "banking.jsonl")]
    options = ["--data-dir", str(tmp_path / "data"), "--tag", "from=seeds", "--json"]
    command = [sys.executable, "-m", "tracemill.cli", "import", *files, *options]
    done = subprocess.run(command, capture_output=True, check=True, cwd=tmp_path)
    assert json.loads(done.stdout)["stored"] == 3
    found = server.admin("/admin/api/traces?where=tag.from%20%3D%20seeds%20and%20route%20%3D%20import")["data"]
    assert {summary["upstream"] for summary in found} == {"langfuse", "openai_messages"}
    (change,) = server.admin("/admin/api/changes?kind=import")["data"]
    assert (change["result"]["stored"], change["result"]["records"]) == (3, 3)


@pytest.mark.parametrize("name", ["banking", "weather", "langfuse"])
async def test_a_file_imported_is_processed_as_the_file_itself_is(name: str, tmp_path: Path) -> None:
    path = SEEDS / f"{name}.jsonl"
    async with ImportWriting(tmp_path, asked_by=None, take_in=ingest_as_served) as writing:
        for read in ImportReader().read([path.read_bytes()], path.name):
            assert isinstance(read, Trace)
            await writing.add(read)
        await writing.finish(lambda _: {})
    async with await TraceReader.open(tmp_path / "traces.db") as reader:
        stored = await from_store(reader)
    direct = read_traces(path, "auto")
    assert [each.messages for each in stored.conversations] == [each.messages for each in direct.conversations]
    assert [each.id for each in stored.conversations] == [each.id for each in direct.conversations]
