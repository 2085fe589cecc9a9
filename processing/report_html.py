"""The report as one HTML page that needs nothing else: no network, no script, charts drawn into it."""

from collections.abc import Mapping, Sequence

from processing import report_tables as tables
from processing.html_frame import html_frame, section, tiles, warnings_section
from processing.report_chart import Bar, Mark, bars, columns, intervals, text
from processing.report_page import votes_text
from store.recorded.message import Json

_LABEL_CHARS = 34


def html_page(found: Mapping[str, Json], *, name: str | None = None, notes: Sequence[str] = ()) -> str:
    """Write the report as one HTML page.

    Args:
        found: The report as JSON.
        name: Of the run, for the head of the page.
        notes: What has become known of the run since, before all else.
    """
    title = f"Dataset report: {found['task']}" if name is None else f"{name}: dataset report ({found['task']})"
    parts = [
        _tiles(found),
        warnings_section([*notes, *found["warnings"]]),
        section(tables.composition_table(found)),
        section(tables.funnel_table(found), _funnel(found)),
        section(tables.performance_table(found), _performance(found)),
        _examples(found),
        section(tables.committee_table(found), _agreement(found)),
        section(tables.calls_table(found), _calls(found)),
        section(tables.split_table(found)),
        section(tables.files_table(found)),
        section(tables.intake_table(found)),
    ]
    return html_frame(title, parts)


def _tiles(found: Mapping[str, Json]) -> str:
    rows = found["rows"]
    waiting = rows["review.jsonl"] + rows["failed.jsonl"]
    facts = [("train rows", rows["train.jsonl"]), ("test rows", rows["test.jsonl"]), ("failed or to review", waiting)]
    for name, title in (("unfiltered_sample", "base model, unfiltered"), ("test", "base model on test")):
        best = ((found["base_model"][name] or {}).get("intervals") or {}).items()
        # The judge's score where there is one: it is the last of the metrics.
        for metric, one in list(best)[-1:]:
            mean = "?" if one["mean"] is None else f"{one['mean']:.2f}"
            facts.append((f"{title}: {metric}", mean))
    facts.append(("warnings", len(found["warnings"])))
    return tiles(facts)


def _funnel(found: Mapping[str, Json]) -> str:
    rows = []
    for line in found["funnel"]:
        sizes = {state: sum(reasons.values()) for state, reasons in line["ended"].items()}
        parts = [("kept", line["out"] + sizes.pop("kept", 0)), *sizes.items()]
        lost = line["in"] - parts[0][1]
        note = f"{line['in']:,} in" + (f", {lost:,} ended here" if lost else "")
        rows.append(Bar(f"{line['stage']} ({line['of']})", parts, note))
    key = "".join(f'<i class="{kind}"></i>{kind} ' for kind in ("kept", "dropped", "failed", "review"))
    return f'{bars("What each stage kept and what ended there", rows)}<p class="key">{key}</p>' if rows else ""


def _performance(found: Mapping[str, Json]) -> str:
    marks = []
    for name, title, kind in (("unfiltered_sample", "unfiltered", "review"), ("test", "test", "kept")):
        for metric, one in ((found["base_model"][name] or {}).get("intervals") or {}).items():
            if one["mean"] is not None:
                marks.append(Mark(f"{metric}, {title}", one["mean"], one["low"], one["high"], kind))
    marks.sort(key=lambda mark: mark.label)
    return intervals("Scores of the base model with 95 % intervals", marks) if marks else ""


def _agreement(found: Mapping[str, Json]) -> str:
    counts = found.get("agreement", {}).get("counts", [])
    if not any(counts):
        return ""
    labels = [f"{place / len(counts):g} to {(place + 1) / len(counts):g}" for place in range(len(counts))]
    return columns("Examples by how far their candidates agreed", counts, labels)


def _calls(found: Mapping[str, Json]) -> str:
    calls = found.get("calls_by_model", [])
    rows = []
    for one in calls:
        label = f"{one['purpose']}: {one['model']}"
        label = label if len(label) <= _LABEL_CHARS else f"{label[: _LABEL_CHARS - 1]}…"
        cost = "cost unknown" if one["cost"] is None else f"{one['cost']:g}"
        rows.append(Bar(label, [("kept", one["calls"])], f"{one['calls']:,} calls, {cost}"))
    return bars("Calls by step and model", rows) if rows else ""


def _examples(found: Mapping[str, Json]) -> str:
    chosen = found.get("examples", {})
    sides = []
    for kind in ("right", "wrong"):
        shown = "".join(_example(one, kind) for one in chosen.get(kind, [])) or "<p>None was found.</p>"
        sides.append(f"<div><h3>Recorded answer was {kind}</h3>{shown}</div>")
    return f'<section><h2>Right and wrong, side by side</h2><div class="sides">{"".join(sides)}</div></section>'


def _example(one: Mapping[str, Json], kind: str) -> str:
    facts = [
        ("asked", one["asked"]),
        ("recorded answer", one["recorded"]),
        ("label", one["label"]),
        ("judge", one["judge_reason"] or ("not asked: it says the same as the label" if kind == "right" else None)),
        ("arbiter", one["arbiter_reason"]),
    ]
    told = "".join(f"<dt>{name}</dt><dd>{text(value)}</dd>" for name, value in facts if value)
    votes = "".join(_vote(vote) for vote in one["votes"])
    where = f"{one['set'].replace('_', ' ')}, {one['source']}"
    return (
        f'<article class="{kind}"><dl>{told}</dl><details><summary>{text(votes_text(one))}</summary>'
        f'<dl>{votes}</dl></details><p class="key">{text(one["row_id"])} ({text(where)})</p></article>'
    )


def _vote(vote: Mapping[str, Json]) -> str:
    mark = {True: "as the label", False: "otherwise", None: "no answer"}[vote["agrees"]]
    said = vote["answer"] if vote["answer"] is not None else vote["problem"]
    return f"<dt>{text(vote['source'])} ({mark})</dt><dd>{text('' if said is None else said)}</dd>"
