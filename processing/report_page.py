"""The report as one Markdown page; what traces say stands in it as text, and never as Markdown or HTML."""

import re
from collections.abc import Mapping

from processing import report_tables as tables
from processing.foreign_text import visible
from store.recorded.message import Json

_CELL_CHARS = 160
_MARKUP = re.compile(r"([\\`*_\[\]<>|!~#])")


def page(found: Mapping[str, Json]) -> str:
    """Write the report as one Markdown page.

    Args:
        found: The report as JSON.
    """
    parts = [
        f"# Dataset report: {_cell(found['task'])}",
        "## Warnings\n\n" + ("\n".join(f"- {_text(warning)}" for warning in found["warnings"]) or "None."),
        _table(tables.files_table(found)),
        _table(tables.intake_table(found)),
        _table(tables.composition_table(found)),
        _table(tables.funnel_table(found)),
        _table(tables.performance_table(found)),
        _examples(found, "right"),
        _examples(found, "wrong"),
        _agreement(found),
        _table(tables.committee_table(found)),
        _table(tables.calls_table(found)),
        _table(tables.split_table(found)),
    ]
    return "\n\n".join(parts) + "\n"


def _examples(found: Mapping[str, Json], kind: str) -> str:
    chosen = found.get("examples", {}).get(kind, [])
    lines = [
        [
            one["row_id"],
            one["asked"],
            one["recorded"],
            one["label"],
            votes_text(one),
            one["judge_reason"] or one["arbiter_reason"],
        ]
        for one in chosen
    ]
    title = f"Recorded answers that were {kind}"
    head = ["row", "asked", "recorded answer", "label", "votes", "reason"]
    return _table(tables.Table(title, head, lines))


def votes_text(example: Mapping[str, Json]) -> str:
    """Say in a few words how an example's candidates voted."""
    votes = example["votes"]
    agreed = sum(vote["agrees"] is True for vote in votes)
    told = f"{agreed} of {len(votes)} as the label"
    if example["agreement"] is not None:
        told += f", agreement {example['agreement']:.3g}"
    return f"{told}, by {example['method']}" if example["method"] else told


def _agreement(found: Mapping[str, Json]) -> str:
    counts = found.get("agreement", {}).get("counts", [])
    lines = [[f"{place / len(counts):g} to {(place + 1) / len(counts):g}", n] for place, n in enumerate(counts)]
    return _table(tables.Table("How far candidates agreed", ["agreement", "examples"], lines if any(counts) else []))


def _table(table: tables.Table) -> str:
    if not table.lines:
        return f"## {table.title}\n\nNone."
    rows = [list(table.head), ["---"] * len(table.head), *([_cell(cell) for cell in line] for line in table.lines)]
    written = f"## {table.title}\n\n" + "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return f"{written}\n\n{_text(table.note)}" if table.note else written


def _cell(value: Json) -> str:
    text = " ".join(str("" if value is None else value).split())
    return _text(text if len(text) <= _CELL_CHARS else f"{text[:_CELL_CHARS]}…")


def _text(text: str) -> str:
    return _MARKUP.sub(r"\\\1", visible(text).replace("&", "&amp;"))
