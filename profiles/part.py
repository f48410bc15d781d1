"""A part: what the events of one leaf fold to. Every field folds commutatively (DESIGN §1.4, §4).

Folding the same distinct messages in any order, or folding halves and merging them, gives equal bodies.
Each cap keeps the "N smallest" or "N newest" of a set that only grows, so a cap does not depend on
the order either.
"""

from collections.abc import Iterable
from typing import Any, ClassVar, Final, Generic, TypeVar, cast

import msgspec

from profiles.segments.collect import Collected

FORMAT: Final = 2
"""Version of the stored form."""
UNKNOWN_MS: Final = 1 << 62
"""Newest key of a part that does not know it: format 1 had none. Then every row is looked for."""

INTERACTIONS_MAX: Final = 200
PURCHASES_MAX: Final = 500
ORDERS_MAX: Final = 5_000
"""Orders told apart by id, newest first; older ones are settled into sums and no longer compared."""
DAYS_KEPT: Final = 400
"""Days of daily counts kept before the part's newest event: a year and a month of comparison."""
EVENT_NAMES_MAX: Final = 300
TRAITS_MAX: Final = 300
"""Segment's Unify drops more traits than this too (facts/rudderstack.md §1.4)."""
DEVICES_MAX: Final = 100
PURPOSES_MAX: Final = 100
LARGE_BYTES: Final = 1 << 17
"""A part beyond this, as of a device in a shop, takes milliseconds to read: a busy person has a third of it."""
OTHER_EVENTS: Final = "$other"
"""Counter of the events whose names are beyond EVENT_NAMES_MAX."""

DAY_MS: Final = 86_400_000


class Trait(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """The newest value of a trait; None hides older values."""

    time_ms: int
    message: int
    value: Any


class Counter(msgspec.Struct, array_like=True, gc=False):
    """How often an event happened."""

    spelling: str
    """The smallest spelling seen, for names that differ only in case."""
    total: int
    first_ms: int
    last_ms: int
    days: dict[int, int]
    """Count per UTC day (days since 1970), for the last DAYS_KEPT days."""


class Interaction(msgspec.Struct, array_like=True, frozen=True, gc=False, order=True):
    """A person did something with an item."""

    time_ms: int
    message: int
    position: int
    """Of the item within its event."""
    item: str
    kind: int
    quantity: float
    order: int = 0
    """The order's hash for a purchase."""


class Order(msgspec.Struct, array_like=True, frozen=True, gc=False, order=True):
    """The copy of an order that counts: one that states an amount, the earliest, ties by message."""

    unpriced: bool
    time_ms: int
    message: int
    currency: str
    amount: int


class Money(msgspec.Struct, array_like=True, gc=False):
    """A number of orders, and their sum in millionths."""

    count: int = 0
    amount: int = 0


class Consent(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """The newest statement about one purpose."""

    time_ms: int
    granted: bool

    def beats(self, other: "Consent") -> bool:
        """Whether this statement counts and not the other: the newer; a withdrawal wins a tie."""
        return (self.time_ms, not self.granted) > (other.time_ms, not other.granted)


class Body(msgspec.Struct, array_like=True, gc=False):
    """What some events state together."""

    first_ms: int = 1 << 62
    last_ms: int = -(1 << 62)
    events: int = 0
    traits: dict[str, Trait] = {}
    counters: dict[str, Counter] = {}
    interactions: list[Interaction] = []
    purchases: list[Interaction] = []
    orders: dict[int, Order] = {}
    settled: dict[str, Money] = {}
    refunds: dict[str, Money] = {}
    devices: dict[bytes, int] = {}
    """Newest event time per device node."""
    consent: dict[str, Consent] = {}
    collected: dict[int, Collected] = {}
    """What conditions of segments need, by the number of their collector."""


class Visit(msgspec.Struct, array_like=True, gc=False, eq=False):
    """Anonymous activity on a device without a gap of 30 minutes (DESIGN §3.3).

    What happened in it stays as it was stored until somebody asks: of most visits of a device nobody does.
    """

    start_ms: int
    end_ms: int
    held: msgspec.Raw
    """The body, or its stored form."""
    opened_by: ClassVar[msgspec.msgpack.Decoder[Any]] = msgspec.msgpack.Decoder(Body)

    @property
    def body(self) -> Body:
        """What happened in it."""
        held: Any = self.held
        if isinstance(held, msgspec.Raw):
            held = self.held = self.opened_by.decode(held)
        return cast("Body", held)

    @body.setter
    def body(self, body: Body) -> None:
        self.held = cast("msgspec.Raw", body)

    @classmethod
    def made(cls, start_ms: int, end_ms: int, body: Body) -> "Visit":
        """A visit with a body."""
        return cls(start_ms, end_ms, cast("msgspec.Raw", body))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Visit) and _whole(self) == _whole(other)

    __hash__ = None  # type: ignore[assignment]


def _whole(visit: Visit) -> tuple[int, int, Body]:
    return visit.start_ms, visit.end_ms, visit.body


class Part(msgspec.Struct, array_like=True, gc=False):
    """What one leaf's events fold to, up to the log offset it stands at."""

    format: int = FORMAT
    offset: int = -1
    body: Body | None = None
    """A person identifier's events; for a device, those of visits too old to be told apart."""
    visits: list[Visit] = []
    """A device identifier's events, by visit, oldest first."""
    newest_key_ms: int = -1
    """The largest `key_ms` that was counted: an event past it cannot have been counted before."""
    collected_at: int = 0
    """The revision of the segments whose collectors have seen all its events; later ones have not."""


def bodies_of(visits: Iterable[Visit]) -> list[Body]:
    """What happened in each of some visits, for whoever asks once and changes nothing."""
    return [
        visit.opened_by.decode(held) if isinstance(held := visit.held, msgspec.Raw) else held
        for visit in visits
    ]


def visit_spans(part: Part) -> list[tuple[int, int]]:
    """(start_ms, end_ms) of each visit, oldest first."""
    return [(visit.start_ms, visit.end_ms) for visit in part.visits]


def visit_ends(part: Part) -> tuple[tuple[int, int], tuple[int, int]]:
    """The same of the first and the last visit alone; there must be one."""
    first, last = part.visits[0], part.visits[-1]
    return (first.start_ms, first.end_ms), (last.start_ms, last.end_ms)


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Part)


class _LeanBody(msgspec.Struct, array_like=True, gc=False):
    """`Body`, field by field; what conditions of segments do not ask stays as it was stored."""

    first_ms: int
    last_ms: int
    events: int
    traits: dict[str, Trait]
    counters: msgspec.Raw
    interactions: msgspec.Raw
    purchases: msgspec.Raw
    orders: msgspec.Raw
    settled: msgspec.Raw
    refunds: msgspec.Raw
    devices: dict[bytes, int]
    consent: dict[str, Consent]
    collected: dict[int, Collected] = {}


_B = TypeVar("_B")
_V = TypeVar("_V")


class _PartOf(msgspec.Struct, Generic[_B, _V], array_like=True, gc=False):
    """`Part`, field by field, of bodies that are decoded in part."""

    format: int
    offset: int
    body: _B | None
    visits: list[_V]
    newest_key_ms: int = -1
    collected_at: int = 0


class _LeanVisit(Visit, array_like=True, gc=False, eq=False):
    opened_by = msgspec.msgpack.Decoder(_LeanBody)


_lean_decoder = msgspec.msgpack.Decoder(_PartOf[_LeanBody, _LeanVisit])


class _FewBody(_LeanBody, array_like=True, gc=False):
    """The same; these are decoded when somebody asks for them (`traits_of`, `consent_of`, `collected_in`)."""

    traits: msgspec.Raw  # type: ignore[assignment]
    consent: msgspec.Raw  # type: ignore[assignment]
    collected: dict[int, msgspec.Raw] = {}  # type: ignore[assignment]


class _FewVisit(Visit, array_like=True, gc=False, eq=False):
    opened_by = msgspec.msgpack.Decoder(_FewBody)


_few_decoder = msgspec.msgpack.Decoder(_PartOf[_FewBody, _FewVisit])
_traits = msgspec.msgpack.Decoder(dict[str, Trait]).decode
_consent = msgspec.msgpack.Decoder(dict[str, Consent]).decode
_collected = msgspec.msgpack.Decoder(Collected).decode


class _ActiveBody(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """`Body`, field by field; what recommendations do not ask is not looked at."""

    first_ms: int
    last_ms: int
    events: int
    traits: msgspec.Raw
    counters: msgspec.Raw
    interactions: list[Interaction]
    purchases: list[Interaction]
    orders: dict[int, Order]
    settled: msgspec.Raw
    refunds: msgspec.Raw
    devices: dict[bytes, int]
    consent: dict[str, Consent]


class _ActiveVisit(Visit, array_like=True, gc=False, eq=False):
    opened_by = msgspec.msgpack.Decoder(_ActiveBody)


class _ActivePart(msgspec.Struct, array_like=True, frozen=True, gc=False):
    format: int
    offset: int
    body: _ActiveBody | None
    visits: list[_ActiveVisit]


_active_decoder = msgspec.msgpack.Decoder(_ActivePart)


def encode(part: Part) -> bytes:
    """The stored form; equal parts, trimmed, give equal bytes."""
    return _encoder.encode(part)


def decode(blob: bytes) -> Part:
    """The part that `encode` gave; msgspec.DecodeError if it is something else."""
    part = _decoder.decode(blob)
    if part.format < FORMAT:
        part.format, part.newest_key_ms = FORMAT, UNKNOWN_MS
    return part


def decode_lean(blob: bytes) -> Part:
    """The part, for whoever asks what conditions of segments ask: a third of the time.

    What was counted, seen and bought is not decoded: only traits, devices, consent, times and `collected` may
    be read, or changed. `encode` gives the whole part again.
    """
    part = cast("Part", _lean_decoder.decode(blob))
    if part.format < FORMAT:
        part.format, part.newest_key_ms = FORMAT, UNKNOWN_MS
    return part


def decode_few(blob: bytes) -> Part:
    """The part, for whoever asks whether profiles are in segments, and changes nothing.

    As `decode_lean`, but that what few conditions ask stays as it was stored: ask a `Subject` for it.
    """
    return cast("Part", _few_decoder.decode(blob))


def collected_in(held: Collected) -> Collected:
    """What a collector keeps, however its body was decoded."""
    stored: Any = held
    return _collected(stored) if isinstance(stored, msgspec.Raw) else held


def traits_of(body: Body) -> dict[str, Trait]:
    """The traits of a body, however it was decoded."""
    held: Any = body.traits
    return _traits(held) if isinstance(held, msgspec.Raw) else cast("dict[str, Trait]", held)


def consent_of(body: Body) -> dict[str, Consent]:
    """What a body states of purposes, however it was decoded."""
    held: Any = body.consent
    return _consent(held) if isinstance(held, msgspec.Raw) else cast("dict[str, Consent]", held)


def decode_active(blob: bytes) -> Part:
    """The part, for whoever asks what was done with items (`profiles.profile.active`), and nothing else.

    Only times, interactions, purchases, orders, devices and consent may be read; nothing may be changed.
    """
    return cast("Part", _active_decoder.decode(blob))
