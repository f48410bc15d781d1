"""The graph that data scientists get: the people of the store, and scores that can be counted by hand."""

from collections.abc import Iterator
from pathlib import Path

import networkx as nx
import pytest
from matplotlib.figure import Figure

from identity.evidence import Match
from identity.nodes import Node
from identity.rules import Rules
from ingest.deciding import DecidingHere, Draft, block
from models import graph as graphs
from models.linking.errors import BadReview
from simulator.population import Rates
from simulator.shop import Shop
from tests.workspace import HOUR, MINUTE, NOON, Workspace


def node(world: Workspace, kind: str, value: str) -> Node:
    return world.keys.hasher().node(kind, value)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Workspace]:
    """Asha, then Ravi, with one e-mail between them; a counter's phone that five e-mails were given with."""
    made = Workspace(tmp_path, Rules(fanout_max=4))
    made.see(type="identify", browser="b1", user="asha", traits={"email": "home@x.in"})
    made.see(type="identify", user="asha", traits={"phone": "+919876543210"}, at=NOON + HOUR)
    made.see(
        type="identify", browser="b1", user="ravi", traits={"email": "home@x.in"}, at=NOON + MINUTE
    )
    for guest in "abcde":
        made.see(type="identify", traits={"email": f"{guest}@x.in", "phone": "+919812345670"})
    yield made
    made.close()


def test_an_edge_is_what_named_two_together_and_what_keeps_it_from_joining(
    world: Workspace,
) -> None:
    graph = graphs.evidence_graph(world.store, world.reader, plain=True)
    asha, ravi = (node(world, "user_id", user) for user in ("asha", "ravi"))
    home, counter = node(world, "email", "home@x.in"), node(world, "phone", "+919812345670")

    assert graph.edges[asha, home] == {
        "kind": "link", "source": "web", "event_id": "m1", "first_ms": NOON,
        "last_ms": graph.edges[asha, home]["last_ms"], "probability": None, "refused": "",
        "trusted": False,
    }  # fmt: skip
    assert graph.edges[ravi, home]["refused"] == "limit:user_id"
    assert graph.nodes[counter] == {
        "type": "phone", "value": "+919812345670", "person": counter, "refused": "hub",
    }  # fmt: skip
    assert {edge["refused"] for *_, edge in graph.edges(counter, data=True)} == {"hub"}
    assert graph.nodes[asha]["person"] == graph.nodes[home]["person"] == asha
    assert graph.nodes[ravi]["person"] == ravi
    assert not any(graph.nodes[each]["type"] == "anonymous_id" for each in graph)


def test_values_are_masked_unless_asked_for(world: Workspace) -> None:
    graph = graphs.evidence_graph(world.store, world.reader)

    assert graph.nodes[node(world, "email", "home@x.in")]["value"] == "h…@x.in"
    assert graph.nodes[node(world, "phone", "+919876543210")]["value"] == "…10"
    assert graph.nodes[node(world, "user_id", "asha")]["value"] == "…"


def test_a_device_is_used_by_people_and_joins_none_of_them(world: Workspace) -> None:
    graph = graphs.evidence_graph(world.store, world.reader, devices=True)
    browser = node(world, "anonymous_id", "b1")
    asha, ravi = (node(world, "user_id", user) for user in ("asha", "ravi"))

    assert set(graph[browser]) == {asha, ravi}
    assert graph.edges[browser, ravi]["kind"] == graphs.USE
    assert graph.edges[browser, ravi]["first_ms"] == NOON + MINUTE
    assert graph.nodes[browser]["person"] is None
    assert not nx.has_path(graphs.joined(graph), asha, ravi)
    assert set(graphs.person(graph, browser)) == {browser}


def test_a_trusted_source_a_model_and_an_operator_show(tmp_path: Path) -> None:
    world = Workspace(tmp_path, trusted=True)
    world.see(type="identify", user="asha", traits={"email": "a@x.in"})
    world.see(type="alias", user="asha", previousId="old-7")
    asha, mail = node(world, "user_id", "asha"), node(world, "email", "a@x.in")
    phone = node(world, "phone", "+919876543210")
    a, b = sorted((asha, phone))
    world.store.evidence.merge_matches([Match(a=a, b=b, probability=0.97, first_ms=NOON)])
    deciding = DecidingHere(world.store, world.rules)
    deciding.make(block(Draft("d1", "meera", "a form's default", NOON), [mail]))

    graph = graphs.evidence_graph(world.store, world.reader)

    assert graph.edges[asha, mail]["trusted"]
    assert graph.edges[asha, mail]["refused"] == "blocked"
    assert graph.nodes[mail]["refused"] == "blocked"
    assert graph.edges[asha, node(world, "user_id", "old-7")]["kind"] == "must_link"
    assert graph.edges[a, b]["kind"] == "match"
    assert graph.edges[a, b]["probability"] == 0.97
    assert graph.nodes[phone]["type"] == graphs.UNKNOWN, "a model named it, but no event"
    world.close()


def test_what_joins_makes_exactly_the_people_of_the_store(tmp_path: Path) -> None:
    world = Workspace(tmp_path)
    shop = Shop(seed=3, people=80, days=15, rates=Rates(same_email=0.3, junk=0.05))
    world.take(event for event, _ in shop)

    graph = graphs.evidence_graph(world.store, world.reader, devices=True)
    components = nx.connected_components(graphs.joined(graph))

    people = {cluster.members for cluster in world.store.people.scan()}
    assert {frozenset(each) for each in components if len(each) > 1} == people
    assert len(people) > 20
    assert any(refused for *_, refused in graph.edges(data="refused"))
    for members in people:
        assert set(graphs.person(graph, min(members))) == members
    world.close()


def test_a_person_with_what_is_beside_them(world: Workspace) -> None:
    graph = graphs.evidence_graph(world.store, world.reader)
    asha, ravi = (node(world, "user_id", user) for user in ("asha", "ravi"))
    home, phone = node(world, "email", "home@x.in"), node(world, "phone", "+919876543210")

    assert set(graphs.person(graph, phone)) == {asha, home, phone}
    assert set(graphs.person(graph, phone, beside=True)) == {asha, home, phone, ravi}
    assert set(graphs.person(graph, ravi, beside=True)) == {ravi, home}
    with pytest.raises(KeyError):
        graphs.person(graph, node(world, "user_id", "nobody"))


def test_labels_are_of_what_can_be_scored(world: Workspace, tmp_path: Path) -> None:
    file = tmp_path / "labels.jsonl"
    file.write_text(
        '{"type": "email", "value": " HOME@x.in", "people": ["p1"]}\n'
        '{"type": "user_id", "value": "asha", "people": ["p1"], "note": "more is ignored"}\n'
        '{"type": "user_id", "value": "ravi", "people": ["p1", "p2"]}\n'
        '{"type": "email", "value": "test@test.com", "people": ["p1"]}\n'
        '{"type": "email", "value": "never@seen.in", "people": ["p1"]}\n'
        '{"type": "anonymous_id", "value": "b1", "people": ["p1"]}\n'
        '{"type": "phone", "value": "98765 43210", "people": ["p3"]}\n'
    )

    whose = graphs.truth(graphs.read_labels(file), world.store, world.keys, world.rules)

    assert whose == {
        node(world, "email", "home@x.in"): "p1",
        node(world, "user_id", "asha"): "p1",
        node(world, "phone", "+919876543210"): "p3",
    }


def test_a_line_that_is_no_label_is_named_without_what_stands_there(tmp_path: Path) -> None:
    file = tmp_path / "labels.jsonl"
    file.write_text('{"type": "email", "value": "a@x.in", "people": ["p1"]}\n{"email": "b@x.in"}\n')

    with pytest.raises(BadReview, match=r"labels\.jsonl, line 2: a label is") as refused:
        graphs.read_labels(file)
    assert "b@x.in" not in str(refused.value)
    assert refused.value.__suppress_context__


A, B, C, D = (Node(bytes([number]) * 16) for number in range(4))
WHOSE = {A: "p1", B: "p1", C: "p2", D: "p2"}


def test_scores_that_can_be_counted_by_hand() -> None:
    unlabelled = Node(b"x" * 16)
    score = graphs.scored([{A, B, C, unlabelled}], WHOSE)

    assert score.pairs == pytest.approx((1 / 3, 1 / 2))
    assert score.b3 == pytest.approx(((2 / 3 + 2 / 3 + 1 / 3 + 1) / 4, (1 + 1 + 1 / 2 + 1 / 2) / 4))
    assert graphs.scored([], WHOSE).pairs.recall == 0, "those in no cluster are alone"
    assert graphs.scored([{A, B}, {C, D}], WHOSE).b3 == (1, 1)


def test_some_are_scored_beside_everybody() -> None:
    score = graphs.scored([{A, B, C}], WHOSE, among={C})

    assert score.b3 == pytest.approx((1 / 3, 1 / 2))
    assert score.wrong == 1


def test_what_can_be_found_are_the_links_within_a_person() -> None:
    graph = nx.Graph([(A, C), (B, C), (C, D)])

    assert graphs.reachable(graph, WHOSE) == [{C, D}]


def test_a_drawing_says_what_is_what(world: Workspace) -> None:
    graph = graphs.evidence_graph(world.store, world.reader, plain=True)
    asha = node(world, "user_id", "asha")
    axes = Figure().subplots()

    graphs.draw(graphs.person(graph, asha, beside=True), axes, title="Asha")

    texts = {text.get_text() for text in axes.texts}
    assert {"asha", "home@x.in", "+919876543210", "ravi"} <= texts
    assert "refused: limit\nuser_id" in texts
    assert "web\n21 Sep 2026" in texts
    assert axes.get_legend_handles_labels()[1] == ["email", "phone", "user_id"]
    assert axes.get_title(loc="left") == "Asha"


def test_a_drawing_is_the_same_each_time_and_leaves_out_what_could_not_be_read(
    world: Workspace,
) -> None:
    graph = graphs.evidence_graph(world.store, world.reader, plain=True)
    one, other = Figure().subplots(1, 2)

    graphs.draw(graph, one, names=False)
    graphs.draw(graph.subgraph(sorted(graph, reverse=True)), other, names=False)

    assert not one.texts
    first, second = (axes.collections[0].get_offsets().tolist() for axes in (one, other))
    assert first == second
    crowded = nx.complete_graph(7)
    assert crowded.number_of_edges() > graphs.LABELLED_EDGES_MAX
    for number in crowded:
        crowded.nodes[number].update(type="email", value="v", person=number, refused="")
    for *_, edge in crowded.edges(data=True):
        edge.update(kind="link", refused="", source="web", first_ms=NOON, probability=None)
    graphs.draw(crowded, other)
    assert not other.texts
