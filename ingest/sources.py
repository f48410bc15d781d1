"""The configured sources, by name."""

from collections.abc import Mapping

from identity.event import Source


class Sources:
    """Sources by name; one that is not configured is not trusted."""

    def __init__(self, configured: Mapping[str, Source] | None = None) -> None:
        self._named = dict(configured or {})

    def named(self, name: str) -> Source:
        """The source of that name."""
        found = self._named.get(name)
        if found is None:
            found = self._named[name] = Source(name=name)
        return found
