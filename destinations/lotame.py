"""Lotame's server-to-server batch files (facts/formats.md §1b).

A set is one folder `YYYYMMDD` with `segmentmembership.json.gz` (JSON lines), its md5 and, last of all, an empty
`YYYYMMDD.done`: what is there without it, Lotame does not read.
"""

import string
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

import msgspec

from destinations.destination import Acknowledges, Run, Sealed, Stated, Update
from destinations.errors import ExportRefused
from destinations.folders import Folder
from destinations.gate import Tally, Withheld
from destinations.seen import Seen
from destinations.settings import ID_TYPES, LotameSettings
from destinations.staged import SplitLines, StagedFile
from destinations.tcf import allows

STEM: Final = "segmentmembership"
TAIL: Final = ".json.gz"
AUTO: Final = "auto"
NONE: Final = "none"
GAID: Final = '"GAID"'
IDFA: Final = '"IDFA"'
_BY_PLATFORM: Final = {"android": GAID, "ios": IDFA}
_PLAIN: Final = (string.ascii_letters + string.digits + "-").encode()
BY_HOST_ONLY: Final = ("EMAIL",)
"""Types that Lotame takes in the bucket that it hosts alone: kind `lotame_email`."""
TCF_VENDOR: Final = 95
TCF_PURPOSES: Final = (1, 3, 5, 7, 8, 9, 10)


class Lotame:
    """`Destination`."""

    kind = "lotame"
    replaces = True
    acknowledges: Acknowledges = "run"

    def __init__(self, settings: LotameSettings, folder: Folder) -> None:
        self._settings = settings
        self.traits = frozenset({settings.tcf_trait} if settings.consent == "tcf" else ())
        self._folder = folder
        types = {**ID_TYPES, **settings.id_types}
        self._types = {
            name: AUTO if idtype == AUTO else _text(idtype)
            for name, idtype in types.items()
            if idtype != NONE
        }
        self.types = frozenset(self._types)
        self._objects = settings.segment_form == "objects"
        self._tcf = settings.consent == "tcf"
        self._seen = Seen()
        self._lines: SplitLines | None = None
        self._day = ""
        self._names: dict[str, str] = {}
        """Of segments, as JSON."""

    @property
    def place(self) -> str:
        """See `Destination`."""
        return self._folder.place

    def begin(self, run: Run) -> None:
        """See `Destination`."""
        self._day = datetime.fromtimestamp(run.started_ms / 1000, UTC).strftime("%Y%m%d")
        self._seen = Seen()
        self._names = {name: _text(name) for name in run.segments.values()}
        if run.dry:
            return
        if run.mode == "full" and run.partial:
            raise ExportRefused(
                "a full file holds every segment of an id, and what is not in it is gone at Lotame: "
                "leave out --segment, or send a delta"
            )
        replaces = run.mode == "full" and self._settings.replace
        if self._done in self._folder.names(self._day) and not replaces:
            raise ExportRefused(
                f"{self._folder.place}: {self._done} is there, and Lotame takes one set of files a day: "
                "export again tomorrow (nothing is lost), or set `replace: true` for a full one"
            )
        self._lines = SplitLines(run.staging, STEM, bytes_max=self._settings.file_bytes_max)

    @property
    def _done(self) -> str:
        return f"{self._day}.done"

    def render(self, updates: Sequence[Update], tally: Tally) -> list[str]:
        """See `Destination`. A row is a line of JSON.

        It is put together from pieces, each encoded once in a run, since this is what a million members cost.
        """
        rows: list[str] = []
        keys: list[str] = []
        consent = ',"consent":true}'
        for update, ids in zip(updates, self._ids(updates), strict=True):
            if self._tcf:
                tcf = update.recipient.traits.get(self._settings.tcf_trait)
                if not isinstance(tcf, str) or not allows(tcf, TCF_VENDOR, TCF_PURPOSES):
                    tally.withhold(Withheld.REFUSED if tcf else Withheld.NO_CONSENT)
                    continue
                consent = f',"tcfconsent":{_text(tcf)}}}'
            if not ids:
                tally.withhold(Withheld.NO_IDENTIFIER)
                continue
            said = self._said(update.stated)
            for userid, idtype in ids:
                rows.append(f'{{"userid":"{userid}","idtype":{idtype}{said}{consent}')
                keys.append(userid)
        # Once in a file. An identifier is one recipient's anyway, unless two types hold the same value.
        again = self._seen.again(keys)
        if again:
            tally.withhold(Withheld.DUPLICATE, len(again))
            for at in reversed(again):
                del rows[at]
        return rows

    def _ids(self, updates: Sequence[Update]) -> list[list[tuple[str, str]]]:
        """(userid, idtype as JSON) pairs of each recipient."""
        types = self._types
        found = []
        for update in updates:
            recipient = update.recipient
            ids = []
            for identifier in recipient.identifiers:
                idtype = types.get(identifier.type)
                if idtype is AUTO:
                    idtype = _advertising_type(identifier.value, recipient.platforms)
                if idtype:
                    ids.append((identifier.value, idtype))
            found.append(ids)
        # Lotame takes letters, digits and, by its examples, dashes: looked at all at once, for they mostly are.
        values = "".join([value for ids in found for value, _ in ids])
        if not _is_plain(values):
            found = [[pair for pair in ids if _is_plain(pair[0])] for ids in found]
        return found

    def _said(self, stated: Sequence[Stated]) -> str:
        objects, names = self._objects, self._names
        segments, left = [], []
        for each in stated:
            if not each.member:
                left.append(f'{{"name":{names[each.segment]}}}' if objects else names[each.segment])
            elif objects:
                segments.append(
                    f'{{"name":{names[each.segment]},"timestamp":{each.at_ms // 1000}}}'
                )
            else:
                segments.append(names[each.segment])
        remove = f',"remove":[{",".join(left)}]' if left else ""
        return f',"segments":[{",".join(segments)}]{remove}'

    def deliver(self, rows: Sequence[str]) -> None:
        """See `Destination`."""
        assert self._lines is not None  # noqa: S101  # `begin` was called
        self._lines.add(("\n".join(rows) + "\n").encode())

    def finish(self) -> Sealed:
        """See `Destination`."""
        assert self._lines is not None  # noqa: S101  # `begin` was called
        files = _named(self._lines.finish())
        there = self._folder.names(self._day)
        # In this order, whatever is there at any moment is read never or whole.
        if self._done in there:
            self._folder.remove(f"{self._day}/{self._done}")
        for stale in sorted(each for each in there if each.startswith(STEM)):
            if stale not in files and stale.removesuffix(".md5") not in files:
                self._folder.remove(f"{self._day}/{stale}")
        for name, file in files.items():
            self._folder.put(file.path, f"{self._day}/{name}")
            sums = file.path.with_name(file.path.name + ".md5")
            sums.write_text(f"{file.md5}  {name}\n")
            self._folder.put(sums, f"{self._day}/{name}.md5")
        self._folder.touch(f"{self._day}/{self._done}")
        self._lines = None
        self._folder.close()
        names = tuple(f"{self._day}/{name}" for name in (*files, self._done))
        return Sealed(",".join(file.sha256 for file in files.values()), names)

    def abandon(self) -> None:
        """See `Destination`."""
        if self._lines is not None:
            self._lines.close()
            self._lines = None
        self._folder.close()


def _named(files: Sequence[StagedFile]) -> dict[str, StagedFile]:
    if len(files) == 1:
        return {STEM + TAIL: files[0]}
    return {f"{STEM}.{number:03}{TAIL}": file for number, file in enumerate(files, 1)}


def _text(text: str) -> str:
    return msgspec.json.encode(text).decode()


def _is_plain(value: str) -> bool:
    return not value.encode("utf-8", "surrogatepass").translate(None, _PLAIN)


def _advertising_type(value: str, platforms: Mapping[str, str]) -> str:
    """GAID or IDFA as JSON; "" if that cannot be told, or tracking is switched off on the device.

    Android writes its id in small letters, iOS in capitals, and both write zeros where tracking is off.
    """
    if platforms and (platform := platforms.get(value)):
        return _BY_PLATFORM.get(platform.lower(), "") if value.strip("0-") else ""
    small = value.lower() == value
    if small == (value.upper() == value):
        return ""
    return GAID if small else IDFA
