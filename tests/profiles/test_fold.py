"""The laws of folding: order, repetition, batches and halves change nothing."""

import random
from itertools import pairwise

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from identity.nodes import Node, NodeHasher
from profiles.body import add, merge, trim
from profiles.facts import Facts, Item, Kind
from profiles.fold import Entry, fold
from profiles.part import (
    DAY_MS,
    EVENT_NAMES_MAX,
    INTERACTIONS_MAX,
    ORDERS_MAX,
    OTHER_EVENTS,
    TRAITS_MAX,
    Body,
    Part,
    Visit,
    decode,
    decode_active,
    encode,
)
from profiles.profile import active, assemble, history, order_sums, purchases_of
from profiles.visits import GAP_MS
from tests.profiles.strategies import HOUR, START, fact_lists

hasher = NodeHasher(b"k" * 32)
PERSON = hasher.node("user_id", "asha")
DEVICE = hasher.node("anonymous_id", "browser")

orders = st.randoms(use_true_random=False)


def body_of(facts: list[Facts]) -> Body:
    body = Body()
    for fact in facts:
        add(body, fact)
    trim(body)
    return body


def part_of(leaf: bytes, facts: list[Facts], batch: int = 1000) -> Part:
    part = Part()
    for start in range(0, len(facts), batch):
        entries = [Entry(o, o, fact) for o, fact in enumerate(facts)][start : start + batch]
        fold(part, Node(leaf), entries)
    part.offset = 0
    return part


@given(fact_lists, orders)
def test_the_order_of_events_does_not_change_a_body(
    facts: list[Facts], shuffler: random.Random
) -> None:
    shuffled = shuffler.sample(facts, len(facts))
    assert encode(Part(body=body_of(shuffled))) == encode(Part(body=body_of(facts)))


@given(fact_lists, st.integers(0, 30))
def test_folding_halves_and_merging_them_is_folding_the_whole(facts: list[Facts], cut: int) -> None:
    halves = merge([body_of(facts[cut:]), body_of(facts[:cut])])
    assert encode(Part(body=halves)) == encode(Part(body=body_of(facts)))


@given(fact_lists, st.lists(st.integers(0, 30), max_size=3))
def test_what_recommendations_ask_is_the_same_without_the_rest_of_the_parts(
    facts: list[Facts], cuts: list[int]
) -> None:
    bounds = [0, *sorted(cuts), len(facts)]
    blobs = [encode(Part(body=body_of(facts[low:high]))) for low, high in pairwise(bounds)]
    blobs.append(encode(part_of(DEVICE, facts)))

    def bodies(parts: list[Part]) -> list[Body]:
        return [b for p in parts for b in (p.body, *(v.body for v in p.visits)) if b]

    whole = assemble(PERSON, bodies([decode(blob) for blob in blobs]))
    asked = active(PERSON, bodies([decode_active(blob) for blob in blobs]))

    assert history(asked) == history(whole)
    assert (asked.interactions, asked.purchases) == (whole.interactions, whole.purchases)
    assert (asked.first_ms, asked.last_ms, asked.events) == (
        whole.first_ms,
        whole.last_ms,
        whole.events,
    )
    assert asked.consent == whole.consent


@given(fact_lists, orders, st.integers(1, 10))
def test_order_and_batches_do_not_change_the_visits_of_a_device(
    facts: list[Facts], shuffler: random.Random, batch: int
) -> None:
    shuffled = shuffler.sample(facts, len(facts))
    assert encode(part_of(DEVICE, shuffled, batch)) == encode(part_of(DEVICE, facts))


@given(fact_lists)
def test_the_visits_of_a_device_hold_what_its_events_hold(facts: list[Facts]) -> None:
    part = part_of(DEVICE, facts)
    bodies = [visit.body for visit in part.visits] + ([part.body] if part.body else [])
    assert encode(Part(body=merge(bodies))) == encode(Part(body=body_of(facts)))


@given(fact_lists, orders)
def test_redelivery_changes_nothing(facts: list[Facts], shuffler: random.Random) -> None:
    part = part_of(PERSON, facts)
    log = list(enumerate(facts))
    again = [Entry(len(facts) + i, first, fact) for i, (first, fact) in enumerate(log)]
    repeated = part_of(PERSON, facts)
    repeated.offset = len(facts) - 1
    fold(repeated, PERSON, [Entry(o, o, fact) for o, fact in log])
    fold(repeated, PERSON, shuffler.sample(again, len(again)))
    repeated.offset = part.offset
    assert encode(repeated) == encode(part)


@given(fact_lists)
def test_a_part_survives_its_stored_form(facts: list[Facts]) -> None:
    for leaf in (PERSON, DEVICE):
        part = part_of(leaf, facts)
        assert decode(encode(part)) == part


@given(fact_lists)
def test_visits_of_one_month_are_a_gap_apart(facts: list[Facts]) -> None:
    visits = part_of(DEVICE, facts).visits
    for left, right in pairwise(visits):
        assert left.start_ms <= left.end_ms <= right.start_ms
        same_month = left.end_ms // DAY_MS == right.start_ms // DAY_MS
        assert right.start_ms - left.end_ms > GAP_MS or not same_month


def bought(order: int, message: int, amount: int | None, time: int = START) -> Facts:
    return Facts(
        time_ms=time, message=message, event="order completed", spelling="Order Completed",
        kind=Kind.BOUGHT, items=(Item("tea", 2),), order=order, currency="INR", amount=amount,
    )  # fmt: skip


def test_an_order_told_by_browser_and_back_end_counts_once() -> None:
    body = body_of([bought(7, 1, 500), bought(7, 2, 500, START + 900)])
    assert [(s.orders, s.revenue) for s in order_sums(body)] == [(1, 500)]
    assert [item.item for item in purchases_of(body)] == ["tea"]


def test_the_copy_of_an_order_that_states_an_amount_counts() -> None:
    body = body_of([bought(7, 1, None), bought(7, 2, 500, START + 900)])
    assert [(s.orders, s.revenue) for s in order_sums(body)] == [(1, 500)]


def test_more_orders_than_are_told_apart_keep_their_sum() -> None:
    many = [bought(n, n, 10, START + n) for n in range(1, ORDERS_MAX + 100)]
    body = body_of(many)
    assert len(body.orders) == ORDERS_MAX
    assert [(s.orders, s.revenue) for s in order_sums(body)] == [(len(many), 10 * len(many))]


def test_a_refund_is_kept_apart_from_revenue() -> None:
    refund = Facts(
        time_ms=START, message=9, event="order refunded", spelling="Order Refunded", order=7,
        refund=True, currency="INR", amount=-200,
    )  # fmt: skip
    (sums,) = order_sums(body_of([bought(7, 1, 500), refund]))
    assert (sums.orders, sums.revenue, sums.refunds, sums.refunded) == (1, 500, 1, 200)


def seen(message: int, time: int, **more: object) -> Facts:
    return Facts(time_ms=time, message=message, event="seen", spelling="Seen", **more)  # type: ignore[arg-type]


def test_a_withdrawal_of_consent_wins_a_tie() -> None:
    given_and_taken = [
        seen(1, START, consent=(("ads", True),)),
        seen(2, START, consent=(("ads", False),)),
    ]
    assert body_of(given_and_taken).consent["ads"].granted is False
    assert assemble(PERSON, [body_of(given_and_taken[::-1])]).consent == {"ads": False}


def test_null_hides_an_older_trait_but_not_a_newer_one() -> None:
    older = seen(1, START, traits={"plan": "pro", "city": None})
    newer = seen(2, START + 1, traits={"plan": None, "city": "Pune"})
    assert assemble(PERSON, [body_of([newer, older])]).traits == {"city": "Pune"}


def test_collections_stay_under_their_caps_and_lose_no_count() -> None:
    names = [
        Facts(time_ms=START, message=n, event=f"e{n:04}", spelling=f"E{n:04}")
        for n in range(EVENT_NAMES_MAX + 50)
    ]
    body = body_of(names)
    assert len(body.counters) == EVENT_NAMES_MAX
    assert sum(counter.total for counter in body.counters.values()) == len(names)
    assert body.counters[OTHER_EVENTS].total == 51
    assert encode(Part(body=body)) == encode(
        Part(body=merge([body_of(names[i::7]) for i in range(7)]))
    )

    traits = seen(1, START, traits={f"t{n}": n for n in range(TRAITS_MAX + 9)})
    assert len(body_of([traits]).traits) == TRAITS_MAX

    views = [
        Facts(time_ms=START + n, message=n, event="product viewed", spelling="Product Viewed",
              kind=Kind.VIEWED, items=(Item("tea"),))
        for n in range(INTERACTIONS_MAX + 9)
    ]  # fmt: skip
    assert len(body_of(views).interactions) == INTERACTIONS_MAX


def test_a_late_event_between_two_visits_makes_them_one() -> None:
    early, late = seen(1, START), seen(2, START + 50 * 60_000)
    bridge = seen(3, START + 25 * 60_000)
    assert len(part_of(DEVICE, [early, late]).visits) == 2
    assert len(part_of(DEVICE, [early, late, bridge], batch=1).visits) == 1


def test_visits_of_two_years_ago_are_nobodys() -> None:
    old, new = seen(1, START), seen(2, START + 800 * 24 * HOUR)
    for events in ([old, new], [new, old]):
        part = part_of(DEVICE, events, batch=1)
        assert len(part.visits) == 1
        assert part.body is not None
        assert part.body.events == 1


def test_a_visit_stays_as_it_was_stored_until_somebody_asks() -> None:
    part = Part(visits=[Visit.made(at, at, Body(events=at)) for at in (1, 2)])
    read = decode(encode(part))
    assert read.visits[1].body.events == 2
    assert [isinstance(visit.held, msgspec.Raw) for visit in read.visits] == [True, False]
    assert encode(read) == encode(part)
    assert read == part
