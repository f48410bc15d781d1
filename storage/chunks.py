"""Many values in lists of some."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import TypeVar

T = TypeVar("T")


def chunks(values: Iterable[T], size: int) -> Iterator[list[T]]:
    """`values` in lists of at most `size`."""
    left = iter(values)
    while some := list(islice(left, size)):
        yield some


def by_limit(limits: Mapping[T, int]) -> dict[int, list[T]]:
    """Those that share a limit, together."""
    found: defaultdict[int, list[T]] = defaultdict(list)
    for value, most in limits.items():
        found[most].append(value)
    return found
