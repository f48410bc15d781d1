"""What parts keep for conditions on events: the times and values of the events that match (DESIGN §4).

Like everything in a part it folds commutatively: the newest hits of a set that only grows, and sums
of the rest.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from profiles.facts import NAME_MAX, amount_of, hash64
from profiles.money import currency_of, micros
from profiles.segments.tree import (
    ANY_EVENT,
    DAY_MS,
    ComputedTrait,
    Computes,
    Condition,
    Follow,
    Happened,
    Match,
    Of,
    Op,
    TraitIs,
    Where,
    conditions,
)
from profiles.segments.values import MONEY, holds, texts_at, values_at

HITS_MAX: Final = 500
"""Hits kept one by one, newest first; a count that needs more is refused or counted by days."""
HIT_DAYS_MAX: Final = 400
"""Days for which older hits are counted by day, before the newest hit: as `profiles.part.DAYS_KEPT`."""
NEVER_MS: Final = 1 << 62
REVENUE: Final = "revenue"
HIT_VALUES_MAX: Final = 100
"""Different values of one event that are told apart: more lines than nearly any order has."""
VALUE_TEXT_MAX: Final = 200
"""Characters of a kept value: as of an event's name."""
ORDER_EVENT: Final = "order completed"
"""Its orders have ids: one that is told again counts once."""


class Hit(msgspec.Struct, array_like=True, frozen=True, gc=False, order=True):
    """One event that matched."""

    time_ms: int
    message: int
    order: int = 0
    """64 bits of the order id's hash, for Order Completed that names one."""
    value: int | tuple[int, ...] | str | None = None
    """Millionths for a sum, hashes of values to tell apart, values to keep as a JSON list, else None."""


class Collected(msgspec.Struct, array_like=True, gc=False):
    """The events that matched one collector."""

    hits: list[Hit] = []
    """Newest first; at most HITS_MAX."""
    total: int = 0
    """All that ever matched."""
    amount: int = 0
    """The sum of all of them."""
    first_ms: int = NEVER_MS
    days: dict[int, tuple[int, int]] = {}
    """(count, sum) per UTC day of those that are no longer in `hits`."""


class Collector(msgspec.Struct, frozen=True):
    """What to keep of which events. Conditions that differ only in windows and thresholds share one."""

    event: str
    where: Where = ()
    of: Of = Of.COUNT
    path: str = ""
    currency: str = ""

    def hit(self, message: int, time_ms: int, properties: dict[str, Any]) -> Hit | None:
        """What an event with this name adds, if it matches."""
        if self.where and not holds(properties, self.where):
            return None
        value: int | tuple[int, ...] | str | None = None
        if self.of is Of.SUM:
            value = self._amount(properties)
            if value is None:
                return None
        elif self.of is Of.DISTINCT:
            value = tuple(sorted(map(hash64, self._values(properties))))
            if not value:
                return None
        elif self.of is Of.VALUES:
            texts = [text for text in self._values(properties, VALUE_TEXT_MAX) if text != '""']
            if not texts:
                return None
            value = f"[{','.join(texts)}]"
        order = _order_of(properties) if self.event == ORDER_EVENT else 0
        return Hit(time_ms, message, order, value)

    def _values(self, properties: dict[str, Any], most: int | None = None) -> list[str]:
        """Different values as JSON, in the order in which they stand, their texts cut."""
        written = (_json(value, most) for value in values_at(properties, self.path))
        return list(dict.fromkeys(written))[:HIT_VALUES_MAX]

    def _amount(self, properties: dict[str, Any]) -> int | None:
        if self.currency and currency_of(properties.get("currency")) != self.currency:
            return None
        if self.path == REVENUE:
            return amount_of(properties)
        numbers = [
            number
            for value in values_at(properties, self.path)
            if not isinstance(value, str | bool) and (number := micros(value)) is not None
        ]
        return sum(numbers) if numbers else None


def collector_of(match: Match, happened: Happened | None = None) -> Collector:
    """What a condition needs of an event: its own, or one that only must follow."""
    if happened is None or happened.of not in (Of.SUM, Of.DISTINCT):
        return Collector(match.event, match.where)
    return Collector(match.event, match.where, happened.of, happened.path, happened.currency)


def collector_for(trait: ComputedTrait) -> Collector:
    """What a computed trait needs."""
    match, path = trait.match, trait.path
    if trait.computes is Computes.COUNT:
        return Collector(match.event, match.where)
    if trait.computes is Computes.SUM:
        return Collector(match.event, match.where, Of.SUM, path, trait.currency)
    return Collector(match.event, match.where, Of.VALUES, path)


def collectors_of(
    condition: Condition, computed: Mapping[str, ComputedTrait] | None = None
) -> Iterator[Collector]:
    """Everything that a condition needs kept, also for the `computed` traits (by name) that it asks for.

    Other segments that it names are not included.
    """
    for each in conditions(condition):
        if isinstance(each, Happened):
            yield collector_of(each.match, each)
            yield from _following(each.follow)
        elif isinstance(each, TraitIs) and computed and each.name in computed:
            yield collector_for(computed[each.name])


def _following(follow: Follow | None) -> Iterator[Collector]:
    while follow is not None:
        yield collector_of(follow.match)
        follow = follow.then


class Collecting:
    """Collectors by number, ready to be asked about every event."""

    def __init__(self, collectors: Mapping[int, Collector] | None = None) -> None:
        self.numbers = sorted(collectors or {})
        by_event: dict[str, dict[int, Collector]] = {}
        for number, collector in sorted((collectors or {}).items()):
            by_event.setdefault(collector.event, {})[number] = collector
        anything = by_event.pop(ANY_EVENT, None)
        self._any = _Choice(anything) if anything else None
        self._by_event = {event: _Choice(some) for event, some in by_event.items()}

    def wants(self, event: str) -> bool:
        """Whether events with this key matter."""
        return self._any is not None or event in self._by_event

    def names(self) -> list[str] | None:
        """Keys of the events that matter; None: all of them."""
        return None if self._any is not None else sorted(self._by_event)

    def hits(
        self, key: str, message: int, time_ms: int, properties: dict[str, Any]
    ) -> dict[int, Hit]:
        """What an event adds, by collector. `key` and `message` are those of its facts."""
        found: dict[int, Hit] = {}
        for choice in (self._by_event.get(key), self._any):
            for number, collector in choice.of(properties) if choice else ():
                hit = collector.hit(message, time_ms, properties)
                if hit is not None:
                    found[number] = hit
        return found


class _Choice:
    """Collectors of one event: of those that want one text at one place only that one is asked."""

    def __init__(self, collectors: Mapping[int, Collector]) -> None:
        self._always: list[tuple[int, Collector]] = []
        self._by_text: dict[str, dict[str, list[tuple[int, Collector]]]] = {}
        for pair in collectors.items():
            wanted = _wanted_text(pair[1].where)
            if wanted is None:
                self._always.append(pair)
            else:
                path, text = wanted
                self._by_text.setdefault(path, {}).setdefault(text, []).append(pair)

    def of(self, properties: dict[str, Any]) -> Iterator[tuple[int, Collector]]:
        """All that may match."""
        yield from self._always
        for path, by_text in self._by_text.items():
            for text in texts_at(properties, path):
                yield from by_text.get(text, ())


def _wanted_text(where: Where) -> tuple[str, str] | None:
    """A place at which an event, or one of its items, must have one text, if there is one."""
    for path, checks in where:
        if path.count(".") <= 1 and path.rpartition(".")[2] not in MONEY:
            for check in checks:
                if check.op is Op.EQ and isinstance(check.value, str):
                    return path, check.value
    return None


def key_of(name: str) -> str:
    """The key under which events of a name are counted, whatever its case."""
    return name[:NAME_MAX].lower()


def add(collected: Collected, hit: Hit) -> None:
    """One more hit; call `trim` when a run of them is in."""
    collected.hits.append(hit)
    collected.total += 1
    collected.amount += _summed(hit)
    collected.first_ms = min(collected.first_ms, hit.time_ms)


def merge_into(whole: Collected, more: Collected) -> None:
    """All of `more`, too; call `trim` in the end."""
    whole.hits = whole.hits + more.hits
    whole.total += more.total
    whole.amount += more.amount
    whole.first_ms = min(whole.first_ms, more.first_ms)
    _merge_days(whole, more)


def _merge_days(whole: Collected, more: Collected) -> None:
    if more.days:
        days = dict(whole.days)
        for day, (count, amount) in more.days.items():
            held = days.get(day, (0, 0))
            days[day] = (held[0] + count, held[1] + amount)
        whole.days = days


def trim(collected: Collected) -> None:
    """Bring hits and days into their one order and under their caps."""
    hits = collected.hits
    hits.sort(reverse=True)
    if len(hits) > HITS_MAX:
        counts = Counter([hit.time_ms // DAY_MS for hit in hits[HITS_MAX:]])
        amounts: dict[int, int] = {}
        for hit in hits[HITS_MAX:] if isinstance(hits[0].value, int) else ():
            day = hit.time_ms // DAY_MS
            amounts[day] = amounts.get(day, 0) + _summed(hit)
        del hits[HITS_MAX:]
        days = dict(collected.days)
        for day, more in counts.items():
            count, amount = days.get(day, (0, 0))
            days[day] = (count + more, amount + amounts.get(day, 0))
        collected.days = days
    if collected.days:
        oldest = hits[0].time_ms // DAY_MS - HIT_DAYS_MAX
        collected.days = {day: n for day, n in sorted(collected.days.items()) if day >= oldest}


def merged(some: Iterable[Collected]) -> Collected:
    """One that holds what all of them hold; their order does not matter."""
    whole = Collected(hits=[])
    for each in newest_first(some):
        whole.hits += each.hits
        whole.total += each.total
        whole.amount += each.amount
        whole.first_ms = min(whole.first_ms, each.first_ms)
        _merge_days(whole, each)
    trim(whole)
    return whole


def newest_first(some: Iterable[Collected]) -> list[Collected]:
    """In the order of their newest hits: those of visits, one after the other, are in order then."""
    return sorted(some, key=_newest_ms, reverse=True)


def _newest_ms(collected: Collected) -> int:
    return collected.hits[0].time_ms if collected.hits else -NEVER_MS


def _summed(hit: Hit) -> int:
    return hit.value if isinstance(hit.value, int) else 0


def _order_of(properties: dict[str, Any]) -> int:
    order_id = properties.get("order_id", properties.get("orderId"))
    if isinstance(order_id, int) and not isinstance(order_id, bool):
        order_id = str(order_id)
    text = order_id.strip()[:NAME_MAX] if isinstance(order_id, str) else ""
    return hash64(text) if text else 0


def _json(value: Any, most: int | None) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return json.dumps(value[:most].strip() if isinstance(value, str) else value)


def values_of(hit: Hit) -> Sequence[Any]:
    """The values that a hit keeps."""
    found: list[Any] = json.loads(hit.value) if isinstance(hit.value, str) else []
    return found
