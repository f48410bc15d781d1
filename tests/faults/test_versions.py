"""A schema that is newer or older than the code: refused with what to do, and nothing is touched."""

from storage.cassandra.schema import SCHEMA_VERSION
from tests.faults.embedded import Expected
from tests.faults.log import until
from tests.faults.stream import Stream
from tests.faults.workers import STAGES
from tests.faults.world import World


def set_version(world: World, version: int) -> None:
    """As if another release had migrated the keyspace."""
    facts, _ = world.cassandra.keyspaces(1)
    connection = world.store.connection
    ((held,),) = connection.execute_serial(
        f"SELECT value FROM {facts}.meta WHERE key = ?", ("schema_version",)
    )
    rows = connection.execute(
        f"UPDATE {facts}.meta SET value = ? WHERE key = 'schema_version' IF value = ?",
        (str(version), held),
    )
    assert rows[0][0]


def refusals(world: World) -> dict[str, str]:
    """What each stage says when it is started; all of them end at once, with status 1."""
    workers = world.start(*STAGES)
    for worker in workers:
        until(lambda: not worker.running, f"{worker.stage} is refused")  # noqa: B023
        assert worker.status == 1, worker.tail()
    world.workers.clear()
    return {worker.stage: worker.tail() for worker in workers}


def test_another_schema_is_refused_by_everything_and_goes_on_when_it_fits_again(
    world: World, small: Expected
) -> None:
    world.send(small.stream.messages)
    waiting = world.lag("record")
    for version, todo in (
        (SCHEMA_VERSION + 1, "run a newer Onefold"),
        (SCHEMA_VERSION - 1, "run `onefold migrate`"),
    ):
        set_version(world, version)
        for stage, told in refusals(world).items():
            assert f"schema version {version}" in told, stage
            assert todo in told, stage
    assert world.lag("record") == waiting > 0, "a worker that was refused took messages"
    set_version(world, SCHEMA_VERSION)
    world.start("record")
    world.finish("record")


def test_a_stream_knows_its_truth(small: Expected, logins: Expected) -> None:
    """The comparisons above mean nothing if the stream has no disorder in it."""
    stream: Stream = small.stream
    assert len(stream.messages) > 1.2 * len(stream.message_ids)
    assert len({message.source for message in stream.messages}) == 2
    assert len(small.picture.people) > 20
    assert small.picture.refusals
    assert logins.picture.must_links
    assert logins.picture.refusals
