"""Write keys: which source a request speaks for."""

import hmac
import secrets
from collections.abc import Mapping

from identity.event import Source


class WriteKeys:
    """The source of each write key. Holds no key: only their keyed hashes, so none can leak or be timed."""

    def __init__(self, sources: Mapping[str, Source], any_key: Source | None = None) -> None:
        """`any_key` is the source of all other keys; without it they are refused."""
        self._secret = secrets.token_bytes(32)
        self._sources = {self._digest(key): source for key, source in sources.items() if key}
        self._any_key = any_key

    def source_of(self, key: str) -> Source | None:
        """The source of `key`, or None if it is not one of ours."""
        if not key:
            return None
        return self._sources.get(self._digest(key), self._any_key)

    def _digest(self, key: str) -> bytes:
        # A lookup by this digest takes a time that says nothing about any key.
        return hmac.digest(self._secret, key.encode("utf-8", "surrogatepass"), "sha256")
