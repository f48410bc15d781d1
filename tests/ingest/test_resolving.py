"""Bulk resolution gives what `identity.resolve.resolve` gives, for any evidence."""

from hypothesis import given, settings
from hypothesis import strategies as st

from identity.evidence import NEVER, KeepApart, Link, Match, MustLink, pair
from identity.nodes import Node
from identity.resolve import Evidence, Resolution, resolve
from identity.rules import Rules
from ingest.numbering import as_read, number_all
from ingest.resolving import resolve_all
from tests.identity.strategies import EMAILS, NODES, RULES, hasher

DEVICES = [hasher.node("anonymous_id", f"d{n}") for n in range(3)]
CRM = [hasher.node("crm_id", f"c{n}") for n in range(4)]
TWINS = [Node(EMAILS[0][:8] + bytes([0x80 | n]) + EMAILS[0][9:]) for n in range(4)]
"""E-mails that begin alike in their first eight bytes."""
EVERYBODY = [*NODES, *DEVICES, *CRM, *TWINS]

rules = st.builds(
    Rules,
    external_ids=st.sampled_from([(), ("crm_id",)]),
    person_priority=st.sampled_from([("user_id", "email", "phone"), ("phone", "email")]),
    limits=st.sampled_from([{}, {"email": 1}, {"crm_id": 3, "user_id": 3}, {"phone": 0}]),
    limit_default=st.integers(1, 3),
    limit_user_id=st.integers(1, 2),
    members_max=st.integers(1, 8),
    fanout_max=st.integers(1, 5),
    fanout_max_user=st.integers(1, 8),
)

anybody = st.sampled_from(EVERYBODY)
pairs = st.tuples(anybody, anybody).filter(lambda ends: ends[0] != ends[1]).map(lambda e: pair(*e))
times = st.integers(0, 12)


@st.composite
def links(draw: st.DrawFn) -> Link:
    a, b = draw(pairs)
    trusted = draw(st.one_of(st.just(NEVER), times))
    return Link(
        a=a, b=b, first_ms=draw(times), first_event="e", source="web", trusted_ms=trusted, last_ms=1
    )


@st.composite
def must_links(draw: st.DrawFn) -> MustLink:
    a, b = draw(pairs)
    event = draw(st.sampled_from(["m1", "m2", "m3"]))
    return MustLink(a=a, b=b, first_ms=draw(times), first_event=event, source="crm")


@st.composite
def matches(draw: st.DrawFn) -> Match:
    a, b = draw(pairs)
    return Match(a=a, b=b, first_ms=draw(times), probability=draw(st.sampled_from([0.6, 0.9])))


@st.composite
def keep_aparts(draw: st.DrawFn) -> KeepApart:
    chosen: list[Node] = draw(st.lists(anybody, min_size=2, max_size=6, unique=True))
    cuts = sorted(draw(st.sets(st.integers(1, len(chosen) - 1), min_size=1, max_size=2)))
    groups = [chosen[start:end] for start, end in zip([0, *cuts], [*cuts, None], strict=True)]
    return KeepApart(id=draw(st.sampled_from(["k1", "k2"])), groups=tuple(map(frozenset, groups)))


evidences = st.builds(
    Evidence,
    links=st.lists(links(), max_size=40),
    must_links=st.lists(must_links(), max_size=6),
    keep_apart=st.lists(keep_aparts(), max_size=2, unique_by=lambda each: each.id),
    matches=st.lists(matches(), max_size=4),
    blocked=st.frozensets(anybody, max_size=2),
    retracted=st.frozensets(st.sampled_from(["m1", "k1"]), max_size=1),
)


def in_bulk(evidence: Evidence, by: Rules = RULES, processes: int | None = None) -> Resolution:
    read = as_read(evidence)
    nodes, (left, right) = number_all(read.ends())
    return resolve_all(nodes, read.told(left, right), by, processes=processes).resolution()


@settings(max_examples=1500)
@given(evidences, rules)
def test_in_bulk_people_are_those_that_resolve_gives(evidence: Evidence, by: Rules) -> None:
    assert in_bulk(evidence, by) == resolve(evidence, by)
