"""Lotame's server-to-server batch files (facts/formats.md §1b).

A set is one folder `YYYYMMDD` with `segmentmembership.json.gz` (JSON lines), its md5 and, last of all, an empty
`YYYYMMDD.done`: what is there without it, Lotame does not read.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from destinations.destination import Acknowledges, Run, Sealed, Update
from destinations.errors import ExportRefused
from destinations.folders import Folder
from destinations.gate import Tally, Withheld
from destinations.lotame_rows import LotameRows, userid_of
from destinations.seen import Seen
from destinations.settings import LotameSettings
from destinations.staged import SplitLines, StagedFile

STEM: Final = "segmentmembership"
TAIL: Final = ".json.gz"
BY_HOST_ONLY: Final = ("EMAIL",)
"""Types that Lotame takes in the bucket that it hosts alone: kind `lotame_email`."""


class Lotame:
    """`Destination`."""

    kind = "lotame"
    replaces = True
    acknowledges: Acknowledges = "run"

    def __init__(self, settings: LotameSettings, folder: Folder) -> None:
        self._settings = settings
        self.traits = frozenset({settings.tcf_trait} if settings.consent == "tcf" else ())
        self._folder = folder
        self._rows = LotameRows(settings)
        self.types = self._rows.types
        self._seen = Seen()
        self._lines: SplitLines | None = None
        self._day = ""

    @property
    def place(self) -> str:
        """See `Destination`."""
        return self._folder.place

    def begin(self, run: Run) -> None:
        """See `Destination`."""
        self._day = datetime.fromtimestamp(run.started_ms / 1000, UTC).strftime("%Y%m%d")
        self._seen = Seen()
        self._rows = LotameRows(self._settings, tuple(run.segments.values()))
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

    def renderer(self) -> LotameRows:
        """See `RendersApart`."""
        return self._rows

    def unique(self, rows: Sequence[str], tally: Tally) -> list[str]:
        """See `RendersApart`: an identifier is one recipient's anyway, unless two types hold the same value."""
        kept = list(rows)
        again = self._seen.again(list(map(userid_of, kept)))
        if again:
            tally.withhold(Withheld.DUPLICATE, len(again))
            for at in reversed(again):
                del kept[at]
        return kept

    def render(self, updates: Sequence[Update], tally: Tally) -> list[str]:
        """See `Destination`."""
        return self.unique(self._rows.render(updates, tally), tally)

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
