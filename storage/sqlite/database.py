"""Connections to one SQLite file: one for writing behind a lock, one for each reading thread."""

import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from storage.errors import SchemaMismatch, StoreError, StoreUnavailable

SCHEMA_VERSION: Final = 5
BUSY_TIMEOUT_MS: Final = 30_000
"""How long a writer waits for another process's transaction."""
CACHE_KIB: Final = 65_536
"""Page cache of the writing connection: bounds the memory of a bulk load."""
READ_CACHE_KIB: Final = 8_192
MAPPED_BYTES_MAX: Final = 1 << 30
"""Of the file's beginning, what connections for reading see as memory: pages are not copied, and all threads
and processes share them. It halves what a small read takes; past it pages are read as before."""
MAPPED_BYTES_MOST: Final = (1 << 31) - (1 << 16)
"""The same of a store that is only read, as by a process that looks at everybody: all that SQLite can map."""
CHECKPOINT_PAGES: Final = 8_000
"""Pages (32 MB) of the write-ahead log between checkpoints."""
IN_MAX: Final = 500
"""Values bound in one `IN (...)`: few statement shapes, far below SQLite's limit of 32,766."""
ROWS_AT_ONCE: Final = (64, 8, 1)
"""Rows of one `INSERT`, the most first: with more of them each costs no less."""

_UPGRADES: Final = {
    # version before: what makes the next one of it
    1: """CREATE TABLE changes (
            id TEXT PRIMARY KEY, time_ms INTEGER NOT NULL, published INTEGER NOT NULL, change BLOB NOT NULL
          ) WITHOUT ROWID;
          CREATE INDEX changes_by_time ON changes (published, time_ms, id);""",
    # Nothing could write decisions before, nor changes: an embedded store had no followers.
    2: """DROP TABLE changes;
          DROP TABLE decisions;
          CREATE TABLE matches (
            a BLOB NOT NULL, b BLOB NOT NULL, match BLOB NOT NULL, PRIMARY KEY (a, b)
          ) WITHOUT ROWID;
          CREATE INDEX matches_by_b ON matches (b, a);
          CREATE TABLE decisions (
            id TEXT PRIMARY KEY, time_ms INTEGER NOT NULL, decision BLOB NOT NULL
          ) WITHOUT ROWID;
          CREATE INDEX decisions_by_time ON decisions (time_ms, id);
          CREATE TABLE decision_nodes (
            node BLOB NOT NULL, id TEXT NOT NULL, PRIMARY KEY (node, id)
          ) WITHOUT ROWID;
          CREATE TABLE blocked_nodes (
            node BLOB NOT NULL, id TEXT NOT NULL, PRIMARY KEY (node, id)
          ) WITHOUT ROWID;
          CREATE TABLE changes_announced (
            id TEXT PRIMARY KEY, time_ms INTEGER NOT NULL, change BLOB NOT NULL
          ) WITHOUT ROWID;
          CREATE TABLE changes (
            position INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, change BLOB NOT NULL
          );
          CREATE TABLE change_profiles (
            profile BLOB NOT NULL, position INTEGER NOT NULL, PRIMARY KEY (profile, position)
          ) WITHOUT ROWID;""",
    3: """CREATE TABLE segment_edits (revision INTEGER PRIMARY KEY, edit BLOB NOT NULL);

          CREATE TABLE standings (profile BLOB PRIMARY KEY, due_ms INTEGER, standing BLOB NOT NULL)
          WITHOUT ROWID;
          CREATE INDEX standings_by_due ON standings (due_ms) WHERE due_ms IS NOT NULL;
          CREATE TABLE segment_members (
            segment TEXT NOT NULL, profile BLOB NOT NULL, since_ms INTEGER NOT NULL,
            PRIMARY KEY (segment, profile)
          ) WITHOUT ROWID;
          CREATE TABLE transitions (
            position INTEGER PRIMARY KEY AUTOINCREMENT,
            profile BLOB NOT NULL, sequence INTEGER NOT NULL, segment TEXT NOT NULL,
            entered INTEGER NOT NULL, at_ms INTEGER NOT NULL, reason TEXT NOT NULL, purpose TEXT NOT NULL
          );
          CREATE UNIQUE INDEX transitions_by_profile ON transitions (profile, sequence);
          CREATE INDEX transitions_by_segment ON transitions (segment, at_ms);

          CREATE TABLE pending (node BLOB PRIMARY KEY, ticket INTEGER NOT NULL, cause INTEGER NOT NULL)
          WITHOUT ROWID;
          CREATE INDEX pending_by_ticket ON pending (ticket);
          CREATE TABLE scores (
            node BLOB NOT NULL, name TEXT NOT NULL, value REAL NOT NULL, at_ms INTEGER NOT NULL,
            PRIMARY KEY (node, name)
          ) WITHOUT ROWID;
          CREATE TABLE deliveries (
            id TEXT PRIMARY KEY, destination TEXT NOT NULL, started_ms INTEGER NOT NULL,
            ended INTEGER NOT NULL, delivery BLOB NOT NULL
          ) WITHOUT ROWID;
          CREATE INDEX deliveries_by_time ON deliveries (started_ms, id);
          CREATE INDEX deliveries_by_destination ON deliveries (destination, started_ms, id);
          CREATE TABLE delivery_positions (
            destination TEXT NOT NULL, segment TEXT NOT NULL, token TEXT NOT NULL, at INTEGER NOT NULL,
            PRIMARY KEY (destination, segment)
          ) WITHOUT ROWID;""",
    4: """CREATE TABLE device_owners (device BLOB PRIMARY KEY, ownership BLOB NOT NULL) WITHOUT ROWID;
          CREATE TABLE device_users (
            person BLOB NOT NULL, device BLOB NOT NULL, PRIMARY KEY (person, device)
          ) WITHOUT ROWID;""",
}

_UNAVAILABLE: Final = (
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_READONLY,
)


class MappedErrors:
    """A block in which sqlite3's errors are this tree's, with the file and what to do. Any number at once."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        """Nothing."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if isinstance(error, sqlite3.Error):
            raise _meaning(error, self._path) from error


def _meaning(error: sqlite3.Error, path: Path) -> StoreError:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return StoreUnavailable(f"{path}: the disk is full; free some space, nothing was lost")
    if code in _UNAVAILABLE:
        return StoreUnavailable(f"{path}: {error}")
    if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
        return StoreError(f"{path}: not an intact Onefold database ({error})")
    return StoreError(f"{path}: {error}")


class Database:
    """Statements on one file. Reads see the writes of a transaction that their own thread is in."""

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self.path = path
        self.mapped_errors = MappedErrors(path)
        self.read_only = read_only
        self._local = threading.local()
        self._readers: list[sqlite3.Connection] = []
        self._lock = threading.RLock()
        self._readers_lock = threading.Lock()
        self._writer_thread: int | None = None
        self._depth = 0
        self._closed = False
        with self.mapped_errors:
            self._writer = self._connect(CACHE_KIB)
            if not read_only:
                self._prepare()
            self._check_version()

    def _connect(self, cache_kib: int, mapped: int = 0) -> sqlite3.Connection:
        uri = f"{self.path.absolute().as_uri()}?mode={'ro' if self.read_only else 'rwc'}"
        connection = sqlite3.connect(
            uri, uri=True, isolation_level=None, check_same_thread=False, cached_statements=256
        )
        connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
        connection.execute(f"PRAGMA cache_size = -{cache_kib}")
        connection.execute(f"PRAGMA mmap_size = {mapped}")
        connection.execute("PRAGMA temp_store = MEMORY")
        return connection

    def _prepare(self) -> None:
        self._writer.execute("PRAGMA journal_mode = WAL")
        # FULL: a transaction that returned survives a power cut, as the collector's 200 promises.
        self._writer.execute("PRAGMA synchronous = FULL")
        self._writer.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
        self._writer.execute("BEGIN IMMEDIATE")
        try:
            (tables,) = self._writer.execute("SELECT count(*) FROM sqlite_master").fetchone()
            (version,) = self._writer.execute("PRAGMA user_version").fetchone()
            if not tables:
                self._become((Path(__file__).parent / "schema.sql").read_text(), SCHEMA_VERSION)
            elif 0 < version < SCHEMA_VERSION:
                for older in range(version, SCHEMA_VERSION):
                    self._become(_UPGRADES[older], older + 1)
            self._writer.execute("COMMIT")
        except BaseException:
            self._writer.execute("ROLLBACK")
            raise

    def _become(self, script: str, version: int) -> None:
        for statement in _statements(script):
            self._writer.execute(statement)
        self._writer.execute(f"PRAGMA user_version = {version}")

    def _check_version(self) -> None:
        (version,) = self._writer.execute("PRAGMA user_version").fetchone()
        if version != SCHEMA_VERSION:
            newer = "newer" if version > SCHEMA_VERSION else "older"
            self.close()
            raise SchemaMismatch(
                f"{self.path}: schema version {version} is {newer} than this code's {SCHEMA_VERSION}"
            )

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """One transaction; a nested one is part of the outer one."""
        with self._lock:
            if self._depth:
                self._depth += 1
                try:
                    yield
                finally:
                    self._depth -= 1
                return
            with self.mapped_errors:
                self._writer.execute("BEGIN IMMEDIATE")
            self._writer_thread, self._depth = threading.get_ident(), 1
            try:
                yield
                with self.mapped_errors:
                    self._writer.execute("COMMIT")
            except BaseException:
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")
                raise
            finally:
                self._writer_thread, self._depth = None, 0

    def connection(self) -> sqlite3.Connection:
        """The connection on which this thread reads now."""
        if self._writer_thread == threading.get_ident():
            return self._writer
        held: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if held is None:
            if self._closed:
                raise StoreError(f"{self.path}: the store is closed")
            with self.mapped_errors:
                mapped = MAPPED_BYTES_MOST if self.read_only else MAPPED_BYTES_MAX
                held = self._local.connection = self._connect(READ_CACHE_KIB, mapped)
            with self._readers_lock:
                self._readers.append(held)
        return held

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """All rows of a query."""
        with self.mapped_errors:
            return self.connection().execute(sql, parameters).fetchall()

    def each(self, sql: str, parameters: Sequence[Any] = ()) -> Iterator[tuple[Any, ...]]:
        """The rows of a query as they are read."""
        with self.mapped_errors:
            yield from self.connection().execute(sql, parameters)

    def rows_in(
        self, sql: Callable[[str], str], keys: Iterable[Any], parameters: Sequence[Any] = ()
    ) -> list[tuple[Any, ...]]:
        """Rows of a query with one `IN` over many keys: `sql` is given the place holders."""
        wanted = list(keys)
        found: list[tuple[Any, ...]] = []
        with self.mapped_errors:
            connection = self.connection()
            for start in range(0, len(wanted), IN_MAX):
                chunk = wanted[start : start + IN_MAX]
                # Round the number of place holders up, so that few statements are compiled.
                size = 1 if len(chunk) == 1 else 4 if len(chunk) <= 4 else _power_of_two(len(chunk))
                chunk += [chunk[-1]] * (size - len(chunk))
                marks = ",".join("?" * size)
                found += connection.execute(sql(marks), (*chunk, *parameters)).fetchall()
        return found

    def write_many(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        """Execute a statement for each row, in a transaction."""
        if not rows:
            return
        with self.transaction(), self.mapped_errors:
            self._writer.executemany(sql, rows)

    def insert_many(self, into: str, rows: Sequence[Sequence[Any]], also: str = "") -> None:
        """`INSERT … VALUES` of all rows, in a transaction: half of what a statement for each row costs.

        `into` is what stands before VALUES, `also` what stands after the rows.
        """
        if not rows:
            return
        columns, start = len(rows[0]), 0
        with self.transaction(), self.mapped_errors:
            for count in ROWS_AT_ONCE:
                statement = _insert(into, columns, count, also)
                while len(rows) - start >= count:
                    some = chain.from_iterable(rows[start : start + count])
                    self._writer.execute(statement, list(some))
                    start += count

    def write(self, sql: str, parameters: Sequence[Any] = ()) -> int:
        """Execute one statement in a transaction; how many rows it changed."""
        with self.transaction(), self.mapped_errors:
            return self._writer.execute(sql, parameters).rowcount

    def close(self) -> None:
        """Close every connection."""
        with self._lock, self._readers_lock:
            self._closed = True
            for connection in (*self._readers, self._writer):
                connection.close()
            self._readers.clear()
            self._local = threading.local()


def _statements(script: str) -> Iterator[str]:
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


@cache
def _insert(into: str, columns: int, rows: int, also: str) -> str:
    row = f"({','.join('?' * columns)})"
    return f"{into} VALUES {','.join([row] * rows)} {also}"


def _power_of_two(number: int) -> int:
    return 1 << (number - 1).bit_length()
