"""Segments that name segments: unknown ones, cycles, and what is sensitive because of another."""

from collections.abc import Iterator, Mapping
from typing import Final

from profiles.segments.problems import Path, SegmentError, near, shown
from profiles.segments.tree import AllOf, AnyOf, Condition, InSegment, Not, Segment

CHAIN_MAX: Final = 20
"""Segments that name one another in a row: beyond it nobody can say who is in the last one."""


def references(segment: Segment) -> Iterator[tuple[Path, str]]:
    """(where in its tree, which) of the segments that one names."""
    left: list[tuple[Path, Condition]] = [((), segment.who)]
    while left:
        path, each = left.pop()
        match each:
            case AllOf(of):
                left.extend(((*path, "all", n), below) for n, below in reversed([*enumerate(of)]))
            case AnyOf(of):
                left.extend(((*path, "any", n), below) for n, below in reversed([*enumerate(of)]))
            case Not(of):
                left.append(((*path, "not"), of))
            case InSegment(segment_id):
                yield (*path, "segment"), segment_id
            case _:
                pass


def check_references(segments: Mapping[str, Segment]) -> dict[str, list[SegmentError]]:
    """What is wrong with what segments name, by the id of the segment that names it."""
    names = {key: list(references(segment)) for key, segment in segments.items()}
    problems: dict[str, list[SegmentError]] = {}
    for key, named in names.items():
        for path, other in named:
            if other not in segments:
                error = SegmentError(
                    path, f"there is no segment {shown(other)}", near(other, segments)
                )
                problems.setdefault(key, []).append(error)
    known = {
        key: [(path, other) for path, other in named if other in segments]
        for key, named in names.items()
    }
    for key, path, message in _cycles_and_chains(known):
        problems.setdefault(key, []).append(SegmentError(path, message))
    return problems


def _cycles_and_chains(
    names: Mapping[str, list[tuple[Path, str]]],
) -> Iterator[tuple[str, Path, str]]:
    """(which, where, what is wrong), each cycle once and each chain where it becomes too long."""
    longest: dict[str, int] = {}
    for start in sorted(names):
        trail, ahead = {start: None}, [iter(names[start])]
        if start in longest:
            continue
        while trail:
            here = next(reversed(trail))
            following = next(ahead[-1], None)
            if following is None:
                del trail[here]
                ahead.pop()
                below = (longest.get(other, 0) for _, other in names[here])
                longest[here] = 1 + max(below, default=0)
                if longest[here] == CHAIN_MAX + 1:
                    message = f"more than {CHAIN_MAX} segments name one another in a row"
                    yield here, names[here][0][0], message
                continue
            path, other = following
            if other in trail:
                whole = list(trail)
                cycle = [*whole[whole.index(other) :], other]
                yield here, path, f"a segment cannot depend on itself: {' → '.join(cycle[-6:])}"
            elif other not in longest:
                trail[other] = None
                ahead.append(iter(names[other]))


def sensitive(segments: Mapping[str, Segment]) -> frozenset[str]:
    """The segments that are marked sensitive, and those that name one of them, however indirectly."""
    named_by: dict[str, list[str]] = {}
    for key, segment in segments.items():
        for _, other in references(segment):
            named_by.setdefault(other, []).append(key)
    found = {key for key, segment in segments.items() if segment.sensitive}
    left = list(found)
    while left:
        for key in named_by.get(left.pop(), ()):
            if key not in found:
                found.add(key)
                left.append(key)
    return frozenset(found)
