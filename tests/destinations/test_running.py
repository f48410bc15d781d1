"""Deltas: every transition is told once it happened, whatever was cut off, merged or withdrawn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from destinations.audience import MemoryAudience
from destinations.destination import Acknowledges, Run, Sealed, Update
from destinations.errors import DestinationError, ExportRefused, TargetUnavailable
from destinations.gate import Tally
from storage.segment_ports import Delivery
from tests.destinations.people import ADS, SEGMENTS, Desk, node, permission, person, some_people
from tests.workspace import NOON


class Notebook:
    """A destination that writes down what it is told, and fails when a test wants it to."""

    kind = "notebook"
    types = frozenset({"user_id"})
    traits: frozenset[str] = frozenset()
    replaces = False
    place = "a notebook"

    def __init__(self, acknowledges: Acknowledges = "batch") -> None:
        self.acknowledges: Acknowledges = acknowledges
        self.heard: list[tuple[str, str, bool, str]] = []
        self.ids: list[str] = []
        self.fails_after: int | None = None
        self.ends: list[str] = []

    def begin(self, run: Run) -> None:
        self.ends.append("begun")

    def render(self, updates: Sequence[Update], tally: Tally) -> list[Any]:
        return [
            (update.recipient.identifiers[0].value, each.segment, each.member, each.message_id)
            for update in updates
            for each in update.stated
        ]

    def deliver(self, rows: Sequence[Any]) -> None:
        if self.fails_after is not None:
            self.fails_after -= 1
            if self.fails_after < 0:
                raise TargetUnavailable("the pen is empty")
        self.heard += rows

    def finish(self) -> Sealed:
        self.ends.append("finished")
        return Sealed("sum")

    def abandon(self) -> None:
        self.ends.append("abandoned")

    def take(self) -> list[tuple[str, str, bool]]:
        """What was heard since the last time."""
        heard, self.heard = self.heard, []
        self.ids += [row[3] for row in heard]
        return [row[:3] for row in heard]


@pytest.fixture
def notebook() -> Notebook:
    return Notebook()


@pytest.fixture
def desk(tmp_path: Path, notebook: Notebook) -> Iterator[Desk]:
    made = Desk(tmp_path, some_people(), notebook)
    yield made
    made.close()


BOTH = permission("regulars", "lapsed")


def test_the_first_delta_tells_all_and_the_next_what_changed(
    desk: Desk, notebook: Notebook
) -> None:
    desk.export("delta")
    assert sorted(notebook.take()) == [("asha", "regulars", True), ("ravi", "regulars", True)]
    desk.audience.put(person("zoya", "regulars"), NOON)
    desk.audience.put(person("asha"), NOON)
    desk.export("delta")
    assert notebook.take() == [("zoya", "regulars", True), ("asha", "regulars", False)]
    desk.export("delta")
    assert notebook.take() == []
    assert notebook.ends == ["begun", "finished"] * 3


def test_a_segment_that_is_new_to_a_destination_is_told_whole(
    desk: Desk, notebook: Notebook
) -> None:
    desk.export("delta")
    notebook.take()
    desk.audience.put(person("zoya", "regulars", "lapsed"), NOON)
    desk.export("delta", allowed=BOTH)
    heard = notebook.take()
    assert sorted(heard) == [
        ("ravi", "lapsed", True), ("zoya", "lapsed", True), ("zoya", "regulars", True),
    ]  # fmt: skip
    positions = desk.deliveries.positions("x")
    assert set(positions.values()) == {desk.audience.newest()}


def test_a_run_that_is_cut_off_goes_on_at_the_batch_it_had_not_told(
    desk: Desk, notebook: Notebook
) -> None:
    desk.export("delta")
    notebook.take()
    for number in range(2_500):
        desk.audience.put(person(f"p{number}", "regulars"), NOON)
    notebook.fails_after = 1
    with pytest.raises(TargetUnavailable):
        desk.export("delta")
    assert len(notebook.take()) == 1_000
    notebook.fails_after = None
    desk.export("delta")
    assert len(notebook.take()) == 1_500
    assert len(set(notebook.ids) - {""}) == 2_500
    assert notebook.ends[2:4] == ["begun", "abandoned"]


def test_a_full_export_that_is_cut_off_tells_all_again(desk: Desk, notebook: Notebook) -> None:
    notebook.fails_after = 0
    with pytest.raises(TargetUnavailable):
        desk.export()
    assert desk.deliveries.positions("x") == {}
    notebook.fails_after = None
    desk.export()
    assert len(notebook.take()) == 2


def test_who_may_no_longer_go_on_finishes_nothing(desk: Desk, notebook: Notebook) -> None:
    heard: list[int] = []

    def lose_the_hold(people: int) -> None:
        heard.append(people)
        if len(heard) == 2:
            raise DestinationError("another export of x may run")

    with pytest.raises(DestinationError, match="may run"):
        desk.export(progress=lose_the_hold)
    assert heard[0] == heard[1] > 0
    assert notebook.ends == ["begun", "abandoned"]
    assert desk.runs() == [("full", "failed")]


def test_who_came_and_went_again_is_not_mentioned(desk: Desk, notebook: Notebook) -> None:
    desk.export("delta")
    notebook.take()
    desk.audience.put(person("zoya", "regulars"), NOON)
    desk.audience.put(person("zoya"), NOON)
    desk.audience.put(person("asha"), NOON)
    desk.audience.put(person("asha", "regulars"), NOON)
    done = desk.export("delta").delivery
    # The last word on each is said.
    assert notebook.take() == [("zoya", "regulars", False), ("asha", "regulars", True)]
    assert done.withheld == {"changed_since": 2}


def test_a_merge_into_a_member_takes_nobody_out(desk: Desk, notebook: Notebook) -> None:
    desk.export("delta")
    notebook.take()
    desk.audience.lose(node("ravi"), node("asha"), NOON)
    done = desk.export("delta").delivery
    assert notebook.take() == []
    assert done.withheld == {"changed_since": 1}


@pytest.mark.parametrize("acknowledges", ["batch", "run"])
def test_a_merge_into_somebody_outside_takes_them_out(
    tmp_path: Path, acknowledges: Acknowledges
) -> None:
    notebook = Notebook(acknowledges)
    desk = Desk(tmp_path, some_people(), notebook)
    desk.export("delta")
    notebook.take()
    desk.audience.put(person("zoya"), NOON)
    desk.audience.lose(node("ravi"), node("zoya"), NOON)
    desk.export("delta")
    assert notebook.take() == [("zoya", "regulars", False)]


def test_of_the_erased_nothing_is_said(desk: Desk, notebook: Notebook) -> None:
    desk.export("delta")
    notebook.take()
    desk.audience.lose(node("ravi"), None, NOON)
    done = desk.export("delta").delivery
    assert (notebook.take(), done.withheld) == ([], {"gone": 1})


def test_consent_for_another_purpose_changes_nothing(desk: Desk, notebook: Notebook) -> None:
    desk.export("delta")
    notebook.take()
    desk.audience.put(person("asha", "regulars", consent={ADS: True, "mail": True}), NOON)
    desk.audience.put(person("asha", "regulars", consent={ADS: True, "mail": False}), NOON)
    desk.export("delta")
    assert notebook.take() == []


def test_consent_that_comes_later_tells_of_the_member(desk: Desk, notebook: Notebook) -> None:
    desk.export("delta")
    notebook.take()
    desk.audience.put(person("om", "regulars"), NOON)
    desk.export("delta")
    assert notebook.take() == [("om", "regulars", True)]


def test_with_two_purposes_a_withdrawal_is_told_only_of_who_may_have_been_sent(
    desk: Desk, notebook: Notebook
) -> None:
    both = {ADS: True, "health": True}
    desk.audience.put(person("asha", "regulars", consent=both), NOON)
    desk.export("delta", purposes=(ADS, "health"))
    assert notebook.take() == [("asha", "regulars", True)]
    desk.audience.put(person("asha", "regulars", consent=both | {ADS: False}), NOON)
    desk.audience.put(person("ravi", "regulars", consent={ADS: False}), NOON)
    desk.export("delta", purposes=(ADS, "health"))
    assert notebook.take() == [("asha", "regulars", False)]


def test_states_of_a_segment_never_told_are_told_whole(tmp_path: Path) -> None:
    notebook = Notebook("run")
    desk = Desk(tmp_path, some_people(), notebook)
    assert desk.export("delta").delivery.mode == "full"
    desk.now_ms += 1
    assert desk.export("delta").delivery.mode == "delta"
    desk.now_ms += 1
    assert desk.export("delta", allowed=BOTH).delivery.mode == "full"


def test_every_run_leaves_a_row_that_says_who_and_what(desk: Desk, notebook: Notebook) -> None:
    desk.export("delta", allowed=BOTH)
    (row,) = desk.deliveries.list(10)
    assert row == Delivery(
        id=row.id, destination="x", kind="notebook", mode="delta", who="test", started_ms=NOON, ended_ms=NOON,
        segments=("lapsed", "regulars"), result="delivered", place="a notebook", people=2, rows=3,
        withheld={"consent_refused": 1, "no_consent": 1}, checksum="sum",
    )  # fmt: skip
    assert "asha" not in str(row)


@pytest.mark.parametrize(
    ("segments", "asked", "says"),
    [
        (("nowhere",), (), "there is no segment nowhere"),
        (("regulars",), ("lapsed",), "not among `segments`"),
        (("*",), ("diabetes-care",), "marked sensitive"),
    ],
)
def test_what_may_not_be_sent_is_refused_and_kept_in_the_audit(
    desk: Desk, notebook: Notebook, segments: tuple[str, ...], asked: tuple[str, ...], says: str
) -> None:
    with pytest.raises(ExportRefused, match=says):
        desk.export(allowed=permission(*segments), asked=asked)
    assert desk.runs() == [("full", "refused")]
    assert notebook.ends == []


def test_two_segments_never_share_a_name(desk: Desk) -> None:
    with pytest.raises(ExportRefused, match="regulars is there twice"):
        desk.export(allowed=permission("regulars", "lapsed", aliases={"lapsed": "regulars"}))


def test_many_transitions_are_read_in_pages() -> None:
    audience = MemoryAudience(SEGMENTS)
    for number in range(10):
        audience.put(person(f"p{number}", "regulars", "lapsed"), NOON)
    found, token = [], ""
    while True:
        some, token = audience.changes(["lapsed"], token, 3)
        if not some:
            break
        assert len(some) <= 3
        found += [each.profile_id for each in some]
    assert found == [node(f"p{number}") for number in range(10)]
    assert audience.changes(["lapsed"], audience.newest(), 3) == ([], audience.newest())
