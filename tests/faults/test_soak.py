"""The short form of `benchmarks/soak.py`; by hand it runs 100,000 calls beside 1,000 streams."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(
    shutil.which("cc") is None, reason="the upstream and the load generator are C: there is no compiler"
)
def test_nothing_grows_over_thousands_of_calls_beside_open_streams_and_nothing_is_left_when_the_clients_vanish() -> (
    None
):
    command = [sys.executable, "-m", "benchmarks.soak", "--calls", "5000", "--streams", "200", "--samples", "9"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert "ok  worker: memory grows" in said
    assert "wrong answers: none" in said
