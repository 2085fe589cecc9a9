"""One HTML page that needs nothing else: no network, no script; a policy in its head forbids the rest.

Styles but its own are forbidden too, so that foreign text that writes HTML cannot do a thing even where a reader's
browser would let it.
"""

import base64
import hashlib
from collections.abc import Sequence
from importlib.resources import files

from processing import report_tables as tables
from processing.report_chart import number_text, text
from store.recorded.message import Json

_SHORT_CHARS = 24
"""A cell of so few characters is never broken."""


def html_frame(title: str, parts: Sequence[str]) -> str:
    """Write a page round its parts, which are HTML already."""
    style = files("processing").joinpath("report.css").read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{text(title)}</title>\n<style>{style}</style>\n</head>\n<body>\n<main>\n"
        f"<h1>{text(title)}</h1>\n" + "\n".join(parts) + "\n</main>\n</body>\n</html>\n"
    )


def tiles(facts: Sequence[tuple[str, object]]) -> str:
    """Show a few facts large, each a name and a value."""
    shown = "".join(f"<div><b>{text(value)}</b><span>{text(name)}</span></div>" for name, value in facts)
    return f'<div class="tiles">{shown}</div>'


def warnings_section(warnings: Sequence[str]) -> str:
    """Show what a reader has to know first."""
    items = "".join(f"<li>{text(warning)}</li>" for warning in warnings)
    return f'<section class="warn"><h2>Warnings</h2>{f"<ul>{items}</ul>" if items else "<p>None.</p>"}</section>'


def section(table: tables.Table, chart: str = "") -> str:
    """Show a table under its title, below a chart that is HTML already."""
    note = f"<p>{text(table.note)}</p>" if table.note else ""
    return f"<section><h2>{text(table.title)}</h2>{chart}{_table(table)}{note}</section>"


def _table(table: tables.Table) -> str:
    if not table.lines:
        return "<p>None.</p>"
    head = "".join(f"<th>{text(name)}</th>" for name in table.head)
    lines = "".join(f"<tr>{''.join(_cell(cell) for cell in line)}</tr>" for line in table.lines)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table></div>'


def _cell(value: Json) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f'<td class="num">{number_text(value)}</td>'
    shown = text("" if value is None else value)
    return f'<td class="short">{shown}</td>' if len(str(value)) <= _SHORT_CHARS else f"<td>{shown}</td>"
