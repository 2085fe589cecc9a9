"""What a proxy costs a call: ours with capture on and off, beside the direct call, nginx and other gateways.

    .venv/bin/python -m benchmarks.proxy [--rounds 3] [--seconds 3] [--targets direct,nginx,ours-on,...]
        [--litellm V/bin/python] [--opentracy V/bin/python] [--streams 1000] [--json FILE] [--profile FOLDER]

All targets run at once in front of one upstream and are measured in turn, round by round, so that the ratios hold when
the machine's speed drifts. Upstream and load generator are C and take a few microseconds a call; every answer is
checked. CPU is that of all processes of a target, from the first call until everything the calls left is done: ours is
charged until the last trace is in the database. A target that is not installed is named, with the way to get it.
"""

if __name__ == "proxy":
    # This folder is first on the path of a program in it, and there this file hides the package of the same name.
    raise ImportError(
        "this is the benchmark, not the package; run the programs of this folder as python -m benchmarks.NAME"
    )

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import phases, report
from benchmarks.native import Mock, compile_all, running_mock
from benchmarks.phases import Figures
from benchmarks.processes import tree
from benchmarks.targets import TARGETS, NotInstalledError, Surroundings


def start(names: list[str], around: Surroundings, stack: ExitStack) -> tuple[list[Figures], list[str]]:
    """Start the targets; return those that run, and a line for each that is not installed."""
    started, missing = [], []
    for name in names:
        try:
            started.append(Figures(stack.enter_context(TARGETS[name](around))))
        except NotInstalledError as error:
            missing.append(f"{name}: not installed: {error}")
    return started, missing


def measure(targets: list[Figures], mock: Mock, options: argparse.Namespace) -> None:
    """Run all phases over all targets; a target that has failed is left out from then on."""
    for each in targets:
        progress(f"warm-up, {each.target.name}")
        phases.warm_up(each, mock, options.seconds / 2)
    for number in range(options.rounds):
        # Every second round goes the other way, so that nobody is always measured after the same neighbour.
        order = targets if number % 2 == 0 else targets[::-1]
        for name in ("plain", "paced", "streams"):
            for each in order:
                if each.target.failure:
                    continue
                progress(f"round {number + 1}, {name}, {each.target.name}")
                if name == "plain":
                    phases.plain_answers(each, options.seconds)
                elif name == "paced":
                    phases.paced_answers(each, options.seconds)
                else:
                    phases.streams(each, mock, options.seconds)
    for each in targets:
        if options.streams and not each.target.failure:
            progress(f"{options.streams} slow streams, {each.target.name}")
            phases.hold(each, mock, options.streams)


def profile(ours: Figures, folder: Path, seconds: float) -> str:
    """Record where each of our processes spends its time under plain calls, as flame graphs; needs py-spy."""
    program = shutil.which("py-spy") or shutil.which("py-spy", path=str(Path(sys.executable).parent))
    if program is None:
        return "no profile: py-spy is not installed (pip install py-spy)"
    folder.mkdir(parents=True, exist_ok=True)
    recorders: list[subprocess.Popen[bytes]] = []
    for pid, role in tree(ours.target.pid).items():
        graph = str(folder / f"{role}-{pid}.svg")
        # Only what holds the interpreter counts, else the threads that wait would fill the picture.
        command = [program, "record", "--gil", "--pid", str(pid), "--duration", f"{seconds:g}", "--output", graph]
        recorders.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
    ours.target.caller.run("closed", connections=phases.CONNECTIONS, seconds=seconds)
    for recorder in recorders:
        recorder.wait(60)
    return f"profiles: {', '.join(str(path) for path in sorted(folder.glob('*.svg')))}"


def machine() -> str:
    """Return what the figures were taken on."""
    return (
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {os.cpu_count()} cores, Linux {platform.release()}, "
        f"Python {platform.python_version()}, load {os.getloadavg()[0]:.1f} before the start"
    )


def progress(what: str) -> None:
    """Say on standard error what is going on."""
    print(f"  {what}", file=sys.stderr, flush=True)


def read_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3, help="length of each phase of each target in each round")
    parser.add_argument("--targets", default=",".join(TARGETS), help="comma-separated (default: %(default)s)")
    parser.add_argument(
        "--streams", type=int, default=1000, help="slow streams held open at the end; 0 leaves them out"
    )
    parser.add_argument("--litellm", default=os.environ.get("BENCHMARK_LITELLM"), help="Python of its environment")
    parser.add_argument("--opentracy", default=os.environ.get("BENCHMARK_OPENTRACY"), help="Python of its environment")
    parser.add_argument("--json", type=Path, help="write every figure of every round here")
    parser.add_argument("--profile", type=Path, help="folder for flame graphs of our processes (needs py-spy)")
    options = parser.parse_args()
    options.targets = options.targets.split(",")
    for name in options.targets:
        if name not in TARGETS:
            parser.error(f"--targets: {name!r} is unknown; known are {', '.join(TARGETS)}")
    return options


def main() -> None:
    """Start everything, measure, report, stop everything."""
    options = read_options()
    where = machine()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        compile_all(folder)
        mock = stack.enter_context(running_mock(folder))
        around = Surroundings(folder, mock.port, mock.pid, mock.reference(), options.litellm, options.opentracy)
        targets, missing = start(options.targets, around, stack)
        measure(targets, mock, options)
        ours = next((each for each in targets if each.target.name == "ours-on"), None)
        profiled = profile(ours, options.profile, options.seconds) if options.profile and ours else ""
    print(f"{where}; {options.rounds} rounds of {options.seconds:g} s\n\n{report.table(targets)}\n")
    print("\n".join([report.headroom(targets), "", *missing]))
    if ours and not ours.target.failure:
        print(f"Where our CPU goes:\n\n{report.split(ours)}\n{profiled}\n")
    lines = report.verdicts(targets)
    print("\n".join(lines))
    if options.json:
        whole = {
            "machine": where,
            "targets": [report.as_json(each) for each in targets],
            "missing": missing,
            "verdicts": lines,
        }
        options.json.write_text(json.dumps(whole, indent=1))
    if any(each.target.failure for each in targets):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
