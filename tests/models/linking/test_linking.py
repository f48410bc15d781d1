"""Linking as a whole, on customers with known truth."""

import random

import numpy as np
import pytest

from models.linking.deciding import ONE_TO_ONE
from models.linking.errors import BadMapping, NothingToLearn
from models.linking.learned import BOOSTED, LABELS_MIN, LOGISTIC, UNLABELLED
from models.linking.linking import Known, Linked, Settings, link
from models.linking.people import People
from models.linking.records import gather
from tests.models.linking.customers import (
    NORMALIZER,
    Row,
    customers,
    people_of,
    sheet,
    whose,
)
from tests.models.linking.test_blocking import crm


def linked(people: People, settings: Settings | None = None, **known: Known) -> Linked:
    return link(people, settings or Settings(), now_ms=0, version="v1", **known)  # type: ignore[arg-type]


def right_and_wrong(made: Linked) -> tuple[int, int]:
    person = whose(made.people.ids)
    some = made.pairs.where(made.accepted)
    same = [person[a] == person[b] for a, b in zip(some.left, some.right, strict=True)]
    return sum(same), len(same) - sum(same)


def groups(made: Linked) -> set[frozenset[str]]:
    found: dict[int, set[str]] = {}
    for name, person in zip(made.people.ids, made.person.tolist(), strict=True):
        found.setdefault(person, set()).add(name)
    return {frozenset(group) for group in found.values()}


@pytest.fixture(scope="module")
def made() -> Linked:
    return linked(crm(600))


def test_customers_written_twice_are_found_without_labels(made: Linked) -> None:
    right, wrong = right_and_wrong(made)
    true = len(made.people) - len(set(whose(made.people.ids)))
    assert right / true > 0.95
    assert wrong / right < 0.005


def test_accepted_pairs_are_as_probable_as_was_asked(made: Linked) -> None:
    assert (made.pairs.odds[made.accepted] >= np.log(99)).all()
    doubtful = made.pairs.where(made.uncertain)
    assert (doubtful.odds >= np.log(4)).all()
    likely = doubtful.odds >= np.log(99)
    # Those were accepted, had not the other records of two people spoken against it.
    assert (made.person[doubtful.left] != made.person[doubtful.right])[likely].all()


def test_the_order_of_the_file_does_not_matter() -> None:
    rows = customers(300)
    shuffled = list(rows)
    random.Random(5).shuffle(shuffled)
    one, other = (linked(gather([sheet(some)], NORMALIZER).people) for some in (rows, shuffled))
    assert groups(one) == groups(other)
    assert one.pairs.odds.tolist() == other.pairs.odds.tolist()


def test_the_same_records_give_the_same_answer() -> None:
    one, other = linked(crm(300)), linked(crm(300))
    assert one.pairs.odds.tolist() == other.pairs.odds.tolist()
    assert one.person.tolist() == other.person.tolist()


def two_files(people: int) -> People:
    rows = customers(people)
    halves = [[row for row in rows if row[0].endswith(end)] for end in ("a", "b")]
    return gather(
        [sheet(half, name) for half, name in zip(halves, "ab", strict=True)], NORMALIZER
    ).people


def test_two_files_are_linked_one_to_one() -> None:
    made = linked(two_files(1_000), Settings(constraint=ONE_TO_ONE))
    right, wrong = right_and_wrong(made)
    assert right / int(made.people.side.sum()) > 0.95
    assert wrong / right < 0.005
    some = made.pairs.where(made.accepted)
    assert len(set(some.left.tolist())) == len(set(some.right.tolist())) == len(some.left)


def test_twins_are_left_to_a_reviewer() -> None:
    rows = [(f"{n}-a", row) for n, (_, row) in enumerate(customers(200)) if row["phone"]]
    twin: Row = {
        "given": "Asha",
        "surname": "Rao",
        "birth_date": "03/04/1980",
        "phone": "9876543210",
        "city": "Pune",
    }
    first = sheet([*rows, ("1000-a", twin)])
    second = sheet(
        [(f"{name}gain", row) for name, row in rows] + [("1000-b", twin), ("1001-b", twin)]
    )
    people = gather([first, second], NORMALIZER).people
    made = linked(people, Settings(constraint=ONE_TO_ONE))
    place = people.ids.index("1000-a")
    assert place not in made.pairs.left[made.accepted]
    doubtful = made.pairs.where(made.uncertain)
    assert (doubtful.left == place).sum() == 2


@pytest.mark.parametrize("records", [[], [{"name": "Asha Rao"}]])
def test_nothing_is_one_person_with_itself(records: list[Row]) -> None:
    people = people_of(*records, {"name": "Asha Rao"})
    made = linked(people)
    assert len(made.person) == len(people)


def test_one_record_is_one_person() -> None:
    made = linked(people_of({"name": "Asha Rao"}))
    assert made.person.tolist() == [0]
    assert made.histogram() == [0] * 20


def test_records_that_say_nothing_comparable_are_refused() -> None:
    with pytest.raises(BadMapping, match="no column to compare"):
        linked(people_of({"name": ""}, {"name": ""}))


def test_one_giant_block_is_linked_all_the_same() -> None:
    rows = [
        {"name": "Asha Rao", "birth_date": "01/01/1990", "phone": f"98{n // 2:08}"}
        for n in range(3_000)
    ]
    made = linked(people_of(*rows), Settings(people_max=5))
    assert np.bincount(made.person).max() <= 5


def test_a_thousand_records_alike_are_not_taken_for_one_person() -> None:
    made = linked(people_of(*[{"name": "Asha Rao", "city": "Pune", "phone": "9876543210"}] * 1_500))
    assert np.bincount(made.person).max() <= 100


def labels(made: Linked, count: int, wrong: float = 0.0) -> Known:
    person = np.array(whose(made.people.ids))
    places = np.sort(
        np.random.default_rng(0).permutation(
            np.r_[made.accepted, np.arange(0, len(made.pairs.left), 7)]
        )[:count]
    )
    places = np.unique(places)
    left, right = made.pairs.left[places], made.pairs.right[places]
    same = (person[left] == person[right]).astype(np.int8)
    flip = np.random.default_rng(1).random(len(same)) < wrong
    return Known(left, right, np.where(flip, 1 - same, same).astype(np.int8))


@pytest.mark.slow
def test_labels_teach_a_model_that_is_judged_on_labels_it_has_not_seen(made: Linked) -> None:
    taught = linked(made.people, labels=labels(made, 700))
    manifest = taught.linker.manifest
    assert {trial.model for trial in manifest.trials} == {UNLABELLED, LOGISTIC, BOOSTED}
    best = min(manifest.trials, key=lambda trial: trial.log_loss)
    assert manifest.model == best.model
    right, wrong = right_and_wrong(taught)
    assert right > 0.9 * right_and_wrong(made)[0]
    assert wrong <= 5


def test_labels_that_teach_nothing_leave_the_model_without_labels_in_place(made: Linked) -> None:
    known = labels(made, 80)
    noise = Known(
        known.left,
        known.right,
        np.random.default_rng(2).integers(0, 2, len(known.left)).astype(np.int8),
    )
    taught = linked(made.people, labels=noise)
    least = min(taught.linker.manifest.trials, key=lambda trial: trial.log_loss)
    assert taught.linker.manifest.model == least.model


def test_too_few_labels_of_a_kind_are_refused(made: Linked) -> None:
    some = made.pairs.where(made.accepted[: LABELS_MIN + 5])
    ones = Known(some.left, some.right, np.ones(len(some.left), np.int8))
    with pytest.raises(NothingToLearn, match="25 labelled pairs are one person and 0 are two"):
        linked(made.people, labels=ones)


@pytest.mark.slow
def test_what_a_reviewer_decided_stands(made: Linked) -> None:
    person = np.array(whose(made.people.ids))
    yes = made.pairs.where(made.accepted[:30])
    used = {*yes.left.tolist(), *yes.right.tolist()}
    no_left: list[int] = []
    no_right: list[int] = []
    for a, b in zip(made.pairs.left.tolist(), made.pairs.right.tolist(), strict=True):
        if person[a] != person[b] and not used & {a, b} and len(no_left) < 30:
            no_left.append(a)
            no_right.append(b)
            used |= {a, b}
    # The reviewer says the opposite of everything.
    left, right = np.r_[yes.left, no_left], np.r_[yes.right, no_right]
    order = np.lexsort((right, left))
    same = np.r_[np.zeros(30, np.int8), np.ones(30, np.int8)].astype(np.int8)
    decided = Known(left[order], right[order], same[order])
    again = linked(made.people, decided=decided)
    accepted = again.pairs.where(again.accepted)
    pairs = set(zip(accepted.left.tolist(), accepted.right.tolist(), strict=True))
    for a, b, one_person in zip(
        decided.left.tolist(), decided.right.tolist(), decided.same.tolist(), strict=True
    ):
        assert ((a, b) in pairs) == bool(one_person)
        assert (again.person[a] == again.person[b]) == bool(one_person)


def test_a_model_can_be_used_for_other_records(made: Linked) -> None:
    other = link(crm(800, seed=9), Settings(), now_ms=0, version="unused", linker=made.linker)
    right, wrong = right_and_wrong(other)
    true = len(other.people) - len(set(whose(other.people.ids)))
    assert right / true > 0.95
    assert wrong / right < 0.01
    assert other.linker.manifest.version == "v1"


def test_a_model_of_other_columns_is_refused(made: Linked) -> None:
    with pytest.raises(BadMapping, match="model v1 compares given name"):
        link(
            people_of({"phone": "9876543210"}, {"phone": "9876543210"}),
            Settings(),
            now_ms=0,
            version="x",
            linker=made.linker,
        )


@pytest.mark.parametrize(
    "wrong",
    [
        {"accept": 0.4}, {"accept": 1.1}, {"review": 0.995}, {"review": 0.0}, {"people_max": 1},
        {"block_max": 0},
    ],
)  # fmt: skip
def test_settings_that_cannot_be_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="is"):
        Settings(**wrong)  # type: ignore[arg-type]


def test_a_reviewer_is_asked_once_about_two_people() -> None:
    little = Settings(accept=0.9999, review=0.2)
    rows = [
        (name, {key: row[key] for key in ("given", "surname", "city", "birth_date")})
        for name, row in customers(300)
    ]
    people = gather([sheet(rows)], NORMALIZER).people
    made = linked(people, little)
    some = made.pairs.where(made.uncertain)
    asked = [
        frozenset((made.person[a], made.person[b]))
        for a, b in zip(some.left, some.right, strict=True)
    ]
    assert len(asked) == len(set(asked)) > 5
    order = np.lexsort((some.right, some.left))
    no = np.zeros(len(order), np.int8)
    again = linked(people, little, decided=Known(some.left[order], some.right[order], no))
    more = again.pairs.where(again.uncertain)
    assert not {
        frozenset((again.person[a], again.person[b]))
        for a, b in zip(more.left, more.right, strict=True)
    } & set(asked)
