"""A schema that is newer or older than the code: refused with what to do, and nothing is touched."""

from storage.cassandra.schema import SCHEMA_VERSION
from tests.faults.embedded import Expected
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


def test_another_schema_is_refused_by_everything_and_goes_on_when_it_fits_again(
    world: World, small: Expected
) -> None:
    messages = small.stream.messages
    world.start(*STAGES)
    world.send(messages[:1000])
    world.settle()
    world.stop()
    world.send(messages[1000:])
    waiting = world.lag("record")
    for version, todo in (
        (SCHEMA_VERSION + 1, "run a newer Onefold"),
        (SCHEMA_VERSION - 1, "run `onefold migrate`"),
    ):
        set_version(world, version)
        for stage in STAGES:
            status, told = world.try_onefold("worker", stage, "--metrics-port", "0")
            assert status == 1, told
            assert f"schema version {version}" in told
            assert todo in told
        assert world.lag("record") == waiting, "a worker that was refused took messages"
    status, told = world.try_onefold("verify")
    assert status == 1, told
    assert "run `onefold migrate`" in told
    set_version(world, SCHEMA_VERSION)
    world.start(*STAGES)
    world.settle()
    world.compare(small)


def test_a_stream_knows_its_truth(small: Expected) -> None:
    """The comparisons above mean nothing if the stream has no disorder in it."""
    stream: Stream = small.stream
    assert len(stream.messages) > 1.2 * len(stream.message_ids)
    assert len({message.source for message in stream.messages}) == 2
    assert len(small.picture.people) > 30
    assert small.picture.refusals
    assert small.picture.must_links
