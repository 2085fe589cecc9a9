"""Personal data and secrets in the texts of rows: what redaction finds in traces, found for the filter of datasets."""

from proxy.redaction.category import Category
from proxy.redaction.finder import Finder
from proxy.redaction.likely import Likely

_LIKELY = Likely(frozenset(Category))
_FINDER = Finder()


def find_personal(text: str) -> list[str]:
    """Name the kinds that a text holds, sorted; what redaction left in place of a value is none."""
    likely = _LIKELY.find(text.encode("utf-8", "surrogatepass"))
    return sorted({match.label.lower() for match in _FINDER.find(text, likely)}) if likely else []
