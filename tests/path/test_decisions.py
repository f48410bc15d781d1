"""An operator's walk: look, decide, undo, take back; with the words a terminal shows."""

import base64
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from tests.path.conftest import Run

EVENTS = [
    {"type": "identify", "messageId": "evt1", "userId": "asha", "traits": {"email": "home@x.in"},
     "timestamp": "2026-11-01T10:00:00Z"},
    {"type": "identify", "messageId": "evt2", "userId": "ravi", "traits": {"email": "home@x.in"},
     "timestamp": "2026-11-02T10:00:00Z"},
    {"type": "track", "event": "Product Viewed", "anonymousId": "b1", "userId": "ravi",
     "timestamp": "2026-11-03T10:00:00Z", "properties": {"product_id": "tea"}},
]  # fmt: skip
WHY = ("--yes", "--reason", "they called", "--operator", "meera")


@pytest.fixture
def couple(taking: Callable[[Sequence[dict[str, Any]]], Run]) -> Run:
    return taking(EVENTS)


def test_a_merge_is_looked_at_made_undone_and_taken_back(
    couple: Run, as_json: Callable[..., Any]
) -> None:
    two = ("--user", "asha", "--user", "ravi")
    plan = couple("identity", "merge", *two, "--dry-run").stdout
    assert "would be merged" in plan
    assert "user_id: 2, limit 1" in plan
    assert "1 conflicts would end: limit:user_id" in plan
    assert "2 events" in plan
    assert "one device would be of another profile" in plan
    assert "anonymous_id b1: user_id ravi → user_id asha" in plan
    (owned,) = as_json("identity", "merge", *two, "--dry-run")["ownerships"]
    assert owned["kind"] == "ownership"
    assert as_json("identity", "decisions") == []

    made = as_json("identity", "merge", *two, *WHY)
    (change,) = made["changes"]
    assert made["decision"]["operator"] == "meera"
    history = as_json("identity", "changes", "--email", "home@x.in")
    told = [each for each in history if each["kind"] != "ownership"]
    assert [each["kind"] for each in told] == ["merged", "conflict", "created"]
    assert told[0]["because"] == [made["decision"]["id"]]
    assert told[1]["because"] == ["evt2"]

    undone = as_json("identity", "undo", change["id"], *WHY)
    # The links that would join them are conflicts again.
    assert [each["kind"] for each in undone["changes"]] == ["split", "conflict", "conflict"]
    shown = couple("identity", "decisions").stdout
    assert "stands" in shown
    again = couple("identity", "merge", *two, *WHY, ok=False).stderr
    assert f"decision {undone['decision']['id']} keeps them apart; retract it first" in again

    couple("identity", "retract", undone["decision"]["id"], *WHY)
    couple("identity", "retract", made["decision"]["id"], *WHY)
    assert len(as_json("identity", "explain", "--user", "asha")["links"]) == 1
    assert all(each["retraction"] for each in as_json("identity", "decisions"))


def test_whose_a_device_was_is_in_the_changes(couple: Run, as_json: Callable[..., Any]) -> None:
    (change,) = as_json("identity", "changes", "--user", "ravi")[:1]
    assert (change["kind"], change["before"]) == ("ownership", [])
    device = base64.b64decode(change["device"]).hex()
    history = as_json("identity", "changes", "--id", device)
    assert history == [change]
    assert "ownership of" in " ".join(
        couple("identity", "changes", "--user", "ravi").stdout.split()
    )


def test_an_email_is_given_to_somebody_else_and_blocked(
    couple: Run, as_json: Callable[..., Any]
) -> None:
    couple("identity", "split", "--side", "user=asha", "--side", "email=home@x.in", *WHY)
    assert "ravi" in couple("profile", "show", "--email", "home@x.in").stdout
    couple("identity", "block", "--email", "home@x.in", *WHY)
    (conflict, *_) = as_json("identity", "conflicts")
    assert conflict["rule"] == "blocked"


def test_a_conflict_is_accepted_or_kept_apart_for_good(
    couple: Run, as_json: Callable[..., Any]
) -> None:
    (conflict,) = as_json("identity", "conflicts")
    kept = as_json("identity", "keep-apart", conflict["id"], *WHY)
    assert [each["kind"] for each in kept["changes"]] == ["conflict"]
    (conflict,) = as_json("identity", "conflicts")
    assert conflict["rule"] == f"kept_apart:{kept['decision']['id']}"
    refused = couple("identity", "accept", conflict["id"], *WHY, ok=False).stderr
    assert "retract it first" in refused
    couple("identity", "retract", kept["decision"]["id"], *WHY)

    (conflict,) = as_json("identity", "conflicts")
    accepted = as_json("identity", "accept", conflict["id"][:6], *WHY)
    assert [each["kind"] for each in accepted["changes"]] == ["merged"]
    assert as_json("identity", "conflicts") == []


def test_it_asks_before_it_decides_and_wants_to_know_why(
    couple: Run, as_json: Callable[..., Any]
) -> None:
    two = ("--user", "asha", "--user", "ravi")
    couple("identity", "merge", *two, text="n\n", ok=False)
    assert as_json("identity", "decisions") == []
    assert "--reason" in couple("identity", "merge", *two, "--yes", ok=False).stderr
    assert "--yes" in couple("identity", "merge", *two, "--json", ok=False).stderr
    said = couple("identity", "merge", *two, text="y\nsame person\n").stdout
    assert "would be merged" in said
    assert "decided" in said
    (decision,) = as_json("identity", "decisions")
    assert decision["reason"] == "same person"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["merge", "--user", "asha"], "two identifiers or more"),
        (["merge", "--user", "asha", "--user", "ghost"], "nobody is known by user_id ghost"),
        (["split", "--side", "user=asha"], "two sides or more"),
        (["split", "--side", "asha", "--side", "user=ravi"], "write user="),
        (["undo", "none"], "no change none; `onefold identity changes` lists"),
        (["retract", "none"], "no decision none; `onefold identity decisions` lists"),
        (["accept", "c00000000"], "no conflict c00000000"),
        (["block"], "name an identifier"),
        (["changes"], "name one person"),
    ],
)
def test_what_cannot_be_decided_is_said(couple: Run, arguments: list[str], said: str) -> None:
    assert said in couple("identity", *arguments, ok=False).stderr
