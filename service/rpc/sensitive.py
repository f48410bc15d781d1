"""What is left out of an answer for a device, since somebody else may be sitting there (DESIGN §3.3)."""

from collections.abc import Iterable

import msgspec

from profiles.facts import items_of
from storage.ports import Catalog


class Sensitive:
    """Knows which items the catalogue marks sensitive."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def among(self, item_ids: Iterable[str]) -> frozenset[str]:
        """Those of the items that are marked sensitive."""
        found = self._catalog.get(list(item_ids))
        return frozenset(item_id for item_id, item in found.items() if item.sensitive)

    def mentioned_in(self, payload: bytes) -> bool:
        """Whether a message names a sensitive item, or cannot be read and so might."""
        try:
            message = msgspec.json.decode(payload)
        except (msgspec.DecodeError, RecursionError):
            return True
        properties = message.get("properties") if isinstance(message, dict) else None
        if not isinstance(properties, dict):
            return False
        return bool(self.among({item.id for item in items_of(properties)}))
