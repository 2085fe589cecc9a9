"""The report in its three forms: each is made of the JSON alone, so all say the same."""

from collections.abc import Mapping

from processing.output import pretty
from processing.report_html import html_page
from processing.report_page import page
from store.recorded.message import Json


def report_files(found: Mapping[str, Json]) -> dict[str, bytes]:
    """Write `report.json`, `report.md` and `report.html`."""
    return {
        "report.json": pretty(found),
        "report.md": page(found).encode("utf-8", "replace"),
        "report.html": html_page(found).encode("utf-8", "replace"),
    }
