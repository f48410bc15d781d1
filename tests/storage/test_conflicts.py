"""Conflicts in pages, counted, and found by the beginning of their ids."""

import msgspec
import pytest

from identity.conflicts import ID_DIGITS_MAX, conflict_id
from identity.nodes import Node
from identity.resolve import Refusal
from storage import conflicts
from storage.conflicts import AmbiguousConflict, Place, find_conflict, page
from storage.ports import Store
from tests.identity.strategies import hasher


def user(n: int) -> Node:
    return hasher.node("user_id", f"u{n}")


def refusal(n: int, rule: str = "limit:user_id", since_ms: int | None = None) -> Refusal:
    a, b = sorted((user(n), hasher.node("email", f"e{n}@x.in")))
    return Refusal(Node(a), Node(b), rule, "", 100 - n if since_ms is None else since_ms)


def keep(store: Store, *refusals: Refusal) -> list[Refusal]:
    ends = {end for each in refusals for end in (each.a, each.b)}
    store.people.write(ends, [], refusals)
    return sorted(refusals, key=lambda each: (-each.since_ms, each.a, each.b))


def pages(store: Store, size: int, rule: str = "", since_ms: int | None = None) -> list[Refusal]:
    found: list[Refusal] = []
    after: Place | None = None
    while True:
        one = page(store, size, rule=rule, since_ms=since_ms, after=after)
        assert len(one.conflicts) <= size
        found += one.conflicts
        if one.next is None:
            return found
        assert len(one.conflicts) == size
        # As a token carries it.
        after = msgspec.msgpack.decode(msgspec.msgpack.encode(one.next), type=Place)


def test_pages_hold_every_conflict_once_newest_first(store: Store) -> None:
    # Several at one time, so that a page may end between them.
    every = keep(store, *(refusal(n, since_ms=n // 4) for n in range(14)))
    assert pages(store, 3) == every
    assert pages(store, 14) == every
    assert pages(store, 1_000) == every


def test_pages_of_one_rule_leave_out_the_others(store: Store) -> None:
    rules = ["limit:user_id", "limit:email", "kept_apart:d1", "kept_apart:d2"]
    every = keep(store, *(refusal(n, rules[n % 4]) for n in range(24)))
    for rule in ("limit:email", "limit", "kept_apart", "kept_apart:d2"):
        assert pages(store, 2, rule) == [each for each in every if each.rule.startswith(rule)]
    assert pages(store, 2, "limit:e") == []


def test_pages_since_a_time_end_there(store: Store) -> None:
    every = keep(store, *(refusal(n) for n in range(10)))
    assert pages(store, 3, since_ms=95) == every[:6]


def test_new_conflicts_do_not_move_the_next_page(store: Store) -> None:
    every = keep(store, *(refusal(n) for n in range(8)))
    first = page(store, 3)
    keep(store, *(refusal(n, since_ms=500 + n) for n in range(100, 110)))
    assert page(store, 5, after=first.next).conflicts == every[3:]


def test_so_many_are_listed_and_no_more(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conflicts, "LISTED_MAX", 5)
    every = keep(store, *(refusal(n) for n in range(8)))
    assert pages(store, 2) == every[:5]


def test_conflicts_are_counted_by_rule(store: Store) -> None:
    assert conflicts.counts(store) == {}
    keep(store, refusal(0, "hub"), refusal(1), refusal(2), refusal(3, "kept_apart:d1"))
    assert conflicts.counts(store) == {"limit:user_id": 2, "hub": 1, "kept_apart": 1}


def test_a_conflict_is_found_by_its_id(store: Store) -> None:
    every = keep(store, *(refusal(n) for n in range(6)))
    assert [find_conflict(store, conflict_id(each)) for each in every] == every
    assert [find_conflict(store, conflict_id(each, ID_DIGITS_MAX)) for each in every] == every
    assert find_conflict(store, "c00000000") is None
    assert find_conflict(store, "nonsense") is None


def test_an_id_that_several_have_is_refused_and_told_apart(store: Store) -> None:
    def ids(beginning: str) -> list[str]:
        return [each for each in named if each.startswith(beginning)]

    named = sorted(
        conflict_id(each, ID_DIGITS_MAX) for each in keep(store, *map(refusal, range(300)))
    )
    beginning = next(each[:3] for each in named if len(ids(each[:3])) > 1)
    with pytest.raises(AmbiguousConflict) as refused:
        find_conflict(store, beginning)
    said = str(refused.value)
    assert f"{len(ids(beginning))} conflicts begin with {beginning}" in said
    shown = [word.strip(",:") for word in said.split() if len(word.strip(",:")) >= 9]
    told = [word for word in shown if word.startswith(beginning) and word != beginning]
    assert told
    assert all(len(ids(each)) == 1 for each in told)


def test_only_the_newest_are_searched(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conflicts, "SEARCHED_MAX", 3)
    every = keep(store, *(refusal(n) for n in range(5)))
    assert find_conflict(store, conflict_id(every[2])) == every[2]
    assert find_conflict(store, conflict_id(every[3])) is None
