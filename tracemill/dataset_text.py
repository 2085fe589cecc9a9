"""What `tracemill datasets` tells, as a person reads it; what rows and files said cannot steer the terminal."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from store.datasets.row import Row
from store.datasets.version import Counts, Diff, Progress, Version
from store.datasets.version_check import VersionCheck
from tracemill.count_text import counted
from tracemill.terminal_text import one_line

_WIDTH = 100
_IDS = 20


def version_line(version: Version, progress: Progress | None, width: int = 0) -> str:
    """Write a version's line of a list: `invoices-v2  (frozen, 1240 rows, stricter judge threshold)`.

    Args:
        version: The version.
        progress: Of an active version that follows another one.
        width: Of the labels.
    """
    facts = [str(version.state), _rows(version, progress)]
    if version.counts.unstructured:
        facts.append(f"{version.counts.unstructured} unstructured")
    if version.note:
        facts.append(one_line(version.note, _WIDTH))
    if version.erased:
        facts.append(f"erased: {version.erased}")
    return f"{version.label:<{width}}  ({', '.join(facts)})"


def version_text(version: Version, progress: Progress | None, warnings: Sequence[str]) -> str:
    """Write what is known of a version."""
    counts, manifest = version.counts, version.manifest
    parts = (("train", counts.train), ("test", counts.test), ("unstructured", counts.unstructured))
    named = [f"{count} {name}" for name, count in (*parts, ("in no part", counts.unsplit)) if count]
    lines = [
        version_line(version, progress),
        f"  birth      {version.birth}" + ("" if version.parent is None else f", follows v{version.parent}"),
        f"  rows       {_ends(counts)}",
        f"  kept       {', '.join(named) or 'none'}",
        f"  created    {version.created_at}",
    ]
    if version.is_frozen:
        lines += [f"  frozen     {version.frozen_at}", f"  hash       {version.hash}"]
        lines.append(f"  test hash  {version.test_hash or 'none: it has no test rows'}")
    if version.erased:
        lines.append(
            f"  erased     {counted(version.erased, 'row')} made from erased traces; `tracemill datasets rebuild "
            f"{version.label} --as-new` makes the next version without any"
        )
    lines += [f"  {name:<10} {text}" for name, text in _made_by(manifest)]
    lines += [f"  warning    {one_line(warning)}" for warning in warnings]
    return "\n".join(lines)


def row_line(row: Row) -> str:
    """Write a row of a list: its id, place, end, and the beginnings of what was asked and answered."""
    content = row.content
    said = " -> ".join(one_line(str(content.get(name) or ""), 40) for name in ("prompt", "response"))
    end = str(row.end.state) if row.end.state == "kept" else f"{row.end.state} ({one_line(row.end.reason)})"
    return f"{row.row_id:<20} {row.part or '-':<12} {end:<10} {said}"


def diff_text(first: Version, second: Version, found: Diff) -> str:
    """Write how two versions differ."""
    lines = [f"{first.label} -> {second.label}"]
    for name, ids in found._asdict().items():
        more = f" and {len(ids) - _IDS} more" if len(ids) > _IDS else ""
        lines.append(f"  {name:<8} {len(ids):>7}  {', '.join(ids[:_IDS])}{more}".rstrip())
    if not any(found):
        lines.append("  The same rows in the same parts.")
    return "\n".join(lines)


def check_text(found: Sequence[VersionCheck], guards: Sequence[str]) -> str:
    """Write which versions are what their hashes say."""
    lines = []
    for one in found:
        gone = f", {one.erased} erased" if one.erased else ""
        told = "sound" if one.is_sound else f"DAMAGED, {counted(one.problems, 'problem')}"
        lines.append(f"{one.label}  ({one.state}, {counted(one.rows, 'row')}{gone}): {told}")
        lines += [f"  {one_line(problem)}" for problem in one.named]
    lines += [f"work.db: the trigger {name} is missing or another's" for name in guards]
    return "\n".join(lines) or "There is no dataset."


def _ends(counts: Counts) -> str:
    ended = (
        ("kept", counts.kept),
        ("dropped", counts.dropped),
        ("failed", counts.failed),
        ("to review", counts.review),
    )
    return f"{counts.entered} in: " + ", ".join(f"{count} {what}" for what, count in ended)


def _rows(version: Version, progress: Progress | None) -> str:
    if progress is None or version.parent is None:
        return counted(version.counts.rows, "row")
    new = [("newly reviewed", progress.reviewed), ("new", progress.added)]
    return " + ".join([counted(progress.carried, "row"), *(f"{count} {what}" for what, count in new if count)])


def _made_by(manifest: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The facts of the manifest that fit on a line each."""
    found = []
    for name in ("made_by", "seed", "models", "inputs", "calls", "cost"):
        value = manifest.get(name)
        if value not in (None, [], {}):
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            found.append((name.replace("_", " "), one_line(text, 300)))
    return found
