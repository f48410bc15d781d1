"""Rules for items: what the shop pins, promotes and hides, where, when and for whom.

One or more YAML files in a folder, each a list:

    - name: diwali
      pin: [gift-box, lamp]              # first, in this order
      promote: [gift-box]                # or: their scores count for more
      hide: all                          # or: never shown. `all`, here and at promote, goes with
      where: "brand = 'Lux'"             # which items, as filters say it
      surfaces: [FOR_YOU]                # none named: all; for pin all but what a person did
      segments: [vip]                    # only for people in one of these; none named: for everybody
      from: 2026-11-01                   # UTC; a date or a time
      until: 2026-11-15                  # not included
      boost: 2                           # promote: what scores are multiplied with
      reason: "our gift for Diwali"      # pin: said instead of the model's reason
"""

import datetime as dt
import difflib
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
import yaml

from models.errors import FilterError, RulesError
from models.filter_text import Filter, parse

RULES_MAX: Final = 1_000
"""Rules in force: each may cost a mask over the catalogue when it is new."""
ITEMS_MAX: Final = 10_000
"""Items that one rule lists."""
FILE_BYTES_MAX: Final = 4 << 20
BOOST_DEFAULT: Final = 2.0
BOOST_MAX: Final = 1_000.0
TEXT_MAX: Final = 200

Action = Literal["pin", "promote", "hide"]
SURFACES: Final = (
    "FOR_YOU", "SIMILAR_ITEMS", "BOUGHT_TOGETHER", "BUY_AGAIN", "TRENDING", "RECENTLY_VIEWED",
)  # fmt: skip
OWN_SURFACES: Final = ("BUY_AGAIN", "RECENTLY_VIEWED")
_FIELDS: Final = (
    "name", "pin", "promote", "hide", "where", "surfaces", "segments", "from", "until", "boost", "reason",
)  # fmt: skip


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """What is done with some items."""

    name: str
    action: Action
    items: tuple[str, ...] = ()
    where: Filter | None = None
    """Which items, where none are listed."""
    surfaces: frozenset[str] = frozenset()
    segments: frozenset[str] = frozenset()
    start_ms: int | None = None
    end_ms: int | None = None
    boost: float = BOOST_DEFAULT
    reason: str = ""

    def holds(self, surface: str, segments: Collection[str], now_ms: int) -> bool:
        """Whether the rule is in force there, for a member of these segments, at that time."""
        return (
            (self.start_ms is None or self.start_ms <= now_ms)
            and (self.end_ms is None or now_ms < self.end_ms)
            and (surface in self.surfaces if self.surfaces else self._fits(surface))
            and (not self.segments or not self.segments.isdisjoint(segments))
        )

    def _fits(self, surface: str) -> bool:
        # "What you viewed" above an item that nobody viewed would not be true.
        return self.action != "pin" or surface not in OWN_SURFACES


Stamp = tuple[tuple[str, int, int], ...]


def stamp_of(folder: Path) -> Stamp:
    """Changes when a file of rules comes, goes or changes; cheap enough to look every second."""
    found = []
    for path in _files(folder):
        about = path.stat()
        found.append((path.name, about.st_mtime_ns, about.st_size))
    return tuple(found)


def read_rules(folder: Path) -> tuple[Rule, ...]:
    """Every rule of a folder, none if there is no folder; RulesError names everything that is wrong."""
    problems: list[str] = []
    rules: list[Rule] = []
    named: dict[str, str] = {}
    for path in _files(folder):
        for where, rule in _File(path, problems).rules():
            if rule.name in named:
                problems.append(f"{where}: name: {rule.name} is the rule at {named[rule.name]} too")
            named.setdefault(rule.name, where)
            rules.append(rule)
    if len(rules) > RULES_MAX:
        problems.append(f"{folder}: {len(rules):,} rules; at most {RULES_MAX:,}")
    if problems:
        raise RulesError("\n".join(problems))
    return tuple(rules)


def _files(folder: Path) -> list[Path]:
    return sorted([*folder.glob("*.yaml"), *folder.glob("*.yml")])


class _File:
    """Reads one file; what is wrong goes to `problems` with line and field."""

    def __init__(self, path: Path, problems: list[str]) -> None:
        self._path = path
        self._problems = problems

    def rules(self) -> Iterator[tuple[str, Rule]]:
        """Each rule, and its file and line."""
        root = self._compose()
        if root is None or (isinstance(root, yaml.ScalarNode) and not root.value):
            return
        if not isinstance(root, yaml.SequenceNode):
            self._wrong(root, "", "must be a list of rules, each beginning with `- name:`")
            return
        for node in root.value:
            count = len(self._problems)
            rule = self._rule(node)
            if rule is not None and len(self._problems) == count:
                yield self._at(node), rule

    def _compose(self) -> yaml.Node | None:
        try:
            if self._path.stat().st_size > FILE_BYTES_MAX:
                self._problems.append(f"{self._path}: larger than {FILE_BYTES_MAX:,} bytes")
                return None
            return yaml.compose(self._path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
        except (OSError, UnicodeDecodeError) as error:
            self._problems.append(f"{self._path}: cannot be read as UTF-8 text ({error})")
        except yaml.MarkedYAMLError as error:
            line = error.problem_mark.line + 1 if error.problem_mark else 1
            self._problems.append(f"{self._path}:{line}: not YAML: {error.problem}")
        except (yaml.YAMLError, RecursionError) as error:
            self._problems.append(f"{self._path}: not YAML: {error}")
        return None

    def _rule(self, node: yaml.Node) -> Rule | None:
        if not isinstance(node, yaml.MappingNode):
            self._wrong(node, "", "a rule is a mapping that begins with `name:`")
            return None
        fields: dict[str, yaml.Node] = {}
        for key, value in node.value:
            name = str(key.value)
            if name not in _FIELDS:
                near = difflib.get_close_matches(name, _FIELDS, n=1)
                hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(_FIELDS)}"
                self._wrong(key, name, f"no such field; {hint}")
            elif name in fields:
                self._wrong(key, name, "is there twice")
            fields[name] = value
        name = self._value(fields, "name", str, _text) or ""
        if "name" not in fields:
            self._wrong(node, "name", "each rule needs a name")
        actions = [each for each in ("pin", "promote", "hide") if each in fields]
        if len(actions) != 1:
            self._wrong(
                node, "", "a rule has one of pin, promote and hide: a list of item ids, or `all`"
            )
            return None
        return self._made(name, actions[0], fields)

    def _made(self, name: str, action: str, fields: dict[str, yaml.Node]) -> Rule | None:
        items = self._value(fields, action, list[str] | Literal["all"], _items)
        where = self._value(fields, "where", str, parse)
        if items == "all" and where is None and "where" not in fields:
            self._wrong(fields[action], action, "`all` needs `where` beside it")
        if "where" in fields and (action == "pin" or items != "all"):
            self._wrong(
                fields["where"], "where", "goes with `promote: all` or `hide: all`; pin lists items"
            )
        for field, only in (("boost", "promote"), ("reason", "pin")):
            if field in fields and action != only:
                self._wrong(fields[field], field, f"is for {only}")
        start = self._value(fields, "from", Any, _time_ms)
        end = self._value(fields, "until", Any, _time_ms)
        if start is not None and end is not None and start >= end:
            self._wrong(fields["until"], "until", "must be later than from")
        return Rule(
            name=name,
            action=action,  # type: ignore[arg-type]
            items=() if items in (None, "all") else tuple(items),
            where=where,
            surfaces=frozenset(self._value(fields, "surfaces", list[str], _surfaces) or ()),
            segments=frozenset(self._value(fields, "segments", list[str], _some) or ()),
            start_ms=start,
            end_ms=end,
            boost=self._value(fields, "boost", float, _boost) or BOOST_DEFAULT,
            reason=self._value(fields, "reason", str, _text) or "",
        )

    def _value(
        self, fields: dict[str, yaml.Node], name: str, kind: Any, read: Callable[[Any], Any]
    ) -> Any:
        """A field as `read` takes it; None if it is not there or wrong."""
        if name not in fields:
            return None
        node = fields[name]
        loader = yaml.SafeLoader("")
        try:
            return read(msgspec.convert(loader.construct_object(node, deep=True), kind))
        except msgspec.ValidationError as error:
            text = str(error).replace("`", "")
            if "got int" in text or "got float" in text:
                text += " (put it in quotes)"
            self._wrong(node, name, text[:1].lower() + text[1:])
        except FilterError as error:
            self._wrong(node, name, str(error))
        except (ValueError, TypeError, OverflowError, yaml.YAMLError) as error:
            self._wrong(node, name, str(error) or "cannot be read")
        finally:
            loader.dispose()
        return None

    def _at(self, node: yaml.Node) -> str:
        return f"{self._path}:{node.start_mark.line + 1}"

    def _wrong(self, node: yaml.Node, field: str, text: str) -> None:
        self._problems.append(
            f"{self._at(node)}: {field}: {text}" if field else f"{self._at(node)}: {text}"
        )


def _text(text: str) -> str:
    if not 0 < len(text.strip()) <= TEXT_MAX:
        raise ValueError(f"must have 1 to {TEXT_MAX} characters")
    return text.strip()


def _some(values: list[str]) -> list[str]:
    if not values:
        raise ValueError("names none: leave it out")
    return values


def _items(items: Any) -> Any:
    if items == "all":
        return items
    if not 0 < len(items) <= ITEMS_MAX:
        raise ValueError(f"must list 1 to {ITEMS_MAX:,} items, or say `all` with `where` beside it")
    return list(dict.fromkeys(items))


def _surfaces(surfaces: list[str]) -> list[str]:
    for each in _some(surfaces):
        if each not in SURFACES:
            raise ValueError(f"{each} is no surface; there are {', '.join(SURFACES)}")
    return surfaces


def _boost(boost: float) -> float:
    if not 0 < boost <= BOOST_MAX:
        raise ValueError(f"must be above 0 and at most {BOOST_MAX:,.0f}")
    return boost


def _time_ms(value: Any) -> int:
    """A YAML date or time, UTC where it names no zone."""
    if isinstance(value, str):
        value = dt.datetime.fromisoformat(value)
    if isinstance(value, dt.date) and not isinstance(value, dt.datetime):
        value = dt.datetime.combine(value, dt.time())
    if not isinstance(value, dt.datetime):
        raise TypeError("must be a date or a time, for example 2026-11-01 or 2026-11-01 09:00:00")
    zoned = value if value.tzinfo else value.replace(tzinfo=dt.UTC)
    return int(zoned.timestamp() * 1000)
