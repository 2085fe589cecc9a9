import os
import sys
from pathlib import Path

import pytest

from tracemill.demo.children import ChildError, run_task, serving

SERVER = "import sys, threading; print('ready: here', flush=True); threading.Event().wait()"


def test_a_server_lives_as_long_as_the_block_and_no_longer(tmp_path: Path) -> None:
    with serving("server", [sys.executable, "-c", SERVER], ready="ready: ", log=tmp_path / "log") as (child, said):
        assert said == "here"
        assert child.poll() is None
    assert child.returncode is not None
    with pytest.raises(ProcessLookupError):
        os.kill(child.pid, 0)


def test_an_error_in_the_block_ends_the_server_too(tmp_path: Path) -> None:
    children = []

    def fail() -> None:
        with serving("server", [sys.executable, "-c", SERVER], ready="ready: ", log=tmp_path / "log") as (child, _):
            children.append(child)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert children[0].returncode is not None


def test_a_server_that_ends_at_once_is_told_with_its_last_words(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import sys; sys.exit('port 80 is in use')"]
    with (
        pytest.raises(ChildError, match=r"(?s)server ended with status 1 .*port 80 is in use"),
        serving("server", command, ready="ready: ", log=tmp_path / "log"),
    ):
        pass


def test_a_server_that_stays_silent_is_given_up_and_ended(tmp_path: Path) -> None:
    silent = "import os, sys, threading; print(os.getpid(), file=sys.stderr, flush=True); threading.Event().wait()"
    with (
        pytest.raises(ChildError, match="not ready within 1 s"),
        serving("server", [sys.executable, "-c", silent], ready="ready: ", log=tmp_path / "log", deadline_s=0.9),
    ):
        pass
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "log").read_text()), 0)


def test_a_task_that_fails_says_where_its_messages_are(tmp_path: Path) -> None:
    log = tmp_path / "task.log"
    command = [sys.executable, "-c", "import os, sys; print(os.environ['FLAVOUR']); sys.exit(3)"]
    with pytest.raises(ChildError, match=r"(?s)task ended with status 3.*task\.log.*sour"):
        run_task("task", command, log=log, environment={**os.environ, "FLAVOUR": "sour"})
