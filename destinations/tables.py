"""Tables of members: CSV or Parquet, a row for each member and segment, an md5 and a `.done` beside them."""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from destinations.audience import Recipient
from destinations.destination import Acknowledges, Run, Sealed, Update
from destinations.errors import NotInstalled
from destinations.events import iso
from destinations.folders import Folder
from destinations.gate import Tally, Withheld
from destinations.settings import TableSettings
from destinations.staged import SplitLines, StagedFile, disk_errors

FIXED: Final = ("segment", "profile_id", "member", "at")
_READ_BYTES: Final = 1 << 20


def cell(value: Any) -> str:
    """A value as RFC 4180 writes it, always in quotes; nothing: an empty cell."""
    if value is None:
        return ""
    text = ("true" if value else "false") if isinstance(value, bool) else str(value)
    return '"' + text.replace('"', '""') + '"'


class Table:
    """`Destination`."""

    kind = "table"
    replaces = True
    acknowledges: Acknowledges = "run"

    def __init__(self, settings: TableSettings, folder: Folder, name: str) -> None:
        self._settings = settings
        self.types = frozenset(settings.identifiers)
        self.traits = frozenset(settings.traits)
        self._folder = folder
        self._name = name
        self._columns = (*FIXED, *settings.identifiers, *(f"trait_{t}" for t in settings.traits))
        self._stem = name
        self._writer: _Csv | _Parquet | None = None

    @property
    def place(self) -> str:
        """See `Destination`."""
        return self._folder.place

    def begin(self, run: Run) -> None:
        """See `Destination`."""
        at = datetime.fromtimestamp(run.started_ms / 1000, UTC)
        self._stem = f"{self._name}-{run.mode}-{at:%Y%m%dT%H%M%SZ}"
        if run.dry:
            return
        if self._settings.format == "parquet":
            self._writer = _Parquet(run.staging / "table.parquet", self._columns)
        else:
            self._writer = _Csv(run.staging, self._columns, compress=self._settings.compress)

    def render(self, updates: Sequence[Update], tally: Tally) -> list[tuple[Any, ...]]:
        """See `Destination`."""
        rows: list[tuple[Any, ...]] = []
        for update in updates:
            recipient = update.recipient
            ids = self._ids(recipient)
            if not any(ids):
                tally.withhold(Withheld.NO_IDENTIFIER)
                continue
            traits = [_plain(recipient.traits.get(each)) for each in self._settings.traits]
            rows += [
                (
                    each.segment, recipient.profile_id.hex(), each.member,
                    iso(each.at_ms) if each.member else None, *ids, *traits,
                )
                for each in update.stated
            ]  # fmt: skip
        return rows

    def _ids(self, recipient: Recipient) -> list[str | None]:
        first: dict[str, str] = {}
        for each in sorted(recipient.identifiers):
            first.setdefault(each.type, each.value)
        return [
            hashlib.sha256(first[name].encode()).hexdigest()
            if name in first and name in self._settings.hashed
            else first.get(name)
            for name in self._settings.identifiers
        ]

    def deliver(self, rows: Sequence[tuple[Any, ...]]) -> None:
        """See `Destination`."""
        assert self._writer is not None  # noqa: S101  # `begin` was called
        self._writer.add(rows)

    def finish(self) -> Sealed:
        """See `Destination`."""
        assert self._writer is not None  # noqa: S101  # `begin` was called
        file = self._writer.finish()
        self._writer = None
        name = self._stem + (
            ".parquet"
            if self._settings.format == "parquet"
            else ".csv.gz"
            if self._settings.compress
            else ".csv"
        )
        self._folder.put(file.path, name)
        sums = file.path.with_name("sums")
        sums.write_text(f"{file.md5}  {name}\n")
        self._folder.put(sums, f"{name}.md5")
        self._folder.touch(f"{name}.done")
        self._folder.close()
        return Sealed(file.sha256, (name,))

    def abandon(self) -> None:
        """See `Destination`."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        self._folder.close()


class _Csv:
    """RFC 4180 with a header and newlines."""

    def __init__(self, folder: Path, columns: Sequence[str], *, compress: bool) -> None:
        self._lines = SplitLines(folder, "table", compress=compress)
        self._lines.add((",".join(map(cell, columns)) + "\n").encode())

    def add(self, rows: Sequence[tuple[Any, ...]]) -> None:
        # A line break within a cell would be one for whoever splits lines; RFC 4180 allows it.
        text = "".join(",".join(map(cell, row)) + "\n" for row in rows)
        self._lines.add(text.encode("utf-8", "replace"))

    def finish(self) -> StagedFile:
        (file,) = self._lines.finish()
        return file

    def close(self) -> None:
        self._lines.close()


class _Parquet:
    """Every column but `member` is text; zstd."""

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        try:
            import pyarrow as pa
            import pyarrow.parquet as pq
        except ImportError as error:
            raise NotInstalled("parquet needs pyarrow: pip install 'onefold[notebook]'") from error
        self._path = path
        self._schema = pa.schema(
            [(each, pa.bool_() if each == "member" else pa.string()) for each in columns]
        )
        self._table = pa.Table
        with disk_errors(path):
            self._writer = pq.ParquetWriter(path, self._schema, compression="zstd")
        self._pa = pa
        self._waiting: list[tuple[Any, ...]] = []

    def add(self, rows: Sequence[tuple[Any, ...]]) -> None:
        # Row groups of one size, whatever the batches are: equal content is equal bytes.
        self._waiting += rows
        while len(self._waiting) >= _ROW_GROUP:
            self._write(self._waiting[:_ROW_GROUP])
            del self._waiting[:_ROW_GROUP]

    def _write(self, rows: Sequence[tuple[Any, ...]]) -> None:
        columns = [
            self._pa.array([_text(row[number], field.name) for row in rows], field.type)
            for number, field in enumerate(self._schema)
        ]
        with disk_errors(self._path):
            self._writer.write_table(self._table.from_arrays(columns, schema=self._schema))

    def finish(self) -> StagedFile:
        if self._waiting:
            self._write(self._waiting)
        md5, sha = hashlib.md5(usedforsecurity=False), hashlib.sha256()
        with disk_errors(self._path):
            self._writer.close()
            with self._path.open("rb") as file:
                while some := file.read(_READ_BYTES):
                    md5.update(some)
                    sha.update(some)
            return StagedFile(
                self._path, self._path.stat().st_size, md5.hexdigest(), sha.hexdigest()
            )

    def close(self) -> None:
        try:
            self._writer.close()
        except OSError:  # What is given up need not be whole.
            return


_ROW_GROUP: Final = 50_000
"""Rows of a row group, and in memory: some 20 MB."""


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, str | bool | int | float):
        return value
    import msgspec

    return msgspec.json.encode(value).decode()


def _text(value: Any, column: str) -> Any:
    if column == "member" or value is None or isinstance(value, str):
        return value
    return ("true" if value else "false") if isinstance(value, bool) else str(value)
