"""Clusters as text and as JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from processing.clusters.build import Built
from processing.clusters.promotion import Promoted
from store.clusters.cluster import Build, Cluster, Facts, Member
from store.datasets.row import RowState
from tracemill.count_text import counted
from tracemill.terminal_text import one_line

_NAME_WIDTH = 48
_LEAST_NAME_WIDTH = 24
_EXAMPLE_CHARS = 110
_MODELS = 3


def list_text(build: Build, clusters: Sequence[Cluster]) -> str:
    """Write a line for each cluster, and one for the rest."""
    width = _width(clusters)
    lines = [cluster_line(cluster, width) for cluster in clusters]
    counts = build.counts
    if counts["unclustered"]:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in counts["unclustered"].items())
        rest = counts["traces"] - counts["clustered"]
        lines.append(f"{'unclustered':<{width + 16}} ({counted(rest, 'trace')}: {reasons})")
    lines.append(
        f"build {build.number} of {build.built_at[:16].replace('T', ' ')}: {counted(counts['traces'], 'trace')}"
    )
    return "\n".join(lines)


def cluster_line(cluster: Cluster, width: int = _LEAST_NAME_WIDTH) -> str:
    """Write a cluster as a list shows it: its name, how many traces, and what is out of the ordinary."""
    name = f'"{one_line(cluster.name, _NAME_WIDTH)}"'
    facts = cluster.facts
    told = [counted(facts.traces, "trace")]
    if facts.errors:
        told.append(f"{facts.error_rate:.0%} errors")
    if facts.duplicates:
        told.append(f"{facts.duplicates / facts.traces:.0%} duplicates")
    if facts.cost_usd is not None:
        told.append(f"${facts.cost_usd:,.2f}{'+' if facts.without_cost else ''}")
    if cluster.erased:
        told.append(f"{cluster.erased:,} erased since")
    if cluster.is_retired:
        told.append(f"retired, last found by build {cluster.last_build}")
    return f"cluster {cluster.id:<3} → {name:<{width}} ({', '.join(told)})"


def cluster_text(cluster: Cluster) -> str:
    """Write all that is known of a cluster."""
    lines = [cluster_line(cluster)]
    if cluster.description:
        lines.append(f"  {one_line(cluster.description)}")
    if cluster.model_name:
        lines.append(f"  by its words: {one_line(cluster.name_by_terms)}")
    lines.append(f"  terms         {one_line(', '.join(f'{term.text} ({term.members:,})' for term in cluster.terms))}")
    lines += [f"  {name:<13} {value}" for name, value in _facts(cluster.facts)]
    return "\n".join(lines)


def member_lines(members: Sequence[Member], texts: Mapping[str, str]) -> list[str]:
    """Write a line for each of some traces: how near the middle it is or why it is in no cluster, and how it opens."""
    lines = []
    for member in members:
        text = texts.get(str(member.trace_id))
        said = "gone" if text is None else one_line(text, _EXAMPLE_CHARS)
        place = f"{member.similarity:.2f}" if member.reason is None else str(member.reason)
        lines.append(f"  {member.trace_id}  {place:<4}  {said}")
    return lines


def members_json(members: Sequence[Member], texts: Mapping[str, str]) -> list[dict[str, Any]]:
    """Give some traces as JSON."""
    return [
        {
            "trace_id": str(member.trace_id),
            "similarity": member.similarity if member.reason is None else None,
            "reason": member.reason,
            "text": texts.get(str(member.trace_id)),
        }
        for member in members
    ]


def build_text(built: Built) -> str:
    """Write what a build found, and what became of the clusters before."""
    lines = [list_text(built.build, built.clusters)]
    if built.build.number > 1:
        kept = len(built.clusters) - len(built.new)
        lines.append(
            f"ids kept: {kept}; new: {_ids(built.new)}; retired: {_ids(built.retired)}; "
            f"moved: {counted(built.moved, 'trace')}"
        )
    if built.unnamed:
        lines.append(
            f"Without a usable name from the model, so called by their words: {counted(built.unnamed, 'cluster')}."
        )
    return "\n".join(lines)


def promoted_text(promoted: Promoted) -> str:
    """Write what became of the members of clusters."""
    label = "" if promoted.version is None else promoted.version.label
    states = promoted.as_json()
    ends = ", ".join(
        f"{states.get(state, 0):,} {state}" for state in (RowState.KEPT, RowState.DROPPED, RowState.FAILED)
    )
    lines = [f"{label}: {counted(promoted.traces, 'trace')}: {ends}"]
    lines += [
        f"  {count:,} {state}: {reason}"
        for (state, reason), count in promoted.ends.most_common()
        if state != RowState.KEPT
    ]
    if promoted.gone:
        lines.append(f"  no longer in the store: {counted(promoted.gone, 'member')}")
    lines += [f"  warning: {warning}" for warning in promoted.warnings]
    return "\n".join(lines)


def clusters_json(build: Build | None, clusters: Sequence[Cluster]) -> dict[str, Any]:
    """Give a build and clusters as JSON."""
    told = (
        None
        if build is None
        else {
            "number": build.number,
            "built_at": build.built_at,
            "settings": dict(build.settings),
            "counts": dict(build.counts),
        }
    )
    return {"build": told, "clusters": [_cluster_json(cluster) for cluster in clusters]}


def _cluster_json(cluster: Cluster) -> dict[str, Any]:
    facts = asdict(cluster.facts)
    facts["models"] = {share.name: share.traces for share in cluster.facts.models}
    return {
        "id": cluster.id,
        "name": cluster.name,
        "name_by_terms": cluster.name_by_terms,
        "model_name": cluster.model_name,
        "description": cluster.description,
        "terms": [{"text": term.text, "members": term.members} for term in cluster.terms],
        **facts,
        "error_rate": cluster.facts.error_rate,
        "erased": cluster.erased,
        "first_build": cluster.first_build,
        "last_build": cluster.last_build,
        "is_retired": cluster.is_retired,
    }


def _facts(facts: Facts) -> list[tuple[str, str]]:
    models = ", ".join(f"{one_line(share.name, 40)} ({share.traces:,})" for share in facts.models[:_MODELS])
    cost = "unknown" if facts.cost_usd is None else f"${facts.cost_usd:,.4f}"
    if facts.without_cost and facts.cost_usd is not None:
        cost += f", and {facts.without_cost:,} traces whose cost is unknown"
    agreement = "no finished run tells"
    if facts.agreement is not None:
        agreement = f"{facts.agreement:.2f} over {facts.agreement_rows:,} rows"
    return [
        ("traces", f"{facts.traces:,} ({facts.share:.1%} of all), {facts.texts:,} different openings"),
        ("errors", f"{facts.errors:,} ({facts.error_rate:.1%})"),
        ("duplicates", f"{facts.duplicates:,}"),
        ("models", models),
        ("applications", f"{facts.applications}"),
        ("cost", cost),
        ("agreement", agreement),
        ("from", f"{facts.first_at} to {facts.last_at}"),
    ]


def _width(clusters: Sequence[Cluster]) -> int:
    names = [len(one_line(cluster.name, _NAME_WIDTH)) + 2 for cluster in clusters]
    return max([_LEAST_NAME_WIDTH, *names])


def _ids(ids: Sequence[int]) -> str:
    return ", ".join(map(str, ids)) or "none"
