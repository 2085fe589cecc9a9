"""The dataset card, `README.md`: what the folder holds, for people and for `datasets.load_dataset`.

Names and notes come from elsewhere: in the front matter YAML's own writer quotes them, in the text everything that
Markdown or HTML would obey is escaped.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import yaml

from processing.exports.column import Column
from processing.exports.format import Container, Format
from processing.foreign_text import visible
from store.recorded.message import Json

_MARKUP: Final = re.compile(r"([\\`*_{}\[\]()#!|<>&~$@]|:(?=//))")
_FEATURES: Final = {
    Column.TEXT: {"dtype": "string"},
    Column.JSON: {"dtype": "json"},
    Column.JSON_LIST: {"list": "json"},
    Column.TEXT_LIST: {"list": "string"},
}


def card(
    target: Format, manifest: Mapping[str, Any], splits: Mapping[str, str], columns: Mapping[str, Column]
) -> bytes:
    """Write the card.

    Args:
        target: The format.
        manifest: Of the export.
        splits: Part to the path of its file, of the parts that have the same columns.
        columns: Of those files.
    """
    front = _front(target, splits, columns)
    text = yaml.safe_dump(front, sort_keys=False, allow_unicode=False, width=10_000)
    return f"---\n{text}---\n\n{_body(target, manifest)}".encode()


def escaped(text: Json) -> str:
    """Show foreign text in one line of Markdown that obeys nothing in it."""
    return _MARKUP.sub(r"\\\1", " ".join(visible(str(text)).split()))


def _front(target: Format, splits: Mapping[str, str], columns: Mapping[str, Column]) -> dict[str, Json]:
    if not splits:
        return {"license": None}
    files = [{"split": part, "path": path} for part, path in splits.items()]
    front: dict[str, Json] = {"license": None, "configs": [{"config_name": "default", "data_files": files}]}
    if target.folder is Container.LINES and columns and all(column in _FEATURES for column in columns.values()):
        # Without them the reader would guess, and fill what one row has and another lacks with nulls.
        features = [{"name": name, **_FEATURES[column]} for name, column in columns.items()]
        front["dataset_info"] = [{"config_name": "default", "features": features}]
    return front


def _body(target: Format, manifest: Mapping[str, Any]) -> str:
    version = manifest["version"]
    sections = [
        f"# {escaped(version['label'])}",
        _facts(target, manifest),
        _counts(manifest),
        _listed("What speaks against learning from it", manifest["warnings"]),
        _ends(version["rows"]),
        _funnel(version["manifest"].get("funnel")),
        _models(manifest["models"]),
        _usage(target, version["label"]),
        "Every file with its SHA-256 stands in `manifest.json`, and so does what made the version.",
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _facts(target: Format, manifest: Mapping[str, Any]) -> str:
    version = manifest["version"]
    state = "frozen: it never changes" if version["state"] == "frozen" else "**active: it may still change**"
    facts = [
        ("Dataset", escaped(version["dataset"])),
        ("Version", f"{escaped(version['label'])} ({state})"),
        ("Note", "none" if version["note"] is None else escaped(version["note"])),
        ("Hash of the rows", version["hash"] or "none before it is frozen"),
        ("Hash of the test rows", version["test_hash"] or "none"),
        ("Format", f"{target.name}: {target.summary}"),
        ("Read by", target.readers),
        ("License", "not known (null): nobody has said what the rows may be used for"),
    ]
    return "\n".join(f"- {name}: {value}" for name, value in facts)


def _counts(manifest: Mapping[str, Any]) -> str:
    lines = ["## Rows", "", "| part | rows | lines |", "|---|---:|---:|"]
    lines += [f"| {part} | {found['rows']} | {found['lines']} |" for part, found in manifest["parts"].items()]
    for title, counted in (("Left out", manifest["left_out"]), ("Not carried", manifest["not_carried"])):
        if counted:
            lines += ["", f"{title}: " + ", ".join(f"`{name}` {count}" for name, count in counted.items()) + "."]
    if manifest["unsplit"]:
        lines += ["", f"{manifest['unsplit']} rows are not split yet and stand in train."]
    return "\n".join(lines)


def _funnel(stages: Json) -> str:
    """The stages of the run that made the version, where a run made it."""
    if not isinstance(stages, list) or not all(isinstance(stage, Mapping) for stage in stages):
        return ""
    lines = ["## Stages of the run", "", "| stage | of | in | out | ended there |", "|---|---|---:|---:|---|"]
    for stage in stages:
        ended = stage.get("ended")
        reasons = ended.items() if isinstance(ended, Mapping) else ()
        cells = [*(stage.get(name, "") for name in ("stage", "of", "in", "out"))]
        cells.append(", ".join(f"{reason} {count}" for reason, count in reasons))
        lines.append("| " + " | ".join(escaped(cell) for cell in cells) + " |")
    return "\n".join(lines)


def _ends(rows: Mapping[str, int]) -> str:
    steps = ("entered", "kept", "dropped", "failed", "review")
    lines = ["## What became of everything that entered", "", "| state | rows |", "|---|---:|"]
    return "\n".join([*lines, *(f"| {step} | {rows[step]} |" for step in steps)])


def _models(models: Mapping[str, int]) -> str:
    if not models:
        return "## Models\n\nNo row names one."
    listed = [f"- {escaped(name)} ({count} rows)" for name, count in models.items()]
    return "\n".join(["## Models that the rows name", "", *listed])


def _listed(title: str, texts: Sequence[str]) -> str:
    return "\n".join([f"## {title}", "", *(f"- {escaped(text)}" for text in texts)]) if texts else ""


def _usage(target: Format, label: str) -> str:
    if not target.usage:
        return ""
    path = json.dumps("PATH") if "load_dataset" in target.usage else "PATH"
    text = target.usage.replace("{path}", path).replace("{label}", label)
    return f"## How to read it\n\nPATH is this folder.\n\n```\n{text}\n```"
