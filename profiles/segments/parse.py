"""From a plain tree, as YAML or JSON gives it, to a segment or a computed trait: all errors at once."""

from collections.abc import Mapping
from typing import Any, Final, Literal

from profiles.segments.checks import ALL, AMOUNTS, MEANT, Item, checks_among, checks_of, words_for
from profiles.segments.parse_events import EVENT_KEYS, currency_at, event_of, match_of
from profiles.segments.parse_scalars import (
    DESCRIPTION_MAX,
    WINDOW_KEYS,
    Reading,
    duration_at,
    id_of,
    path_of,
    refuse_unknown,
    text_of,
    window_among,
)
from profiles.segments.problems import BadDefinition, Path, Problems, near, shown
from profiles.segments.tree import (
    AllOf,
    AnyOf,
    Check,
    ComputedTrait,
    Computes,
    Condition,
    Consents,
    Definition,
    Has,
    InSegment,
    Not,
    Op,
    Score,
    Seen,
    Segment,
    TraitIs,
)
from profiles.segments.values import is_number

CONDITIONS_MAX: Final = 300
"""Conditions of one segment: nobody reads more, and each is asked about every profile."""
DEPTH_MAX: Final = 20
"""Conditions within one another."""
TREE_DEPTH_MAX: Final = 4 * DEPTH_MAX
"""Mappings and lists within one another: a condition within another takes up to three, its checks the rest."""
TREE_SIZE_MAX: Final = 9_000
"""Keys and values of a tree: room for a few long lists."""

HEADS: Final = ("all", "any", "not", "trait", "event", "seen", "has", "consent", "score", "segment")
"""The key that says what kind of condition it is."""
META: Final = frozenset({"id", "name", "description", "sensitive", "granularity"})
_KEYS: Final[Mapping[str, frozenset[str]]] = {
    "all": frozenset({"all"}),
    "any": frozenset({"any"}),
    "not": frozenset({"not"}),
    "trait": frozenset({"trait"}) | words_for(ALL),
    "event": EVENT_KEYS,
    "seen": frozenset({"seen"}) | WINDOW_KEYS,
    "has": frozenset({"has"}),
    "consent": frozenset({"consent", "granted"}),
    "score": frozenset({"score", "max_age"}) | words_for(AMOUNTS),
    "segment": frozenset({"segment"}),
}
_EVERY_KEY: Final = frozenset().union(*_KEYS.values())
_HEADS_MEANT: Final = {"and": "all", "or": "any", "none": "not", "traits": "trait", "events": "event",
    "audience": "segment", "identifier": "has", "identifiers": "has", "did": "event", "model": "score",
    "age": "max_age"}  # fmt: skip
_COMPUTED_META: Final = frozenset({"trait", "description"})
_COMPUTES: Final = tuple(each.value for each in Computes)


def parse_definition(tree: Any, *, id: str = "") -> Definition:
    """The segment or, where it names both a trait and an event, the computed trait that `tree` defines.

    `id` is used where the tree names none. BadDefinition if anything is wrong.
    """
    _refuse_shapeless(tree)
    if "trait" in tree and "event" in tree:
        return parse_computed(tree)
    return parse_segment(tree, id=id)


def parse_segment(tree: Any, *, id: str = "") -> Segment:
    """The segment that `tree` defines; `id` where it names none. BadDefinition if anything is wrong."""
    _refuse_shapeless(tree)
    problems = Problems()
    segment_id = id_of(tree.get("id", id), ("id",), problems, "the segment's id")
    name = segment_id
    if "name" in tree:
        name = text_of(tree["name"], ("name",), problems, "the name")
    granularity = _granularity(tree, problems)
    reading = Reading(problems, by_day=granularity == "day")
    sensitive = tree.get("sensitive", False)
    if not isinstance(sensitive, bool):
        problems.add(("sensitive",), f"{shown(sensitive)} is neither true nor false")
    body = {key: value for key, value in tree.items() if key not in META}
    who = _Conditions(reading).of(body, (), 0, top=True)
    description = _description(tree, problems)
    problems.check()
    assert who is not None  # noqa: S101  # else there was a problem
    return Segment(
        id=segment_id,
        name=name,
        description=description,
        sensitive=sensitive,
        granularity=granularity,
        who=who,
    )


def parse_computed(tree: Any) -> ComputedTrait:
    """The computed trait that `tree` defines. BadDefinition if anything is wrong."""
    _refuse_shapeless(tree)
    problems = Problems()
    reading = Reading(problems)
    refuse_unknown(
        tree,
        {"event", "where", "currency", *_COMPUTED_META, *_COMPUTES, *WINDOW_KEYS} - {"not_within"},
        (),
        problems,
        {
            "unique": "unique_list",
            "list": "unique_list",
            "name": "trait",
            "most_common": "most_frequent",
        },
    )
    name = id_of(tree.get("trait"), ("trait",), problems, "the trait's name")
    given = [key for key in _COMPUTES if key in tree]
    computes = Computes(given[0]) if given else Computes.COUNT
    if len(given) != 1:
        problems.add((given[1],) if given else (), f"needs one of {', '.join(_COMPUTES)}")
    path = ""
    if computes is not Computes.COUNT:
        path = path_of(tree[computes.value], (computes.value,), problems, "the property's path")
    elif given and tree["count"] is not True:
        problems.add(("count",), "a count says `count: true`", "count: true")
    currency = ""
    if "currency" in tree:
        currency = currency_at(tree["currency"], ("currency",), reading)
        if computes is not Computes.SUM:
            problems.add(("currency",), "is for a sum")
    computed = ComputedTrait(
        name=name,
        description=_description(tree, problems),
        computes=computes,
        path=path,
        currency=currency,
        match=match_of(tree, (), reading),
        window=window_among(tree, (), reading, events=True),
    )
    problems.check()
    return computed


def _refuse_shapeless(tree: Any) -> None:
    """What is no tree, too large, too deep, or has keys that are no texts; without recursion."""
    problems = Problems()
    if not isinstance(tree, dict):
        problems.add((), f"{shown(tree)} is no definition: a mapping with a name and conditions is")
    elif not tree:
        problems.add((), "the definition is empty")
    problems.check()
    left: list[tuple[Any, Path]] = [(tree, ())]
    seen = 0
    while left:
        value, path = left.pop()
        inner: list[tuple[Any, Any]] = []
        if isinstance(value, dict):
            inner = list(value.items())
            for key in value:
                if not isinstance(key, str):
                    problems.add(path, f"the key {shown(key)} is no text", f'"{key}"')
        elif isinstance(value, list):
            inner = list(enumerate(value))
        seen += 1 + len(inner) * isinstance(value, dict)
        if seen + len(left) + len(inner) > TREE_SIZE_MAX:
            problems.add(
                (), f"has more than {TREE_SIZE_MAX:,} keys and values; split it into segments"
            )
            break
        if len(path) > TREE_DEPTH_MAX:
            problems.add(
                path[:DEPTH_MAX], f"is deeper than {DEPTH_MAX} conditions within one another"
            )
            break
        left.extend((each, (*path, step)) for step, each in inner if isinstance(step, str | int))
    problems.check()


def _granularity(tree: Mapping[str, Any], problems: Problems) -> Literal["exact", "day"]:
    value = tree.get("granularity", "exact")
    if value in ("exact", "day"):
        return "day" if value == "day" else "exact"
    known = ("exact", "day")
    meant = near(value, known, {"daily": "day", "days": "day"}) if isinstance(value, str) else ""
    problems.add(("granularity",), f"{shown(value)} is neither exact nor day", meant)
    return "exact"


def _description(tree: Mapping[str, Any], problems: Problems) -> str:
    value = tree.get("description", "")
    if isinstance(value, str) and len(value) <= DESCRIPTION_MAX:
        return value.strip()
    problems.add(("description",), f"is no text of up to {DESCRIPTION_MAX:,} characters")
    return ""


class _Conditions:
    """Reads conditions of one definition."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._problems = reading.problems

    def of(self, tree: Any, path: Path, depth: int, *, top: bool = False) -> Condition | None:
        """The condition that `tree` says; None if a problem hides it."""
        self._reading.conditions += 1
        if self._reading.conditions == CONDITIONS_MAX + 1:
            self._problems.add(
                (), f"has more than {CONDITIONS_MAX} conditions; split it into segments"
            )
        if depth == DEPTH_MAX:
            self._problems.add(path, f"is deeper than {DEPTH_MAX} conditions within one another")
        if self._reading.conditions > CONDITIONS_MAX or depth >= DEPTH_MAX:
            return None
        if not isinstance(tree, dict):
            self._problems.add(path, f"{shown(tree)} is no condition like {{event: …}}")
            return None
        head = self._head(tree, path, top=top)
        return None if head is None else self._read(head, tree, path, depth, top=top)

    def _read(
        self, head: str, tree: Mapping[str, Any], path: Path, depth: int, *, top: bool
    ) -> Condition | None:
        known = _KEYS[head] | META if top else _KEYS[head]
        if head == "event":
            return event_of(tree, path, self._reading, known)
        aliases = {**_HEADS_MEANT, **MEANT} if head in ("trait", "score") else _HEADS_MEANT
        refuse_unknown(tree, known, path, self._problems, aliases)
        value, at = tree[head], (*path, head)
        if head in ("all", "any"):
            return self._several(value, at, depth, AllOf if head == "all" else AnyOf)
        if head == "not":
            return self._not(value, at, depth)
        if head == "segment":
            return InSegment(id_of(value, at, self._problems, "the segment's id"))
        return self._has(value, at) if head == "has" else self._single(head, tree, path)

    def _head(self, tree: Mapping[str, Any], path: Path, *, top: bool) -> str | None:
        heads = [head for head in HEADS if head in tree]
        if len(heads) == 1:
            return heads[0]
        if len(heads) > 1:
            self._problems.add(
                (*path, heads[1]),
                f"{heads[0]} and {heads[1]} are two conditions; put each into a list of its own under all",
                "all: [{…}, {…}]",
            )
            return None
        if not tree:
            self._problems.add(path, "has no condition: nobody would be in it")
            return None
        known = _EVERY_KEY | META if top else _EVERY_KEY
        refuse_unknown(tree, known, path, self._problems, _HEADS_MEANT)
        self._problems.add(path, f"has no condition: one of {', '.join(HEADS)}")
        return None

    def _several(
        self, value: Any, path: Path, depth: int, kind: type[AllOf] | type[AnyOf]
    ) -> Condition | None:
        if not isinstance(value, list):
            self._problems.add(path, f"{shown(value)} is no list of conditions", "a - before each")
            return None
        if not value:
            self._problems.add(path, "is empty: it needs a condition")
            return None
        found = [self.of(each, (*path, place), depth + 1) for place, each in enumerate(value)]
        return kind(tuple(each for each in found if each is not None))

    def _not(self, value: Any, path: Path, depth: int) -> Condition | None:
        if isinstance(value, list):
            self._problems.add(path, "is for one condition", "not: {any: […]}")
            return None
        below = self.of(value, path, depth + 1)
        return None if below is None else Not(below)

    def _has(self, value: Any, path: Path) -> Condition:
        if isinstance(value, list) and value:
            every = enumerate(value)
            return AllOf(tuple(Has(self._name(each, (*path, place))) for place, each in every))
        return Has(self._name(value, path))

    def _name(self, value: Any, path: Path) -> str:
        return text_of(value, path, self._problems, f"what stands under {path[-1]}")

    def _single(self, head: str, tree: Mapping[str, Any], path: Path) -> Condition:
        at = (*path, head)
        own = _KEYS[head]
        items: list[Item] = [
            (key, value, (*path, key)) for key, value in tree.items() if key in own and key != head
        ]
        if head == "trait":
            return self._trait(tree["trait"], items, path)
        if head == "seen":
            return self._seen(tree, path)
        name = self._name(tree[head], at)
        if head == "consent":
            granted = tree.get("granted", True)
            if not isinstance(granted, bool):
                self._problems.add(
                    (*path, "granted"), f"{shown(granted)} is neither true nor false"
                )
            return Consents(name, bool(granted))
        return self._score(name, tree, items, path)

    def _trait(self, value: Any, items: list[Item], path: Path) -> Condition:
        at = (*path, "trait")
        if isinstance(value, dict):
            for _, _, other in items:
                self._problems.add(other, "belongs into the mapping of traits")
            if not value:
                self._problems.add(at, "names no trait")
            traits = [
                TraitIs(
                    text_of(name, (*at, name), self._problems, "the trait's name"),
                    checks_of(checked, (*at, name), self._problems),
                )
                for name, checked in sorted(value.items())
            ]
            return traits[0] if len(traits) == 1 else AllOf(tuple(traits))
        name = self._name(value, at)
        if not items:
            return TraitIs(name, (Check(Op.EXISTS, True),))
        return TraitIs(name, checks_among(items, path, self._problems, ALL))

    def _seen(self, tree: Mapping[str, Any], path: Path) -> Condition:
        which: Literal["first", "last"] = "first" if tree["seen"] == "first" else "last"
        at = (*path, "seen")
        if tree["seen"] not in ("first", "last"):
            self._problems.add(at, f"{shown(tree['seen'])} is neither first nor last")
        window = window_among(tree, path, self._reading, events=self._reading.by_day)
        if not WINDOW_KEYS & tree.keys():
            self._problems.add(at, "does not say when", "within: 30d")
        return Seen(which, window)

    def _score(
        self, name: str, tree: Mapping[str, Any], items: list[Item], path: Path
    ) -> Condition:
        items = [item for item in items if item[0] != "max_age"]
        checks = checks_among(items, path, self._problems, AMOUNTS)
        for check in checks:
            values = check.value if isinstance(check.value, tuple) else (check.value,)
            if not all(map(is_number, values)):
                self._problems.add((*path, check.op.value), "is no number, which a score is")
        max_age_ms = None
        if "max_age" in tree:
            max_age_ms = duration_at(tree["max_age"], (*path, "max_age"), self._reading)
        return Score(name, checks, max_age_ms)


__all__ = ["BadDefinition", "parse_computed", "parse_definition", "parse_segment"]
