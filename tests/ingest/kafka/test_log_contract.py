"""What every log promises: in memory and on a real broker."""

import threading
import time
from collections.abc import Iterator

import confluent_kafka
import pytest

from ingest.log import (
    MESSAGE_BYTES_MAX,
    Consumer,
    LogRefused,
    MessageTooLarge,
    Partition,
    next_offsets,
    nothing_lost,
)
from tests.ingest.kafka.logs import (
    KafkaTopics,
    MemoryTopics,
    Topics,
    member,
    nothing_more,
    read,
    until,
    values,
)


@pytest.fixture(params=["memory", "kafka"])
def topics(request: pytest.FixtureRequest) -> Topics:
    if request.param == "memory":
        return MemoryTopics()
    kafka = request.getfixturevalue("kafka")
    return KafkaTopics(kafka.brokers, request.getfixturevalue("topic_prefix"))


@pytest.fixture
def consumers() -> Iterator[list[Consumer]]:
    """Those that are closed at the end."""
    made: list[Consumer] = []
    yield made
    for each in made:
        each.close()


def send(topics: Topics, topic: str, count: int, key: bytes = b"", start: int = 0) -> None:
    producer = topics.log.producer()
    for n in range(start, start + count):
        producer.send(topic, b"%d" % n, key)
    producer.flush()
    producer.close()


def test_a_message_arrives_as_it_was_sent(topics: Topics, consumers: list[Consumer]) -> None:
    topic = topics.make("a", 3)
    producer = topics.log.producer()
    producer.send(topic, b"\x00value", b"key", {"source": b"web", "empty": b""})
    producer.send(topic, b"")
    producer.flush()
    consumers.append(member(topics, "g", [topic]))
    with_key, without = sorted(read(consumers[0], 2), key=lambda each: each.key, reverse=True)
    assert (with_key.topic, with_key.value, with_key.key) == (topic, b"\x00value", b"key")
    assert with_key.headers == {"source": b"web", "empty": b""}
    assert abs(with_key.timestamp_ms - time.time() * 1000) < 60_000
    assert (without.value, without.key, without.headers) == (b"", b"", {})


def test_equal_keys_go_to_one_partition_in_order(topics: Topics, consumers: list[Consumer]) -> None:
    topic = topics.make("a", 5)
    for key in (b"asha", b"ravi", b"meera"):
        send(topics, topic, 30, key)
    consumers.append(member(topics, "g", [topic]))
    messages = read(consumers[0], 90)
    for key in (b"asha", b"ravi", b"meera"):
        mine = [each for each in messages if each.key == key]
        assert values(mine) == [b"%d" % n for n in range(30)]
        assert len({each.partition for each in mine}) == 1
        offsets = [each.offset for each in mine]
        assert offsets == sorted(offsets)


def test_both_logs_choose_the_same_partitions(topics: Topics, consumers: list[Consumer]) -> None:
    topic = topics.make("a", 7)
    producer = topics.log.producer()
    for n in range(40):
        producer.send(topic, b"x", b"key-%d" % n)
    producer.flush()
    consumers.append(member(topics, "g", [topic]))
    chosen = {each.key: each.partition for each in read(consumers[0], 40)}
    # As Java's clients choose them (org.apache.kafka.common.utils.Utils.murmur2).
    assert chosen == {key: confluent_kafka.murmur2(key, 7) for key in chosen}


def test_a_poll_gives_no_more_than_its_limit(topics: Topics, consumers: list[Consumer]) -> None:
    topic = topics.make("a", 1)
    send(topics, topic, 10)
    consumers.append(member(topics, "g", [topic]))
    found: list[bytes] = []
    while len(found) < 10:
        some = consumers[0].poll(3, 0.05)
        assert len(some) <= 3
        found += values(some)
    assert found == [b"%d" % n for n in range(10)]


def test_what_is_not_committed_is_delivered_again_and_what_is_is_not(
    topics: Topics, consumers: list[Consumer]
) -> None:
    topic = topics.make("a", 1)
    send(topics, topic, 10)
    first = member(topics, "g", [topic])
    messages = read(first, 10)
    first.commit(next_offsets(messages[:6]))
    first.close()
    consumers.append(member(topics, "g", [topic]))
    assert values(read(consumers[0], 4)) == [b"6", b"7", b"8", b"9"]
    assert nothing_more(consumers[0])


def test_another_group_reads_everything(topics: Topics, consumers: list[Consumer]) -> None:
    topic = topics.make("a", 2)
    send(topics, topic, 8)
    for group in ("one", "other"):
        consumers.append(member(topics, group, [topic]))
        messages = read(consumers[-1], 8)
        assert sorted(values(messages)) == [b"%d" % n for n in range(8)]
        consumers[-1].commit(next_offsets(messages))


def owned(consumer: Consumer) -> frozenset[Partition]:
    consumer.poll(1, 0.05)
    return consumer.membership().partitions


def test_members_share_partitions_and_one_inherits_what_another_leaves(
    topics: Topics, consumers: list[Consumer]
) -> None:
    topic = topics.make("a", 4)
    everything = {(topic, n) for n in range(4)}
    one, other = member(topics, "g", [topic]), member(topics, "g", [topic])
    consumers += [one, other]
    until(lambda: owned(one) == everything or len(owned(one)) == 2)
    until(lambda: len(owned(one)) == len(owned(other)) == 2)
    assert owned(one) | owned(other) == everything
    assert one.membership().joined
    before = one.membership().generation
    other.close()
    until(lambda: owned(one) == everything)
    assert one.membership().generation > before


def test_the_third_member_of_two_partitions_stands_by(
    topics: Topics, consumers: list[Consumer]
) -> None:
    topic = topics.make("a", 1)
    consumers += [member(topics, "g", [topic]), member(topics, "g", [topic])]
    until(lambda: {len(owned(each)) for each in consumers} == {0, 1})
    until(lambda: all(owned(each) is not None and each.membership().joined for each in consumers))


def test_waiting_without_taking_loses_nothing(topics: Topics, consumers: list[Consumer]) -> None:
    topic = topics.make("a", 2)
    send(topics, topic, 20, b"k")
    consumer = member(topics, "g", [topic])
    consumers.append(consumer)
    found = values(read(consumer, 5))
    send(topics, topic, 20, b"k", start=20)
    consumer.idle(0.6)
    consumer.idle(0.0)
    found += values(read(consumer, 35))
    assert found == [b"%d" % n for n in range(40)]
    assert nothing_more(consumer)


def test_waiting_lets_others_join(topics: Topics, consumers: list[Consumer]) -> None:
    topic = topics.make("a", 2)
    busy = member(topics, "g", [topic])
    consumers.append(busy)
    until(lambda: len(owned(busy)) == 2)
    other = member(topics, "g", [topic])
    consumers.append(other)
    until(lambda: len(owned(other)) == 1, meanwhile=busy)
    busy.idle(0.1)
    assert len(busy.membership().partitions) == 1


def test_who_leaves_may_come_again(topics: Topics, consumers: list[Consumer]) -> None:
    topic = topics.make("a", 1)
    send(topics, topic, 4)
    consumer = member(topics, "g", [topic])
    consumers.append(consumer)
    messages = read(consumer, 4)
    consumer.commit(next_offsets(messages[:1]))
    before = consumer.membership().generation
    consumer.leave()
    assert consumer.membership().partitions == frozenset()
    assert consumer.membership().generation > before
    consumer.idle(0.5)
    assert values(read(consumer, 3)) == [b"1", b"2", b"3"]


def test_messages_that_are_gone_are_counted_and_the_rest_is_read(
    topics: Topics, consumers: list[Consumer]
) -> None:
    topic = topics.make("a", 1)
    send(topics, topic, 10)
    first = member(topics, "g", [topic])
    first.commit(next_offsets(read(first, 3)))
    first.close()
    topics.truncate((topic, 0), 7)
    lost: list[tuple[Partition, int]] = []
    late = topics.log.consumer(
        f"{topics.prefix}.g", [topic], lambda partition, count: lost.append((partition, count))
    )
    consumers.append(late)
    assert values(read(late, 3)) == [b"7", b"8", b"9"]
    assert lost == [((topic, 0), 4)]


def test_a_new_group_has_lost_nothing(topics: Topics, consumers: list[Consumer]) -> None:
    topic = topics.make("a", 1)
    send(topics, topic, 10)
    topics.truncate((topic, 0), 7)
    lost: list[int] = []
    fresh = topics.log.consumer(f"{topics.prefix}.g", [topic], lambda _, count: lost.append(count))
    consumers.append(fresh)
    assert values(read(fresh, 3)) == [b"7", b"8", b"9"]
    assert lost == []


def test_lag_is_what_is_not_committed(topics: Topics, consumers: list[Consumer]) -> None:
    topic = topics.make("a", 2)
    group = f"{topics.prefix}.g"
    assert topics.log.lag(group, [topic]) == 0
    send(topics, topic, 10, b"k")
    assert topics.log.lag(group, [topic]) == 10
    consumer = member(topics, "g", [topic])
    consumers.append(consumer)
    messages = read(consumer, 6)
    consumer.commit(next_offsets(messages[:4]))
    until(lambda: topics.log.lag(group, [topic]) == 6, meanwhile=consumer)
    until(lambda: sum(consumer.lag().values()) == 4)


def test_ends_are_where_the_next_messages_go(topics: Topics) -> None:
    topic = topics.make("a", 1)
    assert topics.log.ends(topic) == {(topic, 0): 0}
    send(topics, topic, 3)
    assert topics.log.ends(topic) == {(topic, 0): 3}


def test_a_topic_made_anew_is_another_one(topics: Topics) -> None:
    topic = topics.make("a", 2)
    before = topics.log.fingerprint(topic)
    assert topics.log.fingerprint(topic) == before
    topics.make("a", 2)
    assert topics.log.fingerprint(topic) != before


def test_a_message_that_is_too_large_is_refused_alone(
    topics: Topics, consumers: list[Consumer]
) -> None:
    topic = topics.make("a", 1)
    producer = topics.log.producer()
    producer.send(topic, b"before")
    with pytest.raises(MessageTooLarge, match=topic):
        producer.send(topic, b"x" * (MESSAGE_BYTES_MAX + 1))
    producer.send(topic, b"after")
    producer.flush()
    consumers.append(member(topics, "g", [topic]))
    assert values(read(consumers[0], 2)) == [b"before", b"after"]


def test_a_topic_that_is_not_there_is_named(topics: Topics) -> None:
    with pytest.raises(LogRefused, match="nosuch"):
        consumer = topics.log.consumer(f"{topics.prefix}.g", ["nosuch"], nothing_lost)
        try:
            read(consumer, 1, seconds=10)
        finally:
            consumer.close()


def test_closing_twice_is_the_same_as_once(topics: Topics) -> None:
    topic = topics.make("a", 1)
    consumer = member(topics, "g", [topic])
    consumer.poll(1, 0.05)
    consumer.close()
    consumer.close()


def test_any_thread_may_have_a_member_of_its_own(topics: Topics) -> None:
    topic = topics.make("a", 4)
    send(topics, topic, 400)
    found: list[bytes] = []
    done = threading.Event()

    def work() -> None:
        consumer = member(topics, "g", [topic])
        while not done.is_set():
            messages = consumer.poll(10, 0.02)
            found.extend(values(messages))
            consumer.commit(next_offsets(messages))
        consumer.close()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        until(lambda: len(set(found)) == 400)
    finally:
        done.set()
        for thread in threads:
            thread.join()
