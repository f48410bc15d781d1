"""What `onefold doctor` finds."""

import msgspec

OK, NOTE, BAD = "ok", "note", "problem"


class Finding(msgspec.Struct, frozen=True):
    """One thing that was looked at."""

    about: str
    state: str
    found: str
    todo: str = ""
