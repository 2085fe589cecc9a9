"""Clusters, their members and bought vectors in `work.db`."""

import sqlite3
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from store import json_text
from store.call import Call, insertion
from store.clusters.cluster import UNCLUSTERED, Apart, Build, Cluster, Facts, Member, Share, Term
from store.clusters.erasing import WALKS
from store.connection import run, transaction_now
from store.database import store_error, write_lock
from store.erasing.work_walk import Held
from store.errors import ClusterError
from store.group_commit import Statement
from store.work import WorkStore

_KEYS_AT_ONCE = 500
_MEMBERS_AT_ONCE = 5_000
_ROWS_AT_ONCE = 200
# What nobody says any more was erased while it was bought.
_ADD_VECTOR = """
    INSERT INTO embeddings (key, vector)
    SELECT :key, :vector WHERE EXISTS (SELECT 1 FROM embedding_sources WHERE key = :key) ON CONFLICT (key) DO NOTHING
"""
_ADD_SOURCE = "INSERT OR IGNORE INTO embedding_sources (key, trace_id) VALUES (:key, :trace_id)"
_CLUSTERS = """
    SELECT c.id, c.first_build, c.last_build, c.terms, c.model_name, c.description, c.facts, c.erased,
           c.last_build < (SELECT max(number) FROM cluster_builds)
    FROM clusters c
"""
_SAVE_CLUSTER = """
    INSERT INTO clusters (id, first_build, last_build, terms, model_name, description, facts, erased)
    VALUES (:id, :first_build, :last_build, :terms, :model_name, :description, :facts, 0)
    ON CONFLICT (id) DO UPDATE SET last_build = excluded.last_build, terms = excluded.terms,
        model_name = excluded.model_name, description = excluded.description, facts = excluded.facts, erased = 0
"""
_FORGET_WORDS = """
    UPDATE clusters SET terms = '[]', model_name = NULL, description = NULL WHERE last_build < :number AND terms != '[]'
"""
_MEMBERS = "SELECT number, trace_id, cluster, reason, similarity FROM cluster_members"


class ClusterStore(WorkStore):
    """The working memory, with its clusters."""

    async def vectors(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """Look bought vectors up; keys without one are left out."""
        found: dict[bytes, bytes] = {}
        for start in range(0, len(keys), _KEYS_AT_ONCE):
            part = keys[start : start + _KEYS_AT_ONCE]
            marks = ", ".join("?" * len(part))
            sql = f"SELECT key, vector FROM embeddings WHERE key IN ({marks})"  # noqa: S608 - question marks
            found.update(await self._all(sql, part))
        return found

    async def add_vectors(self, vectors: Mapping[bytes, bytes], call: Call) -> None:
        """Commit what a call gave, the call included, all or none."""
        await self._commit_together(insertion(call), vector_insertion(vectors))

    async def add_vector_sources(self, sources: Mapping[bytes, Collection[UUID]]) -> None:
        """Note which traces say what vectors were made of, before these are made."""
        rows = [{"key": key, "trace_id": id_.bytes} for key, ids in sources.items() for id_ in ids]
        for start in range(0, len(rows), _MEMBERS_AT_ONCE):
            await self._commit(_ADD_SOURCE, rows[start : start + _MEMBERS_AT_ONCE])

    async def last_build(self) -> Build | None:
        """Give the build that the clusters are of; None before the first."""
        rows = await self._all(
            "SELECT number, built_at, settings, counts FROM cluster_builds ORDER BY number DESC LIMIT 1"
        )
        return _build(rows[0]) if rows else None

    async def clusters(self, *, with_retired: bool = False) -> list[Cluster]:
        """List the clusters of the last build, the largest first; then those that are no more, when asked for."""
        found = [_cluster(row) for row in await self._all(_CLUSTERS)]
        wanted = [cluster for cluster in found if with_retired or not cluster.is_retired]
        return sorted(wanted, key=lambda one: (one.is_retired, -one.facts.traces, one.id))

    async def cluster(self, cluster_id: int) -> Cluster:
        """Give one cluster, a retired one as well.

        Raises:
            ClusterError: There is none of this id.
        """
        rows = await self._all(f"{_CLUSTERS} WHERE c.id = ?", [cluster_id])
        if not rows:
            raise ClusterError(f"there is no cluster {cluster_id}. `tracemill clusters list` shows those there are.")
        return _cluster(rows[0])

    async def members(self, cluster_id: int | None = None, *, limit: int | None = None) -> list[Member]:
        """List the members of a cluster, those nearest its middle first; without one, every trace in no order.

        Args:
            cluster_id: Its id; `UNCLUSTERED` for the traces that are in none, by reason.
            limit: At most so many; None for all.
        """
        if cluster_id is None:
            return [_member(row) for row in await self._all(_MEMBERS)]
        most = -1 if limit is None else limit
        if cluster_id == UNCLUSTERED:
            sql = f"{_MEMBERS} WHERE cluster IS NULL ORDER BY reason, trace_id LIMIT ?"
            return [_member(row) for row in await self._all(sql, [most])]
        sql = f"{_MEMBERS} WHERE cluster = ? ORDER BY similarity DESC, trace_id LIMIT ?"
        return [_member(row) for row in await self._all(sql, [cluster_id, most])]

    async def cluster_of(self, trace_ids: Sequence[str]) -> dict[str, int]:
        """Tell the clusters of traces; those that are in none, and ids that are none of ours, are left out."""
        asked = {id_.bytes: text for text in trace_ids if (id_ := _uuid(text)) is not None}
        found: dict[str, int] = {}
        keys = list(asked)
        for start in range(0, len(keys), _KEYS_AT_ONCE):
            part = keys[start : start + _KEYS_AT_ONCE]
            marks = ", ".join("?" * len(part))
            sql = f"SELECT trace_id, cluster FROM cluster_members WHERE trace_id IN ({marks})"  # noqa: S608 - as above
            found.update((asked[id_], cluster) for id_, cluster in await self._all(sql, part) if cluster is not None)
        return found

    async def row_bodies(self) -> AsyncIterator[bytes]:
        """Yield the rows that runs of the processor made, each once and packed as in `store.body`."""
        sql = (
            "SELECT number, body FROM row_contents c WHERE number > ? AND EXISTS ("
            "SELECT 1 FROM version_rows r JOIN versions v ON v.id = r.version WHERE r.row_hash = c.row_hash"
            " AND v.birth IN ('process', 'curate', 'rebuild')) ORDER BY number LIMIT ?"
        )
        place = 0
        while rows := await self._all(sql, [place, _ROWS_AT_ONCE]):
            place = rows[-1][0]
            for _, body in rows:
                yield body

    async def next_ids(self) -> tuple[int, int]:
        """Give the first number that no build had, and the first id that no cluster had."""
        rows = await self._all(
            "SELECT (SELECT coalesce(max(number), 0) FROM cluster_builds) + 1,"
            " (SELECT coalesce(max(id), 0) FROM clusters) + 1"
        )
        return int(rows[0][0]), int(rows[0][1])

    async def save_build(self, build: Build, clusters: Sequence[Cluster], members: Sequence[Member]) -> None:
        """Put a build in the place of the one before, as a whole; clusters that it does not have are retired by that.

        Raises:
            ClusterError: Another build came first.
        """
        number, _ = await self.next_ids()
        if build.number != number:
            raise ClusterError("the clusters were built by somebody else meanwhile. Build them again.")
        ids = [
            {"cluster": cluster.id, "trace_id": id_.bytes} for cluster in clusters for id_ in sorted(cluster.named_from)
        ]
        await self._commit_together(
            Statement(
                "INSERT INTO cluster_builds (number, built_at, settings, counts)"
                " VALUES (:number, :at, :settings, :counts)",
                [
                    {
                        "number": build.number,
                        "at": build.built_at,
                        "settings": _text(build.settings),
                        "counts": _text(build.counts),
                    }
                ],
            ),
            Statement("DELETE FROM cluster_name_sources", [{}]),
            Statement("DELETE FROM cluster_members", [{}]),
            Statement(_SAVE_CLUSTER, [_columns(cluster) for cluster in clusters]),
            Statement(
                "INSERT INTO cluster_members (trace_id, cluster, reason, similarity)"
                " VALUES (:trace_id, :cluster, :reason, :similarity)",
                [
                    {
                        "trace_id": member.trace_id.bytes,
                        "cluster": member.cluster,
                        "reason": member.reason,
                        "similarity": member.similarity,
                    }
                    for member in members
                ],
            ),
            Statement("INSERT INTO cluster_name_sources (cluster, trace_id) VALUES (:cluster, :trace_id)", ids),
            # Nobody could tell any more whose words these were.
            Statement(_FORGET_WORDS, [{"number": build.number}]),
        )

    async def forget(self, trace_ids: Collection[UUID]) -> None:
        """Take out what came from erased traces, as an erasure does that finds it.

        For whoever wrote down what he had read before it was erased: the erasure may have looked here already.
        """
        wanted = {id_.bytes for id_ in trace_ids}
        at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

        def work(db: sqlite3.Connection) -> None:
            db.execute("PRAGMA secure_delete = ON")
            with write_lock(self._path), transaction_now(db):
                for walk in WALKS:
                    place = 0
                    while rows := db.execute(walk.sources, {"place": place, "count": _MEMBERS_AT_ONCE}).fetchall():
                        place = rows[-1][0]
                        held = [Held(number, key, 0) for number, key, trace in rows if trace in wanted]
                        walk.erase(db, held, at)

        try:
            await run(self._connection, work)
        except sqlite3.Error as exc:
            raise store_error(exc, self._path) from exc

    async def _all(self, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
        try:
            return await run(self._connection, lambda db: db.execute(sql, parameters).fetchall())
        except sqlite3.Error as exc:
            raise store_error(exc, self._path) from exc


def vector_insertion(vectors: Mapping[bytes, bytes]) -> Statement:
    """Give what writes vectors by their keys, unless they are there, or nobody says their text any more."""
    return Statement(_ADD_VECTOR, [{"key": key, "vector": vector} for key, vector in vectors.items()])


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _build(row: Sequence[Any]) -> Build:
    number, built_at, settings, counts = row
    return Build(number, built_at, json_text.loads(settings.encode()), json_text.loads(counts.encode()))


def _cluster(row: Sequence[Any]) -> Cluster:
    id_, first_build, last_build, terms, model_name, description, facts, erased, is_retired = row
    counted = json_text.loads(facts.encode())
    counted["models"] = tuple(Share(*share) for share in counted["models"])
    return Cluster(
        id=id_,
        first_build=first_build,
        last_build=last_build,
        terms=tuple(Term(text, members, is_named) for text, members, is_named in json_text.loads(terms.encode())),
        facts=Facts(**counted),
        model_name=model_name,
        description=description,
        erased=erased,
        is_retired=bool(is_retired),
    )


def _columns(cluster: Cluster) -> dict[str, Any]:
    return {
        "id": cluster.id,
        "first_build": cluster.first_build,
        "last_build": cluster.last_build,
        "terms": _text([list(term) for term in cluster.terms]),
        "model_name": cluster.model_name,
        "description": cluster.description,
        "facts": _text(asdict(cluster.facts) | {"models": [list(share) for share in cluster.facts.models]}),
    }


def _member(row: Sequence[Any]) -> Member:
    _, trace_id, cluster, reason, similarity = row
    return Member(UUID(bytes=trace_id), cluster, None if reason is None else Apart(reason), similarity)


def _text(value: Any) -> str:  # noqa: ANN401 - any JSON
    return json_text.dumps(value).decode()
