"""Operators decide about people: what a decision would do, and making it (DESIGN §3.4)."""

import time
from collections import Counter
from collections.abc import Collection, Sequence
from threading import Lock
from typing import Final, Protocol

import msgspec

from identity.changes import Cause, Kind, PersonChange, changes_of
from identity.decisions import Decision, DecisionKind, Retraction
from identity.incremental import decide
from identity.nodes import USER_ID, Node, code_of, names_device, type_code
from identity.resolve import Refusal
from identity.rules import Rules
from ingest.errors import IngestError
from ingest.identify import (
    Statements,
    StoredEvidence,
    decided_ms,
    identify_here,
    people_after,
)
from ingest.log import Producer
from ingest.messages import encode_statements
from ingest.owning import look
from storage.ports import EmbeddedStore, Store

NODES_MAX: Final = 1_000
"""Identifiers that one decision names."""
WAIT_S: Final = 20.0
"""How long a decision may take: a stand-by takes over within it."""
JOINING: Final = (Kind.MERGED, Kind.CREATED, Kind.REGROUPED)
"""Changes that may have joined people, so that they can be undone."""
_LOOK_S: Final = 0.02
_LOOK_S_MAX: Final = 0.25


class DecisionError(IngestError):
    """The root of what a decision is refused for. Messages hold no personal data."""


class DecisionRefused(DecisionError):
    """It would change nothing, or contradicts what stands; says what to do."""


class NoSuchDecision(DecisionError):
    """No decision, change or conflict has that id."""


class DecisionPending(DecisionError):
    """It is in the log, but nobody has applied it yet; asking with the same id again is safe."""


class Draft(msgspec.Struct, frozen=True):
    """Who decides, when, and why."""

    id: str
    """Chosen by whoever asks: the same id again is the same decision."""
    operator: str
    reason: str
    time_ms: int


class Preview(msgspec.Struct, frozen=True):
    """What decisions would do. Nothing of it is written."""

    decisions: Sequence[Decision]
    changes: Sequence[PersonChange]
    """Of people; without conflicts."""
    refused: Sequence[Refusal]
    """What would be refused that is not now."""
    accepted: Sequence[Refusal]
    """What is refused now and would not be any more."""
    owners: Sequence[PersonChange]
    """Of devices: that they would be somebody else's, or nobody's."""


class Deciding(Protocol):
    """Makes decisions true."""

    def say(self, said: Statements) -> None:
        """Have statements decided: at once, or as soon as the one writer reads them."""

    def make(self, decision: Decision) -> Decision:
        """Make a decision, or take one back; as it stands once people are up to date with it.

        DecisionPending if that takes too long.
        """

    def make_all(self, decisions: Sequence[Decision]) -> list[Decision]:
        """`make` of each, together."""


class DecidingHere:
    """`Deciding` in the process that owns the store: one transaction."""

    def __init__(self, store: EmbeddedStore, rules: Rules) -> None:
        self._store = store
        self._rules = rules

    def say(self, said: Statements) -> None:
        """Decided when this returns."""
        with self._store.transaction():
            identify_here(self._store, said, self._rules)

    def make(self, decision: Decision) -> Decision:
        """Made when this returns."""
        return self.make_all([decision])[0]

    def make_all(self, decisions: Sequence[Decision]) -> list[Decision]:
        """Made when this returns."""
        self.say(Statements(decisions=decisions))
        made = self._store.decisions.get([each.id for each in decisions])
        return [made[each.id] for each in decisions]


class DecidingByLog:
    """`Deciding` by the one writer of people, who reads the links topic."""

    def __init__(
        self, producer: Producer, store: Store, topic: str, wait_s: float = WAIT_S
    ) -> None:
        self._producer = producer
        self._store = store
        self._topic = topic
        self._wait_s = wait_s
        self._lock = Lock()

    def say(self, said: Statements) -> None:
        """In the log when this returns."""
        with self._lock:  # a producer is for one thread
            for key, value in encode_statements(said):
                self._producer.send(self._topic, value, key)
            self._producer.flush()

    def make(self, decision: Decision) -> Decision:
        """Made when this returns."""
        return self.make_all([decision])[0]

    def make_all(self, decisions: Sequence[Decision]) -> list[Decision]:
        """Made when this returns."""
        self.say(Statements(decisions=decisions))
        waiting = {each.id: each for each in decisions}
        made: dict[str, Decision] = {}
        deadline, pause_s = time.monotonic() + self._wait_s, _LOOK_S
        while True:
            for each in self._store.decisions.get(list(waiting)).values():
                if _is_applied(each, taken_back=not waiting[each.id].standing):
                    made[each.id] = each
                    del waiting[each.id]
                    # Whoever decides is at work: the others have as long again.
                    deadline, pause_s = time.monotonic() + self._wait_s, _LOOK_S
            if not waiting:
                return [made[each.id] for each in decisions]
            if time.monotonic() > deadline:
                raise DecisionPending(
                    "the decision is recorded, but no identity worker has applied it yet; see "
                    "`onefold doctor`, then ask again with the same decision id"
                )
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, _LOOK_S_MAX)


def _is_applied(decision: Decision, *, taken_back: bool) -> bool:
    if taken_back:
        return decision.retraction is not None and decision.retraction.applied is not None
    return decision.applied is not None


def merge(store: Store, draft: Draft, nodes: Collection[Node]) -> Decision:
    """That `nodes` are one person. DecisionRefused if that stands, or contradicts what stands."""
    group = _people(nodes)
    if len(group) < 2:
        raise DecisionRefused("a merge needs two identifiers or more that differ")
    for decision in store.decisions.of(sorted(group)):
        for apart in decision.keep_apart():
            if sum(not side.isdisjoint(group) for side in apart.groups) > 1:
                raise DecisionRefused(f"decision {decision.id} keeps them apart; retract it first")
        if not decision.blocked().isdisjoint(group):
            raise DecisionRefused(f"decision {decision.id} blocks one of them; retract it first")
    return _drafted(draft, DecisionKind.MERGE, [group])


def accept(store: Store, draft: Draft, refusal: Refusal) -> Decision:
    """That the people whom a refused link would have joined are one, whole."""
    if refusal.a == refusal.b:
        raise DecisionRefused(
            f"this conflict is about one identifier ({refusal.rule}): merge by name those who are one"
        )
    people = store.people.clusters_of([refusal.a, refusal.b])
    ids = {cluster.profile_id for cluster in people.values()}
    # The two alone would take an identifier from one person and give it to the other.
    return merge(store, draft, {refusal.a, refusal.b, *ids})


def split(draft: Draft, sides: Sequence[Collection[Node]], undoes: str = "") -> Decision:
    """That members of different `sides` never share a profile."""
    groups = [_people(side) for side in sides if side]
    if len(groups) < 2:
        raise DecisionRefused("a split needs two sides or more, each with an identifier")
    if sum(map(len, groups)) > len(frozenset().union(*groups)):
        raise DecisionRefused("an identifier is on two sides")
    return _drafted(draft, DecisionKind.SPLIT, groups, undoes)


def block(draft: Draft, nodes: Collection[Node]) -> Decision:
    """That `nodes` name nobody: what names them joins nobody any more."""
    return _drafted(draft, DecisionKind.BLOCK, [frozenset({node}) for node in _people(nodes)])


def undo(store: Store, draft: Draft, change_id: str) -> Decision:
    """A split into what was before a change that joined people."""
    change = store.changes.get([change_id]).get(change_id)
    if change is None:
        raise NoSuchDecision(f"no change {change_id}; `onefold identity changes` lists a person's")
    if change.kind not in JOINING or len(change.before) < 2:
        made_by = [each for each in store.decisions.get(change.because).values() if each.standing]
        advice = f"; retract decision {made_by[0].id}" if made_by else "; it joined nobody"
        raise DecisionRefused(f"a change of kind {change.kind.value} cannot be undone{advice}")
    nodes = sorted({node for side in change.before for node in side.members})
    for decision in store.decisions.of(nodes):
        if decision.undoes == change_id and decision.standing and decision.id != draft.id:
            raise DecisionRefused(f"decision {decision.id} has undone it already")
    return split(draft, [side.members for side in change.before], change_id)


def retract(store: Store, draft: Draft, decision_id: str) -> Decision:
    """A decision taken back by `draft`'s operator, whose id does not matter."""
    decision = store.decisions.get([decision_id]).get(decision_id)
    if decision is None:
        raise NoSuchDecision(f"no decision {decision_id}; `onefold identity decisions` lists them")
    if decision.retraction is not None:
        return decision
    taken_back = Retraction(draft.operator, draft.reason, draft.time_ms)
    return msgspec.structs.replace(decision, retraction=taken_back)


def preview(store: Store, rules: Rules, decision: Decision) -> Preview:
    """What a decision, made or taken back, would change now. Nothing is written."""
    return preview_all(store, rules, [decision])


def preview_all(store: Store, rules: Rules, decisions: Sequence[Decision]) -> Preview:
    """What decisions, made or taken back together, would change now. Nothing is written."""
    known = StoredEvidence(store, decisions)
    causes = [Cause(each.id, decided_ms(each), each.nodes) for each in decisions]
    touched = {node for cause in causes for node in cause.nodes}
    change = decide([], [], known, rules, touched=touched)
    before = set(known.refusals_of(change.resolved))
    changes = changes_of(change, max(cause.time_ms for cause in causes), causes, before)
    owned = look(store, rules, (), changes, people_after(change), shared=False)
    return Preview(
        decisions,
        [each for each in changes if each.kind is not Kind.CONFLICT],
        sorted(set(change.refusals) - before, key=_newest_first),
        sorted(before - set(change.refusals), key=_newest_first),
        owned.changes,
    )


def exceeded(members: Collection[Node], rules: Rules) -> list[str]:
    """The limits that a person of `members` exceeds, as a must-link may; in words."""
    names = (*rules.person_priority, *rules.external_ids)
    counts = Counter(map(type_code, members))
    limits = {
        **dict.fromkeys(names, rules.limit_default),
        USER_ID: rules.limit_user_id,
        **rules.limits,
    }
    return [
        f"{name}: {counts[code_of(name)]}, limit {limits[name]}"
        for name in names
        if counts[code_of(name)] > limits[name]
    ]


def _newest_first(refusal: Refusal) -> tuple[int, Node, Node]:
    return -refusal.since_ms, refusal.a, refusal.b


def _people(nodes: Collection[Node]) -> frozenset[Node]:
    if any(map(names_device, nodes)):
        raise DecisionRefused(
            "a device is nobody's for good: name people by user id, e-mail or phone"
        )
    return frozenset(nodes)


def _drafted(
    draft: Draft, kind: DecisionKind, groups: Sequence[frozenset[Node]], undoes: str = ""
) -> Decision:
    if sum(map(len, groups)) > NODES_MAX:
        raise DecisionRefused(f"more than {NODES_MAX} identifiers in one decision")
    return Decision(
        id=draft.id, kind=kind, operator=draft.operator, reason=draft.reason,
        time_ms=draft.time_ms, groups=tuple(sorted(groups, key=min)), undoes=undoes,
    )  # fmt: skip
