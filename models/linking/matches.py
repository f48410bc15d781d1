"""Accepted pairs as evidence: `Match(a, b, probability)` between the identifiers of two records."""

from collections.abc import Iterable
from typing import Final

import msgspec

from identity.evidence import Match, pair
from identity.nodes import Identifier, Node, NodeHasher
from identity.normalize import Normalizer
from identity.resolve import fanout_max_of
from identity.rules import Rules

PROFILE: Final = "profile"
"""The type of a record that is a profile already: its id is the profile's, in hexadecimal."""

_RUN: Final = "link:"


def run_of(version: str) -> str:
    """What the evidence of a run says that it comes from, given the version of its model."""
    return _RUN + version.removeprefix(_RUN)


class AcceptedPair(msgspec.Struct, frozen=True):
    """Two records that are one person, by their ids in their files."""

    a: str
    b: str
    probability: float


def matches_of(
    pairs: Iterable[AcceptedPair], hasher: NodeHasher, rules: Rules, *, type_a: str, type_b: str, first_ms: int,
    first_event: str = "",
) -> list[Match]:  # fmt: skip
    """Evidence that joins what `pairs` join, in the order of nodes.

    `type_a` and `type_b` are the identifier types of record ids, or PROFILE. Of pairs that say the same twice
    over (a-b, b-c, a-c) the most probable are taken that suffice, and no identifier gets more than the rules'
    fan-out: else forty records of one person would make every one of them a hub, which joins nobody. Records
    whose id is a blocked value are left out.
    """
    normalizer = Normalizer(rules)
    nodes = [
        (
            _node(one.a, type_a, hasher, normalizer),
            _node(one.b, type_b, hasher, normalizer),
            one.probability,
        )
        for one in pairs
    ]
    root: dict[Node, Node] = {}
    degree: dict[Node, int] = {}
    found = []
    known = [
        (*pair(a, b), chance)
        for a, b, chance in nodes
        if a is not None and b is not None and a != b
    ]
    for a, b, chance in sorted(known, key=lambda one: (-one[2], one[0], one[1])):
        if _root(root, a) == _root(root, b):
            continue
        if any(degree.get(node, 0) >= fanout_max_of(node, rules) for node in (a, b)):
            continue
        root[_root(root, a)] = _root(root, b)
        for node in (a, b):
            degree[node] = degree.get(node, 0) + 1
        found.append(
            Match(a=a, b=b, probability=chance, first_ms=first_ms, first_event=first_event)
        )
    return sorted(found, key=lambda match: (match.a, match.b))


def identifiers_of(
    pairs: Iterable[AcceptedPair], hasher: NodeHasher, rules: Rules, *, type_a: str, type_b: str
) -> dict[Node, Identifier]:
    """What the nodes of `matches_of` stand for, without those that are profiles already."""
    normalizer = Normalizer(rules)
    found = {}
    for one in pairs:
        for type_name, raw in ((type_a, one.a), (type_b, one.b)):
            value = "" if type_name == PROFILE else normalizer.value(type_name, raw)
            if value:
                found[hasher.node(type_name, value)] = Identifier(type_name, value)
    return found


def _node(value: str, type_name: str, hasher: NodeHasher, normalizer: Normalizer) -> Node | None:
    if type_name == PROFILE:
        return Node(bytes.fromhex(value))
    normal = normalizer.value(type_name, value)
    return hasher.node(type_name, normal) if normal else None


def _root(root: dict[Node, Node], node: Node) -> Node:
    while (above := root.get(node, node)) != node:
        root[node] = node = root.get(above, above)
    return node
