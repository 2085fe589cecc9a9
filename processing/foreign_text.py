"""Text that others wrote, on a page: what steers a reader's screen is shown instead of obeyed."""

import re

# Arabic to Sinhala, Khmer and emoji are written with joiners: between two of these a joiner hides nothing.
_JOINABLE = "[\u0600-\u0dff\u1780-\u17ff\u2600-\u27bf\ufe0f\U0001f300-\U0001faff]"
_JOINER = f"(?<={_JOINABLE})[\u200c\u200d](?={_JOINABLE})"
# C0 and C1 controls but line feed and tab, and the marks that turn the writing direction round or hide text.
_STEERING = re.compile(
    f"(?!{_JOINER})[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]"
)


def visible(text: str) -> str:
    """Show characters that steer or hide as escapes; line feeds, tabs, and joiners inside words and emoji stay."""
    return _STEERING.sub(lambda match: f"\\u{ord(match[0]):04x}", text)
