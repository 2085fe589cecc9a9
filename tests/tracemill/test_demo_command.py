import os
import signal
import subprocess
import sys
from pathlib import Path

TRACEMILL = Path(sys.executable).with_name("tracemill")


def test_without_the_openai_package_the_demo_says_how_to_install_it(tmp_path: Path) -> None:
    program = (
        "import sys; sys.modules['openai'] = None; sys.argv[1:] = ['demo']; import tracemill.cli; tracemill.cli.main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, timeout=20, check=False
    )
    assert done.returncode == 1
    assert "pip install 'tracemill[demo]'" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_taken_port_is_told_and_nothing_is_left_running(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "http.server", "0", "--bind", "127.0.0.1"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    ) as other:
        assert other.stdout is not None
        port = other.stdout.readline().split(" port ")[1].split()[0]
        command = [TRACEMILL, "demo", "--data-dir", "demo", "--port", port]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=40, check=False)
        other.terminate()
    assert done.returncode == 1
    assert port in done.stderr
    assert "Traceback" not in done.stderr
    assert running_below(tmp_path) == []


def test_a_stop_in_the_middle_ends_every_child(tmp_path: Path) -> None:
    command = [TRACEMILL, "demo", "--data-dir", "demo"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, cwd=tmp_path, env={**os.environ, "PYTHONUNBUFFERED": "1"}
    ) as demo:
        assert demo.stdout is not None
        assert any(line.startswith("2.") for line in demo.stdout)
        assert running_below(tmp_path)
        demo.send_signal(signal.SIGTERM)
        demo.stdout.read()
        assert demo.wait(40) == 128 + signal.SIGTERM
    assert running_below(tmp_path) == []


def running_below(folder: Path) -> list[str]:
    """Give the command lines of this machine's processes that name the folder or work in it."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            at = (process / "cwd").readlink()
        except OSError:
            continue
        if int(process.name) != os.getpid() and (str(folder) in command or at.is_relative_to(folder)):
            found.append(command)
    return found
