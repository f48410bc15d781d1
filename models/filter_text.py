"""Filters as people write them: `price < 500 AND in_stock AND category = 'Health/Vitamins'`.

    filter     = condition { AND condition } | condition { OR condition }
    condition  = [ NOT ] ( "(" filter ")" | test )
    test       = name                                    a field that is true: in_stock
               | name ( = | != | < | <= | > | >= ) value
               | name : text                             contains the text
               | name : *                                has a value
               | name [ NOT ] IN "(" value { , value } ")"
    value      = number | true | false | 'text' | "text"
    name       = letters, digits, _ . - | `anything`     `attributes.price` is the attribute, `price` the price

After AIP-160, but AND and OR are not mixed without parentheses: AIP-160 and SQL read that differently.
Texts are compared without case; a quotation mark inside a text is doubled or follows a backslash.
"""

import re
from collections.abc import Sequence
from decimal import Decimal
from functools import lru_cache
from typing import Final, NamedTuple

import msgspec

from models.errors import FilterError

LENGTH_MAX: Final = 4_000
"""Characters of an expression: a hundred item ids of 30 characters, and room."""
DEPTH_MAX: Final = 20
"""Parentheses and NOTs within each other: people write three."""
TESTS_MAX: Final = 100
"""Tests in one expression: each costs a pass over the catalogue when it is new."""
VALUES_MAX: Final = 200
"""Values of all IN lists together."""
SCANS_MAX: Final = 10
"""Tests that read every distinct text of a field, `:` and the order of texts: 15 ms for 100,000 names."""
DIGITS_MAX: Final = 30
"""Digits of a number: more than a double or a price holds."""
PARSED_MAX: Final = 1_024
"""Expressions whose parsing is remembered: pages of a shop send the same few."""

Value = str | bool | Decimal


class Check(msgspec.Struct, frozen=True):
    """One test of one field."""

    name: str
    operator: str
    """One of = != < <= > >= : * (has a value), IN, or "" (is true)."""
    values: tuple[Value, ...] = ()
    at: int = 0
    """Where it stands in the text."""

    def __str__(self) -> str:
        name = self.name if _BARE.fullmatch(self.name) else f"`{self.name}`"
        if not self.operator:
            return name
        if self.operator == "*":
            return f"{name}:*"
        if self.operator == "IN":
            return f"{name} IN ({', '.join(map(_shown, self.values))})"
        return f"{name} {self.operator} {_shown(self.values[0])}"


class Not(msgspec.Struct, frozen=True):
    """What does not meet a filter."""

    part: "Filter"

    def __str__(self) -> str:
        return f"NOT {_inner(self.part)}"


class AllOf(msgspec.Struct, frozen=True):
    """What meets every part."""

    parts: "tuple[Filter, ...]"

    def __str__(self) -> str:
        return " AND ".join(map(_inner, self.parts))


class AnyOf(msgspec.Struct, frozen=True):
    """What meets some part."""

    parts: "tuple[Filter, ...]"

    def __str__(self) -> str:
        return " OR ".join(map(_inner, self.parts))


Filter = Check | Not | AllOf | AnyOf


def conditions(wanted: Filter) -> tuple[Filter, ...]:
    """What has to be met together, in the order in which it was written."""
    return wanted.parts if isinstance(wanted, AllOf) else (wanted,)


def both(left: Filter | None, right: Filter | None) -> Filter | None:
    """What meets both; None is met by everything."""
    if left is None or right is None:
        return right if left is None else left
    return AllOf((*conditions(left), *conditions(right)))


@lru_cache(maxsize=PARSED_MAX)
def parse(text: str) -> Filter:
    """The filter that `text` means; FilterError says what is wrong, and where."""
    if len(text) > LENGTH_MAX:
        raise FilterError.at(LENGTH_MAX, f"a filter has at most {LENGTH_MAX:,} characters")
    parser = _Parser(_tokens(text))
    found = parser.filter(0)
    if parser.token.kind != "end":
        raise FilterError.at(parser.token.at, f"{parser.token} is not expected here")
    return found


class _Token(NamedTuple):
    kind: str
    """word, name (in backquotes), number, text, sign or end."""
    value: str
    at: int

    def __str__(self) -> str:
        return "the end" if self.kind == "end" else repr(self.value)


_BARE: Final = re.compile(r"[^\W\d][\w.-]*")
_TOKEN: Final = re.compile(
    r"""\s*(?:
      (?P<number>[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,3})?)(?![\w.])
    | (?P<word>[^\W\d][\w.-]*)
    | `(?P<name>[^`]+)`
    | '(?P<single>(?:[^'\\]|''|\\.)*)'
    | "(?P<double>(?:[^"\\]|""|\\.)*)"
    | (?P<sign>!=|<>|<=|>=|==|&&|\|\||[=<>:(),*!])
    )""",
    re.VERBOSE | re.DOTALL,
)
_SAME: Final = {"<>": "!=", "==": "="}
_WRONG_SIGN: Final = {"&&": "AND", "||": "OR", "!": "NOT"}
_COMPARE: Final = frozenset({"=", "!=", "<", "<=", ">", ">="})
_KEYWORDS: Final = frozenset({"AND", "OR", "NOT", "IN", "TRUE", "FALSE"})


def _tokens(text: str) -> list[_Token]:
    found = []
    at = 0
    end = len(text.rstrip())
    while at < end:
        match = _TOKEN.match(text, at)
        if match is None:
            start = at + len(text[at:]) - len(text[at:].lstrip())
            if text[start] in "'\"`":
                raise FilterError.at(start, "the quotation that begins here does not end")
            raise FilterError.at(start, f"{text[start]!r} is not expected here")
        kind = str(match.lastgroup)
        value = match[kind]
        at, start = match.end(), match.start(kind)
        if kind in ("single", "double"):
            quote = "'" if kind == "single" else '"'
            value = re.sub(r"\\(.)", r"\1", value.replace(quote * 2, quote), flags=re.DOTALL)
            kind, start = "text", start - 1
        elif kind == "sign":
            if value in _WRONG_SIGN:
                raise FilterError.at(start, f"write {_WRONG_SIGN[value]} instead of {value}")
            value = _SAME.get(value, value)
        found.append(_Token(kind, value, start))
    found.append(_Token("end", "", end))
    return found


class _Parser:
    """Reads tokens from left to right."""

    def __init__(self, tokens: Sequence[_Token]) -> None:
        self._tokens = tokens
        self._next = 0
        self._tests = 0
        self._values = 0
        self._scans = 0

    @property
    def token(self) -> _Token:
        return self._tokens[self._next]

    def filter(self, depth: int) -> Filter:
        """Conditions with one kind of word between them."""
        parts = [self.condition(depth)]
        word = ""
        while self._is_word("AND", "OR"):
            token = self._take()
            if word and token.value.upper() != word:
                raise FilterError.at(token.at, "AND and OR together need parentheses")
            word = token.value.upper()
            parts.append(self.condition(depth))
        if not word:
            return parts[0]
        return AllOf(tuple(parts)) if word == "AND" else AnyOf(tuple(parts))

    def condition(self, depth: int) -> Filter:
        """A test, or a filter in parentheses, with or without NOT."""
        if depth > DEPTH_MAX:
            raise FilterError.at(self.token.at, f"more than {DEPTH_MAX} levels deep")
        if self._is_word("NOT"):
            self._take()
            return Not(self.condition(depth + 1))
        if self._is_sign("("):
            self._take()
            inner = self.filter(depth + 1)
            self._need(")")
            return inner
        return self._test()

    def _test(self) -> Filter:
        token = self._take()
        if token.kind == "text":
            raise FilterError.at(token.at, "a test begins with the name of a field, without quotes")
        if token.kind not in ("word", "name") or self._keyword(token):
            raise FilterError.at(token.at, f"the name of a field is expected here, not {token}")
        self._tests += 1
        if self._tests > TESTS_MAX:
            raise FilterError.at(token.at, f"more than {TESTS_MAX} tests")
        name = token.value
        if self._is_word("NOT"):
            self._take()
            if not self._is_word("IN"):
                raise FilterError.at(self.token.at, "IN is expected after NOT")
            return Not(self._among(name, token.at))
        if self._is_word("IN"):
            return self._among(name, token.at)
        if self._is_sign(":"):
            return self._contains(name, token.at)
        if self.token.kind == "sign" and self.token.value in _COMPARE:
            sign = self._take().value
            value = self._value()
            if isinstance(value, str) and sign not in ("=", "!="):
                self._scan(token.at)
            return Check(name, sign, (value,), token.at)
        return Check(name, "", (), token.at)

    def _contains(self, name: str, at: int) -> Check:
        self._take()
        if self._is_sign("*"):
            self._take()
            return Check(name, "*", (), at)
        where = self.token.at
        self._scan(at)
        value = self._value()
        if not isinstance(value, str):
            raise FilterError.at(where, "after : comes a text in quotes, or *")
        return Check(name, ":", (value,), at)

    def _scan(self, at: int) -> None:
        self._scans += 1
        if self._scans > SCANS_MAX:
            raise FilterError.at(at, f"more than {SCANS_MAX} tests with : or of the order of texts")

    def _among(self, name: str, at: int) -> Check:
        self._take()
        self._need("(")
        values = [self._value()]
        while self._is_sign(","):
            self._take()
            values.append(self._value())
        self._need(")")
        return Check(name, "IN", tuple(values), at)

    def _value(self) -> Value:
        token = self._take()
        self._values += 1
        if self._values > VALUES_MAX:
            raise FilterError.at(token.at, f"more than {VALUES_MAX} values")
        if token.kind == "text":
            return token.value
        if token.kind == "number":
            if sum(map(str.isdigit, token.value)) > DIGITS_MAX:
                raise FilterError.at(token.at, f"a number has at most {DIGITS_MAX} digits")
            return Decimal(token.value)
        if token.kind == "word" and token.value.lower() in ("true", "false"):
            return token.value.lower() == "true"
        if token.kind == "word":
            raise FilterError.at(token.at, f"a text stands in quotes: '{token.value}'")
        raise FilterError.at(token.at, f"a value is expected here, not {token}")

    def _keyword(self, token: _Token) -> bool:
        return token.kind == "word" and token.value.upper() in _KEYWORDS

    def _is_word(self, *words: str) -> bool:
        return self.token.kind == "word" and self.token.value.upper() in words

    def _is_sign(self, sign: str) -> bool:
        return self.token.kind == "sign" and self.token.value == sign

    def _need(self, sign: str) -> None:
        token = self._take()
        if token.kind != "sign" or token.value != sign:
            raise FilterError.at(token.at, f"{sign} is expected here, not {token}")

    def _take(self) -> _Token:
        token = self.token
        if token.kind != "end":
            self._next += 1
        return token


def _shown(value: Value) -> str:
    if isinstance(value, str):
        return "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _inner(part: Filter) -> str:
    return f"({part})" if isinstance(part, AllOf | AnyOf) else str(part)
