import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from identity.event import Event, Source
from ingest.decode import decode
from ingest.times import EARLIEST_MS, FUTURE_MAX_MS, LATEST_MS, SKEW_MIN_MS, parse_ms

AT = 1_767_268_800_000  # 2026-01-01T12:00:00Z
SECOND = 1_000
HOUR = 3_600_000
SOURCE = Source(name="s")


@pytest.mark.parametrize(
    ("written", "ms"),
    [
        ("2026-01-01T12:00:00Z", AT),
        ("2026-01-01T12:00:00.5Z", AT + 500),
        ("2026-01-01T12:00:00.123Z", AT + 123),
        ("2026-01-01T12:00:00.123456Z", AT + 123),
        ("2026-01-01T12:00:00.123456789Z", AT + 123),
        ("2026-01-01T12:00:00.999999999Z", AT + 999),
        ("2026-01-01T17:30:00+05:30", AT),
        ("2026-01-01T17:30:00+0530", AT),
        ("2026-01-01T12:00:00.000000+00:00", AT),
        ("2026-01-01T12:00:00", AT),
        ("2026-01-01 12:00:00", AT),
        ("2026-01-01 12:00", AT),
        ("2026-01-01t12:00:00z", AT),
        ("  2026-01-01T12:00:00Z\n", AT),
        ("2026-01-01", AT - 12 * HOUR),
        ("20260101", AT - 12 * HOUR),
        ("2026-01-01 12:00:00 UTC", AT),
        ("2026-01-01 12:00:00 +0000 UTC", AT),
        ("2026-01-01 12:00:00.123 +0000 UTC", AT + 123),
        ("2026/01/01 12:00:00", AT),
        ("01/01/2026 12:00:00", AT),
        ("Jan 1, 2026", AT - 12 * HOUR),
        ("Thu, 01 Jan 2026 12:00:00 GMT", AT),
        ("Thu Jan 01 2026 17:30:00 GMT+0530 (India Standard Time)", AT),
        (AT, AT),
        (AT // 1000, AT),
        (AT / 1000 + 0.5, AT + 500),
        (str(AT), AT),
        (str(AT // 1000), AT),
        ("1701010112233", 1_701_010_112_233),  # would also read as a day and a time
        (0, 0),
    ],
)
def test_times_are_read_as_clients_write_them(written: Any, ms: int) -> None:
    assert parse_ms(written) == ms


@pytest.mark.parametrize(
    "written",
    [
        None, "", "   ", "yesterday", "null", "2026-13-01T00:00:00Z", "2026-01-32", "25:00",
        "0001-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "1969-12-31T23:59:59Z", "1900-01-01",
        "2201-01-01T00:00:00Z", "9999-12-31T23:59:59-14:00", "99999-01-01T00:00:00Z", "9" * 13,
        -5, 10**40, float("nan"), float("inf"), True, False, [], {}, "x" * 10_000, "1" * 64, "nan",
    ],
)  # fmt: skip
def test_what_is_no_time_between_1970_and_2200_is_none(written: Any) -> None:
    assert parse_ms(written) is None


@given(st.datetimes(datetime(1970, 1, 1), datetime(2199, 12, 31), timezones=st.timezones()))
def test_any_iso_time_is_read_exactly(at: datetime) -> None:
    try:
        ms = (at - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1000
    except OverflowError:
        return
    read = parse_ms(at.isoformat())
    if EARLIEST_MS <= ms <= LATEST_MS:
        assert read is not None
        assert abs(read - ms) <= 1


@given(st.text() | st.floats() | st.integers() | st.none() | st.booleans())
def test_nothing_that_a_client_writes_raises(written: Any) -> None:
    read = parse_ms(written)
    assert read is None or EARLIEST_MS <= read <= LATEST_MS


# --- when an event happened (facts: rudderstack.md §1.3) ---


def happened(received_ms: int = AT, **times: Any) -> Event:
    message = {"type": "page", "userId": "u", "messageId": "m", **times}
    event = decode(json.dumps(message).encode(), received_ms, SOURCE)
    assert isinstance(event, Event)
    return event


TABLE = [
    # (fields, when it happened, what a retry repeats)
    ("timestamp as stated", {"timestamp": AT - HOUR}, AT - HOUR, AT - HOUR),
    (
        "timestamp is not corrected",
        {"timestamp": AT - HOUR, "originalTimestamp": AT - 9 * HOUR, "sentAt": AT - 8 * HOUR},
        AT - HOUR, AT - 9 * HOUR,
    ),
    (
        "a clock that is an hour slow",
        {"originalTimestamp": AT - HOUR - 5 * SECOND, "sentAt": AT - HOUR},
        AT - 5 * SECOND, AT - HOUR - 5 * SECOND,
    ),
    (
        "a clock that is a day fast",
        {"originalTimestamp": AT + 24 * HOUR, "sentAt": AT + 24 * HOUR + SECOND},
        AT - SECOND, AT + 24 * HOUR,
    ),
    (
        "kept offline for a day, then sent by a right clock",
        {"originalTimestamp": AT - 24 * HOUR, "sentAt": AT - SECOND},
        AT - 24 * HOUR, AT - 24 * HOUR,
    ),
    (
        "a skew just under a minute is none",
        {"originalTimestamp": AT - HOUR, "sentAt": AT - SKEW_MIN_MS + 1},
        AT - HOUR, AT - HOUR,
    ),
    (
        "a skew of a minute is one",
        {"originalTimestamp": AT - HOUR, "sentAt": AT - SKEW_MIN_MS},
        AT - HOUR + SKEW_MIN_MS, AT - HOUR,
    ),
    ("no sentAt: sent when received", {"originalTimestamp": AT - HOUR}, AT - HOUR, AT - HOUR),
    (
        "an unreadable sentAt: when received",
        {"originalTimestamp": AT - HOUR, "sentAt": "soon"}, AT, AT - HOUR,
    ),
    ("an unreadable originalTimestamp", {"originalTimestamp": "now", "sentAt": AT}, AT, 0),
    (
        "an unreadable timestamp does not count",
        {"timestamp": "now", "originalTimestamp": AT - HOUR, "sentAt": AT}, AT - HOUR, AT - HOUR,
    ),
    ("no time at all", {}, AT, 0),
    ("just under the future", {"timestamp": AT + FUTURE_MAX_MS}, AT + FUTURE_MAX_MS, AT + FUTURE_MAX_MS),
    ("the future", {"timestamp": AT + FUTURE_MAX_MS + 1}, AT, AT + FUTURE_MAX_MS + 1),
    ("before 1970", {"timestamp": "1960-01-01T00:00:00Z"}, AT, 0),
    (
        "receivedAt in the event is not ours",
        {"originalTimestamp": AT - HOUR, "receivedAt": AT - 24 * HOUR}, AT - HOUR, AT - HOUR,
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "time_ms", "key_ms"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE]
)
def test_when_an_event_happened(fields: dict[str, Any], time_ms: int, key_ms: int) -> None:
    event = happened(**fields)
    assert (event.time_ms, event.key_ms, event.received_ms) == (time_ms, key_ms, AT)


@given(
    st.integers(AT - HOUR, AT + HOUR), st.integers(-SKEW_MIN_MS // 2, SKEW_MIN_MS // 2),
    st.integers(0, 20 * SECOND),
)  # fmt: skip
def test_two_deliveries_by_a_nearly_right_clock_give_one_time(
    original: int, skew: int, delay: int
) -> None:
    first, second = (
        happened(received, originalTimestamp=original, sentAt=received + skew)
        for received in (AT + HOUR, AT + HOUR + delay)
    )
    assert (first.time_ms, first.key_ms) == (second.time_ms, second.key_ms)


# --- dumps and topics, where a gateway wrote receivedAt ---


@pytest.mark.parametrize(
    ("fields", "received_ms"),
    [
        ({"receivedAt": AT - HOUR}, AT - HOUR),
        ({"timestamp": AT - 2 * HOUR}, AT - 2 * HOUR),
        ({"originalTimestamp": AT - 3 * HOUR}, AT - 3 * HOUR),
        ({"receivedAt": "x", "timestamp": AT - 2 * HOUR}, AT - 2 * HOUR),
        ({"timestamp": AT + HOUR}, AT),  # no file holds what is yet to come
        ({}, AT),
    ],
)
def test_the_receipt_of_an_event_in_a_dump(fields: dict[str, Any], received_ms: int) -> None:
    raw = json.dumps({"type": "page", "userId": "u", **fields}).encode()
    event = decode(raw, AT, SOURCE, believe_received_at=True)
    assert isinstance(event, Event)
    assert event.received_ms == received_ms
