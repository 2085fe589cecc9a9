"""A batch of traces on its way into the tables: hashed first, then numbered, with only what is new packed."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from store.body import Packer, blob_id, cut_long_strings
from store.errors import UnstorableTraceError
from store.follower import StoredTrace
from store.trace import Trace
from store.trace_rows import column_values, to_blob, to_int64
from store.tree import HashedMessages, Link, chain

Row = tuple[Any, ...]


class _Hashed(NamedTuple):
    """A trace with the ids of all that its rows point at; blobs in the order of `_BLOBS`, then one for each reply."""

    trace: Trace
    links: list[Link]
    answers: list[Link]
    blobs: tuple[bytes | None, ...]


class Batch:
    """Some traces, hashed: which nodes and blobs they need. Most may be in the database already.

    Attributes:
        links: Messages by node id, parents before their children.
        blobs: Other values by blob id.
    """

    def __init__(self, hashed: HashedMessages | None = None) -> None:
        self.links: dict[bytes, Link] = {}
        self.blobs: dict[bytes, bytes] = {}
        self._hashed = hashed
        self._traces: list[_Hashed] = []

    def add(self, trace: Trace) -> None:
        """Hash one trace.

        Raises:
            UnstorableTraceError: A message is not JSON text.
        """
        try:
            links = chain(trace.messages, None, self._hashed)
            request = links[-1] if links else None
            answers = [chain((reply.message,), request, self._hashed)[0] for reply in trace.replies]
        except ValueError as exc:
            raise UnstorableTraceError(f"trace {trace.id} cannot be stored: {exc}", trace.id) from exc
        for link in links:
            self.links[link.id] = link
        for link in answers:
            self.links[link.id] = link
        self._traces.append(_Hashed(trace, links, answers, self._add_blobs(trace)))

    def _add_blobs(self, trace: Trace) -> tuple[bytes | None, ...]:
        values = (
            trace.tools,
            trace.response_format,
            trace.parameters,
            trace.metadata,
            to_blob(trace.error),
            *[reply.logprobs for reply in trace.replies],
        )
        return tuple([None if value is None else self._add_blob(value) for value in values])

    def _add_blob(self, body: bytes) -> bytes:
        name = blob_id(body)
        self.blobs[name] = body
        return name

    def rows(self, numbers: Iterable[int], nodes: Mapping[bytes, int], blobs: Mapping[bytes, int]) -> "TraceRows":
        """Make the rows of all traces.

        Args:
            numbers: One for each trace.
            nodes: The numbers of all `links`, by id.
            blobs: The numbers of all `blobs`, by id.

        Raises:
            UnstorableTraceError: A value of a trace fits no column.
        """
        rows = TraceRows()
        for number, hashed in zip(numbers, self._traces, strict=True):
            try:
                rows.add(number, hashed, nodes, blobs)
            except (ValueError, OverflowError) as exc:
                trace_id = hashed.trace.id
                raise UnstorableTraceError(f"trace {trace_id} cannot be stored: {exc}", trace_id) from exc
        return rows

    def stored(self, numbers: Iterable[int]) -> list[StoredTrace]:
        """Give the traces as followers take them, with a number for each."""
        return [
            StoredTrace(number, hashed.trace, hashed.links, hashed.answers)
            for number, hashed in zip(numbers, self._traces, strict=True)
        ]


class TraceRows:
    """Rows of `traces`, `usages`, `replies` and `tags`, columns in the order of the statements that insert them."""

    def __init__(self) -> None:
        self.traces: list[list[Any]] = []
        self.usages: list[Row] = []
        self.replies: list[Row] = []
        self.tags: list[Row] = []

    def add(self, number: int, hashed: _Hashed, nodes: Mapping[bytes, int], blobs: Mapping[bytes, int]) -> None:
        """Add one trace's rows."""
        trace, links, answers, blob_ids = hashed
        blob_numbers = [None if name is None else blobs[name] for name in blob_ids]
        self.traces.append(
            [
                number,
                *column_values(trace),
                nodes[links[-1].id] if links else None,
                len(trace.messages),
                int(any(answer.has_tool_calls for answer in answers)),
                *blob_numbers[:5],
                to_blob(trace.key_fingerprint),
            ]
        )
        if trace.usage is not None:
            self.usages.append((number, trace.usage))
        for position, (reply, answer) in enumerate(zip(trace.replies, answers, strict=True)):
            index = to_int64(reply.index, "the index of a reply")
            logprobs = blob_numbers[5 + position]
            self.replies.append((number, position, index, nodes[answer.id], to_blob(reply.finish_reason), logprobs))
        for position, (name, value) in enumerate(trace.tags.items()):
            self.tags.append((number, to_blob(name), position, to_blob(value)))


class PackedRows:
    """Rows of `nodes`, `node_blobs` and `blobs` that the database has not; to be inserted blobs first."""

    def __init__(self, packer: Packer) -> None:
        self.nodes: list[Row] = []
        self.node_blobs: list[tuple[int, int, bytes]] = []
        """Number of the node, offset, id of the blob."""
        self.blobs: dict[bytes, bytes] = {}
        """Long strings that were cut out, by their ids."""
        self.body_bytes = 0
        self._packer = packer

    def add_links(self, links: Iterable[Link], numbers: Mapping[bytes, int]) -> None:
        """Pack messages, with their long strings cut out; parents come before children."""
        pack = self._packer.pack
        for id_, parent_id, key, message, role, _ in links:
            shortened, cuts = cut_long_strings(message)
            number, size = numbers[id_], len(message)
            parent = None if parent_id is None else numbers[parent_id]
            self.nodes.append((number, id_, parent, key, to_blob(role), size, pack(shortened)))
            self.body_bytes += size
            for cut in cuts:
                name = blob_id(cut.text)
                self.node_blobs.append((number, cut.offset, name))
                self.blobs[name] = cut.text
