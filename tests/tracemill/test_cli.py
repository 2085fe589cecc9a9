import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

from tracemill.cli import app, load_all

HEAVY = ("uvicorn", "starlette", "httpx2", "pydantic_settings", "aiosqlite", "processing", "proxy", "tracemill.demo")


def loaded_by(*arguments: str) -> set[str]:
    """The modules a process has loaded when the command line ends."""
    script = f"""
import sys
from tracemill.cli import main
sys.argv = ["tracemill", *{list(arguments)!r}]
try:
    main()
except SystemExit as end:
    assert end.code in (0, None), end.code
print("\\n" + " ".join(sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize("argument", ["--help", "--version"])
def test_the_overview_waits_for_no_room_of_the_house(argument: str) -> None:
    assert loaded_by(argument) & set(HEAVY) == set()


def test_looking_at_traces_waits_neither_for_the_server_nor_for_the_processing() -> None:
    assert loaded_by("traces", "list", "--help") & set(HEAVY) == {"aiosqlite"}


def test_the_overview_says_of_each_command_what_the_command_says() -> None:
    overview = typer.main.get_command(app)
    loaded = load_all().commands
    assert set(loaded) == set(getattr(overview, "commands", {}))
    for name, stub in getattr(overview, "commands", {}).items():
        assert (loaded[name].help or "").startswith(stub.help), name


def test_the_version_is_told() -> None:
    result = CliRunner().invoke(app, ["--version"])
    assert (result.exit_code, result.output.split()[0]) == (0, "tracemill")
    assert result.output.split()[1][0].isdigit()


def test_an_unknown_command_is_a_usage_error_with_the_nearest_one() -> None:
    result = CliRunner().invoke(app, ["expot"])
    assert result.exit_code == 2
    assert "'export'" in result.output


def test_no_group_of_commands_offers_to_install_anything() -> None:
    for name, command in load_all().commands.items():
        options = {option for parameter in command.params for option in parameter.opts}
        assert not options & {"--install-completion", "--show-completion"}, name
