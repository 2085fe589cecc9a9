"""What stitching needs to know of a stored call: short keys of its request, its replies and what it may go on from.

A *point* is a reply to a request, as meanings: eight bytes of the request's stitch key and eight of the reply's. Within
a session both are the session's own, so that calls of two sessions never meet. Calls that gave the same reply to the
same request share a point. A reply that follows other messages is another point, however equal its text.
"""

import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b

from store.body import LONG_STRING_BYTES, Cut, put_back, unpack
from store.follower import StoredTrace
from store.id_list import NODE_BLOBS_OF, number_list
from store.trace_rows import from_blob, to_blob, to_micros
from store.tree import ID_BYTES, Link
from store.truncated_history import WINDOW_MESSAGES, SaidBefore, Seeking

KEY_BYTES = 8
POINT_BYTES = 2 * KEY_BYTES
_SESSION_TAG = b"tracemill session 1\n"
_LEAST_BYTES = 400
"""Of JSON, in the messages that a call shares with another whose reply is not its last: an exchange that strangers
begin with, a greeting or a frequent question, is shorter, and one with an answer of some sentences is longer."""
_NEVER_REPLIES = frozenset({"system", "developer", "user", "tool", "function"})
_SYSTEM = frozenset({"system", "developer"})


@dataclass(slots=True)
class Call:
    """One call, as stitching sees it.

    Attributes:
        number: Of its trace.
        created_at: Microseconds since 1970 UTC.
        session: Id of the conversation that its session is; None when the client named no session.
        request: Short key of the whole request; empty when it has no messages.
        keys: Stitch keys of the request's messages.
        reply_places: Where in the request a reply stands that the call may go on from, the last first.
        replies: Its points, each with the choice that it came from; equal choices count as the last of them.
        turn: How many messages of the user the request holds.
        tails: For each point of a long history, the window that it ends.
        system: Short key of the system messages that the request begins with; empty when it has none.
        seeking: What the call goes on from if its client dropped the beginning; None when too little of it is left.
    """

    number: int
    created_at: int
    session: bytes | None
    request: bytes
    keys: Sequence[bytes]
    reply_places: Sequence[int]
    replies: dict[bytes, int]
    turn: int
    tails: Sequence[tuple[bytes, bytes]]
    system: bytes
    seeking: Seeking | None

    def without_content(self) -> "Call":
        """Give what is left of it without messages and replies."""
        return Call(self.number, self.created_at, self.session, b"", [], [], {}, self.turn, [], b"", None)

    def reply_rows(self) -> list[tuple[bytes, int, int, int | None]]:
        """Give what it is found by: each of its points, or its request alone when it has no reply."""
        if not self.replies:
            return [(self.request, self.created_at, self.number, None)] if self.request else []
        return [(point, self.created_at, self.number, choice) for point, choice in self.replies.items()]

    def sought(self, said: SaidBefore) -> bytes | None:
        """Give the window that tells where the call goes on from, if its client dropped the beginning."""
        return None if self.seeking is None else self.seeking.window(said)

    def points(self) -> Iterator[tuple[bytes, int]]:
        """Give the points that the request holds, each with its place, the longest history first."""
        session, keys = self.session, self.keys
        for place in self.reply_places:
            if place:
                yield _short(session, keys[place - 1]) + keys[place][:KEY_BYTES], place


def session_id(session: str) -> bytes:
    """Give the id of the conversation that a session is."""
    return blake2b(_SESSION_TAG + (to_blob(session) or b""), digest_size=ID_BYTES).digest()


def call_of(stored: StoredTrace, said: SaidBefore) -> Call | None:
    """Look at a trace that was just stored; None for one with neither messages nor a session."""
    trace = stored.trace
    return _call(
        stored.number, to_micros(trace.created_at), trace.session, trace.user, trace.key_fingerprint,
        stored.links, stored.answers, [len(link.message) for link in stored.links], said,
    )  # fmt: skip


def _call(
    number: int,
    created_at: int,
    named_session: str | None,
    user: str | None,
    key_fingerprint: str | None,
    links: Sequence[Link],
    answers: Sequence[Link],
    sizes: Sequence[int],
    said: SaidBefore,
) -> Call | None:
    """Look at a call; `sizes` has the bytes of each message of its request."""
    if not links and named_session is None:
        return None
    session = None if named_session is None else session_id(named_session)
    request = _short(session, links[-1].key) if links else b""
    replies = {request + answer.key[:KEY_BYTES]: choice for choice, answer in enumerate(answers)} if links else {}
    roles = [link.role for link in links]
    places = [place for place, role in enumerate(roles) if role not in _NEVER_REPLIES]
    places.reverse()
    tails: list[tuple[bytes, bytes]] = []
    seeking, system = None, b""
    likely = places if session is not None else _likely_places(places, roles, sizes)
    if session is None and len(links) >= WINDOW_MESSAGES - 1:
        leading = next((place for place, role in enumerate(roles) if role not in _SYSTEM), len(roles))
        system = links[leading - 1].key[:KEY_BYTES] if leading else b""
        who = (user, key_fingerprint)
        if len(links) - leading >= WINDOW_MESSAGES - 1:
            recent = links[-WINDOW_MESSAGES + 1 :]
            tails = [(said.window(who, [*recent, answer]), request + answer.key[:KEY_BYTES]) for answer in answers]
        if places and places[0] - leading >= WINDOW_MESSAGES - 1:
            seeking = Seeking(who, links[places[0] - WINDOW_MESSAGES + 1 : places[0] + 1], system)
    return Call(
        number, created_at, session, request, [link.key for link in links], likely, replies, roles.count("user"),
        tails, system, seeking,
    )  # fmt: skip


def _likely_places(places: Sequence[int], roles: Sequence[str | None], sizes: Sequence[int]) -> Sequence[int]:
    """Leave out where too little was said, for a call whose last reply nobody made, to tell it from a stranger's."""
    if len(places) < 2:
        return places
    said, enough = 0, len(roles)
    for place, role in enumerate(roles):
        said += 0 if role in _SYSTEM else sizes[place]
        if said >= _LEAST_BYTES:
            enough = place
            break
    return [place for place in places if place >= enough or place == places[0]]


def _short(session: bytes | None, key: bytes) -> bytes:
    return key[:KEY_BYTES] if session is None else blake2b(session + key, digest_size=KEY_BYTES).digest()


_TRACES = """
    SELECT t.number, t.created_at, t.session, t.user, t.key_fingerprint, t.request_node
    FROM json_each(:numbers) w CROSS JOIN traces t ON t.number = w.value ORDER BY t.number
"""
_ANSWERS = """
    SELECT r.trace, n.number, n.id, n.stitch_key, n.role
    FROM json_each(:numbers) w CROSS JOIN replies r ON r.trace = w.value CROSS JOIN nodes n ON n.number = r.node
    ORDER BY r.trace, r.position
"""
_HISTORY = """
    WITH RECURSIVE path (number, parent) AS (
        SELECT n.number, n.parent FROM json_each(:numbers) w CROSS JOIN nodes n ON n.number = w.value
        UNION
        SELECT n.number, n.parent FROM path p CROSS JOIN nodes n ON n.number = p.parent
    )
    SELECT n.number, n.parent, n.id, n.stitch_key, n.role,
        n.body_bytes + EXISTS (SELECT 1 FROM node_blobs c WHERE c.node = n.number) * :long
    FROM path p CROSS JOIN nodes n ON n.number = p.number
"""
_BODIES = "SELECT n.number, n.body FROM json_each(:numbers) w CROSS JOIN nodes n ON n.number = w.value"


def load_calls(db: sqlite3.Connection, numbers: Iterable[int], said: SaidBefore) -> list[Call]:
    """Look at traces that were stored before; those that are not there, or are no calls to stitch, are left out."""
    traces = [tuple(row) for row in db.execute(_TRACES, number_list(numbers)).fetchall()]
    answers: dict[int, list[tuple[int, Link]]] = defaultdict(list)
    for trace, node, id_, key, role in db.execute(_ANSWERS, number_list(trace[0] for trace in traces)).fetchall():
        answers[trace].append((node, Link(id_, None, key, b"", from_blob(role))))
    history = _History(db, [trace[-1] for trace in traces if trace[-1] is not None])
    paths = {trace[0]: history.path(trace[-1]) for trace in traces}
    wanted = {node for path in paths.values() if len(path) >= WINDOW_MESSAGES - 1 for node in _near_replies(path)}
    long = [trace for trace, path in paths.items() if len(path) >= WINDOW_MESSAGES - 1]
    wanted.update(node for trace in long for node, _ in answers[trace])
    texts = _texts(db, wanted)
    calls = []
    for number, created_at, session, user, fingerprint, _ in traces:
        links = [link._replace(message=texts.get(node, b"")) for node, link in paths[number]]
        replies = [link._replace(message=texts.get(node, b"")) for node, link in answers[number]]
        call = _call(
            number, created_at, from_blob(session), from_blob(user), from_blob(fingerprint), links, replies,
            [history.size(node) for node, _ in paths[number]], said,
        )  # fmt: skip
        if call is not None:
            calls.append(call)
    return calls


class _History:
    """Histories of a few calls, without their texts."""

    def __init__(self, db: sqlite3.Connection, nodes: list[int]) -> None:
        rows = db.execute(_HISTORY, {**number_list(nodes), "long": LONG_STRING_BYTES}).fetchall()
        self._sizes = {row[0]: row[5] for row in rows}
        self._parents = {row[0]: row[1] for row in rows}
        self._links = {row[0]: Link(row[2], None, row[3], b"", from_blob(row[4])) for row in rows}

    def size(self, node: int) -> int:
        """Give the bytes of a message; of one with a long string some number beyond them."""
        size: int = self._sizes[node]
        return size

    def path(self, node: int | None) -> list[tuple[int, Link]]:
        path = []
        while node is not None:
            path.append((node, self._links[node]))
            node = self._parents[node]
        path.reverse()
        return path


def _near_replies(path: list[tuple[int, Link]]) -> Iterator[int]:
    """Give the nodes whose texts a window needs: those at the end, and those up to the last reply."""
    last = max((place for place, (_, link) in enumerate(path) if link.role not in _NEVER_REPLIES), default=0)
    for place in {*range(max(last - WINDOW_MESSAGES + 1, 0), last + 1), *range(len(path) - WINDOW_MESSAGES, len(path))}:
        if place >= 0:
            yield path[place][0]


def _texts(db: sqlite3.Connection, nodes: Iterable[int]) -> dict[int, bytes]:
    wanted = number_list(nodes)
    cuts: dict[int, list[Cut]] = defaultdict(list)
    for node, offset, body in db.execute(NODE_BLOBS_OF, wanted).fetchall():
        cuts[node].append(Cut(offset, unpack(body)))
    return {number: put_back(unpack(body), cuts.get(number, [])) for number, body in db.execute(_BODIES, wanted)}
