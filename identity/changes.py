"""What a decision changed about people, in words that others can follow (DESIGN §3.4)."""

import hashlib
from collections.abc import Sequence
from enum import StrEnum

import msgspec

from identity.incremental import Change
from identity.nodes import Node
from identity.resolve import Cluster


class Kind(StrEnum):
    """What happened to people."""

    MERGED = "merged"
    """Two or more profiles became one."""
    SPLIT = "split"
    """One profile became two or more."""
    RENAMED = "renamed"
    """The same people under another profile id, or with one identifier more that did nothing yet."""
    REGROUPED = "regrouped"
    """Members moved between profiles: neither side is the other's whole."""


class PersonChange(msgspec.Struct, frozen=True, kw_only=True):
    """Profiles that ended or changed, and what their members belong to now."""

    id: str
    """Made of what is before and after, so that deciding again gives it again."""
    time_ms: int
    """When the evidence that decided it was received."""
    kind: Kind
    before: tuple[Cluster, ...]
    after: tuple[Cluster, ...]


def changes_of(change: Change, time_ms: int) -> list[PersonChange]:
    """Who changed, one entry for each group of people that nothing else ties together, in order of id."""
    before = {cluster for cluster in change.before if cluster.members & change.resolved}
    after = set(change.clusters)
    same = before & after
    groups = _groups([*(before - same), *(after - same)])
    return sorted(
        (_change(nodes, before - same, after - same, time_ms) for nodes in groups),
        key=lambda each: each.id,
    )


def _groups(clusters: Sequence[Cluster]) -> list[frozenset[Node]]:
    """The members of clusters, united where clusters share one."""
    group_of: dict[Node, set[Node]] = {}
    for cluster in clusters:
        joined = set(cluster.members)
        for node in cluster.members:
            joined |= group_of.get(node, set())
        group_of.update(dict.fromkeys(joined, joined))
    return [
        frozenset(group) for group in {id(group): group for group in group_of.values()}.values()
    ]


def _change(
    nodes: frozenset[Node], before: set[Cluster], after: set[Cluster], time_ms: int
) -> PersonChange:
    was, now = _whole(nodes, before), _whole(nodes, after)
    digest = hashlib.blake2b(digest_size=16)
    for side in (was, now):
        digest.update(b"|")
        for cluster in side:
            digest.update(cluster.profile_id + b"".join(sorted(cluster.members)) + b",")
    return PersonChange(
        id=digest.hexdigest(), time_ms=time_ms, kind=_kind(was, now), before=was, after=now
    )


def _whole(nodes: frozenset[Node], clusters: set[Cluster]) -> tuple[Cluster, ...]:
    """The clusters among `nodes`, with everybody else as a profile of one."""
    mine = [cluster for cluster in clusters if cluster.members & nodes]
    alone = nodes.difference(*(cluster.members for cluster in mine))
    mine += [Cluster(node, frozenset({node})) for node in alone]
    return tuple(sorted(mine, key=lambda cluster: cluster.profile_id))


def _kind(before: Sequence[Cluster], after: Sequence[Cluster]) -> Kind:
    if len(after) == 1:
        return Kind.MERGED if len(before) > 1 else Kind.RENAMED
    return Kind.SPLIT if len(before) == 1 else Kind.REGROUPED
