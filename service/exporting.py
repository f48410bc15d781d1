"""Exports of one workspace: what a destination's file says, put together with the store and run."""

import fcntl
import os
import shutil
import socket
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from destinations.audience import Audience
from destinations.destination import Mode
from destinations.errors import DestinationError, ExportRefused, TargetRefused
from destinations.gate import Gate
from destinations.kafka import Sending
from destinations.making import Means, make, permission_of
from destinations.running import DELIVERED, FAILED, REFUSED, Exporter, Order, Outcome, Progress
from destinations.schedule import due_ms, wants_full
from service.exports_file import DestinationFile
from service.holding import HeldElsewhere, Hold
from service.workspace import Workspace
from storage.ports import DeadLetter
from storage.segment_ports import Delivery

LETTERS: Final = "export:"
"""How the source of a dead letter begins that a destination refused: it is no event of ours to try again."""
LOOKED_BACK: Final = 200
"""Runs of a destination that are looked at for its schedule: a month of one every four hours."""


class UnderWay(DestinationError):
    """Another process exports to this destination now."""


class Exports:
    """Runs the destinations of one workspace."""

    def __init__(
        self,
        workspace: Workspace,
        audience: Callable[[Workspace, Collection[str], Collection[str]], Audience],
    ) -> None:
        self._workspace = workspace
        self._open_audience = audience

    def run(
        self,
        file: DestinationFile,
        *,
        who: str,
        segments: Sequence[str] = (),
        mode: Mode | None = None,
        dry: bool = False,
        progress: Progress = lambda people: None,
    ) -> Outcome:
        """Export to one destination; `mode` where the file's own is not meant. UnderWay if somebody does."""
        with self._alone(file.name) as (staging, check):
            return self._run(file, staging, _checking(progress, check), who=who, segments=segments,
                             mode=mode, dry=dry)  # fmt: skip

    def run_due(
        self,
        file: DestinationFile,
        *,
        who: str,
        progress: Progress = lambda people: None,
    ) -> Outcome | None:
        """Export by schedule; None if it is not due, or no longer as soon as nobody else is at it."""
        with self._alone(file.name) as (staging, check):
            if not self.is_due(file):
                return None
            return self._run(file, staging, _checking(progress, check), who=who)

    def is_due(self, file: DestinationFile) -> bool:
        """Whether its schedule says that it is time."""
        due = self.due_ms(file)
        return due is not None and due <= self._workspace.now_ms()

    def _run(
        self,
        file: DestinationFile,
        staging: Path,
        progress: Progress,
        *,
        who: str,
        segments: Sequence[str] = (),
        mode: Mode | None = None,
        dry: bool = False,
    ) -> Outcome:
        workspace, settings = self._workspace, file.settings
        order = Order(
            name=file.name, permission=permission_of(settings, str(file.path)),
            gate=Gate(settings.purpose), mode=mode or self.mode(file), who=who, asked=tuple(segments),
            dry=dry,
        )  # fmt: skip
        destination = make(file.name, settings, self._means())
        exporter = Exporter(
            destination,
            self._open_audience(workspace, destination.types, destination.traits),
            workspace.store.deliveries,
            workspace.now_ms,
            staging,
            self._letter(file),
            progress,
        )
        return exporter.run(order)

    def mode(self, file: DestinationFile) -> Mode:
        """What the next export is: the file's mode, or all of it when the last full one is long ago."""
        if file.settings.mode == "delta":
            full = [each.started_ms for each in self._delivered(file.name) if each.mode == "full"]
            now_ms = self._workspace.now_ms()
            if not wants_full(file.settings.full_every, full[0] if full else None, now_ms):
                return "delta"
        return "full"

    def due_ms(self, file: DestinationFile) -> int | None:
        """When the next scheduled export begins; None: never."""
        runs = self._runs(file.name)
        # What the rules refuse they refuse again: it waits for its next time.
        settled = [each.started_ms for each in runs if each.result in (DELIVERED, REFUSED)]
        failed = [
            each.started_ms for each in runs
            if each.result == FAILED and each.started_ms >= max(settled, default=0)
        ]  # fmt: skip
        return due_ms(
            file.settings.schedule,
            settled[0] if settled else None,
            failed[0] if failed else None,
            self._workspace.now_ms(),
        )

    def _runs(self, name: str) -> list[Delivery]:
        return self._workspace.store.deliveries.list(LOOKED_BACK, name)

    def _delivered(self, name: str) -> list[Delivery]:
        return [each for each in self._runs(name) if each.result == DELIVERED]

    def _means(self) -> Means:
        from ingest.log import LogRefused, LogUnavailable

        def producer(topic: str) -> Sending:
            if not self._workspace.config.kafka.brokers:
                raise ExportRefused(f"topic {topic}: set kafka.brokers in onefold.yaml")
            try:
                self._workspace.log.check([topic])
            except LogRefused as error:
                raise TargetRefused(str(error)) from error
            return self._workspace.log.producer()

        return Means(
            now_ms=self._workspace.now_ms, producer=producer, unavailable=(LogUnavailable,)
        )

    def _letter(self, file: DestinationFile) -> Callable[[bytes, str], None]:
        def keep(raw: bytes, why: str) -> None:
            self._workspace.store.dead_letters.add(
                [
                    DeadLetter(
                        received_ms=self._workspace.now_ms(), source=LETTERS + file.name,
                        reason="refused_by_destination", detail=why, raw=raw, origin=file.kind,
                    )
                ]
            )  # fmt: skip

        return keep

    @contextmanager
    def _alone(self, name: str) -> Iterator[tuple[Path, Callable[[], None]]]:
        """A folder for what is not yet sent, while no other process exports there, on this machine or another.

        And what raises UnderWay once another one does.
        """
        holds = self._workspace.holds
        with self._alone_here(name) as folder:
            if holds is None:
                yield folder, lambda: None
                return
            try:
                hold = Hold(holds, LETTERS + name, process_place())
            except HeldElsewhere as error:
                raise UnderWay(f"another export of {name} is under way, by {error}") from None
            try:
                yield folder, lambda: _still(hold, name)
            finally:
                hold.end()

    @contextmanager
    def _alone_here(self, name: str) -> Iterator[Path]:
        """A folder that no other process of this machine has meanwhile."""
        root = Path(self._workspace.config.data) / "staging"
        root.mkdir(parents=True, exist_ok=True)
        folder = root / name
        with (root / f"{name}.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UnderWay(f"another export of {name} is under way here") from None
            # What a killed run left holds identifiers: it goes first.
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(mode=0o700)
            try:
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)


def _still(hold: Hold, name: str) -> None:
    try:
        hold.check()
    except HeldElsewhere:
        raise UnderWay(
            f"the store was away for so long that another export of {name} may run"
        ) from None


def _checking(progress: Progress, check: Callable[[], None]) -> Progress:
    """The same, unless it is not ours to go on."""

    def report(people: int) -> None:
        check()
        progress(people)

    return report


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """A destination and what is known of it, for lists."""

    name: str
    kind: str
    segments: Sequence[str]
    purpose: Sequence[str]
    mode: str
    schedule: str
    next_ms: int | None
    last: Delivery | None


def shown(exports: Exports, file: DestinationFile, last: Delivery | None) -> Shown:
    """What lists show of a destination."""
    plan = file.settings.schedule
    schedule = f"every {plan.every}" if plan.every else f"at {plan.at} UTC" if plan.at else ""
    return Shown(
        name=file.name, kind=file.kind, segments=file.settings.segments, purpose=file.settings.purpose,
        mode=file.settings.mode, schedule=schedule, next_ms=exports.due_ms(file), last=last,
    )  # fmt: skip


def process_place() -> str:
    """Where this process runs, for those who wait for it."""
    return f"{socket.gethostname()}:{os.getpid()}"


def process_owner() -> str:
    """Who runs this process, for the audit."""
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):  # A container's user has a number alone.
        return f"uid {os.getuid()}"
