"""Where events go when stages run elsewhere: nothing is acknowledged before it is safe."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from identity.event import Event, Source
from identity.rules import Rules
from ingest.decode import Refused, decode
from ingest.kafka.settings import KafkaSettings
from ingest.kafka.sink import LogSink, open_sink
from ingest.log import LogUnavailable
from ingest.memory_log import MemoryLog
from ingest.messages import event_in
from storage.ports import StoredPosition
from tests.workspace import NOON, Workspace

WEB = Source(name="web")
SETTINGS = KafkaSettings(prefix="t")
TOPICS = {SETTINGS.topic(name): 2 for name in ("events", "backfill", "deadletters")}


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    made = Workspace(tmp_path)
    yield made
    made.close()


def sink(workspace: Workspace, log: MemoryLog, *, backfill: bool = False) -> LogSink:
    return open_sink(
        log,
        workspace.store,
        workspace.keys,
        Rules(),
        workspace.sources,
        SETTINGS,
        backfill=backfill,
    )


def event(**fields: Any) -> Event:
    raw = msgspec.json.encode(
        {"type": "track", "event": "x", "messageId": "m", "userId": "asha", "anonymousId": "b"}
        | fields
    )
    decoded = decode(raw, NOON, WEB)
    assert isinstance(decoded, Event)
    return decoded


def test_an_event_arrives_as_it_was_taken(workspace: Workspace) -> None:
    log = MemoryLog(TOPICS)
    sent = [event(messageId="1"), event(messageId="2", userId="")]
    outcome = sink(workspace, log).process(sent)
    assert (outcome.events, outcome.refused) == (2, 0)
    messages = log.messages("t.events")
    assert sorted(message.key for message in messages) == [b"asha", b"b"]
    got = [event_in(message, WEB) for message in messages]
    assert sorted(got, key=str) == sorted(sent, key=str)


def test_history_goes_to_the_backfill(workspace: Workspace) -> None:
    log = MemoryLog(TOPICS)
    sink(workspace, log, backfill=True).process([event()])
    assert len(log.messages("t.backfill")) == 1
    assert log.messages("t.events") == []


def test_positions_are_stored_when_events_are_safe_and_not_before(workspace: Workspace) -> None:
    away = [True]

    def fault(step: str) -> None:
        if step == "flush" and away[0]:
            raise LogUnavailable("the broker is away")

    log = MemoryLog(TOPICS, fault=fault)
    position = StoredPosition(uri="file", fingerprint="1", line=9, finished=False)
    to = sink(workspace, log, backfill=True)
    with pytest.raises(LogUnavailable):
        to.process([event()], positions=[position])
    assert workspace.store.positions.get(["file"]) == {}
    away[0] = False
    to.process([event()], positions=[position])
    assert workspace.store.positions.get(["file"]) == {"file": position}


def test_what_is_refused_is_kept_with_its_origin(workspace: Workspace) -> None:
    log = MemoryLog(TOPICS)
    refused = Refused(reason="invalid_json", detail="no", raw=b"{", received_ms=NOON, source="web")
    outcome = sink(workspace, log).process([], [refused], origin="collector")
    assert outcome.refused == 1
    (letter,) = workspace.store.dead_letters.list(10)
    assert (letter.reason, letter.origin, letter.raw) == ("invalid_json", "collector", b"{")
    (message,) = log.messages("t.deadletters")
    assert message.headers == {"reason": b"invalid_json", "origin": b"collector"}


def test_it_accepts_what_names_somebody(workspace: Workspace) -> None:
    to = sink(workspace, MemoryLog(TOPICS))
    assert to.accepts(event())
    assert not to.accepts(event(userId="null", anonymousId="undefined"))
    to.close()
