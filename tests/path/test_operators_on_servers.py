"""Operators decide, and everybody is resolved again, on a real Kafka and a real Cassandra."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from identity.evidence import Link, Use, pair
from identity.nodes import Node
from ingest.deciding import DecidingByLog, DecisionPending, Draft, merge
from ingest.identify import Statements
from ingest.owning import that_may_change
from service.config import load_config
from service.workspace import Workspace
from tests.faults.follower import People, heard
from tests.faults.world import World
from tests.servers import Cassandra, Kafka, delete_topics, drop_keyspaces, fresh_name
from tests.service.test_on_cassandra import Run, run
from tests.workspace import DAY, KEYS, NOON

pytestmark = pytest.mark.slow
WHY = ("--yes", "--reason", "they called", "--operator", "meera")
SOON_S = 0.3


@pytest.fixture(scope="module")
def world(
    cassandra: Cassandra, kafka: Kafka, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    """One workspace for both: making its tables takes longer than either. Each leaves it as rules want it."""
    name = fresh_name()
    folder = tmp_path_factory.mktemp("world")
    with World(
        folder, hosts=cassandra.hosts, brokers=kafka.brokers, keyspace=name, prefix=name
    ) as made:
        run("--config", str(made.config), "migrate", "--topics")
        yield made
    drop_keyspaces(cassandra, name)
    delete_topics(kafka, name)


@pytest.fixture
def workspace(world: World) -> Iterator[Workspace]:
    made = Workspace(load_config(world.config, {}))
    yield made
    made.close()
    world.stop()


@pytest.fixture
def onefold(world: World) -> Run:
    return lambda *arguments, ok=True: run("--config", str(world.config), *arguments, ok=ok)


@pytest.fixture
def as_json(onefold: Run) -> Callable[..., Any]:
    return lambda *arguments: json.loads(onefold(*arguments, "--json").stdout)


def node(kind: str, value: str) -> Node:
    return KEYS.hasher().node(kind, value)


def say(workspace: Workspace, user: str, email: str, day: int) -> None:
    """What record sends on of an event that names both."""
    vault, ends = KEYS.vault(), {"user_id": user, "email": email}
    nodes = {node(kind, value): (kind, value) for kind, value in ends.items()}
    workspace.store.identifiers.put(
        {one: (kind, vault.seal(one, value)) for one, (kind, value) in nodes.items()}
    )
    a, b = pair(*nodes)
    link = Link(a=a, b=b, first_ms=NOON + day * DAY, first_event=f"{user} {email}", source="crm")
    workspace.deciding.say(Statements([link]))


def people(world: World, *users: str) -> People:
    """Of all whom followers of changes know, who are those that are stored: those of `users`."""
    stored = {
        (one.profile_id.hex(), frozenset(node.hex() for node in one.members))
        for one in world.store.people.scan()
    }
    assert heard(world.log.read(world.kafka.topic("changes"))) == stored
    assert not world.store.changes.announced(1)
    mine = {node("user_id", user).hex() for user in users}
    return {one for one in stored if one[1] & mine}


def kinds(made: dict[str, Any]) -> list[str]:
    return [each["kind"] for each in made["changes"]]


def test_what_operators_decide_goes_over_the_log(
    world: World, as_json: Callable[..., Any], onefold: Run, workspace: Workspace
) -> None:
    names, two = ("asha", "ravi"), ("--user", "asha", "--user", "ravi")
    (worker,) = world.start("identify")
    say(workspace, "asha", "home@x.in", 1)
    say(workspace, "ravi", "home@x.in", 2)
    world.finish("identify")
    world.stop(worker)
    was = people(world, *names)

    # Nobody decides now: the decision waits in the log, and saying it again is safe.
    draft = Draft("d1", "meera", "they called", workspace.now_ms())
    decision = merge(workspace.store, draft, [node("user_id", each) for each in names])
    impatient = DecidingByLog(
        workspace.log.producer(), workspace.store, world.kafka.topic("links"), SOON_S
    )
    for _ in range(2):
        with pytest.raises(DecisionPending, match="ask again with the same decision id"):
            impatient.make(decision)
    assert people(world, *names) == was
    world.start("identify")
    made = as_json("identity", "merge", *two, *WHY, "--decision-id", "d1")
    assert kinds(made) == ["merged"]
    assert made == as_json("identity", "merge", *two, *WHY, "--decision-id", "d1")
    assert len(people(world, *names)) == 1
    assert [each["kind"] for each in as_json("identity", "changes", *two[:2])][:1] == ["merged"]

    undone = as_json("identity", "undo", made["changes"][0]["id"], *WHY)
    assert kinds(undone) == ["split", "conflict", "conflict"]
    assert people(world, *names) == was
    refused = onefold("identity", "merge", *two, *WHY, ok=False).stderr
    assert f"decision {undone['decision']['id']} keeps them apart" in refused
    assert kinds(as_json("identity", "retract", undone["decision"]["id"], *WHY)) == ["merged"]
    assert "split" in kinds(as_json("identity", "retract", "d1", *WHY))
    assert people(world, *names) == was

    given = ("--side", "user=asha", "--side", "email=home@x.in")
    assert kinds(as_json("identity", "split", *given, *WHY))[0] == "regrouped"
    ((_, members),) = people(world, *names)
    assert members == {node("user_id", "ravi").hex(), node("email", "home@x.in").hex()}
    assert as_json("verify")["differences"] == 0


def test_whose_a_device_becomes_goes_over_the_log(world: World, workspace: Workspace) -> None:
    device, names = node("anonymous_id", "tablet"), ("kiran", "lila")
    world.start("identify")
    for hour, user in enumerate([*names, "kiran", ""]):
        at = NOON + hour * 3_600_000
        person = node("user_id", user) if user else Node(b"")
        use = Use(device=device, person=person, hour=at // 3_600_000, first_ms=at, last_ms=at)
        for _ in range(2):  # recorded again, it is sent again or not, and told once
            workspace.store.devices.merge_uses([use])
            heard = that_may_change(workspace.store, [use], lambda use: f"login {use.hour}")
            workspace.deciding.say(Statements(uses=heard))
            world.finish("identify")
    told = [
        json.loads(value)
        for message in world.log.read(world.kafka.topic("changes"))
        if b'"device"' in (value := message.value() or b"")
    ]
    owners = [[side["profile"] for side in each["after"]] for each in told]
    one, other = (node("user_id", name).hex() for name in names)
    assert owners == [[one], [other], [one], []]
    assert [each["device"] for each in told] == [device.hex()] * 4
    assert [each.id for each in workspace.store.changes.of([device], 10)] == [
        each["id"] for each in reversed(told)
    ]
    people(world)


def test_other_rules_are_loaded_with_workers_stopped(
    world: World,
    as_json: Callable[..., Any],
    onefold: Run,
    workspace: Workspace,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = ("john", "mary")
    (worker,) = world.start("identify")
    say(workspace, "john", "family@x.in", 1)
    say(workspace, "mary", "family@x.in", 2)
    world.finish("identify")
    world.stop(worker)
    was = people(world, *names)
    assert as_json("identity", "rebuild")["differences"] == 0
    rules = world.folder / "family.yaml"
    rules.write_text("identity:\n  limit_user_id: 2\n")
    looked = as_json("identity", "rebuild", "--rules", str(rules))
    assert (looked["changes"], looked["written"]) == ({"merged": 1}, False)
    assert people(world, *names) == was

    with monkeypatch.context() as patch:
        patch.setenv("ONEFOLD_IDENTITY__LIMIT_USER_ID", "2")
        assert "nothing is written" in onefold("identity", "rebuild", ok=False).stdout
        loaded = as_json("identity", "rebuild", "--load")
        assert (loaded["changes"], loaded["written"]) == ({"merged": 1}, True)
        ((_, members),) = people(world, *names)
        assert len(members) == 3
        explained = as_json("identity", "explain", "--user", "john", "--user", "mary")
        assert explained["verdict"] == "one_person"

        # Whoever decides from now on goes by these rules, and from what was loaded.
        (worker,) = world.start("identify")
        say(workspace, "mary", "mary@x.in", 3)
        world.finish("identify")
        world.stop(worker)
        ((_, members),) = people(world, *names)
        assert len(members) == 4
        assert as_json("identity", "rebuild")["differences"] == 0

    assert as_json("identity", "rebuild", "--load")["changes"] == {"split": 1, "conflict": 1}
    assert len(people(world, *names)) == 2
    assert as_json("verify")["differences"] == 0
