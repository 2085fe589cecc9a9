"""Foreign text on a terminal: what a model or client wrote may hold escape sequences and must not steer the screen."""

import re

# C0 and C1 controls, DEL, and the marks that turn the writing direction round or hide text (UAX 9, Trojan Source).
_STEERING = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")


def one_line(text: str, width: int | None = None) -> str:
    """Make text safe and one line long; characters that steer a terminal are shown as escapes.

    Args:
        text: Any text.
        width: Longest text that comes back, cut with an ellipsis; None for no bound.
    """
    if width is not None and len(text) > width:
        text = text[: width - 1] + "…"
    return _STEERING.sub(_escaped, text)


def many_lines(text: str) -> str:
    """Make text safe and keep its line feeds and tabs."""
    return _STEERING.sub(lambda match: match[0] if match[0] in "\n\t" else _escaped(match), text)


def _escaped(match: re.Match[str]) -> str:
    return {"\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(match[0]) or f"\\u{ord(match[0]):04x}"
