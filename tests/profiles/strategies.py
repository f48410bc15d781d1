"""Facts as Hypothesis makes them: few ids and close times, so that they collide."""

from hypothesis import strategies as st

from identity.nodes import Node
from profiles.facts import Facts, Item, Kind

HOUR = 3_600_000
START = 1_760_000_000_000

times = st.integers(0, 24 * 90).map(lambda quarter_days: START + quarter_days * 20 * 60_000)
devices = st.sampled_from([None, Node(b"d" * 16), Node(b"e" * 16)])


@st.composite
def facts(draw: st.DrawFn) -> Facts:
    kind = draw(st.sampled_from([None, Kind.VIEWED, Kind.BOUGHT]))
    bought = kind is Kind.BOUGHT
    message = draw(st.integers(1, 1 << 60))
    name = {None: "Seen", Kind.VIEWED: "Product Viewed", Kind.BOUGHT: "Order Completed"}[kind]
    spelling = draw(st.sampled_from([name, name.upper(), name.lower()]))
    items = st.builds(Item, st.sampled_from("abc"), st.integers(1, 3).map(float))
    return Facts(
        time_ms=draw(times),
        message=message,
        event=name.lower(),
        spelling=spelling,
        traits=draw(
            st.dictionaries(st.sampled_from(["plan", "city"]), st.sampled_from([None, 1, "x"]))
        )
        if kind is None
        else {},
        kind=kind,
        items=tuple(draw(st.lists(items, max_size=3))) if kind else (),
        order=draw(st.integers(1, 4)) if bought else None,
        currency="INR" if bought else "",
        amount=draw(st.none() | st.integers(0, 10**9)) if bought else None,
        device=draw(devices),
        consent=tuple(
            draw(st.dictionaries(st.sampled_from(["ads"]), st.booleans(), max_size=1)).items()
        ),
    )


fact_lists = st.lists(facts(), max_size=30, unique_by=lambda fact: fact.message)
