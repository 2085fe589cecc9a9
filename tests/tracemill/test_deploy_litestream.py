"""Replicating with Litestream: the shape of the files under deploy/, and that its presence disturbs nothing."""

import configparser
import re
import shlex
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml

from store import trace_writer
from store.backup import copy_database
from store.data_files import TRACES_FILE, WORK_FILE
from store.database import TRACES
from store.database_check import check_database, view
from store.sqlite_version import has_wal_reset_bug
from store.traces import TraceReader, TraceWriter
from store.verify import verify
from tests.store.traces import make_trace

DEPLOY = Path(__file__).parents[2] / "deploy"
SQLITE_DEFAULT_PAGES = 1000


@pytest.fixture
def config() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((DEPLOY / "litestream.yml").read_text())
    return found


def test_both_databases_are_sent_each_to_a_place_of_its_own(config: dict[str, Any]) -> None:
    """From 0.5 on a database has one `replica`; a list of `replicas` is of the versions before."""
    places = {Path(database["path"]).name: database["replica"]["url"] for database in config["dbs"]}
    assert places == {
        TRACES_FILE: "${LITESTREAM_URL}/traces.db",
        WORK_FILE: "${LITESTREAM_URL}/work.db",
    }
    assert {str(Path(database["path"]).parent) for database in config["dbs"]} == {"${TRACEMILL_DATA_DIR}"}
    assert not any("replicas" in database for database in config["dbs"])


def test_litestream_empties_the_logs_before_a_writer_of_ours_does(config: dict[str, Any]) -> None:
    own = int(re.findall(r"wal_autocheckpoint = (\d+)", " ".join(trace_writer._TUNING))[0])
    bounds = {TRACES_FILE: own, WORK_FILE: SQLITE_DEFAULT_PAGES}
    for database in config["dbs"]:
        assert database["min-checkpoint-page-count"] <= bounds[Path(database["path"]).name] / 2


def test_old_snapshots_go(config: dict[str, Any]) -> None:
    hours = {name: int(config["snapshot"][name].removesuffix("h")) for name in ("interval", "retention")}
    assert 0 < hours["interval"] < hours["retention"] <= 24 * 30


def test_the_unit_is_of_the_same_account_and_refuses_a_sqlite_with_the_bug() -> None:
    unit, beside = (configparser.RawConfigParser(strict=False) for _ in range(2))
    for parser, name in ((unit, "litestream-tracemill.service"), (beside, "tracemill.service")):
        parser.optionxform = str  # type: ignore[assignment, method-assign]
        parser.read(DEPLOY / name)
    assert unit["Service"]["DynamicUser"] == beside["Service"]["DynamicUser"] == "yes"
    assert unit["Service"]["StateDirectory"] == beside["Service"]["StateDirectory"] == unit["Service"]["User"]
    assert unit["Service"]["UMask"] == "0077"
    program, *arguments = shlex.split(unit["Service"]["ExecStartPre"])
    assert program == "/opt/tracemill/bin/python"
    done = subprocess.run([sys.executable, *arguments], check=False)
    assert (done.returncode != 0) == has_wal_reset_bug()


def test_the_addition_to_compose_reads_the_same_volume_as_the_same_account() -> None:
    compose, more = (
        yaml.safe_load((DEPLOY / name).read_text()) for name in ("compose.yaml", "compose.litestream.yaml")
    )
    service = more["services"]["litestream"]
    assert service["volumes"] == [
        *compose["services"]["tracemill"]["volumes"],
        "./litestream.yml:/etc/litestream.yml:ro",
    ]
    dockerfile = (DEPLOY / "Dockerfile").read_text()
    assert f"USER {service['user']}" in dockerfile
    assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"])
    assert "LITESTREAM_URL" in service["environment"]


async def test_the_tables_that_litestream_makes_disturb_nothing(tmp_path: Path) -> None:
    path = tmp_path / "traces.db"
    async with await TraceWriter.open(path) as writer:
        await writer.write([make_trace(1)])
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE _litestream_seq (id INTEGER PRIMARY KEY, seq INTEGER)")
        database.execute("CREATE TABLE _litestream_lock (id INTEGER)")
        database.execute("INSERT INTO _litestream_seq VALUES (1, 1)")
        database.commit()
    async with await TraceWriter.open(path) as writer, await TraceReader.open(path) as reader:
        await writer.write([make_trace(2)])
        assert (await reader.counts()).traces == 2
    assert [found.kind.name for found in check_database(path, TRACES, is_thorough=True)] == ["database"]
    done = view(path, lambda connection: verify(connection, lambda _done, _total: None))
    assert [found.kind.name for found in done.findings()] == ["verified"]
    copied = copy_database(path, tmp_path / "copy.db", TRACES, lambda _done, _total: None)
    assert (copied.rows["traces"], copied.rows["_litestream_seq"]) == (2, 1)


async def test_a_writer_goes_on_and_closes_while_somebody_holds_its_log(tmp_path: Path) -> None:
    """As Litestream does, so that nobody empties a log before it was sent."""
    path = tmp_path / "traces.db"
    async with await TraceWriter.open(path) as writer:
        await writer.write([make_trace(1)])
        with closing(sqlite3.connect(path, isolation_level=None)) as holder:
            holder.execute("BEGIN")
            holder.execute("SELECT count(*) FROM traces").fetchone()
            for number in range(2, 40):
                await writer.write([make_trace(number)])
            await writer.close()
            assert path.with_name(path.name + "-wal").stat().st_size > 0
    async with await TraceReader.open(path) as reader:
        assert (await reader.counts()).traces == 39
