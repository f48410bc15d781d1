"""The identify stage as a worker: one decides who is who, the others stand by (DESIGN §3.4).

The links topic has one partition: its consumer takes the lease, and a new epoch fences the one before.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import msgspec

from identity.changes import PersonChange
from identity.decisions import Decision
from identity.evidence import Link, Match, MustLink
from identity.owning import Heard
from identity.rules import Rules
from ingest.deadletters import Refused
from ingest.identify import Statements, applied, identify
from ingest.kafka.settings import KafkaSettings
from ingest.log import Log, Membership, Message, Producer
from ingest.messages import refused_message, statements_in
from ingest.workers.letters import FAILED, UNREADABLE, LetterBox
from ingest.workers.metering import UNMETERED, Meter, PeopleMeter
from ingest.workers.publishing import LEASE, Publisher, recover
from ingest.workers.running import BATCH_MESSAGES, Superseded, Worker, place_of
from storage.ports import Store

STAGE = "identify"


class Identify:
    """`ingest.workers.running.Stage`, and the only writer of people while it has its partition."""

    name = STAGE

    def __init__(
        self,
        log: Log,
        store: Store,
        rules: Rules,
        producer: Producer,
        settings: KafkaSettings,
        meter: Meter,
        people_meter: PeopleMeter,
        holder: str,
    ) -> None:
        self._log = log
        self._store = store
        self._rules = rules
        self._producer = producer
        self._publisher = Publisher(store, producer, settings, people_meter)
        self._letters = LetterBox(store, producer, settings.topic("deadletters"), meter)
        self._links = settings.topic("links")
        self._meter = meter
        self._people_meter = people_meter
        self._holder = holder
        self._generation = -1
        self._epoch: int | None = None
        self._sound = True
        """Whether people are as they were announced; a failed attempt leaves them in doubt."""
        self._again_below: dict[int, int] = {}
        """Offsets of each partition below which another process, or a failed attempt, may have left half a
        decision: evidence that is stored, and people who do not know of it."""

    @property
    def epoch(self) -> int | None:
        """The epoch under which this process decides; None while it stands by."""
        return self._epoch

    def prepare(self, membership: Membership) -> None:
        """Take over when the partition comes; stop when it goes."""
        if membership.generation != self._generation:
            self._stand_by()
            self._generation = membership.generation
        if membership.partitions and self._epoch is None:
            self._take_over()

    def _take_over(self) -> None:
        epoch = self._store.leases.take(LEASE, self._holder)
        # Written again under the new epoch, what is announced can no longer grow behind our back.
        self._store.changes.announce([])
        # Whoever had the lease read nothing after this: what it may have half decided ends here.
        ends = self._log.ends(self._links)
        self._again_below = {number: end for (_, number), end in ends.items()}
        self._recover(epoch)
        self._epoch = epoch
        self._people_meter.epoch(epoch)

    def _stand_by(self) -> None:
        self._epoch = None
        self._people_meter.epoch(0)

    def _recover(self, epoch: int) -> None:
        with self._standing_by_if_superseded():
            recover(self._store, self._rules, self._publisher, epoch)
        self._sound = True

    def process(self, messages: Sequence[Message]) -> None:
        """Decide what new links change, announce it, write people, and publish. Superseded if fenced."""
        epoch = self._epoch
        if epoch is None:
            raise Superseded
        if not self._sound:
            self._recover(epoch)
        links: list[Link] = []
        must_links: list[MustLink] = []
        matches: list[Match] = []
        decisions: list[Decision] = []
        uses: list[Heard] = []
        unreadable: list[tuple[Refused, Message]] = []
        for message in messages:
            try:
                said = statements_in(message)
            except (msgspec.DecodeError, ValueError, RecursionError):
                letter = refused_message(message, UNREADABLE, "not a message of links")
                unreadable.append((letter, message))
                continue
            links += said.links
            must_links += said.must_links
            matches += said.matches
            decisions += said.decisions
            uses += said.uses
        again = any(each.offset < self._again_below.get(each.partition, 0) for each in messages)
        # If this attempt ends half way, the next one must not take what is stored for decided.
        for each in messages:
            end = self._again_below.get(each.partition, 0)
            self._again_below[each.partition] = max(end, each.offset + 1)
        self._sound = False
        everything = Statements(links, must_links, matches, decisions, uses)
        changes = self._decide(epoch, everything, again)
        if decisions:
            self._store.decisions.put(applied(decisions, changes))
        self._sound = True
        if unreadable:
            self._letters.put(unreadable)
            self._producer.flush()
        self._meter.events(STAGE, "accepted", sum(map(len, msgspec.structs.astuple(everything))))

    def _decide(self, epoch: int, said: Statements, again: bool) -> Sequence[PersonChange]:
        """Store evidence, write people and tell their followers; how they changed."""
        if not said:
            return ()
        announce = partial(self._publisher.announce, epoch)
        with self._standing_by_if_superseded():
            # What was read after a take-over is the next one's, who would find it stored and not decide it.
            self._publisher.check_lease(epoch)
            found = identify(self._store, said, self._rules, again=again, announce=announce)
            changes = found.changes if found else ()
            if changes:
                self._publisher.publish(epoch)
        return changes

    @contextmanager
    def _standing_by_if_superseded(self) -> Iterator[None]:
        try:
            yield
        except Superseded:
            self._stand_by()
            raise

    def give_up(self, message: Message, error: Exception) -> None:
        """Keep the statements as they came."""
        letter = refused_message(message, FAILED, f"identify failed: {place_of(error)}")
        self._letters.put([(letter, message)])
        self._producer.flush()

    def close(self) -> None:
        """Let go of the producer."""
        self._stand_by()
        self._producer.close()


def identify_worker(
    log: Log,
    store: Store,
    rules: Rules,
    settings: KafkaSettings,
    holder: str,
    *,
    meter: Meter = UNMETERED,
    people_meter: PeopleMeter = UNMETERED,
    batch_messages: int = BATCH_MESSAGES,
    retry_max_s: float = 30.0,
) -> Worker:
    """Reads the links topic. `holder` names this process to those who look at the lease.

    `store` must be this worker's own: what it writes carries the epoch of its lease.
    """
    consumer = log.consumer(
        settings.group("identify"),
        [settings.topic("links")],
        lambda partition, count: meter.lost(partition[0], count),
    )
    stage = Identify(log, store, rules, log.producer(), settings, meter, people_meter, holder)
    return Worker(stage, consumer, meter, batch_messages=batch_messages, retry_max_s=retry_max_s)
