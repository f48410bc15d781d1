"""The laws of who is who (DESIGN §3.5) as a machine: anything may happen, and they hold after each step."""

import itertools
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Sequence
from random import Random

import msgspec
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    rule,
)

from identity.changes import Kind, PersonChange
from identity.decisions import Decision, DecisionKind
from identity.evidence import Link, Match, pair
from identity.nodes import USER_ID, Node, code_of, names_device, type_code
from identity.resolve import HUB, KEPT_APART, Cluster, Refusal, resolve
from identity.rules import Rules
from ingest import deciding
from ingest.deciding import DecisionRefused, Draft
from ingest.identify import Statements
from storage.evidence import evidence_of
from storage.ports import Store
from storage.profiles import Lookup, ProfileReader
from tests.identity.strategies import NODES, RULES, hasher, links, must_links, nodes, times
from tests.storage.identity_deciders import Deciders, Trouble
from tests.storage.identity_told import Follower, Told
from tests.workspace import KEYS, NOON

DEVICES = [hasher.node("anonymous_id", "b1"), hasher.node("device_id", "d1")]
EVERYBODY = [*NODES, *DEVICES]
OTHER_RULES = (
    RULES,
    Rules(version=2, fanout_max=4, fanout_max_user=3, members_max=8, limit_default=1),
    Rules(version=3, fanout_max=20, members_max=5, limit_default=3, limits={"phone": 1}),
)
DECIDED_FROM_MS = 1_000
"""Operators decide later than events come."""


# --- what happens -----------------------------------------------------------------------------------


@st.composite
def some_links(draw: st.DrawFn) -> Link:
    """A link; one in ten names a device, as no event's should."""
    link = draw(links())
    if draw(st.integers(0, 9)):
        return link
    a, b = pair(link.a, draw(st.sampled_from(DEVICES)))
    return msgspec.structs.replace(link, a=a, b=b)


@st.composite
def matches(draw: st.DrawFn) -> Match:
    a, b = pair(*draw(st.lists(nodes, min_size=2, max_size=2, unique=True)))
    probability = draw(st.sampled_from([0.6, 0.9]))
    run = f"run {probability}"
    return Match(a=a, b=b, probability=probability, first_ms=draw(times), first_event=run)


@st.composite
def evidence(draw: st.DrawFn) -> Statements:
    """What a few events and a model say."""
    return Statements(
        draw(st.lists(some_links(), min_size=1, max_size=5)),
        draw(st.lists(must_links(), max_size=1)),
        draw(st.lists(matches(), max_size=1)),
    )


@st.composite
def groups(draw: st.DrawFn, least: int, most: int) -> list[list[Node]]:
    """Nodes in disjoint groups."""
    chosen = draw(st.lists(nodes, min_size=least, max_size=most + 2, unique=True))
    count = draw(st.integers(least, min(most, len(chosen))))
    return [chosen[n::count] for n in range(count)]


troubles = st.lists(
    st.builds(Trouble, st.sampled_from(["killed", "asleep", "failed"]), st.integers(0, 30)),
    max_size=2,
)
which = st.integers(0, 30)


class Tally(msgspec.Struct):
    """What was tried, to show that it was."""

    steps: int = 0
    seen: Counter[str] = msgspec.field(default_factory=Counter)


class IdentityMachine(RuleBasedStateMachine):
    """Evidence, operators, models, other rules and trouble; the laws are its invariants."""

    def __init__(self, deciders: Deciders, tally: Tally) -> None:
        super().__init__()
        deciders.clear(RULES)
        self.deciders = deciders
        self.tally = tally
        self.told = Told()
        self.follower = Follower()
        self.waiting: list[Statements] = []
        self.ids_given: set[Node] = set()
        self.numbers = itertools.count(1)
        self.now_ms = DECIDED_FROM_MS
        vault = KEYS.vault()
        deciders.store.identifiers.put({n: ("any", vault.seal(n, "value")) for n in EVERYBODY})

    # --- events and models --------------------------------------------------------------------------

    @rule(said=evidence(), troubles=troubles)
    def events_come(self, said: Statements, troubles: list[Trouble]) -> None:
        self.say(said, troubles)

    @rule(said=evidence())
    def events_wait(self, said: Statements) -> None:
        """They are decided together with what comes next."""
        self.waiting.append(said)

    @rule(dice=st.randoms(use_true_random=False), troubles=troubles)
    def some_come_again(self, dice: Random, troubles: list[Trouble]) -> None:
        said = [each for each in self.told.said if dice.random() < 0.3]
        dice.shuffle(said)
        self.say(together(said), troubles)

    @rule()
    def everything_comes_again(self) -> None:
        self.deciders.again(self.told.said)
        self.tally.seen["replay"] += 1

    @rule(rules=st.sampled_from(OTHER_RULES))
    def other_rules_hold(self, rules: Rules) -> None:
        self.deciders.take_rules(rules, EVERYBODY)
        self.follower.read(self.deciders)
        self.follower.begin_anew(self.people(), self.refusals())

    # --- operators ----------------------------------------------------------------------------------

    @rule(chosen=groups(1, 2), troubles=troubles, wait=st.booleans())
    def merge(self, chosen: list[list[Node]], troubles: list[Trouble], wait: bool) -> None:
        self.decide(lambda draft: deciding.merge(self.store, draft, chosen[0]), troubles, wait)

    @rule(sides=groups(2, 3), troubles=troubles, wait=st.booleans())
    def split(self, sides: list[list[Node]], troubles: list[Trouble], wait: bool) -> None:
        self.decide(lambda draft: deciding.split(draft, sides), troubles, wait)

    @rule(node=nodes, troubles=troubles)
    def block(self, node: Node, troubles: list[Trouble]) -> None:
        self.decide(lambda draft: deciding.block(draft, [node]), troubles)

    @rule(number=which, troubles=troubles, wait=st.booleans())
    def undo(self, number: int, troubles: list[Trouble], wait: bool) -> None:
        joined = [each.id for each in self.follower.heard if len(each.before) > 1]
        if joined:
            change_id = joined[-1 - number % len(joined)]
            self.decide(lambda draft: deciding.undo(self.store, draft, change_id), troubles, wait)

    @rule(number=which, troubles=troubles, wait=st.booleans())
    def retract(self, number: int, troubles: list[Trouble], wait: bool) -> None:
        made = sorted(self.told.decisions)
        if made:
            decision_id = made[number % len(made)]
            self.decide(
                lambda draft: deciding.retract(self.store, draft, decision_id), troubles, wait
            )

    @rule(number=which, troubles=troubles)
    def accept_what_was_refused(self, number: int, troubles: list[Trouble]) -> None:
        if refusal := self.refused(number):
            self.decide(lambda draft: deciding.accept(self.store, draft, refusal), troubles)

    @rule(number=which, troubles=troubles)
    def keep_apart_who_was_refused(self, number: int, troubles: list[Trouble]) -> None:
        if refusal := self.refused(number):
            sides = [(refusal.a,), (refusal.b,)]
            self.decide(lambda draft: deciding.split(draft, sides), troubles)

    # --- what operators are promised ----------------------------------------------------------------

    @rule(said=st.one_of(some_links(), matches()))
    def what_joins_is_undone_at_once(self, said: Link | Match) -> None:
        new = Statements([said]) if isinstance(said, Link) else Statements(matches=[said])
        self.join_and_undo(new, [said.a, said.b], ids=False)

    @rule(chosen=groups(1, 2))
    def a_merge_is_undone_at_once(self, chosen: list[list[Node]]) -> None:
        # A split that another operator makes at the same time would leave half of the merge.
        self.say(Statements())
        try:
            merge = deciding.merge(self.store, self.draft(), chosen[0])
        except DecisionRefused:
            return
        self.join_and_undo(Statements(decisions=[merge]), chosen[0], ids=True)

    def join_and_undo(self, said: Statements, ends: Sequence[Node], *, ids: bool) -> None:
        """An undo with nothing since restores exactly what was: all people, and what was refused."""
        self.say(Statements())
        place = {node: each for each in self.people() for node in each.members}
        if len({place.get(node, node) for node in ends}) < len(ends):
            return  # They are one already: what else this changes is not undone by keeping them apart.
        before, refused = self.people(), self.refused_now()
        made = self.say(said)
        joined = [each for each in made if each.kind in (Kind.MERGED, Kind.CREATED)]
        if len(joined) != 1 or sum(each.kind is not Kind.CONFLICT for each in made) != 1:
            return
        if not {*ends} <= joined[0].after[0].members:
            return  # Too many for one person: half of it stands as a conflict, and will.
        decision = self.decide(lambda draft: deciding.undo(self.store, draft, joined[0].id), [])
        assert decision is not None
        # A link may give a profile another id, since it was named earlier; an operator does not.
        if ids:
            assert self.people() == before
        assert members_of(self.people()) == members_of(before)

        def crosses(refusal: Refusal) -> bool:
            sides = {n for n, g in enumerate(decision.groups) if g & {refusal.a, refusal.b}}
            return len(sides) > 1

        now = self.refused_now()
        assert {each for each in now if not crosses(each)} == {
            each for each in refused if not crosses(each)
        }
        assert all(each.rule.startswith(KEPT_APART) for each in now if crosses(each))
        assert {(r.a, r.b) for r in refused} <= {(r.a, r.b) for r in now}
        self.tally.seen["undone at once"] += 1

    @rule(chosen=groups(1, 3), kind=st.sampled_from(DecisionKind), troubles=troubles)
    def what_is_decided_is_taken_back(
        self, chosen: list[list[Node]], kind: DecisionKind, troubles: list[Trouble]
    ) -> None:
        """A retraction with nothing since restores exactly what was."""
        make: dict[DecisionKind, Callable[[Draft], Decision]] = {
            DecisionKind.MERGE: lambda draft: deciding.merge(self.store, draft, chosen[0]),
            DecisionKind.SPLIT: lambda draft: deciding.split(draft, chosen),
            DecisionKind.BLOCK: lambda draft: deciding.block(draft, chosen[0]),
        }
        self.say(Statements())
        before = self.people(), self.refused_now()
        decision = self.decide(make[kind], troubles)
        if decision is None:
            return
        self.decide(lambda draft: deciding.retract(self.store, draft, decision.id), troubles)
        assert (self.people(), self.refused_now()) == before
        self.tally.seen["taken back"] += 1

    # --- the laws -----------------------------------------------------------------------------------

    @invariant()
    def the_laws_hold(self) -> None:
        self.tally.steps += 1
        people, refusals = self.people(), self.refusals()
        self.check_people(people, refusals)
        self.check_limits(people)
        for split in self.told.standing(DecisionKind.SPLIT):
            for cluster in people:
                assert sum(bool(group & cluster.members) for group in split.groups) <= 1
        assert not any(names_device(node) for cluster in people for node in cluster.members)
        self.check_ids(people)
        self.check_changes(people, refusals)

    def check_people(self, people: Collection[Cluster], refusals: Collection[Refusal]) -> None:
        """They are those of everything that was said, at once."""
        expected = resolve(self.told.evidence(), self.deciders.rules)
        assert people == expected.clusters
        assert {each for each in refusals if each.rule != HUB} == expected.refusals
        assert {each.a for each in refusals if each.rule == HUB} == expected.hubs
        stored = evidence_of(self.store)
        assert set(stored.links) == set(self.told.links.values())
        assert resolve(stored, self.deciders.rules) == expected
        found = self.store.people
        assert found.clusters_of(EVERYBODY) == {n: each for each in people for n in each.members}
        assert set(found.refusals_of(EVERYBODY)) == refusals

    def check_limits(self, people: Collection[Cluster]) -> None:
        """Nobody has more of a type than the rules say, where must-links do not join them."""
        rules = self.deciders.rules
        musts = [m for m in self.told.all_must_links() if m.first_event not in self.told.retracted]
        for cluster in people:
            assert len(cluster.members) <= rules.members_max
            one_of = {node: {node} for node in cluster.members}
            for must in musts:
                if {must.a, must.b} <= cluster.members:
                    together = one_of[must.a] | one_of[must.b]
                    one_of |= dict.fromkeys(together, together)
            by_type: defaultdict[int, set[frozenset[Node]]] = defaultdict(set)
            for node, together in one_of.items():
                by_type[type_code(node)].add(frozenset(together))
            limits = {code_of(name): most for name, most in rules.limits.items()}
            limits.setdefault(code_of(USER_ID), rules.limit_user_id)
            for code, counted in by_type.items():
                assert len(counted) <= limits.get(code, rules.limit_default)

    def check_ids(self, people: Collection[Cluster]) -> None:
        """Every profile id ever given resolves to its members' profile."""
        self.ids_given |= {cluster.profile_id for cluster in people}
        given = sorted(self.ids_given)
        reader = ProfileReader(self.store, self.deciders.rules, KEYS.hasher(), KEYS.vault())
        id_of = {node: each.profile_id for each in people for node in each.members}
        found = reader.resolve([Lookup(profile_id=node) for node in given], NOON)
        assert [each and each.profile_id for each in found] == [id_of.get(n, n) for n in given]

    def check_changes(self, people: Collection[Cluster], refusals: Collection[Refusal]) -> None:
        """Followers know everybody, and what was refused; nothing is left unsaid."""
        self.follower.read(self.deciders)
        assert self.follower.people == people
        assert {(each.a, each.b, each.rule) for each in refusals} <= self.follower.conflicts
        assert self.deciders.heard() in (people, None)
        assert self.store.changes.announced(10) == []
        published = {change.id for change in self.follower.heard}
        assert self.deciders.owed() <= published
        for decision in self.store.decisions.get(sorted(self.told.decisions)).values():
            assert decision.standing == (decision.id not in self.told.retracted)
            applied = [decision.applied] if decision.standing else []
            applied += [decision.retraction.applied] if decision.retraction else []
            for made in applied:
                assert made is not None
                assert published.issuperset(made)

    # --- short ways ---------------------------------------------------------------------------------

    @property
    def store(self) -> Store:
        return self.deciders.store

    def people(self) -> frozenset[Cluster]:
        return frozenset(self.store.people.scan())

    def refusals(self) -> frozenset[Refusal]:
        return frozenset(self.store.people.refusals(1_000))

    def refused_now(self) -> frozenset[Refusal]:
        """Of hubs only who they are: since when is told anew where one was blocked in between."""
        return frozenset(
            Refusal(each.a, each.b, HUB, "", 0) if each.rule == HUB else each
            for each in self.refusals()
        )

    def refused(self, number: int) -> Refusal | None:
        found = sorted(self.refusals(), key=lambda each: (each.a, each.b, each.rule))
        found = [each for each in found if each.a != each.b]
        return found[number % len(found)] if found else None

    def draft(self) -> Draft:
        self.now_ms += 1
        return Draft(f"d{next(self.numbers)}", "meera", "they called", self.now_ms)

    def decide(
        self, make: Callable[[Draft], Decision], troubles: Sequence[Trouble], wait: bool = False
    ) -> Decision | None:
        try:
            decision = make(self.draft())
        except DecisionRefused:
            self.tally.seen["refused"] += 1
            return None
        if wait:
            self.waiting.append(Statements(decisions=[decision]))
        else:
            self.say(Statements(decisions=[decision]), troubles)
        return decision

    def say(self, said: Statements, troubles: Sequence[Trouble] = ()) -> list[PersonChange]:
        """Have it decided, with what was waiting; the changes that it made."""
        said = together([*self.waiting, said])
        self.waiting.clear()
        if not said:
            return []
        self.follower.read(self.deciders)
        self.told.hear(said)
        self.deciders.say(said, troubles)
        made = self.follower.read(self.deciders)
        self.tally.seen.update(change.kind.value for change in made)
        self.tally.seen.update(
            "retracted" if each.retraction else each.kind.value + " decided"
            for each in said.decisions
        )
        return made


def together(said: Sequence[Statements]) -> Statements:
    return Statements(
        [each for some in said for each in some.links],
        [each for some in said for each in some.must_links],
        [each for some in said for each in some.matches],
        [each for some in said for each in some.decisions],
    )


def members_of(people: Collection[Cluster]) -> set[frozenset[Node]]:
    return {cluster.members for cluster in people}
