"""JSON as it really comes: what can be read without guessing is mended, once strict parsing has failed."""

import re
from typing import Final

_BOM: Final = b"\xef\xbb\xbf"
_TOKEN: Final = re.compile(
    rb"""
      (?P<string> "(?:[^"\\]++|\\.)*+" )
    | (?P<constant> -?(?:NaN|Infinity)(?![A-Za-z0-9_]) )
    """,
    re.VERBOSE | re.DOTALL,
)
_ESCAPE: Final = re.compile(
    rb"""
      \\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}
    | (?P<lone> \\u[dD][89a-fA-F][0-9a-fA-F]{2} )
    | \\.
    """,
    re.VERBOSE | re.DOTALL,
)


def mend(raw: bytes) -> bytes:
    r"""`raw` without what clients write though JSON has no word for it; equal to `raw` if it has none.

    A byte order mark goes; NaN and Infinity (Python's json writes them) become null; half an emoji
    (`\ud83d` alone: JavaScript cut a text in two) becomes U+FFFD. Linear in the length of `raw`.
    """
    return _TOKEN.sub(_token, raw.removeprefix(_BOM))


def _token(found: re.Match[bytes]) -> bytes:
    text = found[0]
    if found["constant"]:
        return b"null"
    return _ESCAPE.sub(_escape, text) if b"\\u" in text else text


def _escape(found: re.Match[bytes]) -> bytes:
    return rb"\ufffd" if found["lone"] else found[0]
