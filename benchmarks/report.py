"""The figures of one run as tables, and what they say about the aims."""

from collections.abc import Callable, Iterable
from dataclasses import asdict
from statistics import median
from typing import Any

from benchmarks.phases import RATE, Figures, Sample

_MB = 1e6
_AIM_STREAMS = 1000
_COLUMNS = (
    "target",
    "capture",
    "CPU µs a call (min-max)",
    "calls/s",
    "calls/s a core",
    f"p50 / p99 ms at {RATE}/s",
    "added over direct",
    "CPU µs a chunk",
    "first chunk p50 / p99 ms",
    "chunk late p50 / p99 ms",
    "MB with streams open (at rest)",
    "streams",
)


def table(all_figures: Iterable[Figures]) -> str:
    """Return the figures of all targets as Markdown; medians over the rounds."""
    lines = ["| " + " | ".join(_COLUMNS) + " |", "|---" * len(_COLUMNS) + "|"]
    found = {figures.target.name: figures for figures in all_figures}
    lines += [_row(figures, found.get("direct")) for figures in found.values()]
    return "\n".join(lines)


def split(figures: Figures) -> str:
    """Return where our CPU goes, process by process, as Markdown."""
    roles = sorted({role for sample in figures.plain + figures.streams for role in sample.by_role})
    lines = ["| process | CPU µs a call | CPU µs a chunk |", "|---|---|---|"]
    for role in roles:
        a_call = median(sample.by_role.get(role, 0.0) / _calls(sample) for sample in figures.plain)
        a_chunk = median(sample.by_role.get(role, 0.0) / _chunks(sample) for sample in figures.streams)
        lines.append(f"| {role} | {a_call:.1f} | {a_chunk:.2f} |")
    return "\n".join(lines)


def headroom(all_figures: Iterable[Figures]) -> str:
    """Return how far upstream and load generator are from being what holds the fastest target back."""
    rates = {
        figures.target.name: median(sample.load.calls_in_time / sample.seconds for sample in figures.plain)
        for figures in all_figures
        if not figures.target.failure
    }
    alone = rates.pop("direct", 0.0)
    if not alone or not rates:
        return ""
    fastest = max(rates, key=lambda name: rates[name])
    return f"Upstream and load generator alone: {alone:,.0f} calls/s, {alone / rates[fastest]:.1f} times {fastest}."


def verdicts(all_figures: Iterable[Figures]) -> list[str]:
    """Return a line for each aim: reached, not reached, or not measured, and by how much."""
    found = {figures.target.name: figures for figures in all_figures}
    ours = found.get("ours-on")
    if ours is None or ours.target.failure:
        return [f"not measured: tracemill itself {'' if ours is None else ours.target.failure}"]
    nginx, litellm, opentracy = (found.get(name) for name in ("nginx", "litellm", "opentracy"))
    return [
        _ratio("CPU a call, ours : nginx", cpu_a_call, ours, nginx, 6),
        _ratio("CPU a call, LiteLLM : ours", cpu_a_call, litellm, ours, 70, is_at_least=True),
        _ratio("CPU a call, ours : OpenTracy engine", cpu_a_call, ours, opentracy, 1),
        _added(ours, nginx),
        _ratio("CPU a chunk, ours : nginx", cpu_a_chunk, ours, nginx, 3),
        _memory(ours),
    ]


def cpu_a_call(figures: Figures) -> float:
    """Return the CPU of one plain call in microseconds."""
    return median(sample.cpu_us / _calls(sample) for sample in figures.plain)


def cpu_a_chunk(figures: Figures) -> float:
    """Return the CPU of one chunk in microseconds, the call around its hundred included."""
    return median(sample.cpu_us / _chunks(sample) for sample in figures.streams)


def percentile(figures: Figures, share: float) -> float:
    """Return a percentile of the latencies at the fixed rate, over all rounds, in milliseconds."""
    values = sorted(value for sample in figures.paced for value in sample.load.latencies)
    return values[min(len(values) - 1, int(len(values) * share))] / 1e3


def as_json(figures: Figures) -> dict[str, Any]:
    """Return everything that was measured of a target."""
    target = figures.target
    whole: dict[str, Any] = {"name": target.name, "version": target.version, "failure": target.failure}
    for phase in ("plain", "paced", "streams"):
        whole[phase] = [asdict(sample) for sample in getattr(figures, phase)]
    for sample in whole["paced"]:
        del sample["load"]["latencies"]
    if figures.held is not None:
        whole["held"] = {
            "streams": figures.held.streams,
            "at_rest": figures.held.at_rest._asdict(),
            "with_streams": figures.held.with_streams._asdict(),
        }
    return whole


def _row(figures: Figures, direct: Figures | None) -> str:
    target = figures.target
    name = f"{target.title} {target.version}".strip()
    if target.failure:
        return f"| {name} | {target.capture} | failed: {target.failure} |" + " |" * (len(_COLUMNS) - 3)
    spread = [sample.cpu_us / _calls(sample) for sample in figures.plain]
    rate = median(sample.load.calls_in_time / sample.seconds for sample in figures.plain)
    p50, p99 = percentile(figures, 0.5), percentile(figures, 0.99)
    added = "-"
    if direct is not None and direct is not figures:
        added = f"{p50 - percentile(direct, 0.5):+.2f} / {p99 - percentile(direct, 0.99):+.2f}"
    cells = [
        name,
        target.capture,
        f"{median(spread):.1f} ({min(spread):.1f}-{max(spread):.1f})",
        f"{rate:,.0f}",
        f"{1e6 / median(spread):,.0f}",
        f"{p50:.2f} / {p99:.2f}",
        added,
        f"{cpu_a_chunk(figures):.1f}",
        _times(figures, lambda sample: sample.load.first),
        _times(figures, lambda sample: sample.load.delay),
        *_held(figures),
    ]
    return "| " + " | ".join(cells) + " |"


def _times(figures: Figures, of: Callable[[Sample], dict[str, float]]) -> str:
    p50, p99 = (median(of(sample)[name] for sample in figures.streams) / 1e3 for name in ("p50", "p99"))
    return f"{p50:.2f} / {p99:.2f}"


def _held(figures: Figures) -> tuple[str, str]:
    held = figures.held
    if held is None:
        return "-", "-"
    with_streams, at_rest = held.with_streams.resident / _MB, held.at_rest.resident / _MB
    return f"{with_streams:.0f} ({at_rest:.0f})", f"{held.streams}"


def _ratio(
    name: str,
    of: Callable[[Figures], float],
    above: Figures | None,
    below: Figures | None,
    aim: float,
    *,
    is_at_least: bool = False,
) -> str:
    for figures in (above, below):
        if figures is None:
            return f"not measured: {name} (a target is missing)"
        if figures.target.failure:
            return f"not measured: {name} ({figures.target.title} failed)"
    if above is None or below is None:
        raise AssertionError  # for the type checker: the loop has returned
    ratio = of(above) / of(below)
    is_reached = ratio >= aim if is_at_least else ratio <= aim
    return f"{_said(is_reached)}: {name} = {ratio:.2f} (aim: at {'least' if is_at_least else 'most'} {aim})"


def _added(ours: Figures, nginx: Figures | None) -> str:
    name = f"added p50 over nginx's at {RATE} calls/s"
    if nginx is None or nginx.target.failure:
        return f"not measured: {name} (nginx is missing)"
    added = percentile(ours, 0.5) - percentile(nginx, 0.5)
    return f"{_said(added < 0.5)}: {name} = {added:.2f} ms (aim: under 0.5)"


def _memory(ours: Figures) -> str:
    name = f"resident memory with {_AIM_STREAMS} streams open, all processes"
    if ours.held is None or ours.held.streams < _AIM_STREAMS:
        return f"not measured: {name} ({0 if ours.held is None else ours.held.streams} were open)"
    resident, proportional = ours.held.with_streams.resident / _MB, ours.held.with_streams.proportional / _MB
    # Pages that the processes share count in each of them; the second figure counts every page once.
    return f"{_said(resident < 200)}: {name} = {resident:.0f} MB, {proportional:.0f} MB unshared (aim: under 200)"


def _said(is_reached: bool) -> str:
    return "reached" if is_reached else "not reached"


def _calls(sample: Sample) -> int:
    return max(sample.load.calls, 1)


def _chunks(sample: Sample) -> int:
    return max(sample.load.chunks, 1)
