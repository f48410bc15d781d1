"""The keyspaces and their versions: what `onefold migrate` makes and every process checks."""

from pathlib import Path
from typing import Final

from storage.cassandra.connection import Connection
from storage.cassandra.settings import CassandraSettings
from storage.chunks import chunks
from storage.errors import Misconfigured, SchemaMismatch

SCHEMA_VERSION: Final = 4
_DROPPED: Final[dict[int, tuple[str, ...]]] = {
    # by the version that came after: the history of changes begins anew, and nothing wrote decisions
    2: ("decisions", "changes", "change_days"),
    3: (),
    4: (),
}
_BESIDE_SINCE: Final = 4
BESIDE_STAMP: Final = 1
"""That more than links names a node is never written otherwise: any timestamp will do."""
FIRST_GENERATION: Final = 1
CASSANDRA_MIN: Final = (5, 0)
_SWITCHING: Final = "switching"
_OPTIONS: Final = (
    "compaction = {'class': 'UnifiedCompactionStrategy'} "
    # A replica that died a moment ago is asked until it is known to be dead: ask another one soon.
    "AND speculative_retry = 'MIN(99p,50ms)'"
)


def migrate(settings: CassandraSettings, generation: int | None = None) -> list[str]:
    """Make or upgrade the keyspaces; what was done, line by line. Doing it twice is the same as once.

    `generation` makes the derived keyspace of another generation beside the live one.
    """
    connection = Connection(settings)
    try:
        return _migrate(connection, settings, generation)
    finally:
        connection.close()


def _migrate(
    connection: Connection, settings: CassandraSettings, generation: int | None
) -> list[str]:
    check_release(connection)
    facts, _ = settings.keyspaces(FIRST_GENERATION)
    done = []
    if facts not in connection.cluster.metadata.keyspaces:
        _check_replication(connection, settings)
        _make_keyspace(connection, settings, facts)
        done.append(f"made keyspace {facts}")
    else:
        _check_version(connection, facts, upgrade=True)
    tables = _make_tables(connection, "facts.cql", facts=facts)
    done += [f"made table {table}" for table in tables]
    live = live_generation(connection, facts)
    wanted = generation or live or FIRST_GENERATION
    _, derived = settings.keyspaces(wanted)
    if derived not in connection.cluster.metadata.keyspaces:
        _make_keyspace(connection, settings, derived)
        done.append(f"made keyspace {derived}")
    done += [
        f"made table {table}" for table in _make_tables(connection, "derived.cql", derived=derived)
    ]
    if live is None:
        _set_once(connection, facts, "generation", str(wanted))
    return done + _become_current(connection, facts)


def _become_current(connection: Connection, facts: str) -> list[str]:
    """What is left to do once every table is there."""
    found = _meta(connection, facts, "schema_version")
    if found is None:
        _set_once(connection, facts, "schema_version", str(SCHEMA_VERSION))
        return [f"schema version {SCHEMA_VERSION}"]
    done = []
    for version in range(int(found) + 1, SCHEMA_VERSION + 1):
        for table in _DROPPED[version]:
            connection.run(f"DROP TABLE IF EXISTS {facts}.{table}")
            done.append(f"dropped table {facts}.{table}")
        if version == _BESIDE_SINCE:
            noted = _note_beside(connection, facts)
            done.append(f"noted {noted:,} identifiers that more than links names")
        connection.execute(
            f"UPDATE {facts}.meta SET value = ? WHERE key = 'schema_version' IF EXISTS",
            (str(version),),
        )
        done.append(f"schema version {version}")
    return done


def _note_beside(connection: Connection, facts: str) -> int:
    """Say of identifiers that something else than links names them, as whoever writes it does since."""
    if "beside" not in connection.cluster.metadata.keyspaces[facts].tables["links"].columns:
        connection.run(f"ALTER TABLE {facts}.links ADD beside boolean static")
    noted = 0
    note = f"UPDATE {facts}.links USING TIMESTAMP {BESIDE_STAMP} SET beside = true WHERE node = ?"
    for table in ("must_links", "matches", "decisions_by_node"):
        for nodes in chunks(connection.each(f"SELECT DISTINCT node FROM {facts}.{table}"), 1_000):
            noted += len(nodes)
            for _ in connection.gather(connection.bind(note, row, row[0]) for row in nodes):
                pass
    return noted


def check(connection: Connection, settings: CassandraSettings) -> int:
    """The live generation; an error if the keyspaces are missing or of another version."""
    facts, _ = settings.keyspaces(FIRST_GENERATION)
    if facts not in connection.cluster.metadata.keyspaces:
        raise Misconfigured(
            f"Cassandra at {', '.join(settings.hosts)}: no keyspace {facts}; run `onefold migrate`, "
            "or check cassandra.keyspace"
        )
    _check_version(connection, facts, upgrade=False)
    generation = live_generation(connection, facts)
    if generation is None:
        raise Misconfigured(f"keyspace {facts} is not complete; run `onefold migrate` again")
    return generation


def live_generation(connection: Connection, facts: str) -> int | None:
    """Which generation of derived tables answers."""
    found = _meta(connection, facts, "generation")
    return int(found) if found else None


def begin_switch(connection: Connection, facts: str, after: int) -> int:
    """Let nobody take the lease of identity until another generation answers; the one that does so far.

    Misconfigured if a switch to a third one is under way. Beginning again goes on with what was begun.
    """
    begun = remember_once(connection, facts, _SWITCHING, str(after))
    if begun != str(after):
        raise Misconfigured(f"a switch to generation {begun} was begun: finish that one first")
    return live_generation(connection, facts) or FIRST_GENERATION


def finish_switch(connection: Connection, facts: str, before: int, after: int) -> None:
    """Let another generation answer."""
    if before != after:
        connection.execute(
            f"UPDATE {facts}.meta SET value = ? WHERE key = 'generation' IF value = ?",
            (str(after), str(before)),
        )
    connection.execute(f"DELETE FROM {facts}.meta WHERE key = ? IF EXISTS", (_SWITCHING,))


def may_decide(connection: Connection, facts: str, generation: int) -> None:
    """Misconfigured if people of `generation` are not to be written by workers now."""
    if begun := _meta(connection, facts, _SWITCHING):
        raise Misconfigured(
            f"people of generation {begun} are being rebuilt; if that was interrupted, run "
            f"`onefold replay --switch {begun}` again"
        )
    live = live_generation(connection, facts)
    if live != generation:
        raise Misconfigured(
            f"generation {live} answers now, not {generation}: start this process again"
        )


def remember_once(connection: Connection, facts: str, key: str, value: str) -> str:
    """The value that stands for `key`: this one, unless another was there before."""
    _set_once(connection, facts, key, value)
    return _meta(connection, facts, key) or value


def check_release(connection: Connection) -> str:
    """The server's version; an error if it is too old."""
    ((release,),) = connection.execute("SELECT release_version FROM system.local")
    numbers = tuple(int(part) for part in release.split("-")[0].split(".")[:2])
    if numbers < CASSANDRA_MIN:
        needed = ".".join(map(str, CASSANDRA_MIN))
        raise SchemaMismatch(f"Cassandra {release} is too old: Onefold needs {needed} or newer")
    return str(release)


def _check_version(connection: Connection, facts: str, *, upgrade: bool) -> None:
    tables = connection.cluster.metadata.keyspaces[facts].tables
    found = _meta(connection, facts, "schema_version") if "meta" in tables else None
    if found is None:
        if upgrade:
            return
        raise Misconfigured(f"keyspace {facts} is not complete; run `onefold migrate` again")
    if int(found) > SCHEMA_VERSION:
        raise SchemaMismatch(
            f"keyspace {facts}: schema version {found} is newer than this code's {SCHEMA_VERSION}; "
            "run a newer Onefold"
        )
    if int(found) < SCHEMA_VERSION and not upgrade:
        raise SchemaMismatch(
            f"keyspace {facts}: schema version {found} is older than this code's {SCHEMA_VERSION}; "
            "run `onefold migrate`"
        )


def _check_replication(connection: Connection, settings: CassandraSettings) -> None:
    hosts = connection.cluster.metadata.all_hosts()
    nodes = sum(host.datacenter == settings.datacenter for host in hosts)
    if nodes < settings.replication:
        raise Misconfigured(
            f"cassandra.replication is {settings.replication}, but data centre {settings.datacenter} has "
            f"{nodes} node{'s' if nodes != 1 else ''}: no quorum would ever answer"
        )


def _make_keyspace(connection: Connection, settings: CassandraSettings, name: str) -> None:
    connection.run(
        f"CREATE KEYSPACE IF NOT EXISTS {name} WITH replication = "
        f"{{'class': 'NetworkTopologyStrategy', '{settings.datacenter}': {settings.replication}}}"
    )


def _make_tables(connection: Connection, file: str, **keyspaces: str) -> list[str]:
    (keyspace,) = keyspaces.values()
    before = set(connection.cluster.metadata.keyspaces[keyspace].tables)
    text = (Path(__file__).parent / file).read_text()
    lines = [line for line in text.splitlines() if not line.startswith("--")]
    made = []
    for statement in "\n".join(lines).split(";"):
        if not statement.strip():
            continue
        table = statement.split(f"{{{next(iter(keyspaces))}}}.")[1].split(None, 1)[0]
        if table not in before:
            connection.run(statement.format(options=_OPTIONS, **keyspaces))
            made.append(f"{keyspace}.{table}")
    return made


def _meta(connection: Connection, facts: str, key: str) -> str | None:
    rows = connection.execute_serial(f"SELECT value FROM {facts}.meta WHERE key = ?", (key,))
    return str(rows[0][0]) if rows else None


def _set_once(connection: Connection, facts: str, key: str, value: str) -> None:
    connection.execute(
        f"INSERT INTO {facts}.meta (key, value) VALUES (?, ?) IF NOT EXISTS", (key, value)
    )
