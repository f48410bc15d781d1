"""`IdentityService`: who is who, and why."""

from typing import Any

import grpc

from service.pb.onefold.v1 import common_pb2
from service.pb.onefold.v1 import identity_service_pb2 as pb
from service.rpc import limits
from tests.service.conftest import TIMEOUT_S, Api, who
from tests.service.refusals import refused
from tests.workspace import MINUTE, NOON


def identify(api: Api, user: str, email: str, at: int = NOON, **fields: Any) -> None:
    api.shop.see(type="identify", user=user, traits={"email": email}, at=at, **fields)


def explain(api: Api, **identifiers: str) -> pb.ExplainIdentityResponse:
    return api.identity.ExplainIdentity(
        pb.ExplainIdentityRequest(lookup=who(**identifiers)), timeout=TIMEOUT_S
    )


def test_a_batch_says_whom_each_lookup_means(api: Api) -> None:
    identify(api, "asha", "asha@example.com")
    api.shop.see(browser="b1", user="asha")
    lookups = [
        who(email="asha@example.com"), who(user_id="asha"), who(anonymous_id="b1"),
        who(user_id="ghost"), who(hat="9"), who(),
    ]  # fmt: skip
    results = api.identity.BatchResolve(
        pb.BatchResolveRequest(lookups=lookups), timeout=TIMEOUT_S
    ).results

    assert len({result.match.profile_id for result in results[:3]}) == 1
    assert [result.match.answered_by for result in results[:3]] == [
        common_pb2.ANSWER_PERSON, common_pb2.ANSWER_PERSON, common_pb2.ANSWER_DEVICE_OWNER,
    ]  # fmt: skip
    assert [len(result.identifier_ids) for result in results] == [2, 2, 2, 0, 0, 0]
    assert [result.error.code for result in results[3:]] == [
        common_pb2.EntryError.CODE_NOT_FOUND,
        common_pb2.EntryError.CODE_INVALID,
        common_pb2.EntryError.CODE_INVALID,
    ]
    assert "identifiers[0].type" in results[4].error.message


def test_a_batch_over_the_limit_is_refused(api: Api) -> None:
    lookups = [who(user_id="asha")] * (limits.RESOLVES_MAX + 1)
    said = refused(lambda: api.identity.BatchResolve(pb.BatchResolveRequest(lookups=lookups)))
    assert said.fields == ["lookups"]


def test_a_whole_batch_is_answered(api: Api) -> None:
    for n in range(20):
        api.shop.see(user=f"u{n}")
    lookups = [who(user_id=f"u{n % 20}") for n in range(limits.RESOLVES_MAX)]
    results = api.identity.BatchResolve(
        pb.BatchResolveRequest(lookups=lookups), timeout=TIMEOUT_S
    ).results
    assert len({each.match.profile_id for each in results}) == 20


def test_an_explanation_names_the_links_that_made_a_person(api: Api) -> None:
    identify(api, "asha", "asha@example.com", messageId="evt1")
    identify(api, "asha", "asha@work.example", at=NOON + MINUTE, messageId="evt2")
    said = explain(api, email="asha@work.example")

    assert {(each.type, each.value) for each in said.identifiers} == {
        ("user_id", "asha"), ("email", "asha@example.com"), ("email", "asha@work.example"),
    }  # fmt: skip
    assert [(link.event_id, link.source, link.trusted) for link in said.links] == [
        ("evt1", "web", False), ("evt2", "web", False),
    ]  # fmt: skip
    first = said.links[0]
    assert {first.a.value, first.b.value} == {"asha", "asha@example.com"}
    assert first.kind == pb.IDENTITY_LINK_KIND_NAMED_TOGETHER
    assert first.first_time.ToMilliseconds() == NOON
    assert not said.conflicts


def test_an_explanation_says_what_was_not_joined_and_why(api: Api) -> None:
    identify(api, "asha", "family@example.com")
    identify(api, "ravi", "family@example.com", at=NOON + MINUTE)
    said = explain(api, user_id="ravi")

    (conflict,) = said.conflicts
    assert conflict.rule == "limit:user_id"
    assert {conflict.a.value, conflict.b.value} == {"ravi", "family@example.com"}
    assert conflict.since_time.ToMilliseconds() == NOON + MINUTE
    assert not said.links


def test_nobody_is_explained_who_is_unknown(api: Api) -> None:
    said = refused(lambda: explain(api, user_id="ghost"))
    assert (said.code, said.reason) == (grpc.StatusCode.NOT_FOUND, "PROFILE_NOT_FOUND")


def why(api: Api, one: dict[str, str], other: dict[str, str]) -> pb.ExplainIdentityResponse:
    request = pb.ExplainIdentityRequest(lookup=who(**one), other=who(**other))
    return api.identity.ExplainIdentity(request, timeout=TIMEOUT_S)


def test_two_identifiers_of_one_person_are_connected_by_a_chain(api: Api) -> None:
    identify(api, "asha", "asha@example.com", messageId="evt1")
    identify(api, "asha", "asha@work.example", at=NOON + MINUTE, messageId="evt2")
    said = why(api, {"email": "asha@example.com"}, {"email": "asha@work.example"})

    assert said.verdict == pb.IDENTITY_VERDICT_ONE_PERSON
    assert [each.event_id for each in said.chain] == ["evt1", "evt2"]
    assert said.chain[0].b.identifier_id == said.chain[1].a.identifier_id
    assert not said.obstacles


def test_two_people_are_told_what_keeps_them_two(api: Api) -> None:
    identify(api, "asha", "family@example.com")
    identify(api, "ravi", "family@example.com", at=NOON + MINUTE)
    api.shop.see(browser="b1", user="asha")
    api.shop.see(browser="b1", user="meera", at=NOON + MINUTE)
    limited = why(api, {"user_id": "asha"}, {"user_id": "ravi"})
    shared = why(api, {"user_id": "asha"}, {"user_id": "meera"})
    strangers = why(api, {"user_id": "ravi"}, {"user_id": "meera"})

    assert limited.verdict == shared.verdict == pb.IDENTITY_VERDICT_NOT_ONE_PERSON
    assert [each.rule for each in limited.obstacles] == ["limit:user_id"]
    assert [each.refused_by for each in limited.chain] == ["", "limit:user_id"]
    assert [each.rule for each in shared.obstacles] == ["device"]
    assert shared.obstacles[0].a.value == "b1"
    assert [each.rule for each in strangers.obstacles] == ["unconnected"]
    (listed,) = api.identity.ListConflicts(pb.ListConflictsRequest(), timeout=TIMEOUT_S).conflicts
    assert listed.id == limited.obstacles[0].conflict_id


def test_conflicts_are_listed_newest_first_in_pages_by_rule_and_counted(api: Api) -> None:
    for number in range(3):
        identify(api, f"a{number}", f"m{number}@example.com", at=NOON)
        identify(api, f"b{number}", f"m{number}@example.com", at=NOON + number * MINUTE)

    def page(token: str = "", **fields: Any) -> pb.ListConflictsResponse:
        request = pb.ListConflictsRequest(page_size=2, page_token=token, **fields)
        return api.identity.ListConflicts(request, timeout=TIMEOUT_S)

    first = page(counts=True)
    rest = page(first.next_page_token)
    times = [each.since_time.seconds for each in (*first.conflicts, *rest.conflicts)]
    assert len(times) == 3
    assert times == sorted(times, reverse=True)
    assert not rest.next_page_token
    assert dict(first.counts) == {"limit:user_id": 3}
    assert len(page(rule="limit").conflicts) == 2
    assert not page(rule="hub").conflicts
