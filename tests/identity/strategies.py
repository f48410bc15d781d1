"""Evidence as Hypothesis makes it: few identifiers, so that limits, hubs and conflicts are common."""

import msgspec
from hypothesis import strategies as st

from identity.evidence import NEVER, KeepApart, Link, Match, MustLink, pair
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


def told(kind: str, a: Node, b: Node, at: int) -> str:
    """The id of the one event that says something at a time: a gateway gives no two the same."""
    return f"{kind} {at} {NODES.index(a)} {NODES.index(b)}"


@st.composite
def links(draw: st.DrawFn) -> Link:
    a, b = draw(pairs)
    at = draw(times)
    trusted = draw(st.booleans())
    event = told("trusted" if trusted else "event", a, b, at)
    return Link(
        a=a, b=b, first_ms=at, first_event=event, source="web",
        trusted_ms=at if trusted else NEVER, last_ms=at,
    )  # fmt: skip


@st.composite
def must_links(draw: st.DrawFn) -> MustLink:
    a, b = draw(pairs)
    at = draw(times)
    return MustLink(a=a, b=b, first_ms=at, first_event=told("alias", a, b, at), source="crm")


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


class Step(msgspec.Struct, frozen=True):
    """Something that happens to the evidence: a batch, or what an operator or a model does."""

    kind: str
    """`batch`, `match`, `keep_apart`, `release`, `retract`, `block`, `unblock` or `erase`."""
    links: tuple[Link, ...] = ()
    must_links: tuple[MustLink, ...] = ()
    match: Match | None = None
    decision: KeepApart | None = None
    chosen: int = 0
    """Which of the things that exist, counted round."""


@st.composite
def steps(draw: st.DrawFn) -> Step:
    kind = draw(
        st.sampled_from(
            ["batch"] * 6
            + ["match", "keep_apart", "release", "retract", "block", "unblock", "erase"]
        )
    )
    chosen = draw(st.integers(0, 30))
    if kind == "batch":
        some = draw(st.lists(links(), max_size=6))
        return Step("batch", tuple(some), tuple(draw(st.lists(must_links(), max_size=1))))
    if kind == "match":
        a, b = draw(pairs)
        probability = draw(st.sampled_from([0.6, 0.9]))
        return Step("match", match=Match(a=a, b=b, probability=probability, first_ms=draw(times)))
    if kind == "keep_apart":
        split: list[Node] = draw(st.lists(nodes, min_size=2, max_size=4, unique=True))
        cut = draw(st.integers(1, len(split) - 1))
        decision = KeepApart(
            id=f"k{chosen}", groups=(frozenset(split[:cut]), frozenset(split[cut:]))
        )
        return Step("keep_apart", decision=decision)
    return Step(kind, chosen=chosen)
