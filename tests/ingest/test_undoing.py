"""What a run of a linking model joined is taken back, but not what another run says as well."""

from pathlib import Path

import pytest

from identity.evidence import Match
from identity.nodes import Node
from ingest.deciding import DecidingHere, Draft
from ingest.identify import Statements, identify_here
from ingest.undoing import undo_run
from tests.workspace import KEYS, NOON, Workspace

hasher = KEYS.hasher()
ASHA, PHONE, MAIL = (
    hasher.node(*each) for each in (("user_id", "asha"), ("phone", "+911"), ("email", "a@x.in"))
)


def match(run: str, probability: float, *pair: Node) -> Match:
    a, b = sorted(pair)
    return Match(a=a, b=b, probability=probability, first_ms=NOON, first_event=run)


@pytest.mark.parametrize("second", [0.8, 0.9, 0.99])
def test_undoing_a_run_leaves_what_another_one_says_too(tmp_path: Path, second: float) -> None:
    shop = Workspace(tmp_path)
    deciding = DecidingHere(shop.store, shop.rules)
    say = (match("r1", 0.9, ASHA, PHONE), match("r1", 0.9, ASHA, MAIL))
    identify_here(shop.store, Statements(matches=say), shop.rules)
    identify_here(shop.store, Statements(matches=[match("r2", second, ASHA, PHONE)]), shop.rules)
    for n in range(2):  # what is said again changes nothing
        identify_here(shop.store, Statements(matches=[say[n]]), shop.rules)

    def undone(*runs: str) -> list[str]:
        found = undo_run(shop.store, Draft("d", "meera", "wrong model", NOON), *runs)
        deciding.make_all(found.decisions)
        return list(found.helped)

    (joined,) = (each.change for each in shop.store.changes.history(0, 10))
    assert undone("r1") == [joined.id]
    assert undone("r2") == []
    assert ASHA in shop.store.people.clusters_of([ASHA])
    assert undone("r1", "r2") == []
    assert shop.store.people.clusters_of([ASHA, PHONE, MAIL]) == {}
    shop.close()


def test_a_match_knows_every_run_that_said_it_in_whatever_order() -> None:
    told = [match(run, p, ASHA, PHONE) for run, p in (("r1", 0.9), ("r2", 0.99), ("r3", 0.5))]
    one, two, three = told
    merged = one.merge(two).merge(three)
    assert merged == three.merge(two.merge(one)) == merged.merge(one)
    assert (merged.first_event, merged.also) == ("r2", ("r1", "r3"))
