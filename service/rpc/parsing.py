"""Requests become typed values here; what is malformed is said with its field."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp

from identity.nodes import ADVERTISING_ID, Identifier, Node, code_of
from identity.normalize import VALUE_MAX
from identity.rules import Rules
from service.pb.onefold.v1 import common_pb2 as pb
from service.rpc.errors import InvalidArgument, Violation
from service.rpc.limits import IDENTIFIERS_MAX
from storage.profiles import Lookup

NODE_BYTES: Final = 16
_SECONDS_MIN: Final = -62_135_596_800
_SECONDS_MAX: Final = 253_402_300_799
"""Years 1 to 9999, as google.protobuf.Timestamp allows."""
NOBODY: Final = Lookup()
"""The lookup of a visitor of whom nothing is known."""


def identifier_types(rules: Rules) -> tuple[str, ...]:
    """Every type that a lookup may name."""
    return (*rules.person_priority, *rules.external_ids, *rules.device_priority, ADVERTISING_ID)


def type_names(rules: Rules) -> Mapping[int, str]:
    """The names of identifier types by the code in their nodes."""
    return {code_of(name): name for name in identifier_types(rules)}


class LookupParser:
    """Turns lookups of requests into those of the readers."""

    def __init__(self, rules: Rules) -> None:
        self._types = frozenset(identifier_types(rules))
        self._expected = "must be one of " + ", ".join(identifier_types(rules))

    def one(self, message: pb.Lookup, field: str = "lookup") -> Lookup:
        """A lookup that names somebody; InvalidArgument otherwise."""
        lookup, violations = self.parse(message, field)
        if violations:
            raise InvalidArgument(violations)
        if lookup is NOBODY:
            raise InvalidArgument([Violation(field, "names nobody")])
        return lookup

    def parse(self, message: pb.Lookup, field: str) -> tuple[Lookup, list[Violation]]:
        """The lookup, NOBODY for an empty one, and what is wrong with it."""
        if message.profile_id:
            if message.identifiers:
                return NOBODY, [Violation(field, "takes profile_id or identifiers, not both")]
            node = node_of(message.profile_id)
            if node is None:
                return NOBODY, [Violation(f"{field}.profile_id", "must have 32 hexadecimal digits")]
            return Lookup(profile_id=node), []
        if len(message.identifiers) > IDENTIFIERS_MAX:
            return NOBODY, [Violation(f"{field}.identifiers", f"at most {IDENTIFIERS_MAX}")]
        identifiers = []
        violations = []
        for index, each in enumerate(message.identifiers):
            kind, value = each.type, each.value
            if kind not in self._types:
                violations.append(Violation(f"{field}.identifiers[{index}].type", self._expected))
            elif len(value) > VALUE_MAX:
                violations.append(
                    Violation(
                        f"{field}.identifiers[{index}].value", f"at most {VALUE_MAX} characters"
                    )
                )
            elif value.strip():
                identifiers.append(Identifier(kind, value))
        return (Lookup(identifiers=tuple(identifiers)) if identifiers else NOBODY), violations


def node_of(text: str) -> Node | None:
    """A profile id as replies print it, with or without dashes."""
    try:
        node = bytes.fromhex(text.replace("-", ""))
    except ValueError:
        return None
    return Node(node) if len(node) == NODE_BYTES else None


def mask_of(mask: FieldMask, message: Any, field: str = "read_mask") -> frozenset[str]:
    """The fields of a message that are asked for; all of them for an empty mask or `*`."""
    return _mask(tuple(mask.paths), message, field)


@lru_cache(maxsize=1024)
def _mask(paths: tuple[str, ...], message: Any, field: str) -> frozenset[str]:
    known = message.DESCRIPTOR.fields_by_name
    if not paths or paths == ("*",):
        return frozenset(known)
    violations = [
        Violation(f"{field}.paths[{index}]", f"must be a field of {message.DESCRIPTOR.name}")
        for index, path in enumerate(paths)
        if path not in known
    ]
    if violations:
        raise InvalidArgument(violations)
    return frozenset(paths)


def time_of(message: Timestamp, field: str) -> int:
    """Milliseconds, rounded up: a bound between two milliseconds means the same as the later one."""
    if not (_SECONDS_MIN <= message.seconds <= _SECONDS_MAX and 0 <= message.nanos < 10**9):
        raise InvalidArgument([Violation(field, "must be a time between the years 1 and 9999")])
    return message.seconds * 1000 - -message.nanos // 1_000_000


def at_most(field: str, values: Sequence[Any], most: int) -> None:
    """InvalidArgument if there are more than `most` values."""
    if len(values) > most:
        raise InvalidArgument([Violation(field, f"at most {most:,}")])
