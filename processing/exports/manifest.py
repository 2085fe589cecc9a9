"""What the manifest of an export says, and what is told to the person who asked for it."""

from collections.abc import Mapping
from importlib.metadata import version as installed
from typing import Any

from processing.exports.destination import KIND
from processing.exports.format import Format
from processing.exports.preflight import Tally
from processing.exports.reason import LeftOut
from processing.exports.wanted import Wanted
from store.datasets.version import Version
from store.recorded.message import Json


def manifest_of(target: Format, version: Version, tally: Tally, warnings: list[str], wanted: Wanted) -> dict[str, Json]:
    """Say what is exported and what becomes of it; without the files, which are known last."""
    return {
        "kind": KIND,
        "made_by": f"tracemill {installed('tracemill')}",
        "format": target.name,
        "part": None if wanted.part is None else str(wanted.part),
        "license": None,
        "version": {
            "dataset": version.dataset,
            "label": version.label,
            "state": str(version.state),
            "birth": str(version.birth),
            "note": version.note,
            "hash": version.hash,
            "test_hash": version.test_hash,
            "rows": version.counts.as_json(),
            "erased": version.erased,
            "manifest": _without_places(version.manifest),
        },
        "parts": {str(part): {"rows": tally.rows[part], "lines": tally.lines[part]} for part in tally.parts},
        "unsplit": tally.unsplit,
        "left_out": {str(reason): tally.left_out[reason] for reason in LeftOut if tally.left_out[reason]},
        "not_carried": {str(what): count for what, count in sorted(tally.not_carried.items())},
        "models": dict(sorted(tally.models.items())),
        "warnings": warnings,
    }


def _without_places(manifest: Mapping[str, Any]) -> dict[str, Json]:
    """What made the version, but for folders of this machine and where models were asked: others read this."""
    kept = {name: value for name, value in manifest.items() if name != "run"}
    config = kept.get("config")
    if isinstance(config, Mapping) and isinstance(config.get("models"), Mapping):
        models = {
            name: {key: value for key, value in model.items() if key not in ("base_url", "api_key_env")}
            for name, model in config["models"].items()
            if isinstance(model, Mapping)
        }
        kept["config"] = {**config, "models": models}
    return kept


def notes_of(version: Version, tally: Tally) -> tuple[str, ...]:
    """Give what a person should know of the files."""
    notes = []
    if not version.is_frozen:
        notes.append(
            f"{version.label} is active: it may still change, and has no hash. `tracemill datasets freeze` ends that."
        )
    if tally.unsplit:
        notes.append(f"{tally.unsplit} rows are not split yet and count as train.")
    if tally.formulas:
        notes.append(
            f"{tally.formulas} cells begin with a sign that a spreadsheet takes for a formula; they are written as "
            "they are. Import such a file with all columns as text."
        )
    return tuple(notes)


def counted(tally: Tally) -> str:
    """Write how many rows are left out, by reason; but for unstructured ones, which nobody learns answers from."""
    found = (reason for reason in LeftOut if tally.left_out[reason] and reason is not LeftOut.UNSTRUCTURED)
    return ", ".join(f"{tally.left_out[reason]} {reason}" for reason in found)
