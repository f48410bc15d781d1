"""A member of a consumer group on confluent-kafka: `ingest.log.Consumer`.

What the settings guard against is in facts/cassandra-kafka-security.md §3.
"""

import logging
import time
from collections.abc import Mapping, Sequence
from typing import Final

import confluent_kafka as ck
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from ingest.kafka.client import ANSWER_S_MAX, Troubles, client_config, explained, made
from ingest.kafka.settings import KafkaSettings
from ingest.log import LogRefused, LogUnavailable, Lost, Membership, Message, Partition

SESSION_MS: Final = 6_000
"""How long a killed member's partitions wait for another one: the shortest that brokers allow by default."""
HEARTBEAT_MS: Final = 2_000
POLL_INTERVAL_MS_MAX: Final = 300_000
"""A batch that takes longer costs its partitions; waiting for a store does not, for `idle` polls."""
PREFETCH_KB_MAX: Final = 16_384
"""Messages that wait in memory: some 40,000 events, five seconds of work."""
FETCH_PAUSE_MS: Final = 50
"""How soon a full prefetch queue is looked at again; librdkafka's second would leave a fast worker idle."""
GATHER_S: Final = 0.005
"""How long a message that has come waits for others: a batch of librdkafka's waits for the whole time-out."""
IDLE_SLICE_S: Final = 0.25
LOOK_AGAIN_S: Final = 2.0
COMMIT_AGAIN_S: Final = 0.5
"""How soon a commit that a rebalance has refused is tried again."""

_SOFT: Final = (
    KafkaError.REBALANCE_IN_PROGRESS,
    KafkaError.ILLEGAL_GENERATION,
    KafkaError.UNKNOWN_MEMBER_ID,
    KafkaError._NO_OFFSET,
)
_REFUSED: Final = (
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
)

_logger = logging.getLogger(__name__)


class KafkaConsumer:
    """`ingest.log.Consumer`. Offsets are committed when told, never for partitions that were lost.

    Where to begin is decided here, not by librdkafka: a new group at the first message, and one whose next
    message is gone says how many are missing before it goes on.
    """

    def __init__(
        self, settings: KafkaSettings, group: str, topics: Sequence[str], lost: Lost
    ) -> None:
        self._settings = settings
        self._group = group
        self._topics = list(topics)
        self._lost = lost
        self._troubles = Troubles(settings)
        self._client = self._connected()
        self._subscribed = False
        self._joined = False
        self._generation = 0
        self._partitions: set[Partition] = set()
        self._paused: set[Partition] = set()
        self._stuck: dict[Partition, int] = {}
        """Partitions that cannot go on from an offset, which is negative for a new group."""
        self._held: list[Message] = []
        self._uncommitted: dict[Partition, int] = {}
        """What the group has not said that it keeps: it refuses commits while members come and go."""
        self._commit_again_at = 0.0
        """When to try again; 0: nothing was refused."""
        self._looked_at = 0.0

    def _connected(self) -> ck.Consumer:
        return made(
            ck.Consumer,
            client_config(self._settings, self._troubles)
            | {
                "group.id": self._group,
                "partition.assignment.strategy": "cooperative-sticky",
                "session.timeout.ms": SESSION_MS,
                "heartbeat.interval.ms": HEARTBEAT_MS,
                "max.poll.interval.ms": POLL_INTERVAL_MS_MAX,
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "auto.offset.reset": "error",
                "queued.max.messages.kbytes": PREFETCH_KB_MAX,
                "fetch.queue.backoff.ms": FETCH_PAUSE_MS,
                "on_commit": self._committed,
            },
            self._settings,
        )

    def poll(self, limit: int, timeout_s: float) -> list[Message]:
        """Up to `limit` messages; LogRefused where reading is forbidden or a topic is not there."""
        if not self._subscribed:
            self._client.subscribe(
                self._topics,
                on_assign=self._given,
                on_revoke=self._taken,
                on_lost=self._taken,
            )
            self._subscribed = True
        self._resume()
        found, self._held = self._held, []
        try:
            wait_s = min(timeout_s, GATHER_S) if found else timeout_s
            self._consume(found, limit - len(found), wait_s)
        except BaseException:
            self._held = found
            raise
        if not found:
            self._look_again()
        return found

    def _consume(self, found: list[Message], limit: int, timeout_s: float) -> None:
        if limit <= 0:
            return
        if self._troubles.fatal:
            self._start_anew()
        self._commit_again()
        try:
            refusal = self._read(found, 1, timeout_s)
            if found and limit > 1:
                refusal = self._read(found, limit - 1, min(timeout_s, GATHER_S)) or refusal
        except KafkaException as error:
            raise explained(error, self._settings, self._group) from error
        if found:
            self._troubles.over()
        for partition in list(self._stuck):
            self._free(partition)
        if refusal is not None:
            raise refusal

    def _read(self, found: list[Message], limit: int, timeout_s: float) -> Exception | None:
        refusal = None
        for each in self._client.consume(limit, timeout_s):
            failure = each.error()
            if failure is None:
                found.append(message_of(each))
            else:
                refusal = self._failed(each, failure) or refusal
        return refusal

    def _failed(self, message: ck.Message, error: KafkaError) -> Exception | None:
        topic, number = message.topic() or "", message.partition()
        if error.code() == KafkaError._AUTO_OFFSET_RESET and number is not None:
            offset = message.offset()
            self._stuck[topic, number] = -1 if offset is None else offset
            return None
        if error.code() in _REFUSED:
            return explained(error, self._settings, topic or ", ".join(self._topics), "read")
        _logger.warning("%s", explained(error, self._settings, topic or self._group))
        return None

    def _free(self, partition: Partition) -> None:
        """Go on with a partition from its first message, and say what is missing."""
        place = TopicPartition(*partition)
        try:
            first, end = self._client.get_watermark_offsets(place, ANSWER_S_MAX)
        except KafkaException as error:
            _logger.warning("%s", explained(error, self._settings, partition[0]))
            return
        wanted = self._stuck.pop(partition)
        if 0 <= wanted < first:
            _logger.error(
                "%s:%d: %d messages from offset %d on were deleted before group %s read them; it goes on at "
                "%d. Retention is too short for this lag: raise kafka.retention_hours",
                *partition, first - wanted, wanted, self._group, first,
            )  # fmt: skip
            self._lost(partition, first - wanted)
        elif wanted > end:
            _logger.error(
                "%s:%d: group %s has read up to offset %d, but the partition ends at %d: the topic was made "
                "anew, and is read from its first message",
                *partition, self._group, wanted, end,
            )  # fmt: skip
        if partition in self._partitions:
            self._client.incremental_unassign([place])
            self._client.incremental_assign([TopicPartition(*partition, first)])

    def idle(self, seconds: float) -> None:
        """Stay a member for so long; what still comes is kept for the next `poll`."""
        until = time.monotonic() + seconds
        while True:
            self._pause()
            left = until - time.monotonic()
            try:
                self._consume(self._held, 1, max(0.0, min(left, IDLE_SLICE_S)))
            except (LogRefused, LogUnavailable) as error:
                _logger.warning("%s", error)
            if left <= IDLE_SLICE_S:
                return

    def _pause(self) -> None:
        if running := self._partitions - self._paused:
            self._client.pause([TopicPartition(*each) for each in running])
            self._paused |= running

    def _resume(self) -> None:
        # Only what was paused: resuming another would read it again (librdkafka 4637).
        if self._paused:
            self._client.resume([TopicPartition(*each) for each in self._paused])
            self._paused = set()

    def commit(self, offsets: Mapping[Partition, int]) -> None:
        """Ask the group to keep offsets; `close` waits for the answer. Refused, it is asked again."""
        self._uncommitted |= {each: at for each, at in offsets.items() if each in self._partitions}
        self._commit()

    def _commit(self) -> None:
        places = [TopicPartition(*each, at) for each, at in self._uncommitted.items()]
        if places:
            try:
                self._client.commit(offsets=places, asynchronous=True)
            except KafkaException as error:
                raise explained(error, self._settings, self._group, "commit") from error

    def _commit_again(self) -> None:
        # Nobody else would: what was read is not read again, so without further messages the lag would stay.
        if not self._commit_again_at or time.monotonic() < self._commit_again_at:
            return
        self._commit_again_at = 0.0
        try:
            self._commit()
        except (LogRefused, LogUnavailable) as error:
            _logger.warning("%s", error)
            self._commit_again_at = time.monotonic() + COMMIT_AGAIN_S

    def _committed(self, error: KafkaError | None, places: list[TopicPartition]) -> None:
        for place in places:
            kept = error is None and place.error is None
            if kept and self._uncommitted.get((place.topic, place.partition)) == place.offset:
                del self._uncommitted[place.topic, place.partition]
        for failed in {e.code(): e for e in (error, *(p.error for p in places)) if e}.values():
            self._commit_again_at = time.monotonic() + COMMIT_AGAIN_S
            level = logging.INFO if failed.code() in _SOFT else logging.WARNING
            _logger.log(level, "%s: offsets were not committed: %s", self._group, failed.str())

    def membership(self) -> Membership:
        """As of the last `poll` or `idle`."""
        if not self._joined and self._subscribed:
            self._joined = bool(self._client.memberid())
        error = self._troubles.error
        return Membership(
            self._generation, frozenset(self._partitions), self._joined, str(error) if error else ""
        )

    def lag(self) -> dict[Partition, int]:
        """From what the brokers said with the last messages."""
        found = {}
        for place in self._client.position([TopicPartition(*each) for each in self._partitions]):
            _, end = self._client.get_watermark_offsets(place, cached=True)
            if end >= 0 and place.offset >= 0:
                found[place.topic, place.partition] = max(0, end - place.offset)
        return found

    def leave(self) -> None:
        """Give up all partitions."""
        self._client.unsubscribe()
        self._subscribed = self._joined = False
        self._taken(self._client, [TopicPartition(*each) for each in self._partitions])

    def close(self) -> None:
        """Leave the group; commits that are under way are waited for."""
        try:
            self._client.close()
        except (RuntimeError, KafkaException) as error:
            _logger.info("%s: %s", self._group, error)

    # --- rebalances, called within consume ---------------------------------------------------------

    def _given(self, _: ck.Consumer, places: list[TopicPartition]) -> None:
        self._joined = True
        self._troubles.over()
        if places:
            self._generation += 1
            self._partitions |= {(place.topic, place.partition) for place in places}

    def _taken(self, _: ck.Consumer, places: list[TopicPartition]) -> None:
        gone = {(place.topic, place.partition) for place in places}
        if gone:
            self._generation += 1
            self._partitions -= gone
            self._paused -= gone
            self._uncommitted = {e: at for e, at in self._uncommitted.items() if e not in gone}
            self._stuck = {each: at for each, at in self._stuck.items() if each not in gone}
            self._held = [m for m in self._held if (m.topic, m.partition) not in gone]

    # --- trouble -------------------------------------------------------------------------------------

    def _look_again(self) -> None:
        """Whether a broker that did not answer does so now: nothing tells us when there is no message."""
        if self._troubles.error is None or time.monotonic() - self._looked_at < LOOK_AGAIN_S:
            return
        self._looked_at = time.monotonic()
        try:
            self._client.list_topics(self._topics[0], timeout=1.0)
        except KafkaException:
            return
        self._troubles.over()

    def _start_anew(self) -> None:
        _logger.error("%s: the client gave up for good; a new one takes its place", self._group)
        self.close()
        self._taken(self._client, [TopicPartition(*each) for each in self._partitions])
        self._troubles.fatal = self._joined = False
        self._client = self._connected()
        self._client.subscribe(
            self._topics, on_assign=self._given, on_revoke=self._taken, on_lost=self._taken
        )


def message_of(found: ck.Message) -> Message:
    """A message of confluent-kafka as one of ours."""
    headers = found.headers()
    return Message(
        found.topic() or "",
        found.partition() or 0,
        found.offset() or 0,
        found.timestamp()[1],
        found.key() or b"",
        found.value() or b"",
        dict(headers) if headers else {},  # type: ignore[arg-type]  # a list of pairs, from a consumer
    )
