"""The evaluate stage as a worker: it owns the profiles of the partitions it is given (DESIGN §4).

What an evaluation finds depends on the moment, so two that look at the same message may differ. Therefore each
partition has a lease. Its owner makes sure (1) that it still is before it writes standings, under its epoch and
with what is to be told of them; makes sure (2) once more; then tells. Whoever takes over knows which messages
the one before may have read: those up to the partition's end as of the take-over. Of their profiles it tells
again what is kept as told, and writes every standing, changed or not, so that what the former owner still
writes loses. Who is superseded between (1) and (2) tells nothing.
"""

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

import msgspec

from identity.nodes import Node
from identity.rules import Rules
from ingest.deadletters import Refused
from ingest.kafka.settings import KafkaSettings
from ingest.log import Log, Membership, Message, Producer
from ingest.messages import LOOK, asked_in, encode_look, encode_transition, refused_message
from ingest.segments.evaluating import Evaluated, Evaluator, Look, both
from ingest.workers.filling import Filler
from ingest.workers.letters import FAILED, UNREADABLE, LetterBox
from ingest.workers.metering import UNMETERED, Meter, SegmentMeter
from ingest.workers.running import BATCH_MESSAGES, Superseded, Worker, place_of
from ingest.workers.timing import Timers
from profiles.segments.catalogue import Catalogue
from profiles.segments.membership import Cause, Reason, Standing, Transition
from storage.catalogues import WORKERS_AGE_S, Catalogues
from storage.ports import SharedStore
from storage.segment_ports import Kept

STAGE = "evaluate"
LEASE = "evaluate"
"""Epochs under which standings are written; with a partition's number, the lease of its owner."""
ASKED_MAX = 10_000
"""Leaves that are remembered as told to keep up, so that they are told once."""


class _Owned(msgspec.Struct):
    """A partition that is ours."""

    lease: int
    """The epoch of its lease: whoever has a later one owns it."""
    epoch: int
    """Under which its standings are written: later ones are larger, whatever partition a profile was in."""
    again_below: int
    """The offset below which another one, or a failed attempt, may have left half an evaluation."""


class _Asked(msgspec.Struct):
    """What a batch of messages asks."""

    looks: dict[Node, Look] = {}
    """Profiles of this partition."""
    spread: dict[Node, Look] = {}
    """Leaves and devices, whose profiles and users are to be found."""
    place: dict[Node, int] = {}
    """The partition of each node."""
    again: set[Node] = set()
    """Those that may have been looked at already."""
    revision: int = 0


class Evaluate:
    """`ingest.workers.running.Stage`, and the only writer of the standings in its partitions."""

    name = STAGE

    def __init__(
        self,
        log: Log,
        store: SharedStore,
        rules: Rules,
        producer: Producer,
        settings: KafkaSettings,
        *,
        now_ms: Callable[[], int],
        holder: str,
        meter: Meter,
        segment_meter: SegmentMeter,
        catalogues: Catalogues,
        timers: Timers,
        filler: Filler,
    ) -> None:
        self._log = log
        self._store = store
        self._evaluator = Evaluator(store, rules)
        self._catalogues = catalogues
        self._producer = producer
        self._looks = settings.topic("evaluate")
        self._activity = settings.topic("activity")
        self._segments = settings.topic("segments")
        self._letters = LetterBox(store, producer, settings.topic("deadletters"), meter)
        self._now_ms = now_ms
        self._holder = holder
        self._meter = meter
        self._segment_meter = segment_meter
        self._timers = timers
        self._filler = filler
        self._generation = -1
        self._owned: dict[int, _Owned] = {}
        self._partitions = 0
        self._asked: dict[Node, int] = {}

    # --- ownership --------------------------------------------------------------------------------

    def prepare(self, membership: Membership) -> None:
        """Take over partitions that came, let go of those that went; look at the time, and fill segments."""
        if membership.generation != self._generation:
            mine = {number for _, number in membership.partitions}
            self._owned = {number: held for number, held in self._owned.items() if number in mine}
            self._take(sorted(mine - self._owned.keys()))
            self._generation = membership.generation
        if self._owned and self._catalogues.now().revision:
            due = self._timers.due(self._owned, self._partitions)
            self._send_looks((node, Look(Cause.TIME)) for node in due)
            if 0 in self._owned:
                self._filler.step(self._catalogues.now())

    def _take(self, numbers: Sequence[int]) -> None:
        if not numbers:
            return
        take = self._store.leases.take
        leases = {number: take(f"{LEASE}:{number}", self._holder) for number in numbers}
        # After the partitions' own: a later owner of any of them has a larger one.
        epoch = take(LEASE, self._holder)
        # Whoever owned them read nothing after this that it writes.
        ends = self._log.ends(self._looks)
        self._partitions = len(ends)
        for number in numbers:
            end = ends[self._looks, number]
            self._owned[number] = _Owned(leases[number], epoch, end)
        self._filler.forget()

    def _check(self, numbers: Collection[int]) -> None:
        """Superseded unless all these partitions are still ours."""
        mine = {f"{LEASE}:{n}": self._owned[n].lease for n in numbers if n in self._owned}
        if len(mine) < len(numbers) or self._store.leases.epochs(mine) != mine:
            self._owned.clear()
            raise Superseded

    # --- evaluating -------------------------------------------------------------------------------

    def process(self, messages: Sequence[Message]) -> None:
        """Bring the segments of profiles up to date, and tell what changed. Superseded if fenced."""
        asked, unreadable = self._read(messages)
        numbers = sorted({message.partition for message in messages})
        catalogue = self._catalogues.now(asked.revision)
        if catalogue.revision and (asked.looks or asked.spread):
            forward = self._found(asked)
            kept = self._store.evaluations.kept(asked.looks)
            self._check(numbers)
            again = [each for node in kept if node in asked.again for each in kept[node].told]
            self._tell(asked, again)
            held = {node: each.standing for node, each in kept.items()}
            found = self._evaluator.stand(asked.looks, held, catalogue, self._now_ms())
            self._keep(asked, kept, found)
            self._check(numbers)
            self._tell(asked, found.told)
            self._pass_on(forward, found, catalogue)
            self._count(found)
        if unreadable:
            self._letters.put(unreadable)
            self._producer.flush()
        self._meter.events(STAGE, "accepted", len(messages) - len(unreadable))
        self._meter.events(STAGE, "refused", len(unreadable))

    def _read(self, messages: Sequence[Message]) -> tuple[_Asked, list[tuple[Refused, Message]]]:
        asked = _Asked()
        unreadable: list[tuple[Refused, Message]] = []
        for message in messages:
            held = self._owned.get(message.partition)
            if held is None:
                raise Superseded
            try:
                found = asked_in(message)
                look = found.look
            except (msgspec.DecodeError, ValueError, RecursionError):
                letter = refused_message(message, UNREADABLE, "not a profile to look at")
                unreadable.append((letter, message))
                continue
            node = found.node
            into = asked.spread if found.spread else asked.looks
            into[node] = both(into.get(node), look)
            asked.place[node] = message.partition
            asked.revision = max(asked.revision, found.revision)
            if message.offset < held.again_below:
                asked.again.add(node)
        # If this attempt ends half way, the next one must not take what is kept for told.
        for message in messages:
            held = self._owned[message.partition]
            held.again_below = max(held.again_below, message.offset + 1)
        return asked, unreadable

    def _found(self, asked: _Asked) -> list[tuple[Node, Look]]:
        """Whom leaves and devices lead to; those whose partition may be another's are passed on."""
        if not asked.spread:
            return []
        forward = []
        for node, look in self._evaluator.profiles(asked.spread).items():
            if node in asked.spread:
                asked.looks[node] = both(asked.looks.get(node), look)
            else:
                forward.append((node, look))
        return forward

    def _keep(self, asked: _Asked, kept: Mapping[Node, Kept], found: Evaluated) -> None:
        told: dict[Node, list[Transition]] = {}
        for each in found.told:
            told.setdefault(each.profile_id, []).append(each)
        after = {each.profile_id: each for each in found.standings}
        changes: dict[int, list[tuple[Kept | None, Kept]]] = {}
        now_ms = self._now_ms()
        for node in asked.looks:
            before = kept.get(node)
            standing = after.get(node) or (before.standing if before else Standing(profile_id=node))
            timer_ms = _timer(before, standing, now_ms)
            again = node in asked.again
            if again or node in after or (before and before.timer_ms != timer_ms):
                now = Kept(standing, tuple(told.get(node, ())), timer_ms)
                epoch = self._owned[asked.place[node]].epoch
                changes.setdefault(epoch, []).append((None if again else before, now))
        for epoch, some in changes.items():
            self._store.evaluations.keep(some, epoch)

    def _tell(self, asked: _Asked, told: Sequence[Transition]) -> None:
        logs: dict[tuple[int, int], list[Transition]] = {}
        for each in told:
            number = asked.place[each.profile_id]
            logs.setdefault((number, self._owned[number].lease), []).append(each)
        self._store.evaluations.tell(logs)
        for each in told:
            key, value = encode_transition(each)
            self._producer.send(self._segments, value, key)
        if told:
            self._producer.flush()

    def _pass_on(
        self, forward: list[tuple[Node, Look]], found: Evaluated, catalogue: Catalogue
    ) -> None:
        """Who else is to be looked at, and which leaves have to keep up."""
        if found.further:
            # With the people it may have changed whose the visits of their devices are.
            devices = {node: Look(cause) for node, cause in found.further.items()}
            forward += self._evaluator.profiles(devices).items()
        self._send_looks(forward)
        behind = [leaf for leaf in found.behind if self._asked.get(leaf, 0) < catalogue.revision]
        for leaf in behind:
            self._producer.send(self._activity, b"", leaf, {LOOK: b"%d" % catalogue.revision})
        if behind:
            self._producer.flush()
            self._asked |= dict.fromkeys(behind, catalogue.revision)
            for leaf in list(self._asked)[: len(self._asked) - ASKED_MAX]:
                del self._asked[leaf]

    def _send_looks(self, looks: Iterable[tuple[Node, Look]]) -> None:
        sent = False
        for node, look in looks:
            key, value = encode_look(node, look)
            self._producer.send(self._looks, value, key)
            sent = True
        if sent:
            self._producer.flush()

    def _count(self, found: Evaluated) -> None:
        self._segment_meter.evaluated(found.profiles)
        counts: dict[Reason, list[int]] = {}
        for each in found.told:
            counts.setdefault(each.reason, [0, 0])[0 if each.entered else 1] += 1
        for reason, (entered, left) in counts.items():
            self._segment_meter.told(reason.value, entered, left)

    # --- the rest of a stage ------------------------------------------------------------------------

    def give_up(self, message: Message, error: Exception) -> None:
        """Keep the message as it came."""
        letter = refused_message(message, FAILED, f"evaluate failed: {place_of(error)}")
        self._letters.put([(letter, message)])
        self._producer.flush()

    def close(self) -> None:
        """Let go of the producer."""
        self._owned.clear()
        self._producer.close()


def _timer(before: Kept | None, standing: Standing, now_ms: int) -> int:
    """The timer to be set: the one that is, if it comes no later than it has to."""
    if before is not None and now_ms < before.timer_ms <= standing.due_ms:
        # Most events put the moment off: looking once in vain is cheaper than setting a timer each time.
        return before.timer_ms
    return standing.due_ms


def evaluate_worker(
    log: Log,
    store: SharedStore,
    rules: Rules,
    settings: KafkaSettings,
    now_ms: Callable[[], int],
    holder: str,
    *,
    generation: int = 1,
    meter: Meter = UNMETERED,
    segment_meter: SegmentMeter = UNMETERED,
    batch_messages: int = BATCH_MESSAGES,
    retry_max_s: float = 30.0,
    clock: Callable[[], float] = time.monotonic,
) -> Worker:
    """Reads the evaluate topic. `holder` names this process to those who look at its leases.

    `store` must be this worker's own, of the `generation` that answers.
    """
    topic = settings.topic("evaluate")
    consumer = log.consumer(
        settings.group(STAGE), [topic], lambda partition, count: meter.lost(partition[0], count)
    )
    producer = log.producer()
    stage = Evaluate(
        log, store, rules, producer, settings, now_ms=now_ms, holder=holder, meter=meter,
        segment_meter=segment_meter,
        catalogues=Catalogues(store.definitions, WORKERS_AGE_S, clock),
        timers=Timers(store.evaluations, now_ms, clock),
        filler=Filler(log, store, producer, settings, generation, segment_meter, clock),
    )  # fmt: skip
    return Worker(stage, consumer, meter, batch_messages=batch_messages, retry_max_s=retry_max_s)
