"""Who has no event that is new enough for a segment is not asked about it (see also `test_exactness`)."""

from collections.abc import Mapping
from typing import Any

import pytest

from profiles.segments import needs
from profiles.segments.collect import Collector, collectors_of
from profiles.segments.evaluate import Judges
from profiles.segments.needs import Choice
from profiles.segments.parse import parse_segment
from tests.workspace import DAY, NOON

TREES: Mapping[str, Any] = {
    "anybody": {"not": {"event": "Viewed"}},
    "ever": {"event": "Viewed"},
    "this-week": {"event": "Viewed", "within": "7d"},
    "this-day": {"event": "Viewed", "within": "1d"},
    "by-day": {"event": "Viewed", "within": "1d"},
    "either": {"any": [{"event": "Viewed", "within": "7d"}, {"event": "Bought", "within": "3d"}]},
    "both": {"all": [{"event": "Viewed"}, {"event": "Viewed", "within": "1d"}]},
    "named": {"all": [{"segment": "this-day"}, {"event": "Viewed", "within": "30d"}]},
}


@pytest.mark.parametrize(
    ("newest", "asked"),
    [
        ({}, {"anybody"}),
        ({"viewed": NOON}, TREES.keys()),
        ({"viewed": NOON + DAY}, TREES.keys()),
        ({"viewed": NOON - DAY + 1}, TREES.keys()),
        ({"viewed": NOON - DAY}, {"anybody", "ever", "this-week", "by-day", "either"}),
        ({"viewed": NOON - 2 * DAY}, {"anybody", "ever", "this-week", "either"}),
        ({"viewed": NOON - 7 * DAY}, {"anybody", "ever"}),
        ({"viewed": NOON - 9 * DAY, "bought": NOON}, {"anybody", "ever", "either"}),
        ({"bought": NOON - 3 * DAY + 1}, {"anybody", "either"}),
        ({"bought": NOON - 3 * DAY}, {"anybody"}),
    ],
)
def test_only_segments_for_which_something_is_new_enough_are_asked_about(
    newest: Mapping[str, int], asked: set[str]
) -> None:
    segments = {
        key: parse_segment({**tree, "granularity": "day" if key == "by-day" else "exact"}, id=key)
        for key, tree in TREES.items()
    }
    numbers: dict[Collector, int] = {}
    for segment in segments.values():
        for collector in collectors_of(segment.who):
            numbers.setdefault(collector, len(numbers))
    events = {collector.event: number for collector, number in numbers.items()}
    judges = Judges(segments, numbers)

    found = judges.may_hold({events[event]: at for event, at in newest.items()}, NOON)

    assert {key for key, _ in found} == asked
    assert len(found) == len(asked)


def test_more_combinations_than_are_remembered_are_told_apart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(needs, "CHOSEN_MAX", 1)
    choice = Choice([("a", 1), ("b", 2)], lambda key: {ord(key): 10})
    for _ in range(2):
        assert choice.of({ord("a"): 0}, 9) == [("a", 1)]
        assert choice.of({ord("b"): 0}, 9) == [("b", 2)]
        assert choice.of({ord("b"): 0}, 10) == []
