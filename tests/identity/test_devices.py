"""Whose is a visit (DESIGN §3.3)."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from identity.devices import Known, Owned, Why, all_stay, owners_of, present_owner, user_of_all
from identity.evidence import Use
from identity.nodes import Node, NodeHasher
from identity.rules import Rules

HASHER = NodeHasher(b"k" * 32)
BROWSER = HASHER.node("anonymous_id", "b1")
ASHA, RAVI, ZOYA = (HASHER.node("user_id", name) for name in ("asha", "ravi", "zoya"))
LOGOUT = Node(b"")
MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR
NOON = 1_790_000_000_000 // HOUR * HOUR
RULES = Rules()


def use(person: Node, at: int, until: int | None = None) -> Use:
    return Use(device=BROWSER, person=person, hour=at // HOUR, first_ms=at, last_ms=until or at)


def owner(*uses: Use, at: int, minutes: int = 5, rules: Rules = RULES) -> Owned:
    (owned,) = owners_of([(at, at + minutes * MINUTE)], uses, lambda node: node, rules)
    return owned


def test_a_visit_with_a_login_in_it_is_that_persons() -> None:
    assert owner(use(ASHA, NOON + MINUTE), at=NOON) == Owned(ASHA, Why.LOGIN)


def test_a_visit_up_to_half_an_hour_before_a_login_is_that_persons() -> None:
    ravi = use(RAVI, NOON - HOUR)
    assert owner(ravi, use(ASHA, NOON + 35 * MINUTE), at=NOON) == Owned(ASHA, Why.LOGIN)
    late = owner(ravi, use(ASHA, NOON + 36 * MINUTE), at=NOON)
    assert late == Owned(None, Why.BETWEEN_PEOPLE)


def test_between_two_uses_by_one_person_is_theirs_however_long() -> None:
    assert owner(use(ASHA, NOON - 90 * DAY), use(ASHA, NOON + 90 * DAY), at=NOON) == Owned(
        ASHA, Why.BETWEEN
    )


def test_between_uses_by_two_people_is_nobodys() -> None:
    assert owner(use(ASHA, NOON - DAY), use(RAVI, NOON + DAY), at=NOON) == Owned(
        None, Why.BETWEEN_PEOPLE
    )


def test_before_the_first_use_is_the_first_users_unless_that_is_too_long() -> None:
    uses = (use(ASHA, NOON + 40 * DAY), use(RAVI, NOON + 50 * DAY))
    assert owner(*uses, at=NOON) == Owned(ASHA, Why.BEFORE_FIRST)
    limited = Rules(before_first_use_max_days=30)
    assert owner(*uses, at=NOON, rules=limited) == Owned(None, Why.TOO_EARLY)
    assert owner(*uses, at=NOON + 20 * DAY, rules=limited) == Owned(ASHA, Why.BEFORE_FIRST)


def test_after_the_last_use_is_theirs_for_thirty_days() -> None:
    asha = use(ASHA, NOON)
    assert owner(asha, at=NOON + 30 * DAY) == Owned(ASHA, Why.AFTER_LAST)
    assert owner(asha, at=NOON + 30 * DAY + 1) == Owned(None, Why.IDLE)


def test_after_a_logout_is_nobodys_until_somebody_returns() -> None:
    history = (use(ASHA, NOON), use(LOGOUT, NOON + MINUTE))
    assert owner(*history, at=NOON + HOUR) == Owned(None, Why.LOGGED_OUT)
    back = use(ASHA, NOON + DAY)
    assert owner(*history, back, at=NOON + HOUR) == Owned(None, Why.LOGGED_OUT)
    assert owner(*history, back, at=NOON + 2 * DAY) == Owned(ASHA, Why.AFTER_LAST)


def test_a_logout_that_names_its_user_ends_their_use_too() -> None:
    assert owner(use(ASHA, NOON), use(LOGOUT, NOON), at=NOON + HOUR).why is Why.LOGGED_OUT


def test_a_logout_before_the_last_use_ends_nothing() -> None:
    history = (use(LOGOUT, NOON - HOUR), use(ASHA, NOON))
    assert owner(*history, at=NOON + HOUR) == Owned(ASHA, Why.AFTER_LAST)


def test_two_people_in_one_visit_or_at_one_time_leave_it_to_nobody() -> None:
    assert owner(use(ASHA, NOON), use(RAVI, NOON + MINUTE), at=NOON) == Owned(None, Why.SEVERAL)
    overlapping = (use(ASHA, NOON, NOON + 50 * MINUTE), use(RAVI, NOON + 20 * MINUTE))
    assert owner(*overlapping, at=NOON + 2 * HOUR) == Owned(None, Why.SEVERAL)
    assert owner(*overlapping, at=NOON - 2 * HOUR) == Owned(None, Why.SEVERAL)
    one_by_one = (use(ASHA, NOON), use(RAVI, NOON + 20 * MINUTE))
    assert owner(*one_by_one, at=NOON + 2 * HOUR) == Owned(RAVI, Why.AFTER_LAST)


def test_a_device_of_more_than_five_people_is_a_kiosk() -> None:
    people = [HASHER.node("user_id", f"k{n}") for n in range(6)]
    uses = [use(person, NOON + n * DAY) for n, person in enumerate(people)]
    assert owner(*uses, at=NOON) == Owned(None, Why.KIOSK)
    assert owner(*uses[:5], at=NOON) == Owned(people[0], Why.LOGIN)
    assert present_owner(uses, lambda node: node, NOON + 6 * DAY, RULES) is None


def test_identifiers_that_are_one_person_today_count_once() -> None:
    people = [HASHER.node("user_id", f"k{n}") for n in range(9)]
    uses = [use(person, NOON + n * DAY) for n, person in enumerate(people)]
    (owned,) = owners_of([(NOON + HOUR, NOON + HOUR)], uses, lambda node: ASHA, RULES)
    assert owned == Owned(ASHA, Why.BETWEEN)


def test_a_device_that_nobody_used_by_name_is_its_own() -> None:
    assert owner(at=NOON) == Owned(None, Why.UNUSED)
    assert owner(use(LOGOUT, NOON), at=NOON) == Owned(None, Why.UNUSED)
    assert present_owner([], lambda node: node, NOON, RULES) is None


def test_the_present_owner_is_the_last_user_for_a_month_unless_they_left() -> None:
    uses = [use(ASHA, NOON - DAY), use(RAVI, NOON)]
    assert present_owner(uses, lambda node: node, NOON + DAY, RULES) == RAVI
    assert present_owner(uses, lambda node: node, NOON + 31 * DAY, RULES) is None
    left = [*uses, use(LOGOUT, NOON + MINUTE)]
    assert present_owner(left, lambda node: node, NOON + HOUR, RULES) is None


def test_a_clock_that_runs_ahead_still_tells_the_newest() -> None:
    ahead = [use(ASHA, NOON), use(RAVI, NOON + HOUR)]
    assert present_owner(ahead, lambda node: node, NOON, RULES) == RAVI
    left = [*ahead, use(LOGOUT, NOON + 2 * HOUR)]
    assert present_owner(left, lambda node: node, NOON, RULES) is None


def only(people: set[Node], why: Why, else_why: Why) -> Owned:
    return Owned(next(iter(people)), why) if len(people) == 1 else Owned(None, else_why)


def said_plainly(start: int, end: int, uses: list[Use], rules: Rules) -> Owned:
    """The same rules, read off the uses one by one."""
    people = [each for each in uses if each.person]
    outs = {at for each in uses if not each.person for at in (each.first_ms, each.last_ms)}
    if len({each.person for each in people}) > rules.owners_max:
        return Owned(None, Why.KIOSK)
    if not people:
        return Owned(None, Why.UNUSED)
    until = end + rules.login_after_visit_min * MINUTE
    within = {each.person for each in people if each.first_ms <= until and each.last_ms >= start}
    if within:
        return only(within, Why.LOGIN, Why.SEVERAL)
    past = [each for each in people if each.last_ms < start]
    future = [each for each in people if each.first_ms > end]
    last = max(past, key=lambda each: (each.last_ms, each.first_ms, each.person), default=None)
    first = min(future, key=lambda each: (each.first_ms, each.last_ms, each.person), default=None)
    before = {each.person for each in past if last and each.last_ms >= last.first_ms}
    after = {each.person for each in future if first and each.first_ms <= first.last_ms}
    if last is None:
        return only(after, Why.BEFORE_FIRST, Why.SEVERAL)
    if any(last.last_ms <= out <= start for out in outs):
        return Owned(None, Why.LOGGED_OUT)
    if first is None:
        if len(before) > 1:
            return Owned(None, Why.SEVERAL)
        idle = start - last.last_ms > rules.owner_idle_max_days * DAY
        return Owned(None, Why.IDLE) if idle else only(before, Why.AFTER_LAST, Why.SEVERAL)
    return only(before | after, Why.BETWEEN, Why.BETWEEN_PEOPLE)


@st.composite
def some_uses(draw: st.DrawFn) -> list[Use]:
    """Registers as they are kept: one for each person and hour, first and last within the hour."""
    registers: dict[tuple[Node, int], Use] = {}
    for person, at in draw(
        st.lists(
            st.tuples(st.sampled_from([ASHA, RAVI, ZOYA, LOGOUT]), st.integers(0, 60)), max_size=12
        )
    ):
        new = use(person, at * 10 * MINUTE)
        held = registers.get((person, new.hour))
        registers[person, new.hour] = new if held is None else held.merge(new)
    return list(registers.values())


@settings(max_examples=600)
@given(some_uses(), st.integers(0, 62), st.integers(0, 6), st.sampled_from([1, 2, 5]))
def test_the_fast_answer_is_the_plain_one(
    uses: list[Use], start: int, length: int, owners_max: int
) -> None:
    rules = Rules(owners_max=owners_max)
    at, minutes = start * 10 * MINUTE, length * 10
    assert owner(*uses, at=at, minutes=minutes, rules=rules) == said_plainly(
        at, at + minutes * MINUTE, uses, rules
    )


@settings(max_examples=300)
@given(
    st.lists(
        st.tuples(st.sampled_from([ASHA, ASHA, LOGOUT, RAVI]), st.integers(0, 90)), max_size=4
    ),
    st.lists(st.integers(0, 90), min_size=1, max_size=4, unique=True),
    st.sampled_from([None, 1]),
)
def test_who_has_all_visits_by_the_first_and_the_last_has_each(
    used: list[tuple[Node, int]], starts: list[int], before_days: int | None
) -> None:
    rules = Rules(owner_idle_max_days=1, before_first_use_max_days=before_days)
    uses = [use(person, NOON + at * HOUR) for person, at in used]
    visits = [(NOON + at * HOUR, NOON + at * HOUR + 5 * MINUTE) for at in sorted(starts)]
    user = user_of_all((visits[0], visits[-1]), uses, rules)
    owned = {each.person for each in owners_of(visits, uses, lambda node: node, rules)}
    if user is not None:
        assert owned == {user}
    elif {person for person, _ in used} == {ASHA} and owned == {ASHA}:
        # A login soon after the first visit decides it however long ago; nothing else is missed.
        assert before_days is not None


@given(some_uses(), st.randoms(use_true_random=False), st.integers(0, 62))
def test_the_order_of_uses_does_not_matter(
    uses: list[Use], shuffler: random.Random, start: int
) -> None:
    shuffled = shuffler.sample(uses, len(uses))
    assert owner(*shuffled, at=start * 10 * MINUTE) == owner(*uses, at=start * 10 * MINUTE)


@given(some_uses(), st.integers(0, 62))
def test_a_visit_goes_to_somebody_who_used_the_device_or_to_nobody(
    uses: list[Use], start: int
) -> None:
    assert owner(*uses, at=start * 10 * MINUTE).person in {None, *(each.person for each in uses)}


def shared_browser(seed: int, people: int) -> tuple[list[tuple[int, int, Node]], list[Use]]:
    """Sixty visits, each by one of `people` at random; one in four logs in, and nobody logs out."""
    drawn = random.Random(seed)
    users = [HASHER.node("user_id", f"{seed}-{n}") for n in range(people)]
    at, visits, uses = NOON, [], []
    for _ in range(60):
        at += int(drawn.expovariate(1 / (18 * HOUR))) + 40 * MINUTE
        who, end = drawn.choice(users), at + int(drawn.expovariate(1 / (10 * MINUTE)))
        visits.append((at, end, who))
        if drawn.random() < 0.25:
            uses.append(use(who, drawn.randint(at, end)))
        at = end
    return visits, uses


def last_user(end: int, uses: list[Use]) -> Node | None:
    """The rule of the field: everything belongs to whoever logged in last."""
    past = [each for each in uses if each.first_ms <= end]
    return max(past, key=lambda each: each.last_ms).person if past else None


@pytest.mark.parametrize("people", [2, 3])
def test_on_a_shared_browser_far_fewer_visits_go_to_a_wrong_person(people: int) -> None:
    wrong = naive = 0
    for seed in range(200):
        visits, uses = shared_browser(seed, people)
        owned = owners_of([(s, e) for s, e, _ in visits], uses, lambda node: node, RULES)
        for (_, end, who), found in zip(visits, owned, strict=True):
            wrong += found.person not in (None, who)
            naive += last_user(end, uses) not in (None, who)
    assert wrong < 0.65 * naive


def test_on_a_browser_of_one_person_hardly_a_visit_is_lost() -> None:
    kept = total = 0
    for seed in range(100):
        visits, uses = shared_browser(seed, 1)
        owned = owners_of([(s, e) for s, e, _ in visits], uses, lambda node: node, RULES)
        kept += sum(found.person is not None for found in owned)
        total += len(visits)
    assert kept > 0.98 * total


_TIMES = st.integers(0, 40 * 24).map(lambda hours: NOON + hours * HOUR)
_USES = st.lists(
    st.builds(use, st.sampled_from([ASHA, RAVI, ZOYA, LOGOUT]), _TIMES), max_size=6, unique=True
)


@given(
    _USES,
    _USES,
    st.lists(_TIMES, max_size=6, unique=True),
    st.lists(_TIMES, max_size=3),
    st.sampled_from([1, 50]),
)
@settings(max_examples=500)
def test_visits_all_stay_only_if_each_is_whose_it_was(
    uses: list[Use], more: list[Use], starts: list[int], new: list[int], minutes_before: int
) -> None:
    def visits(some: list[int], minutes: int) -> list[tuple[int, int]]:
        return [(start, start + minutes * MINUTE) for start in sorted(set(some))]

    def people(some: list[tuple[int, int]], known: list[Use]) -> dict[int, Node | None]:
        owned = owners_of(some, known, lambda node: node, RULES)
        return {start: each.person for (start, _), each in zip(some, owned, strict=True)}

    before, after = (
        Known(visits(starts, minutes_before), uses),
        Known(visits(starts + new, 50), uses + more),
    )
    then, now = people(list(before.visits), uses), people(list(after.visits), uses + more)
    stay = all_stay(before, after, lambda node: node, RULES)
    if stay:
        assert all(now[start] == person for start, person in then.items())
        assert None in then.values() or None not in now.values()
    else:
        kiosk = len({each.person for each in (*uses, *more) if each.person}) > RULES.owners_max
        first = None in now.values() and None not in then.values()
        assert kiosk or first or any(now[start] != person for start, person in then.items())


def test_visits_that_are_no_longer_told_apart_do_not_stay() -> None:
    asha = [use(ASHA, NOON)]
    two, one = [(NOON, NOON), (NOON + DAY, NOON + DAY)], [(NOON + DAY, NOON + DAY)]
    assert not all_stay(Known(two, asha), Known(one, asha), lambda node: node, RULES)
