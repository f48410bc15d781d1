"""`DecisionService`: operators merge, split and undo people, and others hear of it."""

import threading
from collections.abc import Iterator
from itertools import islice

import grpc
import pytest

from profiles.segments.catalogue import Edit, Put
from service.pb.onefold.v1 import common_pb2, identity_service_pb2
from service.pb.onefold.v1 import decision_service_pb2 as pb
from service.rpc import limits
from tests.service.conftest import TIMEOUT_S, Api, who
from tests.service.refusals import read, refused
from tests.workspace import MINUTE, NOON


@pytest.fixture
def couple(api: Api) -> Api:
    """Asha and Ravi, who share an e-mail: it is Asha's, who named it first."""
    api.shop.see(type="identify", user="asha", traits={"email": "home@x.in"}, messageId="evt1")
    api.shop.see(
        type="identify",
        user="ravi",
        traits={"email": "home@x.in"},
        at=NOON + MINUTE,
        messageId="evt2",
    )
    api.shop.see(user="ravi", view="tea")
    api.now_ms = NOON + MINUTE * 5
    return api


def merge(*users: str) -> pb.DecisionAction:
    return pb.DecisionAction(merge=pb.MergeAction(lookups=[who(user_id=user) for user in users]))


def split(*users: str) -> pb.DecisionAction:
    sides = [pb.SplitSide(lookups=[who(user_id=user)]) for user in users]
    return pb.DecisionAction(split=pb.SplitAction(sides=sides))


def make(
    api: Api, action: pb.DecisionAction, decision_id: str = "", reason: str = "they called"
) -> pb.MakeDecisionResponse:
    request = pb.MakeDecisionRequest(
        action=action, operator="meera", reason=reason, decision_id=decision_id
    )
    return api.decisions.MakeDecision(request, timeout=TIMEOUT_S)


def preview(api: Api, action: pb.DecisionAction) -> pb.PreviewDecisionResponse:
    return api.decisions.PreviewDecision(
        pb.PreviewDecisionRequest(action=action), timeout=TIMEOUT_S
    )


def people(api: Api) -> dict[str, str]:
    return {
        user: found.profile.id.hex()
        for user in ("asha", "ravi")
        if (found := api.shop.find(user_id=user))
    }


def test_a_merge_makes_one_person_of_two_whatever_limits_say(couple: Api) -> None:
    was = people(couple)
    planned = preview(couple, merge("asha", "ravi"))
    assert people(couple) == was, "a preview writes nothing"
    made = make(couple, merge("asha", "ravi"), "d1")

    assert [each.kind for each in planned.changes] == [pb.PERSON_CHANGE_KIND_MERGED]
    assert planned.largest == 3
    assert list(planned.limits_exceeded) == ["user_id: 2, limit 1"]
    assert dict(planned.accepted) == {"limit:user_id": 1}
    assert len(set(people(couple).values())) == 1
    assert couple.shop.profile(user_id="asha").events == 3
    assert made.decision.id == "d1"
    assert [each.kind for each in made.changes] == [pb.PERSON_CHANGE_KIND_MERGED]
    assert list(made.changes[0].because) == ["d1"]
    assert list(made.decision.change_ids) == [made.changes[0].id]
    assert [list(each.identifier_ids) for each in made.changes[0].after] == [
        list(each.identifier_ids) for each in planned.changes[0].after
    ]


def test_undoing_a_merge_gives_back_exactly_what_was(couple: Api) -> None:
    was = couple.shop.everything()
    merged = make(couple, merge("asha", "ravi"))
    undo = pb.DecisionAction(undo=pb.UndoAction(change_id=merged.changes[0].id))
    undone = make(couple, undo)

    now = couple.shop.everything()
    assert {key: now[key] for key in ("people", "profiles", "links")} == {
        key: was[key] for key in ("people", "profiles", "links")
    }
    assert undone.decision.undoes == merged.changes[0].id
    assert refused(lambda: make(couple, undo)).reason == "DECISION_REFUSED"
    # Whoever merged them is kept apart now, until the undoing is taken back.
    couple.now_ms += MINUTE
    assert refused(lambda: make(couple, merge("asha", "ravi"))).reason == "DECISION_REFUSED"
    back = pb.DecisionAction(retract=pb.RetractAction(decision_id=undone.decision.id))
    again = make(couple, back)
    assert [each.kind for each in again.changes] == [pb.PERSON_CHANGE_KIND_MERGED]
    assert again.changes[0].id != merged.changes[0].id
    assert again.decision.retraction.operator == "meera"
    assert len(set(people(couple).values())) == 1


def test_undoing_what_an_event_joined_keeps_the_two_apart_for_good(api: Api) -> None:
    api.shop.see(type="identify", user="asha", traits={"email": "a@x.in"})
    (created,) = api.decisions.ListPersonChanges(
        pb.ListPersonChangesRequest(lookup=who(user_id="asha")), timeout=TIMEOUT_S
    ).changes
    make(api, pb.DecisionAction(undo=pb.UndoAction(change_id=created.id)))
    api.shop.see(type="identify", user="asha", traits={"email": "a@x.in"}, at=NOON + MINUTE)

    assert created.kind == pb.PERSON_CHANGE_KIND_CREATED
    assert api.shop.find(user_id="asha") is not None
    one, other = (api.shop.find(user_id="asha"), api.shop.find(email="a@x.in"))
    assert one is not None
    assert other is None or one.profile.id != other.profile.id
    # The id that was the person's still answers.
    old = common_pb2.Lookup(profile_id=created.after[0].profile_id)
    (result,) = api.identity.BatchResolve(
        identity_service_pb2.BatchResolveRequest(lookups=[old]), timeout=TIMEOUT_S
    ).results
    assert result.match.profile_id


def test_a_recycled_email_goes_to_its_new_owner(couple: Api) -> None:
    action = pb.DecisionAction(
        split=pb.SplitAction(
            sides=[
                pb.SplitSide(lookups=[who(user_id="asha")]),
                pb.SplitSide(lookups=[who(email="home@x.in")]),
            ]
        )
    )
    make(couple, action)
    assert couple.shop.profile(email="home@x.in").id.hex() == people(couple)["ravi"]
    assert people(couple)["asha"] != people(couple)["ravi"]


def test_a_blocked_identifier_names_nobody_any_more(couple: Api) -> None:
    action = pb.DecisionAction(block=pb.BlockAction(lookup=who(email="home@x.in")))
    blocked = make(couple, action)
    assert blocked.changes[0].kind == pb.PERSON_CHANGE_KIND_SPLIT
    couple.shop.see(type="identify", user="asha", traits={"email": "home@x.in"}, at=NOON + MINUTE)
    assert len(couple.shop.profile(user_id="asha").members) == 1
    make(couple, pb.DecisionAction(retract=pb.RetractAction(decision_id=blocked.decision.id)))
    assert len(couple.shop.profile(user_id="asha").members) == 2


def test_the_same_decision_id_is_the_same_decision(couple: Api) -> None:
    first = make(couple, merge("asha", "ravi"), "d1")
    again = make(couple, merge("asha", "ravi"), "d1", reason="another one")
    assert again.decision == first.decision
    assert again.changes == first.changes
    assert len(couple.decisions.ListDecisions(pb.ListDecisionsRequest()).decisions) == 1


def test_decisions_are_listed_newest_first_in_pages(couple: Api) -> None:
    for number in range(3):
        couple.now_ms += MINUTE
        make(couple, merge("asha", "ravi"), f"d{number}")
    page = couple.decisions.ListDecisions(pb.ListDecisionsRequest(page_size=2))
    rest = couple.decisions.ListDecisions(
        pb.ListDecisionsRequest(page_size=2, page_token=page.next_page_token)
    )
    assert [each.id for each in (*page.decisions, *rest.decisions)] == ["d2", "d1", "d0"]
    assert not rest.next_page_token
    assert page.decisions[0].operator == "meera"
    values = {each.value for group in page.decisions[0].groups for each in group.identifiers}
    assert values == {"asha", "ravi"}


@pytest.mark.parametrize(
    ("request_", "fields"),
    [
        (pb.MakeDecisionRequest(), ["operator", "reason"]),
        (pb.MakeDecisionRequest(operator="m", reason="r", decision_id="a b"), ["decision_id"]),
        (pb.MakeDecisionRequest(operator="m", reason="r" * 2001), ["reason"]),
        (pb.MakeDecisionRequest(operator="m", reason="r"), ["action"]),
        (
            pb.MakeDecisionRequest(operator="m", reason="r", action=merge("asha")),
            ["action.merge.lookups"],
        ),
        (
            pb.MakeDecisionRequest(
                operator="m",
                reason="r",
                action=pb.DecisionAction(
                    split=pb.SplitAction(sides=[pb.SplitSide(), pb.SplitSide()])
                ),
            ),
            ["action.split.sides[0].lookups"],
        ),
    ],
)
def test_what_is_missing_is_named(
    couple: Api, request_: pb.MakeDecisionRequest, fields: list[str]
) -> None:
    assert refused(lambda: couple.decisions.MakeDecision(request_)).fields == fields


def test_decisions_that_make_no_sense_are_refused(couple: Api) -> None:
    couple.shop.see(browser="b1", user="asha")
    device = pb.DecisionAction(
        merge=pb.MergeAction(lookups=[who(user_id="asha"), who(anonymous_id="b1")])
    )
    undo = pb.DecisionAction(undo=pb.UndoAction(change_id="none"))
    said = {
        name: refused(lambda: make(couple, action)).reason  # noqa: B023
        for name, action in {
            "oneself": merge("asha", "asha"),
            "device": device,
            "nobody": merge("asha", "ghost"),
            "no change": undo,
            "both sides": split("asha", "asha"),
        }.items()
    }
    assert said == {
        "oneself": "DECISION_REFUSED",
        "device": "DECISION_REFUSED",
        "nobody": "PROFILE_NOT_FOUND",
        "no change": "DECISION_NOT_FOUND",
        "both sides": "DECISION_REFUSED",
    }


def watch(api: Api, token: str = "", from_now: bool = False) -> Iterator[pb.WatchChangesResponse]:
    stream = api.decisions.WatchChanges(
        pb.WatchChangesRequest(resume_token=token, from_now=from_now), timeout=TIMEOUT_S
    )
    yield from (reply for reply in stream if reply.HasField("change"))


def test_followers_hear_of_every_change_and_go_on_where_they_were(couple: Api) -> None:
    seen = list(islice(watch(couple), 2))
    assert [each.change.kind for each in seen] == [
        pb.PERSON_CHANGE_KIND_CREATED,
        pb.PERSON_CHANGE_KIND_CONFLICT,
    ]
    assert seen[1].change.rule == "limit:user_id"
    assert list(seen[1].change.because) == ["evt2"]
    later = threading.Timer(0.3, lambda: make(couple, merge("asha", "ravi")))
    later.start()
    (heard,) = islice(watch(couple, seen[-1].resume_token), 1)
    later.join()
    assert heard.change.kind == pb.PERSON_CHANGE_KIND_MERGED


def test_followers_hear_whose_a_browser_becomes(couple: Api) -> None:
    couple.shop.see(browser="b1", user="asha", at=NOON, messageId="login1")
    couple.shop.see(browser="b1", user="ravi", at=NOON + 60 * MINUTE, messageId="login2")
    owned = [
        each.change
        for each in islice(watch(couple), 4)
        if each.change.kind == pb.PERSON_CHANGE_KIND_OWNERSHIP
    ]
    was = people(couple)
    assert [[side.profile_id for side in each.before] for each in owned] == [[], [was["asha"]]]
    assert [[side.profile_id for side in each.after] for each in owned] == [
        [was["asha"]],
        [was["ravi"]],
    ]
    assert [list(each.because) for each in owned] == [["login1"], ["login2"]]
    listed = couple.decisions.ListPersonChanges(
        pb.ListPersonChangesRequest(lookup=who(anonymous_id="b1")), timeout=TIMEOUT_S
    ).changes
    assert list(listed) == owned[::-1]
    assert len({each.device_id for each in owned}) == 1


def test_a_preview_says_whose_devices_would_be_somebody_elses(couple: Api) -> None:
    couple.shop.see(browser="b1", user="asha", at=NOON)
    couple.shop.see(browser="b2", user="ravi", at=NOON)
    couple.shop.see(browser="b3", user="meera", at=NOON)
    couple.now_ms += 60 * MINUTE
    planned = preview(couple, merge("asha", "ravi"))
    assert not preview(couple, split("asha", "meera")).ownerships
    told = couple.shop.store.changes.history(0, 100)
    make(couple, merge("asha", "ravi"))
    (became,) = (
        each.change
        for each in couple.shop.store.changes.history(told[-1].position, 100)
        if each.change.device
    )

    (would,) = planned.ownerships
    assert would.kind == pb.PERSON_CHANGE_KIND_OWNERSHIP
    assert would.device_id == (became.device or b"").hex()
    for said, heard in ((would.before, became.before), (would.after, became.after)):
        assert [side.profile_id for side in said] == [side.profile_id.hex() for side in heard]


def test_a_stream_from_now_on_begins_with_what_comes(couple: Api) -> None:
    later = threading.Timer(0.5, lambda: make(couple, merge("asha", "ravi")))
    later.start()
    (heard,) = islice(watch(couple, from_now=True), 1)
    later.join()
    assert heard.change.kind == pb.PERSON_CHANGE_KIND_MERGED


def test_streams_leave_workers_to_other_calls(couple: Api) -> None:
    streams = [
        couple.decisions.WatchChanges(pb.WatchChangesRequest(from_now=True), timeout=TIMEOUT_S)
        for _ in range(limits.WATCHERS_MAX)
    ]
    try:
        for stream in streams:
            assert not next(stream).HasField("change")
        said = refused(lambda: next(couple.decisions.WatchChanges(pb.WatchChangesRequest())))
        assert said.reason == "TOO_MANY_STREAMS"
        assert preview(couple, merge("asha", "ravi")).changes
    finally:
        for stream in streams:
            stream.cancel()


def test_a_stream_ends_when_the_server_leaves(couple: Api) -> None:
    stream = couple.decisions.WatchChanges(pb.WatchChangesRequest(from_now=True), timeout=TIMEOUT_S)
    next(stream)
    ending = threading.Thread(target=couple.server.fall_silent)
    ending.start()
    with pytest.raises(grpc.RpcError) as ended:
        next(stream)
    ending.join()
    assert read(ended.value).reason == "SERVER_LEAVING"


def test_a_token_of_another_workspace_is_refused(couple: Api) -> None:
    said = refused(
        lambda: next(couple.decisions.WatchChanges(pb.WatchChangesRequest(resume_token="x")))
    )
    assert said.fields == ["resume_token"]


def test_a_preview_says_which_segments_would_gain_and_lose(api: Api) -> None:
    edit = Edit(
        revision=1, time_ms=NOON, author="asha",
        put=(Put("loyal", {"name": "Loyal", "event": "Order Completed", "count": {"at_least": 2}}),
             Put("new", {"name": "New", "event": "Order Completed", "count": {"at_most": 1}})),
    )  # fmt: skip
    assert api.shop.store.definitions.append(edit)
    api.shop.segments.fill()
    for user in ("asha", "a-old"):
        api.shop.see(user=user, event="Order Completed")
    action = pb.DecisionAction(
        merge=pb.MergeAction(lookups=[who(user_id="asha"), who(user_id="a-old")])
    )
    reply = api.decisions.PreviewDecision(pb.PreviewDecisionRequest(action=action))
    assert dict(reply.segments_gained) == {"loyal": 1}
    assert dict(reply.segments_lost) == {"new": 2}
