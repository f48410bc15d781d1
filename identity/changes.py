"""What a decision changed about people, in words that others can follow (DESIGN §3.4)."""

import hashlib
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Final

import msgspec

from identity.incremental import Change
from identity.nodes import Node
from identity.resolve import Cluster, Refusal

BECAUSE_MAX: Final = 10
"""Causes that a change names."""


class Kind(StrEnum):
    """What happened to people."""

    CREATED = "created"
    """Identifiers that were each alone became one person."""
    MERGED = "merged"
    """Two or more profiles became one."""
    SPLIT = "split"
    """One profile became two or more."""
    RENAMED = "renamed"
    """The same people under another profile id, or with one identifier more that did nothing yet."""
    REGROUPED = "regrouped"
    """Members moved between profiles: neither side is the other's whole."""
    CONFLICT = "conflict"
    """Something that would join them was refused, by a rule; nobody changed."""
    OWNERSHIP = "ownership"
    """A device belongs to somebody else, or to nobody; nobody changed."""

    @property
    def of_people(self) -> bool:
        """Whether it says who is who."""
        return self not in (Kind.CONFLICT, Kind.OWNERSHIP)


class Cause(msgspec.Struct, frozen=True):
    """News that may have changed people."""

    id: str
    """Of the event or of the operator's decision."""
    time_ms: int
    nodes: Collection[Node]
    """Whom it names."""


class PersonChange(msgspec.Struct, frozen=True, kw_only=True):
    """Profiles that ended or changed, and what their members belong to now."""

    id: str
    """Made of the time, of all that brought it about, and of what is before and after.

    So deciding again gives it again, and what happens a second time is another change.
    """
    time_ms: int
    """When the evidence that decided it was received."""
    kind: Kind
    before: tuple[Cluster, ...]
    after: tuple[Cluster, ...]
    because: tuple[str, ...] = ()
    """The events and decisions that brought it about, earliest first; at most BECAUSE_MAX."""
    refusal: Refusal | None = None
    """Of a conflict: what was refused."""
    device: Node | None = None
    """Of an ownership: whose it was, and whose it is, by profile id without members; no side: nobody's."""

    @property
    def profiles(self) -> set[Node]:
        """Whose history it belongs to."""
        found = {side.profile_id for side in (*self.before, *self.after)}
        return found if self.device is None else found | {self.device}


class Published(msgspec.Struct, frozen=True):
    """A change as those read it who follow the history."""

    position: int
    """Where it stands: grows with every change that is published."""
    change: PersonChange


def changes_of(
    change: Change,
    time_ms: int,
    causes: Sequence[Cause] = (),
    refused_before: Iterable[Refusal] = (),
) -> list[PersonChange]:
    """Who changed, one entry for each group of people that nothing else ties together, in order of id.

    Then what was refused and had not been before, for its first time.
    """
    before = {cluster for cluster in change.before if cluster.members & change.resolved}
    after = set(change.clusters)
    same = before & after
    ended, begun = before - same, after - same
    groups = _groups([*ended, *begun])
    was, now = _by_member(ended), _by_member(begun)
    because = _Because(causes)
    people = (_change(nodes, was, now, time_ms, because) for nodes in groups)
    return [
        *sorted(people, key=lambda each: each.id),
        *_conflicts(change, time_ms, because, refused_before),
    ]


def _by_member(clusters: Iterable[Cluster]) -> dict[Node, Cluster]:
    return {node: cluster for cluster in clusters for node in cluster.members}


class _Because:
    """Which news names whom."""

    def __init__(self, causes: Iterable[Cause]) -> None:
        self._naming: defaultdict[Node, list[Cause]] = defaultdict(list)
        for cause in causes:
            for node in cause.nodes:
                self._naming[node].append(cause)

    def of(self, nodes: Iterable[Node]) -> tuple[str, ...]:
        """The causes that name any of `nodes`, earliest first."""
        found = {(each.time_ms, each.id) for node in nodes for each in self._naming.get(node, ())}
        return tuple(cause for _, cause in sorted(found))

    def between(self, a: Node, b: Node) -> tuple[str, ...]:
        """The causes that name both, else those that name either, earliest first."""
        both = [each for each in self._naming.get(a, ()) if b in each.nodes]
        return _Because(both).of((a,)) or self.of((a, b))


def _conflicts(
    change: Change, time_ms: int, because: _Because, refused_before: Iterable[Refusal]
) -> list[PersonChange]:
    known = {(each.a, each.b, each.rule) for each in refused_before}
    new = [each for each in change.refusals if (each.a, each.b, each.rule) not in known]
    cluster_of = {node: each for each in change.clusters for node in each.members} if new else {}
    found = []
    for refusal in new:
        ends = {refusal.a, refusal.b}
        sides = {cluster_of.get(node) or Cluster(node, frozenset({node})) for node in ends}
        ordered = tuple(sorted(sides, key=lambda cluster: cluster.profile_id))
        digest = hashlib.blake2b(digest_size=16)
        digest.update(b"?%d|" % refusal.since_ms + refusal.a + refusal.b + refusal.rule.encode())
        found.append(
            PersonChange(
                id=digest.hexdigest(), time_ms=time_ms, kind=Kind.CONFLICT, before=ordered,
                after=ordered, because=because.between(refusal.a, refusal.b)[:BECAUSE_MAX], refusal=refusal,
            )
        )  # fmt: skip
    return sorted(found, key=lambda each: each.id)


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
    nodes: frozenset[Node],
    before: Mapping[Node, Cluster],
    after: Mapping[Node, Cluster],
    time_ms: int,
    because: _Because,
) -> PersonChange:
    was, now = _whole(nodes, before), _whole(nodes, after)
    causes = because.of(nodes)
    # Who is merged, split and merged again changes twice in the same way, and maybe at the same time: an
    # import knows only the day.
    digest = hashlib.blake2b(b"%d" % time_ms, digest_size=16)
    for side in (was, now):
        digest.update(b"|")
        for cluster in side:
            digest.update(cluster.profile_id + b"".join(sorted(cluster.members)) + b",")
    digest.update(b"|" + "\0".join(causes).encode())
    return PersonChange(
        id=digest.hexdigest(), time_ms=time_ms, kind=_kind(was, now), before=was, after=now,
        because=causes[:BECAUSE_MAX],
    )  # fmt: skip


def _whole(nodes: frozenset[Node], cluster_of: Mapping[Node, Cluster]) -> tuple[Cluster, ...]:
    """The clusters of `nodes`, with everybody else as a profile of one."""
    mine = {cluster_of.get(node) or Cluster(node, frozenset({node})) for node in nodes}
    return tuple(sorted(mine, key=lambda cluster: cluster.profile_id))


def _kind(before: Sequence[Cluster], after: Sequence[Cluster]) -> Kind:
    if len(after) == 1:
        if len(before) == 1:
            return Kind.RENAMED
        alone = all(len(cluster.members) == 1 for cluster in before)
        return Kind.CREATED if alone else Kind.MERGED
    return Kind.SPLIT if len(before) == 1 else Kind.REGROUPED
