"""The segments in force, read from the log of edits and kept."""

import threading
from collections.abc import Iterable

from profiles.segments.catalogue import Catalogue, Edit
from profiles.segments.parse import parse_definition
from storage.ports import Definitions


class Catalogues:
    """Knows what is defined; asking costs one small read. Any thread may ask."""

    def __init__(self, definitions: Definitions) -> None:
        self._definitions = definitions
        self._lock = threading.Lock()
        self._known = Catalogue()

    def now(self) -> Catalogue:
        """The catalogue in force."""
        with self._lock:
            self._known = replayed(self._known, self._definitions.since(self._known.revision))
            return self._known


def replayed(catalogue: Catalogue, edits: Iterable[Edit]) -> Catalogue:
    """A catalogue after some more edits."""
    for edit in edits:
        put = [parse_definition(each.tree, id=each.id) for each in edit.put]
        catalogue = catalogue.after(edit.revision, put, edit.removed)
    return catalogue
