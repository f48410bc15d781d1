"""The protocol of a destination: all that the next one has to do (docs/destinations.md)."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import msgspec

from destinations.audience import Recipient
from destinations.gate import Tally

Mode = Literal["full", "delta"]
Acknowledges = Literal["batch", "run"]
Letter = Callable[[bytes, str], None]
"""Keeps what a destination refuses for good, with the reason."""


class Stated(msgspec.Struct, frozen=True, gc=False):
    """One thing that a destination is told about somebody: in a segment, or no longer."""

    segment: str
    """Its name at the destination."""
    member: bool
    at_ms: int
    message_id: str = ""
    """Empty where a state is told and no transition: derive one from what is told."""
    sequence: int = 0
    reason: str = ""


class Update(msgspec.Struct, frozen=True, gc=False):
    """All that a destination is told about one recipient now; it has passed the gate."""

    recipient: Recipient
    stated: Sequence[Stated]
    """By name of segment, where states are told."""


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One export."""

    id: str
    mode: Mode
    started_ms: int
    segments: Mapping[str, str] = {}
    """Names at the destination of all segments that may be sent, by id."""
    staging: Path = Path()
    """A folder of this run's own, for files that are not yet sent."""
    partial: bool = False
    """Only some of the segments that go there were asked for."""
    dry: bool = False
    """Only `render` will be called: nothing outside may be touched."""
    letter: Letter = lambda raw, why: None


class Sealed(msgspec.Struct, frozen=True):
    """What was delivered: files, if any, and a checksum that is equal for equal content."""

    checksum: str
    files: tuple[str, ...] = ()


class Renderer(Protocol):
    """Makes rows of what is known of people alone: it can be sent to another process, and keeps nothing."""

    def render(self, updates: Sequence[Update], tally: Tally) -> Sequence[Any]:
        """As `Destination.render`, but for what was rendered before."""


@runtime_checkable
class RendersApart(Protocol):
    """A destination whose rows other processes may make, beside `Destination`."""

    def renderer(self) -> Renderer:
        """What makes the rows of the run that was begun."""

    def unique(self, rows: Sequence[Any], tally: Tally) -> Sequence[Any]:
        """Those of a batch's rows that may go after all that went before; the others are withheld.

        Of batches in their order: then the result is that of `Destination.render`.
        """


class Destination(Protocol):
    """Somewhere to send audiences. One run is: begin, then render and deliver by turns, then finish.

    Whatever fails is a DestinationError; then, and only then, `abandon` follows.
    """

    kind: str
    types: frozenset[str]
    """Of identifiers that it may use: no others are read."""
    traits: frozenset[str]
    """That it uses."""
    replaces: bool
    """Whether a full export takes the place of all that was told before; else those who left are told first."""
    acknowledges: Acknowledges
    """`batch`: what `deliver` took is delivered when it returns. `run`: all of it when `finish` returns, and
    none before; such a destination is told states, one update for a recipient."""

    @property
    def place(self) -> str:
        """Where it goes, for people; no secrets."""

    def begin(self, run: Run) -> None:
        """Get ready. ExportRefused if this run makes no sense there, for example a second one today."""

    def render(self, updates: Sequence[Update], tally: Tally) -> Sequence[Any]:
        """The rows or messages for `updates`, in order; who cannot be told about is withheld in `tally`.

        Equal updates give equal rows. Nothing is sent. msgspec can encode a row.
        """

    def deliver(self, rows: Sequence[Any]) -> None:
        """Send rows, or keep them for `finish`. What is refused for good becomes a letter of the run."""

    def finish(self) -> Sealed:
        """Complete it. What says that it is complete is written last."""

    def abandon(self) -> None:
        """Let go of what `begin` made; what was not completed never looks complete."""
