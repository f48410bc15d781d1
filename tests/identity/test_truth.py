"""Who is who beside the truth, in small: what `make bench-identity` measures at scale."""

import numpy as np
import pytest

from identity.extract import Extractor
from identity.nodes import names_device
from identity.resolve import Evidence, resolve
from identity.rules import Rules
from models.scores import clustered
from simulator.population import Rates
from simulator.shop import Shop
from tests.bench.identity import CLEAN, Stream, measured, streamed
from tests.bench.identity_data import (
    Kind,
    World,
    false_links,
    family_phones,
    one_value,
    shared_values,
    world,
)
from tests.bench.identity_shop import said_by, stored, told, truths
from tests.bench.identity_union import Guarded, Named, injected_by, people_joined, unguarded
from tests.workspace import KEYS

WRONG_MAX = 0.001
RECALL_MIN = 0.99
PERSONS = 20_000


@pytest.fixture(scope="module")
def conflicts() -> Shop:
    """Many households with one e-mail, and much junk."""
    return Shop(seed=5, people=120, days=20, rates=Rates(same_email=0.3, junk=0.05))


@pytest.fixture(scope="module")
def stream(conflicts: Shop) -> Stream:
    return streamed(conflicts)


@pytest.fixture(scope="module")
def made() -> World:
    return world(1, PERSONS)


@pytest.fixture(scope="module")
def named(made: World) -> Named:
    return Named(made)


@pytest.fixture(scope="module")
def guarded(named: Named) -> Guarded:
    return Guarded(named, Rules())


def test_clean_data_gives_everybody_their_own_identifiers() -> None:
    found = streamed(Shop(seed=5, people=120, days=20, rates=CLEAN))

    assert found.score.wrong <= WRONG_MAX
    assert min(found.reachable.pairs.recall, found.reachable.b3.recall) >= RECALL_MIN
    assert found.joined == 0
    # It is no easy stream: the field's union gets it wrong.
    assert found.union.wrong > 0.3


def test_conflicts_and_junk_join_nobody(stream: Stream) -> None:
    assert len(stream.truth.shared) > 5
    assert stream.score.wrong <= WRONG_MAX
    assert min(stream.reachable.pairs.recall, stream.reachable.b3.recall) >= RECALL_MIN
    assert stream.joined == 0


def test_batch_by_batch_gives_the_same_people_none_of_them_joined_by_a_device(
    conflicts: Shop, stream: Stream
) -> None:
    held = stored(conflicts, Rules())

    assert held.people == stream.people
    assert held.joined_by_a_device == 0
    assert any(refusal.rule == "limit:user_id" for refusal in held.refusals)


def test_the_truth_sees_the_same_identifiers_as_the_extraction(conflicts: Shop) -> None:
    hasher = KEYS.hasher()
    truth = truths(conflicts, hasher)
    said = said_by(told(conflicts), Extractor(Rules(), hasher))

    assert {node for node in said.named if not names_device(node)} == {*truth.nodes, *truth.shared}
    assert said.uses > 0


def test_the_field_fares_in_this_population_as_in_the_yardsticks(made: World) -> None:
    # facts/identity.md: .4 % of events are false links: pair P .845, B³ P .961, 10.6 % in a wrong cluster.
    score = clustered(unguarded(made, false_links(made, 2, 0.004), devices=True), made.owner)

    assert score.pairs.precision == pytest.approx(0.845, abs=0.05)
    assert score.b3.precision == pytest.approx(0.961, abs=0.01)
    assert score.wrong == pytest.approx(0.106, abs=0.015)


def test_where_nothing_is_wrong_everybody_is_whole(made: World, guarded: Guarded) -> None:
    score = clustered(guarded.clean().person[made.named], made.owner[made.named])

    assert score.wrong == 0
    assert score.pairs.recall == score.b3.recall == 1


def test_no_kiosk_joins_its_visitors(made: World, guarded: Guarded) -> None:
    row = measured(guarded, made, shared_values(made, 3, Kind.BROWSER, 5, 300))

    assert row.union_joined > 100_000
    assert row.said.uses >= 1_500
    assert row.ours_joined == 0
    assert row.ours.pairs.recall == 1


def test_a_value_that_everybody_gives_is_a_hub_and_joins_nobody(
    made: World, guarded: Guarded
) -> None:
    row = measured(guarded, made, one_value(made, 3, 2_000))

    assert row.union_joined > 100_000
    assert row.found.hubs == 1
    assert row.ours_joined == 0


def test_junk_does_a_fifth_of_the_harm_that_it_does_in_the_field(
    made: World, guarded: Guarded
) -> None:
    row = measured(guarded, made, false_links(made, 2, 0.01))

    assert row.ours.wrong <= row.union.wrong / 5
    assert row.ours_joined <= row.union_joined / 5
    assert min(row.ours.pairs.recall, row.ours.b3.recall) >= RECALL_MIN


def test_family_phones_join_nobody_who_has_a_user_id_with_another(
    made: World, guarded: Guarded
) -> None:
    injected = family_phones(made, 2, 0.05)
    row = measured(guarded, made, injected)
    some = ~made.guest & made.named
    some[injected.shared] = False

    assert row.ours.wrong <= row.union.wrong / 2
    assert people_joined(row.found.person[some], made.owner[some]) == 0


def test_resolving_only_who_is_touched_is_resolving_everybody(
    made: World, named: Named, guarded: Guarded
) -> None:
    said = injected_by(made, false_links(made, 4, 0.04))
    links = named.true_links(np.unique(made.owner))
    for link in said.evidence.links:
        held = links.get((link.a, link.b))
        links[link.a, link.b] = link if held is None else held.merge(link)

    everybody = resolve(Evidence(links=list(links.values())), Rules())
    found = guarded.after(said)

    clusters = {frozenset(named.number[node] for node in c.members) for c in everybody.clusters}
    several: dict[int, set[int]] = {}
    for number in np.flatnonzero(made.named).tolist():
        several.setdefault(int(found.person[number]), set()).add(number)
    assert {frozenset(some) for some in several.values() if len(some) > 1} == clusters
    assert found.refused == len(everybody.refusals)
