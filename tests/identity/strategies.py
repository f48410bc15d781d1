"""Evidence as Hypothesis makes it: few identifiers, so that limits, hubs and conflicts are common."""

from hypothesis import strategies as st

from identity.evidence import NEVER, KeepApart, Link, MustLink, pair
from identity.nodes import Node, NodeHasher
from identity.rules import Rules

hasher = NodeHasher(b"k" * 32)

USERS = [hasher.node("user_id", f"u{n}") for n in range(6)]
EMAILS = [hasher.node("email", f"e{n}@x.com") for n in range(5)]
PHONES = [hasher.node("phone", f"+9198765432{n:02}") for n in range(3)]
NODES = [*USERS, *EMAILS, *PHONES]

RULES = Rules(fanout_max=3, members_max=6, limit_default=2)

nodes = st.sampled_from(NODES)
times = st.integers(0, 40)
pairs = st.tuples(nodes, nodes).filter(lambda ends: ends[0] != ends[1]).map(lambda e: pair(*e))


@st.composite
def links(draw: st.DrawFn) -> Link:
    a, b = draw(pairs)
    at = draw(times)
    trusted = draw(st.booleans())
    return Link(
        a=a, b=b, first_ms=at, first_event=f"e{at}", source="web",
        trusted_ms=at if trusted else NEVER, last_ms=at,
    )  # fmt: skip


@st.composite
def must_links(draw: st.DrawFn) -> MustLink:
    a, b = draw(pairs)
    at = draw(times)
    return MustLink(a=a, b=b, first_ms=at, first_event=f"e{at}", source="crm")


@st.composite
def keep_aparts(draw: st.DrawFn) -> list[KeepApart]:
    if draw(st.booleans()):
        return []
    chosen: list[Node] = draw(st.lists(nodes, min_size=2, max_size=5, unique=True))
    cut = draw(st.integers(1, len(chosen) - 1))
    return [KeepApart(id="k1", groups=(frozenset(chosen[:cut]), frozenset(chosen[cut:])))]


batches = st.lists(
    st.tuples(st.lists(links(), max_size=6), st.lists(must_links(), max_size=1)), max_size=8
)
