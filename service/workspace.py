"""What one command works on: configuration, store, pipeline and models, opened when first needed."""

import time
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Final

import click

from ingest.pipeline import Pipeline
from ingest.sources import Sources
from models.registry import Registry
from service.config import Config
from storage.keys import Keys
from storage.profiles import ProfileReader
from storage.sqlite import SqliteStore, open_store

DAY_MS: Final = 86_400_000


def wall_clock_ms() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


class Workspace:
    """One workspace, opened piece by piece: `onefold --help` opens nothing."""

    def __init__(self, config: Config, clock: Callable[[], int] = wall_clock_ms) -> None:
        self.config = config
        self.now_ms = clock
        self._opened: tuple[SqliteStore, Keys] | None = None

    @property
    def _open(self) -> tuple[SqliteStore, Keys]:
        if self._opened is None:
            self._opened = open_store(self.store_path, self.keys_path)
        return self._opened

    @property
    def store_path(self) -> Path:
        """The database file."""
        return Path(self.config.store.path)

    @property
    def keys_path(self) -> Path:
        """The key file."""
        return Path(self.config.store.keys)

    @property
    def store(self) -> SqliteStore:
        """The store; made if it is not there."""
        return self._open[0]

    @property
    def keys(self) -> Keys:
        """The workspace's keys."""
        return self._open[1]

    @cached_property
    def sources(self) -> Sources:
        """The configured sources."""
        return Sources(self.config.sources())

    @cached_property
    def pipeline(self) -> Pipeline:
        """Where events go."""
        return Pipeline(self.store, self.keys, self.config.identity, self.sources)

    @cached_property
    def reader(self) -> ProfileReader:
        """Where profiles come from."""
        return ProfileReader(
            self.store, self.config.identity, self.keys.hasher(), self.keys.vault()
        )

    @cached_property
    def registry(self) -> Registry:
        """Where models are kept."""
        return Registry(Path(self.config.models.registry))

    def close(self) -> None:
        """Let go of what was opened."""
        if self._opened is not None:
            self._opened[0].close()


pass_workspace = click.make_pass_decorator(Workspace)
