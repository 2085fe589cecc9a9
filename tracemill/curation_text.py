"""What the stages of curation did, as a person reads it; rows cannot steer the terminal."""

from collections.abc import Mapping

from processing.datasets.curation import Curated
from processing.datasets.row_split import SplitRows
from tracemill.terminal_text import one_line


def curated_text(done: Curated) -> str:
    """Write what a stage did, with the counts before and after it."""
    rows = sum(done.after.values())
    lines = [f"{done.version.label}: {rows:,} rows in, {rows:,} with an end"]
    lines += [f"  {when:<7} {_states(counts)}" for when, counts in (("before", done.before), ("after", done.after))]
    lines += [
        f"  {stage:<7} {count:>7,} {one_line(reason)}"
        for stage, reasons in done.ended.items()
        for reason, count in reasons.items()
    ]
    lines.append(f"  changed {done.dropped:,} rows are kept no more, {done.returned:,} came back")
    details = done.details
    if details.get("stage") == "judge":
        told = [f"threshold {details['threshold']:g}"]
        told += [f"{details[name]:,} {name.replace('_', ' ')}" for name in ("scored", "no_verdict", "not_judged")]
        if "paid" in details:
            told.append(f"{details['paid']:,} calls paid, {details['cached']:,} known already")
            told += [] if details["cost"] is None else [f"cost {details['cost']:g}"]
        lines.append(f"  judge   {', '.join(told)}")
    lines += [f"  warning: {one_line(warning)}" for warning in done.warnings]
    return "\n".join(lines)


def _states(counts: Mapping[str, int]) -> str:
    names = {"kept": "kept", "dropped": "dropped", "failed": "failed", "review": "to review"}
    return ", ".join(f"{counts[state]:,} {name}" for state, name in names.items())


def split_text(done: SplitRows) -> str:
    """Write what a split came to, and what leaks."""
    lines = [f"{done.version.label}: {sum(done.rows.values()):,} kept rows shared out"]
    lines += [
        f"  {part:<6} {rows:>7,} rows, {done.conversations[part]:,} conversations, {done.groups[part]:,} groups"
        for part, rows in done.rows.items()
    ]
    if done.without_part:
        lines.append(f"  {done.without_part:,} kept rows stay as they are: left over by an earlier split")
    lines.append(f"  {done.moved:,} rows changed sides")
    found = done.leakage
    lines.append(
        f"  leakage: {found.groups} groups on both sides; of the test prompts {found.exact} equal and {found.near} "
        f"nearly equal one in train; {found.overlapping} test answers share twelve words in a row with one"
    )
    return "\n".join(lines)
