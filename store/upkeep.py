"""What goes along with the traces, put together: derived tables, appliers of changes, and chores."""

from collections.abc import Mapping, Sequence

from store.change import Applier, ChangeKind
from store.conversation_follower import Conversations
from store.conversation_rebuild import apply_rebuild
from store.erasing.erasure import apply_erasure
from store.feedback import apply_feedback
from store.filter_labels import LabelFollower
from store.follower import Follower
from store.raw_calls import RawCalls
from store.reingest import Reingest
from store.search_index import SearchFollower
from store.usage import UsageFollower


def make_followers(raw_calls: RawCalls) -> Sequence[Follower]:
    """Make what keeps the derived tables, in the order in which they take a batch in, and with them the raw calls."""
    return (raw_calls, LabelFollower(), SearchFollower(), Conversations(), UsageFollower())


def make_appliers(raw_calls: RawCalls, followers: Sequence[Follower]) -> Mapping[ChangeKind, Applier]:
    """Make what applies changes; a kind without an applier is a note for the audit log."""
    return {
        ChangeKind.CONVERSATIONS: apply_rebuild,
        ChangeKind.ERASE: apply_erasure,
        ChangeKind.FEEDBACK: apply_feedback,
        ChangeKind.REINGEST: Reingest(raw_calls, followers),
    }
