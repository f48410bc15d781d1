"""What the embedded store promises beyond the contract: transactions, and a log of its own."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from identity.changes import Kind
from identity.evidence import Link, MustLink, pair
from identity.nodes import Node
from ingest.deciding import DecidingHere
from ingest.identify import Statements
from storage.errors import SchemaMismatch
from storage.sqlite import SqliteStore, open_store
from storage.sqlite.database import SCHEMA_VERSION
from tests.identity.strategies import EMAILS, RULES, USERS
from tests.storage.test_contract import ASHA, change, row


class Stop(Exception):
    """Ends a transaction."""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    made, _ = open_store(tmp_path / "onefold.sqlite", tmp_path / "onefold.keys")
    yield made
    made.close()


def test_what_a_failed_transaction_wrote_is_not_there(store: SqliteStore) -> None:
    with pytest.raises(Stop), store.transaction():
        store.timeline.add([row("m1", 1)])
        store.parts.write({ASHA: (1, b"part")})
        assert store.parts.read([ASHA]) == {ASHA: b"part"}
        raise Stop
    assert store.timeline.count() == 0
    assert store.parts.read([ASHA]) == {}


def test_a_transaction_within_another_is_part_of_it(store: SqliteStore) -> None:
    with pytest.raises(Stop), store.transaction():
        with store.transaction():
            store.parts.write({ASHA: (1, b"part")})
        raise Stop
    assert store.parts.count() == 0


def test_other_threads_see_a_transaction_only_when_it_ends(store: SqliteStore) -> None:
    seen: list[int] = []

    def look() -> None:
        seen.append(store.parts.count())

    with store.transaction():
        store.parts.write({ASHA: (1, b"part")})
        inside = threading.Thread(target=look)
        inside.start()
        inside.join()
    look()
    assert seen == [0, 1]


def test_who_becomes_one_twice_at_the_same_time_is_in_the_history_twice(
    store: SqliteStore,
) -> None:
    shared, *users = EMAILS[0], *USERS[:4]
    deciding = DecidingHere(store, RULES)

    def link(user: Node, event: str, at: int) -> Link:
        a, b = pair(shared, user)
        return Link(a=a, b=b, first_ms=at, first_event=event, source="web")

    deciding.say(Statements([link(users[0], "first", 5)]))
    deciding.say(Statements([link(user, f"late {user.hex()}", 4) for user in users[1:]]))
    a, b = pair(shared, users[0])
    alias = MustLink(a=a, b=b, first_ms=5, first_event="alias", source="crm")
    deciding.say(Statements([], [alias]))

    told = [each.change for each in store.changes.history(0, 10) if each.change.refusal is None]
    assert [each.kind for each in told] == [Kind.CREATED, Kind.SPLIT, Kind.CREATED]
    assert told[0].after == told[2].after
    assert store.people.counts()[0] == 1


def test_offsets_only_grow(store: SqliteStore) -> None:
    first = store.next_offset(10)
    assert store.next_offset(1) == first + 10


def test_offsets_are_taken_once(store: SqliteStore) -> None:
    taken: list[int] = []

    def take() -> None:
        with store.transaction():
            taken.append(store.next_offset(1))

    threads = [threading.Thread(target=take) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(taken)) == 20


def test_a_store_of_an_older_version_is_upgraded(tmp_path: Path) -> None:
    files = tmp_path / "onefold.sqlite", tmp_path / "onefold.keys"
    old, _ = open_store(*files)
    old.parts.write({ASHA: (1, b"part")})
    since = (
        "changes",
        "changes_announced",
        "change_profiles",
        "matches",
        "decision_nodes",
        "blocked_nodes",
        "segment_edits",
        "standings",
        "segment_members",
        "transitions",
        "pending",
        "scores",
        "deliveries",
        "delivery_positions",
        "device_owners",
        "device_users",
    )
    whole = _shapes(old)
    for table in since:
        old.database.write(f"DROP TABLE {table}")
    old.database.write("PRAGMA user_version = 1")
    old.close()

    upgraded, _ = open_store(*files)
    upgraded.changes.announce([change("a", 1)])
    assert upgraded.parts.read([ASHA]) == {ASHA: b"part"}
    assert _shapes(upgraded) == whole
    upgraded.database.write(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    upgraded.close()
    with pytest.raises(SchemaMismatch, match="newer than this code's"):
        open_store(*files)


def _shapes(store: SqliteStore) -> set[tuple[str, str]]:
    """Every table and index by name, with what it is made of, however that is spaced."""
    rows = store.database.rows("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL")
    return {(name, "".join(sql.split())) for name, sql in rows if not name.startswith("sqlite_")}
