"""A worker dies after each of its rows in turn; whoever takes over makes its work whole.

The store is a real one. The crash is simulated: after so many rows, in an order that the dice choose, the
process writes nothing more. So it is when some requests of a batch fail, and others do not.
"""

import random
import uuid
from collections.abc import Callable, Iterable, Iterator
from itertools import count, product

import pytest

from identity.evidence import Link, MustLink
from identity.nodes import Node
from identity.rules import Rules
from ingest.folding import Activity, Folder
from ingest.identify import Statements, identify
from profiles.facts import Facts, hash64
from profiles.part import decode
from storage.cassandra.grouped import Grouped, Write
from storage.cassandra.schema import migrate
from storage.cassandra.settings import CassandraSettings
from storage.cassandra.store import CassandraStore
from storage.ports import TimelineQuery
from tests.servers import Cassandra
from tests.workspace import DAY, KEYS, NOON

node = KEYS.hasher().node


class Killed(BaseException):
    """The process ends here."""


@pytest.fixture
def open_writer(
    cassandra: Cassandra, cassandra_keyspace: str
) -> Iterator[Callable[[], CassandraStore]]:
    """Opens the store as another process does, and takes the lease."""
    settings = CassandraSettings(
        hosts=cassandra.hosts, port=cassandra.port, keyspace=cassandra_keyspace, replication=1
    )
    migrate(settings)
    opened: list[CassandraStore] = []

    def make() -> CassandraStore:
        opened.append(CassandraStore(settings, KEYS))
        opened[-1].leases.take("identity", uuid.uuid4().hex)
        return opened[-1]

    yield make
    for store in opened:
        store.close()


def killed_after(rows: int, dice: random.Random, patch: pytest.MonkeyPatch) -> None:
    """Let this process write so many rows, those that could be under way together in any order."""
    real, left = Grouped.write, [rows]

    def write(grouped: Grouped, writes: Iterable[Write]) -> None:
        together = list(writes)
        for each in dice.sample(together, len(together)):
            if not left[0]:
                raise Killed
            left[0] -= 1
            real(grouped, [each])

    patch.setattr(Grouped, "write", write)


def finishes(work: Callable[[], object]) -> bool:
    """Whether it was not killed."""
    try:
        work()
    except Killed:
        return False
    return True


def link(one: Node, other: Node, first_ms: int) -> Link:
    a, b = sorted((one, other))
    return Link(a=a, b=b, first_ms=first_ms, first_event=f"e{first_ms}", source="web", last_ms=0)


def must_link(one: Node, other: Node, first_ms: int) -> MustLink:
    a, b = sorted((one, other))
    return MustLink(a=a, b=b, first_ms=first_ms, first_event=f"e{first_ms}", source="web")


def test_a_decision_that_was_cut_off_after_any_row_is_made_whole(
    open_writer: Callable[[], CassandraStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    dice = random.Random(11)
    first, successor = open_writer(), open_writer()
    for rows in count():
        # People of their own for each crash: a user with an e-mail, whom new links join to others.
        user, other, old = (node("user_id", f"{name}{rows}") for name in ("u", "v", "old"))
        mail, phone = node("email", f"m{rows}@x.in"), node("phone", f"+9198{rows:08d}")
        identify(first, Statements([link(user, mail, 10)]), Rules())
        # The second user is refused: the e-mail is the first one's.
        links = [link(mail, phone, 20), link(other, mail, 30), link(other, phone, 15)]
        musts = [must_link(user, old, 40)]
        with monkeypatch.context() as patch:
            killed_after(rows, dice, patch)
            whole = finishes(lambda: identify(first, Statements(links, musts), Rules()))  # noqa: B023
        identify(successor, Statements(links, musts), Rules(), again=True)

        stated = {*links, link(user, mail, 10)}
        for end in (user, other, mail, phone):
            mine = {each for each in stated if end in (each.a, each.b)}
            assert set(successor.evidence.links_of([end])) == mine, (rows, "links under both ends")
        assert successor.evidence.must_links_of([user]) == musts
        assert successor.evidence.must_links_of([old]) == musts
        people = successor.people.clusters_of([user, other, mail, phone, old])
        assert people[user] == people[old] == people[mail]
        assert people[other].members == {other, phone}
        assert {each.rule for each in successor.people.refusals_of([mail, phone])}
        if whole:
            break
    assert rows > 10, "every row must have been the last one once"


def test_a_fold_that_was_cut_off_after_any_row_is_made_whole(
    open_writer: Callable[[], CassandraStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    dice = random.Random(12)
    first, successor = open_writer(), open_writer()
    for rows in count():
        # Leaves of their own for each crash. Half of the events are late: of a month before the leaf's newest.
        leaves = [node("user_id", f"f{rows}-{n}") for n in range(4)]
        known = [
            (rows * 100 + n, activity(leaf, f"k{rows}-{n}", NOON)) for n, leaf in enumerate(leaves)
        ]
        late = [
            (rows * 100 + 10 + n, activity(leaf, f"m{rows}-{n}", NOON + days * DAY))
            for n, (leaf, days) in enumerate(product(leaves, (-70, 70)))
        ]
        Folder(first).fold(known)
        with monkeypatch.context() as patch:
            killed_after(rows, dice, patch)
            whole = finishes(lambda: Folder(first).fold(late))  # noqa: B023
        Folder(successor).fold(late)

        for leaf in leaves:
            mine = {each.message_id for _, each in known + late if each.leaf == leaf}
            stored = successor.timeline.read([leaf], TimelineQuery(limit=100))
            assert {row.message_id for row in stored} == mine, (rows, "rows that can be found")
            part = decode(successor.parts.read([leaf])[leaf])
            assert part.body is not None
            assert part.body.events == len(mine), (rows, "counted")
        if whole:
            break
    assert rows > 10, "every row must have been the last one once"
    assert len(list(successor.timeline.scan())) == 12 * (rows + 1)


def activity(leaf: Node, message_id: str, key_ms: int) -> Activity:
    facts = Facts(
        time_ms=key_ms, message=hash64(message_id), event="seen", spelling="Seen", key_ms=key_ms
    )
    return Activity(
        leaf, key_ms, message_id, key_ms, key_ms, "track", "Seen", "web", b"{}", facts
    )  # fmt: skip
