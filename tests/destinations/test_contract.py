"""What every destination promises (destinations/destination.py). A new one adds a line to DESTINATIONS."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from destinations.destination import Destination
from destinations.errors import ExportRefused, TargetUnavailable
from destinations.folders import LocalFolder, open_folder
from destinations.ga4 import Ga4
from destinations.kafka import KafkaTopic
from destinations.lotame import Lotame
from destinations.lotame_email import LotameEmail
from destinations.settings import (
    Ga4Settings,
    KafkaDestinationSettings,
    LotameEmailSettings,
    LotameSettings,
    TableSettings,
    WebhookSettings,
)
from destinations.tables import Table
from destinations.webhook import Webhook
from ingest.memory_log import MemoryLog
from tests.destinations.people import Desk, crowd, node, permission, person, some_people, uuid_of
from tests.destinations.receiver import Receiver, receiving
from tests.workspace import NOON

Told = set[str]
"""Names of the segments that somebody is told to be in."""


class Stage:
    """A destination, and how a test reads what it was told of a person."""

    def __init__(
        self,
        make: Callable[[], Destination],
        told: Callable[[str], Told],
        written: Callable[[], Any],
    ) -> None:
        self.make, self.told, self.written = make, told, written


Kind = Callable[[Path, Receiver], Stage]


def lotame(folder: Path, receiver: Receiver) -> Stage:
    from tests.destinations.lotame_reader import memberships, read_day

    out = folder / "out"

    def told(name: str) -> Told:
        days = [read_day(each) for each in sorted(out.iterdir())] if out.exists() else []
        return memberships(days[-1]).get(("TPID", uuid_of(name)), set()) if days else set()

    def written() -> Any:
        return {p.name: p.read_bytes() for p in sorted(out.rglob("*")) if p.is_file()}

    return Stage(lambda: Lotame(LotameSettings(), open_folder(str(out))), told, written)


def lotame_email(folder: Path, receiver: Receiver) -> Stage:
    import hashlib

    out = folder / "out"
    settings = LotameEmailSettings(client_id=7)

    def told(name: str) -> Told:
        digest = hashlib.sha256(f"{name}@example.com".encode()).hexdigest()
        rows = [
            row for path in sorted(out.rglob("type=DATA/*.csv"))
            for row in csv.reader(io.StringIO(path.read_text()))
        ]  # fmt: skip
        return {segment for row in rows if row[0] == digest for segment in row[1:]}

    def written() -> Any:
        return {p.name: p.read_bytes() for p in sorted(out.rglob("*")) if p.is_file()}

    return Stage(lambda: LotameEmail(settings, LocalFolder(out)), told, written)


def table(folder: Path, receiver: Receiver, **fields: Any) -> Stage:
    out = folder / "out"
    settings = TableSettings(**fields)

    def rows() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for done in sorted(out.glob("*.done"), key=lambda path: path.name.split("-")[-1])[-1:]:
            path = done.with_suffix("")
            if settings.format == "parquet":
                found += pq.read_table(path).to_pylist()
            else:
                text = (
                    gzip.decompress(path.read_bytes())
                    if path.suffix == ".gz"
                    else path.read_bytes()
                )
                found += csv.DictReader(io.StringIO(text.decode()))
        return found

    def told(name: str) -> Told:
        return {
            row["segment"] for row in rows()
            if row["user_id"] == name and str(row["member"]).lower() == "true"
        }  # fmt: skip

    def written() -> Any:
        return {p.name: p.read_bytes() for p in sorted(out.rglob("*")) if p.is_file()}

    return Stage(lambda: Table(settings, LocalFolder(out), "x"), told, written)


def parquet(folder: Path, receiver: Receiver) -> Stage:
    return table(folder, receiver, format="parquet")


def packed(folder: Path, receiver: Receiver) -> Stage:
    return table(folder, receiver, compress=True)


def _last_said(events: list[dict[str, Any]], name: str) -> Told:
    told: Told = set()
    for event in events:
        if event["userId"] == name:
            key = event["properties"]["audience_key"]
            assert (
                event["event"] == f"Audience {'Entered' if event['properties'][key] else 'Exited'}"
            )
            (told.add if event["properties"][key] else told.discard)(key)
    return told


def webhook(folder: Path, receiver: Receiver) -> Stage:
    settings = WebhookSettings(url=receiver.url, secret="s" * 32, retry_max_s=0.0, timeout_s=5.0)
    return Stage(
        lambda: Webhook(settings, lambda: NOON),
        lambda name: _last_said(receiver.events(), name),
        lambda: [body for _, _, body in receiver.requests],
    )


def kafka(folder: Path, receiver: Receiver) -> Stage:
    log = MemoryLog({"audiences": 3})
    settings = KafkaDestinationSettings(topic="audiences")

    def events() -> list[dict[str, Any]]:
        reader = log.consumer("test", ["audiences"], lambda partition, count: None)
        found = []
        while some := reader.poll(1_000, 0.01):
            found += some
        reader.leave()
        return [json.loads(each.value) for each in found]

    return Stage(
        lambda: KafkaTopic(settings, lambda topic: log.producer()),
        lambda name: _last_said(events(), name),
        lambda: sorted(json.dumps(each) for each in events()),
    )


def ga4(folder: Path, receiver: Receiver) -> Stage:
    settings = Ga4Settings(
        url=f"http://127.0.0.1:{receiver.port}", measurement_id="G-1", api_secret="s" * 16
    )

    def told(name: str) -> Told:
        client = next(i.value for i in person(name).identifiers if i.type == "ga_client_id")
        found: Told = set()
        for body in receiver.taken:
            if body["client_id"] == client:
                for key, value in body["user_properties"].items():
                    (found.add if value["value"] == "1" else found.discard)(key)
        return found

    return Stage(
        lambda: Ga4(settings, lambda: NOON),
        told,
        lambda: [body for _, _, body in receiver.requests],
    )


DESTINATIONS = [lotame, lotame_email, table, packed, parquet, webhook, kafka, ga4]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as made:
        yield made


@pytest.fixture(params=DESTINATIONS, ids=lambda each: each.__name__)
def kind(request: pytest.FixtureRequest) -> Kind:
    made: Kind = request.param
    return made


@pytest.fixture
def stage(kind: Kind, tmp_path: Path, receiver: Receiver) -> Stage:
    return kind(tmp_path, receiver)


@pytest.fixture
def desk(tmp_path: Path, stage: Stage) -> Iterator[Desk]:
    made = Desk(tmp_path, some_people(), stage.make())
    yield made
    made.close()


def test_only_those_who_consent_are_told_of(desk: Desk, stage: Stage) -> None:
    done = desk.export(allowed=permission("regulars", "lapsed")).delivery
    assert stage.told("asha") == {"regulars"}
    assert stage.told("ravi") == {"regulars", "lapsed"}
    assert stage.told("meera") == stage.told("om") == set()
    assert (done.people, done.result) == (2, "delivered")
    assert done.withheld["consent_refused"] == done.withheld["no_consent"] == 1
    assert done.checksum


def test_a_dry_run_touches_nothing_and_shows_nobody(desk: Desk, stage: Stage) -> None:
    before = stage.written()
    outcome = desk.export(dry=True)
    assert stage.written() == before
    assert desk.runs() == []
    assert desk.deliveries.positions("x") == {}
    assert outcome.delivery.people == 2
    assert 2 <= len(outcome.samples) <= 3
    shown = json.dumps(outcome.samples)
    for each in person("asha").identifiers + person("ravi").identifiers:
        assert each.value not in shown
    assert node("asha").hex() not in shown


def test_a_sensitive_segment_is_refused_unless_it_is_allowed_by_name(
    desk: Desk, stage: Stage
) -> None:
    with pytest.raises(
        ExportRefused, match=r"marked sensitive; allow it by name in exports/x\.yaml"
    ):
        desk.export(allowed=permission("regulars", "diabetes-care"))
    assert stage.told("asha") == set()
    allowed = permission(
        "regulars",
        "diabetes-care",
        allow_sensitive=("diabetes-care",),
        aliases={"diabetes-care": "s7"},
    )
    desk.export(allowed=allowed)
    assert stage.told("asha") == {"regulars", "s7"}


def test_all_segments_are_all_but_the_sensitive_ones(desk: Desk, stage: Stage) -> None:
    done = desk.export(allowed=permission("*")).delivery
    assert stage.told("asha") == {"regulars"}
    assert done.segments == ("lapsed", "regulars")
    assert done.withheld["sensitive"] == 1


def test_equal_people_are_equal_bytes_however_they_are_read(
    desk: Desk, stage: Stage, kind: Kind, tmp_path: Path
) -> None:
    desk.audience = crowd(50, batch=7)
    first = desk.export().delivery
    folder = tmp_path / "other"
    folder.mkdir()
    with receiving() as receiver:
        other = kind(folder, receiver)
        beside = Desk(folder, crowd(50, batch=50), other.make())
        second = beside.export().delivery
        beside.close()
        if desk.destination.acknowledges == "run":
            assert other.written() == stage.written()
            assert second.checksum == first.checksum
    assert first.people == second.people == 50


def test_who_leaves_is_told_to_have_left(desk: Desk, stage: Stage) -> None:
    desk.export("delta")
    assert stage.told("ravi") == {"regulars"}
    desk.audience.put(person("ravi", "lapsed"), NOON + 1)
    desk.audience.put(person("zoya", "regulars"), NOON + 2)
    desk.now_ms += 86_400_000
    done = desk.export("delta").delivery
    assert done.mode == "delta"
    assert stage.told("zoya") == {"regulars"}
    if desk.destination.kind != "lotame_email":
        assert stage.told("ravi") == set()
    else:
        assert done.withheld["cannot_be_removed"] == 1


def test_a_delta_without_changes_tells_nobody(desk: Desk, stage: Stage) -> None:
    desk.export("delta")
    desk.now_ms += 86_400_000
    done = desk.export("delta").delivery
    assert (done.people, done.rows, done.result) == (0, 0, "delivered")


def test_who_withdraws_consent_is_told_to_have_left_and_no_more_after(
    desk: Desk, stage: Stage
) -> None:
    desk.export("delta")
    desk.audience.put(person("asha", "regulars", granted=False), NOON + 1)
    desk.now_ms += 86_400_000
    assert desk.export("delta").delivery.people == 1
    if desk.destination.kind != "lotame_email":
        assert stage.told("asha") == set()
    desk.audience.put(person("asha", granted=False), NOON + 2)
    desk.now_ms += 86_400_000
    assert desk.export("delta").delivery.people == 0


def test_that_somebody_left_is_not_told_where_they_were_never_sent(
    desk: Desk, stage: Stage
) -> None:
    desk.export("delta")
    desk.audience.put(person("meera", granted=False), NOON + 1)
    desk.now_ms += 86_400_000
    done = desk.export("delta").delivery
    assert (done.people, done.withheld) == (0, {"consent_refused": 1})


def test_a_destination_that_fails_leaves_the_position_where_it_was(
    desk: Desk, stage: Stage, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.export("delta")
    before = desk.deliveries.positions("x")
    desk.audience.put(person("zoya", "regulars"), NOON + 2)
    desk.now_ms += 86_400_000
    if desk.destination.kind == "kafka":
        pytest.skip("a log in memory never fails; tests/ingest has brokers that do")
    receiver.behaviour = lambda number, body: 503
    out = desk.folder / "out"
    if desk.destination.acknowledges == "run":
        # A file stands where the folder of today should be.
        out.rename(desk.folder / "before")
        out.write_text("")
    if desk.destination.kind == "ga4":
        monkeypatch.setattr("destinations.ga4.RETRY_MAX_S", 0.0)
    with pytest.raises(TargetUnavailable):
        desk.export("delta")
    assert desk.deliveries.positions("x") == before
    assert desk.runs()[0][1] == "failed"
    if desk.destination.acknowledges == "run":
        out.unlink()
        (desk.folder / "before").rename(out)
    receiver.behaviour = lambda number, body: 200
    desk.now_ms += 86_400_000
    desk.export("delta")
    assert stage.told("zoya") == {"regulars"}
