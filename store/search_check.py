"""The self-check of the index for search."""

import sqlite3

from store import finding
from store.finding import Finding
from store.search_index import search_state

_FAR_BEHIND = 10_000


def check_search(connection: sqlite3.Connection) -> list[Finding]:
    """Tell whether texts are indexed, how far, and whether words of erased messages are left."""
    state = search_state(connection)
    facts = {"behind": state.behind, "parts_to_forget": state.to_forget}
    found: list[Finding] = []
    if not state.is_on:
        found.append(Finding(finding.SEARCH_OFF, "texts are not indexed.", facts))
    elif state.behind > _FAR_BEHIND:
        found.append(Finding(finding.SEARCH_BEHIND, f"{state.behind:,} messages wait for the index.", facts))
    else:
        found.append(Finding(finding.SEARCH, f"texts are indexed; {state.behind:,} messages wait.", facts))
    if state.to_forget:
        what = f"{state.to_forget} parts of the index still hold words of erased messages."
        found.append(Finding(finding.SEARCH_FORGETTING, what, facts))
    return found
