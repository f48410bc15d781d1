"""Who is who from all evidence in bulk: `identity.resolve.resolve` over columns (DESIGN §9).

A component in which no rule can refuse anything, as nearly every one is, is a person at once; the others go
through `identity.resolve` itself, on all cores.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from typing import Final, NamedTuple

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from identity.evidence import NEVER, KeepApart, Link, Match, MustLink
from identity.nodes import nodes_in
from identity.resolve import (
    USER_ID_CODE,
    Evidence,
    Refusal,
    Resolution,
    blocked_refusal,
    limits_of,
    ranks_of,
    resolve_among,
)
from identity.rules import Rules
from ingest.numbering import (
    NOBODY,
    Bools,
    Floats,
    Ints,
    Nodes,
    Numbers,
    Progress,
    Some,
    Told,
    clusters_among,
    silent,
)
from storage.processes import cores

LINKS_EACH: Final = 5_000
"""Links that one call of `resolve_among` decides, or one component if it has more."""
ALONE_MAX: Final = 20_000
"""Links up to which other processes are not worth their start, about a second."""
_CODES: Final = 0x1000


class Resolved(NamedTuple):
    """Who is who, by number."""

    nodes: Nodes
    profile: Numbers
    """For each node, the one that gives its person the id; -1: it is alone."""
    refusals: frozenset[Refusal]
    """Without hubs."""
    hubs: Numbers
    hub_since_ms: Ints
    """When each hub was named together with one more than it may be."""

    def resolution(self) -> Resolution:
        """The same as objects: for tests, and for few."""
        everybody = np.arange(len(self.nodes))
        return Resolution(
            frozenset(clusters_among(self.nodes, self.profile, everybody)),
            self.refusals,
            frozenset(self.nodes.at(self.hubs)),
        )


def resolve_all(
    nodes: Nodes,
    told: Told,
    rules: Rules,
    *,
    processes: int | None = None,
    progress: Progress = silent,
) -> Resolved:
    """What `identity.resolve.resolve` gives for the same evidence.

    So many `processes` decide what rules may refuse: by default one a core, and only this one if it is little.
    """
    work = _Work(nodes, told, rules)
    profile = work.plain_people()
    tasks = work.tasks()
    links = sum(len(task.first_ms) for task in tasks)
    refusals = [blocked_refusal(node) for node in nodes.at(work.named_blocked())]
    done = 0
    for task, found in zip(tasks, _decided(tasks, rules, links, processes), strict=True):
        somebody = found.profile != NOBODY
        profile[task.numbers[somebody]] = task.numbers[found.profile[somebody]]
        refusals += found.refusals
        done += len(task.first_ms)
        progress("links beside a rule", done, links)
    return Resolved(nodes, profile, frozenset(refusals), work.hubs, work.hub_since_ms)


class _Task(NamedTuple):
    """Whole components, for another process. Ends are places among `numbers`."""

    numbers: Numbers
    nodes: bytes
    left: Some
    right: Some
    first_ms: Ints
    trusted_ms: Ints
    probability: Floats
    hubs: Some
    blocked: Some
    keep_apart: Sequence[KeepApart]


class _Found(NamedTuple):
    """What became of a task."""

    profile: Numbers
    """For each of its nodes the place of the one that gives the id."""
    refusals: list[Refusal]


class _Work:
    """What follows by the rules for each node and component."""

    def __init__(self, nodes: Nodes, told: Told, rules: Rules) -> None:
        self._nodes, self._told, self._rules = nodes, told, rules
        self._codes = nodes.codes
        self._device = nodes.devices
        blocked = nodes.find(sorted(told.blocked))
        self._blocked = _marked(len(nodes), blocked[blocked != NOBODY])
        self.hubs, self.hub_since_ms = self._find_hubs()
        self._hub = _marked(len(nodes), self.hubs)
        self._component, sizes = self._components()
        self._several = sizes > 1
        self._unsure = self._several & self._may_be_refused(sizes)

    def _find_hubs(self) -> tuple[Numbers, Ints]:
        """`identity.resolve.find_hubs`, and since when each is one."""
        told, rules = self._told, self._rules
        ends = (told.left[: told.link_count], told.right[: told.link_count])
        count = sum((np.bincount(each, minlength=len(self._nodes)) for each in ends), 0)
        most = np.where(self._codes == USER_ID_CODE, rules.fanout_max_user, rules.fanout_max)
        suspect = (count > most) & ~self._device & ~self._blocked
        rows = [np.flatnonzero(suspect[each]) for each in ends]
        node = np.concatenate([ends[0][rows[0]], ends[1][rows[1]]])
        other = np.concatenate([ends[1][rows[0]], ends[0][rows[1]]])
        first_ms = told.first_ms[np.concatenate(rows)]
        # A pair is stored once, but evidence in memory may repeat it: its earliest counts.
        order = np.lexsort((first_ms, other, node))
        node, other, first_ms = node[order], other[order], first_ms[order]
        new = np.ones(len(node), bool)
        new[1:] = (node[1:] != node[:-1]) | (other[1:] != other[:-1])
        node, first_ms = node[new], first_ms[new]
        order = np.lexsort((first_ms, node))
        node, first_ms = node[order], first_ms[order]
        found, start, fanout = np.unique(node, return_index=True, return_counts=True)
        is_hub = fanout > most[found]
        hubs, start = found[is_hub], start[is_hub]
        return hubs, first_ms[start + most[hubs]]

    def _components(self) -> tuple[Numbers, Ints]:
        """The component of each node over all that may join, and how many nodes each has."""
        told = self._told
        joins = ~self._device & ~self._blocked
        may_join = joins[told.left] & joins[told.right]
        pairs = slice(0, told.pair_count)
        may_join[pairs] &= ~(self._hub[told.left[pairs]] | self._hub[told.right[pairs]])
        left, right = told.left[may_join], told.right[may_join]
        size = len(self._nodes)
        graph = coo_array((np.ones(len(left), bool), (left, right)), (size, size))
        count, component = connected_components(graph.tocsr(), directed=False)
        return component, np.bincount(component, minlength=count)

    def _may_be_refused(self, sizes: Ints) -> Bools:
        """Components in which a rule might forbid something: `may_be_one` says no, or may."""
        found: Bools = sizes > self._rules.members_max
        limits = limits_of(self._rules)
        for code in np.unique(self._codes).tolist():
            of_type = np.bincount(self._component[self._codes == code], minlength=len(sizes))
            found |= of_type > limits.get(code, self._rules.limit_default)
        found[self._kept_apart_in()[1]] = True
        return found

    def _kept_apart_in(self) -> tuple[Ints, Numbers]:
        """Which decisions keep somebody apart in which component, as places of both."""
        named = [sorted(frozenset().union(*each.groups)) for each in self._told.keep_apart]
        decision = np.repeat(np.arange(len(named)), [len(each) for each in named])
        number = self._nodes.find([node for each in named for node in each])
        known = number != NOBODY
        return decision[known], self._component[number[known]]

    def plain_people(self) -> Numbers:
        """The profiles of everybody in components in which nothing can be refused."""
        members = np.flatnonzero((self._several & ~self._unsure)[self._component])
        profile = np.full(len(self._nodes), NOBODY, np.int32)
        component = self._component[members]
        # The best type, then the earliest first link, then the node: each leaves fewer.
        left = members
        for rank in (self._ranks(), self._first_links(), np.arange(len(self._nodes))):
            lowest = np.full(len(self._several), NEVER + 1, np.int64)
            np.minimum.at(lowest, self._component[left], rank[left])
            left = left[rank[left] == lowest[self._component[left]]]
        name = np.full(len(self._several), NOBODY, np.int32)
        name[self._component[left]] = left
        profile[members] = name[component]
        return profile

    def _ranks(self) -> Ints:
        """The priority of each node's type: 0 is the highest (`identity.resolve.best_of`)."""
        ranks = ranks_of(self._rules)
        rank = np.full(_CODES, len(ranks), np.int64)
        rank[list(ranks)] = list(ranks.values())
        return rank[self._codes]

    def _first_links(self) -> Ints:
        """`identity.resolve.first_links`: when each node was first named with another; NEVER: not at all."""
        told = self._told
        first = np.full(len(self._nodes), NEVER, np.int64)
        for ends in (told.left, told.right):
            np.minimum.at(first, ends[: told.pair_count], told.first_ms[: told.pair_count])
        first[self.hubs] = NEVER
        for ends in (told.left, told.right):
            np.minimum.at(first, ends[told.pair_count :], told.first_ms[told.pair_count :])
        return first

    def named_blocked(self) -> Ints:
        """Blocked nodes that something names."""
        named = _marked(len(self._nodes), self._told.left)
        named[self._told.right] = True
        return np.flatnonzero(named & self._blocked)

    def tasks(self) -> list[_Task]:
        """All other components, some thousand links at a time."""
        component = self._component_of_told()
        rows = np.flatnonzero(component != NOBODY)
        rows = rows[np.argsort(component[rows], kind="stable")]
        _, start, size = np.unique(component[rows], return_index=True, return_counts=True)
        task = np.repeat(start // LINKS_EACH, size)
        cuts = np.flatnonzero(task[1:] != task[:-1]) + 1
        apart = defaultdict(list)
        for decision, where in zip(*self._kept_apart_in(), strict=True):
            apart[int(where)].append(int(decision))
        return [
            self._task(np.sort(some), component, apart)
            for some in np.split(rows, cuts)
            if len(some)
        ]

    def _component_of_told(self) -> Numbers:
        """Which unsure component each piece of evidence is about; -1: none.

        A link to a hub, a device or a blocked value joins nobody, but tells when its other end was first seen.
        """
        told = self._told
        found = np.full(len(told.left), NOBODY, np.int32)
        for ends in (told.left, told.right):
            mine = self._unsure[self._component[ends]]
            mine[: told.pair_count] &= ~self._hub[ends[: told.pair_count]]
            found[mine] = self._component[ends[mine]]
        return found

    def _task(self, rows: Ints, component: Numbers, apart: dict[int, list[int]]) -> _Task:
        told = self._told
        numbers, ends = np.unique(
            np.concatenate([told.left[rows], told.right[rows]]), return_inverse=True
        )
        links = rows[rows < told.link_count]
        matches = rows[(rows >= told.link_count) & (rows < told.pair_count)]
        decisions = {
            decision
            for where in np.unique(component[rows]).tolist()
            for decision in apart.get(where, ())
        }
        return _Task(
            numbers=numbers,
            nodes=self._nodes.bytes_of(numbers),
            left=ends[: len(rows)],
            right=ends[len(rows) :],
            first_ms=told.first_ms[rows],
            trusted_ms=told.trusted_ms[links],
            probability=told.probability[matches - told.link_count],
            hubs=np.flatnonzero(self._hub[numbers]),
            blocked=np.flatnonzero(self._blocked[numbers]),
            keep_apart=[told.keep_apart[each] for each in sorted(decisions)],
        )


def _marked(size: int, some: Some) -> Bools:
    found = np.zeros(size, bool)
    found[some] = True
    return found


def _decided(
    tasks: Sequence[_Task], rules: Rules, links: int, processes: int | None
) -> Iterator[_Found]:
    """What becomes of tasks, in their order."""
    decide = partial(_decide, rules=rules)
    count = min(len(tasks), processes or (cores() if links > ALONE_MAX else 1))
    if count <= 1:
        yield from map(decide, tasks)
        return
    # Not forked: this process may have threads and connections.
    with ProcessPoolExecutor(count, mp_context=get_context("spawn")) as pool:
        yield from pool.map(decide, tasks)


def _decide(task: _Task, rules: Rules) -> _Found:
    nodes = nodes_in(task.nodes)
    ends = [
        (nodes[left], nodes[right])
        for left, right in zip(task.left.tolist(), task.right.tolist(), strict=True)
    ]
    first_ms = task.first_ms.tolist()
    links_end = len(task.trusted_ms)
    pairs_end = links_end + len(task.probability)
    evidence = Evidence(
        links=[
            Link(a=a, b=b, first_ms=first, first_event="", source="", trusted_ms=trusted)
            for (a, b), first, trusted in zip(
                ends[:links_end], first_ms[:links_end], task.trusted_ms.tolist(), strict=True
            )
        ],
        matches=[
            Match(a=a, b=b, first_ms=first, probability=probability)
            for (a, b), first, probability in zip(
                ends[links_end:pairs_end],
                first_ms[links_end:pairs_end],
                task.probability.tolist(),
                strict=True,
            )
        ],
        must_links=[
            MustLink(a=a, b=b, first_ms=first, first_event="", source="")
            for (a, b), first in zip(ends[pairs_end:], first_ms[pairs_end:], strict=True)
        ],
        keep_apart=task.keep_apart,
        blocked=frozenset(nodes[place] for place in task.blocked.tolist()),
    )
    hubs = frozenset(nodes[place] for place in task.hubs.tolist())
    resolution = resolve_among(evidence, rules, hubs)
    place_of = {node: place for place, node in enumerate(nodes)}
    profile = np.full(len(nodes), NOBODY, np.int32)
    for cluster in resolution.clusters:
        members = [place_of[node] for node in cluster.members]
        profile[members] = place_of[cluster.profile_id]
    # Blocked values are said of everybody at once.
    return _Found(profile, [each for each in resolution.refusals if each.a != each.b])
