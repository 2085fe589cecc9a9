"""The tables of a report, for every form of it: a title, a head, and lines of plain values."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from processing.candidates import ORIGINAL
from store.recorded.message import Json

_SETS = (("test", "test"), ("unfiltered_sample", "unfiltered sample"))


class Table(NamedTuple):
    """One table.

    Attributes:
        title: Of the section that it stands in.
        head: Names of the columns.
        lines: Values; None is an empty cell.
        note: A sentence below it.
    """

    title: str
    head: Sequence[str]
    lines: Sequence[Sequence[Json]]
    note: str = ""


def files_table(found: Mapping[str, Json]) -> Table:
    """The files and their rows."""
    return Table("Files", ["file", "rows"], [[name, rows] for name, rows in found["rows"].items()])


def intake_table(found: Mapping[str, Json]) -> Table:
    """What came in."""
    lines = [[name.replace("_", " "), n] for name, n in found["intake"].items() if name != "rejected_reasons"]
    lines += [[f"rejected: {reason}", n] for reason, n in found["intake"]["rejected_reasons"].items()]
    return Table("Came in", ["what", "count"], lines, "records = conversations + absorbed + duplicates + rejected.")


def composition_table(found: Mapping[str, Json]) -> Table:
    """What train and test are made of, one line a fact."""
    made = found.get("composition", {})
    parts = [made.get("train", {}), made.get("test", {})]
    if not any(parts):
        return Table("What is in it", ["what", "train", "test"], [])
    lines: list[list[Json]] = [
        [name.replace("_", " "), *(part.get(name) for part in parts)]
        for name in ("rows", "conversations", "changed", "with_tools")
    ]
    lines += [
        [f"{name}: median, 90 %, most", *(_quantiles(part.get(name)) for part in parts)]
        for name in ("messages", "characters")
    ]
    for name, one in (("classes", "class"), ("tools_called", "tool"), ("original_models", "base model")):
        keys = dict.fromkeys(key for part in parts for key in part.get(name, {}))
        lines += [[f"{one} {key}", *(part.get(name, {}).get(key, 0) for part in parts)] for key in keys]
    read = made.get("conversations_read", {})
    note = ""
    if read.get("characters"):
        note = (
            f"Of the conversations read, {read['longer_than_limit']} are longer than validation_max_total_length "
            f"({read['limit']}); nine of ten have at most {read['characters']['p90']} characters."
        )
    return Table("What is in it", ["what", "train", "test"], lines, note)


def funnel_table(found: Mapping[str, Json]) -> Table:
    """Every stage with what went in, what went on and how the rest ended."""
    lines = [[line["stage"], line["of"], line["in"], line["out"], _ended(line["ended"])] for line in found["funnel"]]
    return Table("Where everything went", ["stage", "of", "in", "out", "ended"], lines)


def performance_table(found: Mapping[str, Json]) -> Table:
    """The base model's scores on test and on the unfiltered sample, with what each rests on."""
    base_model = found["base_model"]
    lines = []
    for name, title in _SETS:
        for metric, one in ((base_model[name] or {}).get("intervals") or {}).items():
            interval = "" if one["low"] is None else f"{one['low']:.3f} to {one['high']:.3f}"
            mean = None if one["mean"] is None else f"{one['mean']:.3f}"
            lines.append([title, metric, mean, interval, one["rows"], one.get("conversations"), one["missing"]])
    hashes = [
        f"{title} {base_model[name]['test_set_hash']}"
        for name, title in _SETS
        if (base_model[name] or {}).get("test_set_hash")
    ]
    note = "Filtering keeps the easy conversations: the unfiltered sample tells how the base model really does."
    note += "".join(_asked_judge(title, (base_model[name] or {}).get("judge")) for name, title in _SETS)
    note += _judge_against_people(found.get("judge_calibration"))
    head = ["on", "metric", "mean", "95 % interval", "answers", "conversations", "not computed"]
    return Table("Base model performance", head, lines, f"{note} Hashes: {', '.join(hashes)}." if hashes else "")


def _asked_judge(title: str, judge: Mapping[str, int] | None) -> str:
    if judge is None:
        return ""
    return (
        f" On {title} the judge was asked about {judge['asked']} answers ({judge['without_question']} say what the "
        f"label says), {judge['unparsable'] + judge['unanswered']} times without a verdict."
    )


def _judge_against_people(calibrated: Mapping[str, Json] | None) -> str:
    if calibrated is None:
        return ""
    lost = calibrated["unparsable"] + calibrated["unanswered"]
    return (
        f" The judge {calibrated['judge']} against people ({calibrated['file']}, {calibrated['rows']} rows): agreement "
        f"{calibrated['agreement']} ({calibrated['low']} to {calibrated['high']}), κ {calibrated['kappa']}, "
        f"{calibrated['bad_called_good']} bad called good, {calibrated['good_called_bad']} good called bad, "
        f"{lost} without a verdict."
    )


def committee_table(found: Mapping[str, Json]) -> Table:
    """How often each candidate agrees with the label of the kept rows and, where votes count so, is right."""
    names = ("agrees", "differs", "no_answer", "corrections")
    made = found["relabel"]
    right = {"recorded answer" if name == ORIGINAL else name: share for name, share in made["reliability"].items()}
    lines = [
        [model, *(one[name] for name in names), right.get(model)] for model, one in found.get("committee", {}).items()
    ]
    methods = ", ".join(f"{name} {count}" for name, count in made["methods"].items())
    note = f"Labels by {methods}. Mean agreement: {made['mean_agreement']}. Changed labels: {made['changed']}."
    if right:
        note += " Votes count by how often a candidate is right, which is told from how all of them agree."
    head = ["candidate", "as the label", "otherwise", "no answer", "corrections", "right"]
    return Table("The committee", head, lines, note if methods else "")


def calls_table(found: Mapping[str, Json]) -> Table:
    """What was asked of whom, and what it cost."""
    head = ["step", "model", "calls", "prompt tokens", "completion tokens", "cost"]
    calls = found.get("calls_by_model") or [
        {"purpose": purpose, "model": None, **bill} for purpose, bill in found["calls"].items()
    ]
    lines = [
        [
            one["purpose"],
            one["model"],
            one["calls"],
            one["prompt_tokens"],
            one["completion_tokens"],
            "unknown" if one["cost"] is None else one["cost"],
        ]
        for one in calls
    ]
    return Table("Calls behind this dataset", head, lines, _total(calls))


def split_table(found: Mapping[str, Json]) -> Table:
    """What train and test share, and what the split did for it."""
    split = found["split"]
    lines = [[f"leakage: {name.replace('_', ' ')}", value] for name, value in split["leakage"].items()]
    lines += [
        ["examples that left train for test", split["left_train_for_test"]],
        ["moved group", split["moved_group"]],
    ]
    lines += [[f"conversations in {part}", count] for part, count in split["conversations"].items()]
    return Table("Train and test", ["what", "count"], lines)


def _total(calls: Sequence[Mapping[str, Json]]) -> str:
    costs = [one["cost"] for one in calls if one["cost"] is not None]
    unknown = sum(one["without_cost"] for one in calls)
    total = f"In all {sum(one['calls'] for one in calls):,} calls"
    total += f", {round(sum(costs), 6):g} as far as prices are known" if costs else ""
    return f"{total}; the cost of {unknown:,} calls is not known." if unknown else f"{total}."


def _quantiles(value: Mapping[str, int] | None) -> str | None:
    return None if value is None else f"{value['p50']}, {value['p90']}, {value['max']}"


def _ended(ended: Mapping[str, Mapping[str, int]]) -> str:
    return "; ".join(f"{state}: {reason} {n}" for state, reasons in ended.items() for reason, n in reasons.items())
