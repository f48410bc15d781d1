"""Lotame's onboarding of hashed e-mail addresses, and their opt-outs (facts/formats.md §1a).

DATA says which segments an address is in; there are no words for having left one. OPTOUT names those whose
consent was withdrawn since the last export.
"""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

import msgspec

from destinations.destination import Acknowledges, Run, Sealed, Update
from destinations.folders import Folder
from destinations.gate import Tally, Withheld
from destinations.seen import Seen
from destinations.settings import LotameEmailSettings
from destinations.staged import SplitLines
from destinations.tables import cell
from identity.nodes import EMAIL

TOKEN: Final = "EMAIL_SHA256"  # noqa: S105  # a part of a file's name

_encode = msgspec.json.Encoder().encode


class Address(msgspec.Struct, frozen=True):
    """One hashed address, and its segments; `optout`: it is to be forgotten."""

    userid: str
    segments: Sequence[str] = ()
    optout: bool = False


class LotameEmail:
    """`Destination`."""

    kind = "lotame_email"
    replaces = False
    acknowledges: Acknowledges = "run"

    def __init__(self, settings: LotameEmailSettings, folder: Folder) -> None:
        self._settings = settings
        self.types = frozenset({EMAIL})
        self.traits: frozenset[str] = frozenset()
        self._folder = folder
        self._seen = Seen()
        self._files: dict[str, SplitLines] = {}
        self._written: set[str] = set()
        self._stamp = ""

    @property
    def place(self) -> str:
        """See `Destination`."""
        return f"{self._folder.place}/client_id={self._settings.client_id}"

    def begin(self, run: Run) -> None:
        """See `Destination`."""
        at = datetime.fromtimestamp(run.started_ms / 1000, UTC)
        self._stamp = at.strftime("%Y%m%dT%H%M%S")
        self._seen, self._written = Seen(), set()
        if not run.dry:
            self._files = {
                kind: SplitLines(run.staging, kind, compress=False) for kind in ("DATA", "OPTOUT")
            }

    def render(self, updates: Sequence[Update], tally: Tally) -> list[Address]:
        """See `Destination`."""
        rows: list[Address] = []
        for update in updates:
            addresses = [each.value for each in update.recipient.identifiers if each.type == EMAIL]
            if not addresses:
                tally.withhold(Withheld.NO_IDENTIFIER)
                continue
            segments = [each.segment for each in update.stated if each.member]
            optout = any(each.reason == "consent" and not each.member for each in update.stated)
            if not segments and not optout:
                tally.withhold(Withheld.CANNOT_REMOVE)
                continue
            rows += [
                Address(hashlib.sha256(each.encode()).hexdigest(), segments, optout)
                for each in sorted(addresses)
            ]
        again = self._seen.again([row.userid for row in rows])
        tally.withhold(Withheld.DUPLICATE, len(again))
        for at in reversed(again):
            del rows[at]
        return rows

    def deliver(self, rows: Sequence[Address]) -> None:
        """See `Destination`."""
        for kind in ("DATA", "OPTOUT"):
            some = [row for row in rows if row.optout == (kind == "OPTOUT")]
            if some:
                self._written.add(kind)
                self._files[kind].add(b"".join(map(self._line, some)))

    def _line(self, row: Address) -> bytes:
        if self._settings.format == "csv":
            return (",".join([row.userid, *map(cell, row.segments)]) + "\n").encode()
        said: dict[str, object] = {"userid": row.userid}
        if not row.optout:
            said["segments"] = row.segments
        return _encode(said) + b"\n"

    def finish(self) -> Sealed:
        """See `Destination`."""
        sums, names = [], []
        for kind in ("DATA", "OPTOUT"):
            (file,) = self._files[kind].finish()
            # Nobody there waits for an empty file.
            if kind in self._written:
                name = (
                    f"client_id={self._settings.client_id}/type={kind}/"
                    f"{self._settings.prefix}-{self._stamp}_{TOKEN}.{self._settings.format}"
                )
                self._folder.put(file.path, name)
                names.append(name)
                sums.append(file.sha256)
        self._folder.close()
        return Sealed(",".join(sums), tuple(names))

    def abandon(self) -> None:
        """See `Destination`."""
        for each in self._files.values():
            each.close()
        self._folder.close()
