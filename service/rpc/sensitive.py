"""What is left out without consent, and for a device: somebody else may be sitting there (DESIGN §3.3)."""

from collections.abc import Iterable

import msgspec

from profiles.facts import items_of
from storage.gathering import Answer
from storage.ports import Catalog
from storage.profiles import Found


def may_see_sensitive(found: Found | None, purpose: str) -> bool:
    """Whether sensitive items may be shown: to a person, known by an identifier of theirs, who consented."""
    return (
        found is not None
        and bool(purpose)
        and found.answered_by is Answer.PERSON
        and found.profile.consent.get(purpose, False)
    )


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
