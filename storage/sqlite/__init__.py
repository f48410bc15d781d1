"""The embedded store: one SQLite file, one writer, many readers."""

from storage.sqlite.store import SqliteStore, open_store

__all__ = ["SqliteStore", "open_store"]
