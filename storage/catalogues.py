"""The segments in force, read from the log of edits and kept."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Final

from profiles.segments.catalogue import Catalogue, Edit
from profiles.segments.parse import parse_definition
from profiles.segments.problems import BadDefinition
from profiles.segments.tree import Definition
from storage.segment_ports import Definitions

WORKERS_AGE_S: Final = 1.0
"""How old what a worker knows may be: it asks before a batch, and another machine answers."""


class Catalogues:
    """Knows what is defined; asking costs one small read. Any thread may ask."""

    def __init__(
        self,
        definitions: Definitions,
        age_s: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """What is known may be so old; 0: it is asked for each time."""
        self._definitions = definitions
        self._age_s = age_s
        self._clock = clock
        self._lock = threading.Lock()
        self._known = Catalogue()
        self._asked: float | None = None
        self._held = 0

    @contextmanager
    def held(self) -> Iterator[None]:
        """Ask once for all that happens within: a transaction, in which nobody else can define anything."""
        self.now()
        with self._lock:
            self._held += 1
        try:
            yield
        finally:
            with self._lock:
                self._held -= 1

    def now(self, at_least: int = 0) -> Catalogue:
        """The catalogue in force; read anew if what is known is older than the revision `at_least`."""
        with self._lock:
            now = self._clock()
            recent = self._held or (self._asked is not None and now - self._asked < self._age_s)
            if not recent or self._known.revision < at_least:
                self._known = replayed(self._known, self._definitions.since(self._known.revision))
                self._asked = now
            return self._known


def replayed(catalogue: Catalogue, edits: Iterable[Edit]) -> Catalogue:
    """A catalogue after some more edits. What this version cannot read is left out, and said to be."""
    for edit in edits:
        put: list[Definition] = []
        unread: dict[str, str] = {}
        for each in edit.put:
            try:
                put.append(parse_definition(each.tree, id=each.id))
            except BadDefinition as error:
                unread[each.id] = str(error).replace("\n", "; ")
        catalogue = catalogue.after(edit.revision, put, edit.removed, unread)
    return catalogue
