"""Pages: sizes that are coerced, and tokens that only this workspace makes and only for one query."""

import base64
import binascii
import hashlib
import hmac
from typing import Any, Final, TypeVar

import msgspec

from service.rpc.errors import InvalidArgument, Violation
from service.rpc.limits import PAGE_DEFAULT, PAGE_MAX

ATTRIBUTION: Final = "attribution"
"""Purpose of the tokens that answers carry, and events bring back."""
_MAC_BYTES: Final = 16
"""128 bits: nobody guesses one."""
_Position = TypeVar("_Position")
_encode = msgspec.msgpack.Encoder().encode


def page_size(asked: int) -> int:
    """How many rows; InvalidArgument if `asked` is negative (AIP-158)."""
    return counted("page_size", asked, PAGE_DEFAULT, PAGE_MAX)


def counted(field: str, asked: int, default: int, most: int) -> int:
    """`asked`, `default` for 0, at most `most`; InvalidArgument if it is negative."""
    if asked < 0:
        raise InvalidArgument([Violation(field, "must not be negative")])
    return min(asked, most) if asked else default


class Tokens:
    """Opaque texts that name a position, signed together with what they are about."""

    def __init__(self, workspace_key: bytes, purpose: str) -> None:
        key = hmac.digest(workspace_key, f"token:{purpose}".encode(), "sha256")
        self._keyed = hmac.new(key, digestmod=hashlib.sha256)
        """Taken along from here for each token: reading the key takes as long as the rest."""

    def seal(self, position: Any, about: Any = ()) -> str:
        """A token for `position`, which opens only with an equal `about`."""
        body = _encode(position)
        sealed = self._mac(body, about) + body
        return base64.urlsafe_b64encode(sealed).rstrip(b"=").decode()

    def open(
        self, token: str, kind: type[_Position], about: Any = (), field: str = "page_token"
    ) -> _Position:
        """What `seal` was given; InvalidArgument if the token is another's, or for another query."""
        try:
            sealed = base64.b64decode(
                token.encode("ascii") + b"=" * (-len(token) % 4), altchars=b"-_", validate=True
            )
            body = sealed[_MAC_BYTES:]
            if hmac.compare_digest(self._mac(body, about), sealed[:_MAC_BYTES]):
                return msgspec.msgpack.decode(body, type=kind)
        except (ValueError, binascii.Error, msgspec.DecodeError):
            pass
        raise InvalidArgument([Violation(field, "was not given by this query; start without one")])

    def _mac(self, body: bytes, about: Any) -> bytes:
        said = _encode(about)
        mac = self._keyed.copy()
        mac.update(len(said).to_bytes(8, "big") + said + body)
        return mac.digest()[:_MAC_BYTES]
