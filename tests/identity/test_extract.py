"""What one event says about who is who (DESIGN §3.1)."""

import hashlib
import hmac
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from identity.event import TYPES, Event, Source
from identity.evidence import NEVER
from identity.extract import LOGOUT, Extract, Extractor
from identity.nodes import Node, NodeHasher, names_device
from identity.resolve import Evidence, resolve
from identity.rules import Rules

NOON = 1_790_000_000_000
HASHER = NodeHasher(b"k" * 32)
RULES = Rules(external_ids=("crm_id", "loyalty_card"))
EXTRACTOR = Extractor(RULES, HASHER)
WEB = Source(name="web")
CRM = Source(name="crm", trusted=True)
PROVING = Source(name="app", user_hash_secret="s3cret")
node = HASHER.node


def event(type_name: str = "track", **fields: Any) -> Event:
    return Event(
        type=type_name, message_id="m1", received_ms=NOON, time_ms=NOON - 5, key_ms=NOON,
        source=fields.pop("source", "web"), **fields,
    )  # fmt: skip


def extract(source: Source = WEB, type_name: str = "track", **fields: Any) -> Extract:
    return EXTRACTOR.extract(event(type_name, source=source.name, **fields), source)


def hash_of(user_id: str) -> str:
    return hmac.new(b"s3cret", user_id.encode(), hashlib.sha256).hexdigest()


def links(found: Extract) -> set[tuple[Node, Node]]:
    return {(link.a, link.b) for link in found.links}


def both(a: Node, b: Node) -> tuple[Node, Node]:
    return min(a, b), max(a, b)


def test_a_known_visitor_is_stored_under_the_user_and_uses_the_device() -> None:
    found = extract(user_id="asha", anonymous_id="b1")
    assert found.leaf == found.person == node("user_id", "asha")
    assert found.device == node("anonymous_id", "b1")
    assert found.links == ()
    (use,) = found.uses
    assert (use.device, use.person) == (found.device, found.person)
    assert (use.first_ms, use.last_ms, use.hour) == (NOON - 5, NOON - 5, (NOON - 5) // 3_600_000)


def test_an_anonymous_page_is_stored_under_its_device_and_says_nothing_of_people() -> None:
    found = extract(type_name="page", anonymous_id="b1")
    assert found.leaf == found.device == node("anonymous_id", "b1")
    assert found.person is None
    assert (found.links, found.uses, found.companions) == ((), (), ())


def test_an_event_that_names_nobody_has_no_leaf_and_says_why() -> None:
    found = extract(user_id="null", anonymous_id="undefined")
    assert found.leaf is None
    assert found.ignored == (("user_id", "blocked"), ("anonymous_id", "blocked"))
    assert "null" not in [text for pair in found.ignored for text in pair]


def test_links_form_a_star_around_the_highest_person_identifier() -> None:
    found = extract(
        type_name="identify", user_id="asha",
        traits={"email": "A@x.com", "phone": "9876543210"}, external_ids=(("crm_id", "7"),),
    )  # fmt: skip
    hub = node("user_id", "asha")
    others = [node("email", "a@x.com"), node("phone", "+919876543210"), node("crm_id", "7")]
    assert links(found) == {both(hub, other) for other in others}
    assert all(link.first_ms == NOON and link.trusted_ms == NEVER for link in found.links)


def test_without_a_user_id_the_star_is_around_the_email() -> None:
    found = extract(traits={"email": "a@x.com", "phone": "9876543210"}, anonymous_id="b1")
    assert found.leaf == node("email", "a@x.com")
    assert links(found) == {both(node("email", "a@x.com"), node("phone", "+919876543210"))}


def test_an_email_in_properties_may_be_a_friends() -> None:
    found = extract(user_id="asha", properties={"email": "ravi@x.com", "phone": "9876543211"})
    assert [identifier.type for identifier, _ in found.identifiers] == ["user_id"]


def test_only_configured_external_ids_name_people() -> None:
    found = extract(user_id="asha", external_ids=(("crm_id", "7"), ("intercom", "z")))
    assert [identifier.type for identifier, _ in found.identifiers] == ["user_id", "crm_id"]


def test_the_events_own_user_id_comes_before_one_among_the_external_ids() -> None:
    for other in ("ravi", "zoya", "abc", "u9"):
        assert extract(user_id="asha", external_ids=(("user_id", other),)).leaf == node(
            "user_id", "asha"
        )


def test_a_trusted_source_is_noted_in_the_link() -> None:
    (link,) = extract(CRM, user_id="asha", traits={"email": "a@x.com"}).links
    assert (link.trusted_ms, link.source, link.first_event) == (NOON, "crm", "m1")
    assert link.last_ms % 86_400_000 == 0


def test_the_device_is_the_one_that_outlives_a_reinstallation() -> None:
    found = extract(device_id="d1", anonymous_id="a1", ga_client_id="g1", advertising_id="ad")
    assert found.leaf == found.device == node("device_id", "d1")
    assert len(found.companions) == 6


def test_an_advertising_id_is_a_companion_only() -> None:
    alone = extract(advertising_id="ad")
    assert (alone.leaf, alone.device, alone.uses) == (None, None, ())
    used = extract(user_id="asha", advertising_id="ad", anonymous_id="a1")
    assert [use.device for use in used.uses] == [node("anonymous_id", "a1")]
    assert {c.with_node for c in used.companions} == {node("advertising_id", "ad")}


def test_a_logout_ends_the_use_of_every_device_it_names() -> None:
    found = extract(name="Signed Out", anonymous_id="b1", user_id="asha")
    assert [use.person for use in found.uses] == [node("user_id", "asha"), LOGOUT]
    assert [use.person for use in extract(name="logout", anonymous_id="b1").uses] == [LOGOUT]
    assert extract(type_name="page", name="logout", anonymous_id="b1").uses == ()


def test_an_alias_of_the_messages_own_browser_is_a_use() -> None:
    found = extract(CRM, "alias", user_id="asha", previous_id="b1", anonymous_id="b1")
    assert (found.links, found.must_links) == ((), ())
    assert [(use.device, use.person) for use in found.uses] == [
        (node("anonymous_id", "b1"), node("user_id", "asha"))
    ]


def test_a_source_may_say_that_its_aliases_name_browsers() -> None:
    source = Source(name="old", trusted=True, alias_previous_is_device=True)
    found = extract(source, "alias", user_id="asha", previous_id="b1", advertising_id="ad")
    assert found.must_links == ()
    assert found.device == node("anonymous_id", "b1")
    assert [use.device for use in found.uses] == [node("anonymous_id", "b1")]


def test_an_alias_of_a_user_id_joins_from_a_back_end_and_is_a_claim_from_a_browser() -> None:
    ends = both(node("user_id", "asha"), node("user_id", "lead-7"))
    trusted = extract(CRM, "alias", user_id="asha", previous_id="lead-7")
    assert [(must.a, must.b) for must in trusted.must_links] == [ends]
    assert trusted.links == ()
    claimed = extract(WEB, "alias", user_id="asha", previous_id="lead-7")
    assert claimed.must_links == ()
    assert links(claimed) == {ends}


def test_an_alias_of_oneself_or_of_nobody_says_nothing() -> None:
    for fields in (
        {"user_id": "asha", "previous_id": "asha"},
        {"user_id": "asha", "previous_id": "null"},
        {"user_id": "", "previous_id": "lead-7", "anonymous_id": "b1"},
    ):
        found = extract(CRM, "alias", **fields)
        assert (found.links, found.must_links) == ((), ())


def test_a_previous_id_counts_in_an_alias_only() -> None:
    assert extract(CRM, "track", user_id="asha", previous_id="lead-7").must_links == ()


def test_a_merge_names_two_identifiers_of_one_person() -> None:
    ids = (("email", "A@x.com"), ("crm_id", "7"))
    ends = both(node("email", "a@x.com"), node("crm_id", "7"))
    told = extract(CRM, "merge", merge_ids=ids)
    assert [(must.a, must.b) for must in told.must_links] == [ends]
    assert told.leaf == node("email", "a@x.com")
    claimed = extract(WEB, "merge", merge_ids=ids, user_id="operator")
    assert links(claimed) == {ends}
    assert claimed.leaf == node("user_id", "operator")


@pytest.mark.parametrize("user_hash", ["", "0" * 64, "é", hash_of("ravi"), hash_of("")])
def test_a_claim_without_its_proof_links_nothing_and_stays_with_the_device(user_hash: str) -> None:
    found = extract(
        PROVING, "identify", user_id="asha", user_hash=user_hash,
        traits={"email": "a@x.com"}, anonymous_id="b1",
    )  # fmt: skip
    assert found.leaf == node("anonymous_id", "b1")
    assert (found.person, found.links, found.uses) == (None, (), ())
    assert found.ignored == (("user_id", "not verified"), ("email", "not verified"))
    assert [identifier.type for identifier, _ in found.identifiers] == ["anonymous_id"]


def test_a_proven_user_is_believed() -> None:
    found = extract(
        PROVING, user_id="asha", user_hash=hash_of("asha").upper(), traits={"email": "a@x.com"}
    )
    assert found.leaf == node("user_id", "asha")
    assert len(found.links) == 1


def test_a_proof_of_nobody_proves_no_email() -> None:
    for user_id in ("", "guest"):
        found = extract(
            PROVING, user_id=user_id, user_hash=hash_of(user_id), traits={"email": "a@x.com"}
        )
        assert found.leaf is None


def test_a_proof_proves_the_user_id_alone_so_it_leads_whatever_the_priority() -> None:
    extractor = Extractor(Rules(person_priority=("email", "user_id", "phone")), HASHER)
    fields: dict[str, Any] = {"user_id": "mallory", "traits": {"email": "victim@x.com"}}
    found = extractor.extract(event(**fields, user_hash=hash_of("mallory")), PROVING)
    assert found.leaf == node("user_id", "mallory")
    assert extractor.extract(event(**fields), WEB).leaf == node("email", "victim@x.com")


def test_an_unproven_alias_or_merge_says_nothing() -> None:
    source = Source(name="crm", trusted=True, user_hash_secret="s3cret")
    alias = extract(source, "alias", user_id="asha", previous_id="lead-7", anonymous_id="b1")
    merge = extract(source, "merge", merge_ids=(("email", "a@x.com"), ("crm_id", "7")))
    for found in (alias, merge):
        assert (found.links, found.must_links, found.person) == ((), (), None)


texts = st.one_of(
    st.sampled_from(["", "asha", "ravi", "b1", "null", "0", "a@x.com", " ASHA "]),
    st.text(max_size=5),
)
values: st.SearchStrategy[Any] = st.one_of(
    texts, st.none(), st.booleans(), st.integers(), st.floats(), st.lists(st.none(), max_size=1),
    st.sampled_from(["a@x.com", "b@x.com", "9876543210", "+919876543211"]),
)  # fmt: skip
typed = st.tuples(
    st.sampled_from(["crm_id", "email", "user_id", "anonymous_id", "device_id", "x"]), texts
)
events = st.builds(
    event,
    st.sampled_from(TYPES),
    user_id=texts, anonymous_id=texts, previous_id=texts, device_id=texts, advertising_id=texts,
    ga_client_id=texts, user_hash=texts, name=st.sampled_from(["logout", "Viewed"]),
    external_ids=st.lists(typed, max_size=3).map(tuple),
    merge_ids=st.lists(typed, max_size=3).map(tuple),
    traits=st.dictionaries(st.sampled_from(["email", "phone", "name"]), values),
)  # fmt: skip
sources = st.sampled_from([WEB, CRM, PROVING, Source(name="o", alias_previous_is_device=True)])


@given(st.lists(st.tuples(events, sources), max_size=8))
def test_a_device_never_joins_anybody(some: list[tuple[Event, Source]]) -> None:
    found = [EXTRACTOR.extract(each, source) for each, source in some]
    evidence = Evidence(
        links=[link for each in found for link in each.links],
        must_links=[must for each in found for must in each.must_links],
    )
    for link in (*evidence.links, *evidence.must_links):
        assert link.a < link.b  # type: ignore[attr-defined]
        assert not any(map(names_device, (link.a, link.b)))  # type: ignore[attr-defined]
    for cluster in resolve(evidence, RULES).clusters:
        assert not any(map(names_device, cluster.members))


@given(events, sources)
def test_an_extract_holds_together_and_repeats(each: Event, source: Source) -> None:
    found = EXTRACTOR.extract(each, source)
    assert found == Extractor(RULES, NodeHasher(b"k" * 32)).extract(each, source)
    named = {named_node for _, named_node in found.identifiers}
    assert found.leaf == (found.person or found.device)
    assert {found.leaf, found.person, found.device} <= named | {None}
    said = {end for link in (*found.links, *found.must_links) for end in (link.a, link.b)}  # type: ignore[attr-defined]
    assert said <= named
    assert all(use.person in (found.person, LOGOUT) for use in found.uses)
    assert all(names_device(use.device) for use in found.uses)
    assert {node(i.type, i.value) for i, _ in found.identifiers} == named


@given(events, st.sampled_from(["user_id", "email", "crm_id"]), texts)
def test_an_unproven_event_never_reaches_a_person(each: Event, type_name: str, text: str) -> None:
    found = EXTRACTOR.extract(each, PROVING)
    assert found.leaf is None or names_device(found.leaf)
    assert not found.links
    assert not found.must_links
