"""People as a graph, for those who study them: identifiers, evidence between them, scores beside labels.

A node of the graph is a `Node`, so that whatever `identity/` and the store take can be taken from it.
"""

from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec
import networkx as nx
import numpy as np

from identity.conflicts import of_two
from identity.evidence import NEVER
from identity.explain import Reason, Told, reasons
from identity.nodes import DEVICE_TYPES, EMAIL, PHONE, USER_ID, Identifier, Node
from identity.normalize import Normalizer
from identity.resolve import Evidence
from identity.rules import Rules
from models.linking.errors import BadReview
from models.scores import Clustered, clustered
from storage.evidence import evidence_of
from storage.keys import Keys
from storage.ports import Store
from storage.profiles import ProfileReader

USE: Final = "use"
"""The kind of an edge between a device and somebody who used it. It joins nobody."""
UNKNOWN: Final = "unknown"
"""The type of an identifier whose value is not kept."""

LABELLED_EDGES_MAX: Final = 14
"""Edges of a drawing beyond which what stands on them could not be read."""
_COLOURS: Final = {USER_ID: "#7fb3d5", EMAIL: "#f0b27a", PHONE: "#82c99a"}
_DEVICE_COLOUR: Final = "#c9ced6"
_OTHER_COLOUR: Final = "#c39bd3"
_REFUSED_COLOUR: Final = "#c0392b"
_JOINED_COLOUR: Final = "#34495e"
_NODE_SIZE: Final = 300
_WIDTH: Final = {"must_link": 3.2, "trusted_link": 3.2, "link": 1.4, "match": 1.4, USE: 0.8}
_STYLE: Final = {"match": "dotted", USE: "dotted"}


def masked(identifier: Identifier) -> str:
    """Enough of a value to tell the identifiers of one person apart, and no more."""
    value = identifier.value
    if identifier.type == EMAIL:
        local, _, domain = value.rpartition("@")
        return f"{local[:1]}…@{domain}"
    return f"…{value[-2:]}" if len(value) > 4 else "…"


def evidence_graph(
    store: Store,
    reader: ProfileReader,
    evidence: Evidence | None = None,
    *,
    devices: bool = False,
    plain: bool = False,
) -> Any:
    """A `networkx.Graph` of all identifiers that are named together with another: some 1.5 KB an edge.

    Nodes have `type`, `value` (masked, unless `plain`), `person` (the profile id; None of a device, which is
    used by people and nobody's) and `refused` ("", `hub` or `blocked`). Edges have what `Reason` has, and
    `trusted`; of several pieces of evidence for one pair, the strongest. An edge's `refused` is the rule
    that keeps it from joining. With `devices`, edges of kind `use` lead from devices to their users.

    `evidence` saves reading it again. What is refused, and who is who, is as stored: by today's rules.
    """
    held = evidence_of(store) if evidence is None else evidence
    told: list[Told] = [*held.links, *held.must_links, *held.matches]
    nodes = {end for each in told for end in (each.a, each.b)}
    refusals = store.people.refusals_of(sorted(nodes))
    graph = nx.Graph()
    for reason in reasons(nodes, told, refusals):
        if not graph.has_edge(reason.a, reason.b):
            graph.add_edge(reason.a, reason.b, **_edge(reason))
    if devices:
        _add_uses(graph, store)
    alone = {each.a: each.rule for each in refusals if not of_two(each)}
    _describe(graph, reader, alone, plain=plain)
    for cluster in store.people.scan():
        for node in cluster.members & graph.nodes:
            graph.nodes[node]["person"] = cluster.profile_id
    return graph


def _edge(reason: Reason) -> dict[str, Any]:
    said = msgspec.structs.asdict(reason)
    trusted = said.pop("trusted_ms") < NEVER
    return {key: value for key, value in said.items() if key not in {"a", "b"}} | {
        "trusted": trusted
    }


def _add_uses(graph: Any, store: Store) -> None:
    for use in store.devices.scan_uses():
        if not use.person:
            continue  # a logout
        edge = graph.get_edge_data(use.device, use.person)
        if edge is None:
            graph.add_edge(
                use.device, use.person, kind=USE, source="", event_id="", first_ms=use.first_ms,
                last_ms=use.last_ms, probability=None, refused="", trusted=False,
            )  # fmt: skip
        else:
            edge["first_ms"] = min(edge["first_ms"], use.first_ms)
            edge["last_ms"] = max(edge["last_ms"], use.last_ms)


def _describe(graph: Any, reader: ProfileReader, alone: Mapping[Node, str], *, plain: bool) -> None:
    for member in reader.members(list(graph.nodes)):
        identifier = member.identifier or Identifier(UNKNOWN, member.node.hex()[:8])
        value = identifier.value if plain or not member.identifier else masked(identifier)
        graph.nodes[member.node].update(
            type=identifier.type,
            value=value,
            person=None if identifier.type in DEVICE_TYPES else member.node,
            refused=alone.get(member.node, ""),
        )


def joined(graph: Any) -> Any:
    """The edges that join: a view without refused ones and uses. Its components are the people."""
    edges = graph.edges
    return nx.subgraph_view(
        graph, filter_edge=lambda a, b: not edges[a, b]["refused"] and edges[a, b]["kind"] != USE
    )


def person(graph: Any, node: Node, *, beside: bool = False) -> Any:
    """The part of a graph that is one person, given any identifier; with `beside`, what is an edge away too.

    Edges between two who stand beside are left out. KeyError for a node that is not there.
    """
    whose = graph.nodes[node]["person"]
    members = {each for each, of in graph.nodes(data="person") if of == whose and of is not None}
    members.add(node)
    if not beside:
        return graph.subgraph(members)
    return (
        graph.edge_subgraph(graph.edges(members)) if graph.degree(node) else graph.subgraph(members)
    )


def draw(
    graph: Any, axes: Any, *, title: str = "", seed: int = 1, names: bool | None = None
) -> None:
    """Draw a small graph on matplotlib's `axes`, the same each time.

    Colours are types. Thick: trusted. Dotted: a guess of a model, or the use of a device. Red and dashed:
    refused. `names` says whether values, sources, dates and rules are written; None: where they can be read.
    """
    named = graph.number_of_edges() <= LABELLED_EDGES_MAX if names is None else names
    ordered = nx.Graph()  # subgraphs give their nodes in no order, and layouts depend on it
    ordered.add_nodes_from(sorted(graph.nodes(data=True)))
    ordered.add_edges_from(sorted(graph.edges(data=True), key=lambda edge: sorted(edge[:2])))
    places = _places(ordered, seed)
    nodes = [each for _, each in ordered.nodes(data=True)]
    size = _NODE_SIZE if named else _NODE_SIZE // 6
    nx.draw_networkx_nodes(
        ordered, places, ax=axes, linewidths=0, node_color=[_colour(each["type"]) for each in nodes],
        node_size=[size * (3 if each["refused"] else 1) for each in nodes],
    )  # fmt: skip
    for (a, b), edge in ordered.edges.items():
        nx.draw_networkx_edges(
            ordered, places, ax=axes, edgelist=[(a, b)], width=_WIDTH[edge["kind"]],
            style="dashed" if edge["refused"] else _STYLE.get(edge["kind"], "solid"),
            edge_color=_ink(edge),
        )  # fmt: skip
    if named:
        _write(ordered, places, axes)
    for kind in sorted({each["type"] for each in nodes}):
        axes.scatter([], [], color=_colour(kind), s=60, label=kind)
    axes.legend(loc="best", frameon=False, fontsize=8)
    axes.set_title(title, fontsize=11, loc="left")
    axes.margins(0.15)
    axes.set_axis_off()


def _places(graph: Any, seed: int) -> Any:
    if len(graph) > 1 and nx.is_connected(graph):
        return nx.kamada_kawai_layout(graph)
    return nx.spring_layout(graph, seed=seed)


def _colour(kind: str) -> str:
    return _DEVICE_COLOUR if kind in DEVICE_TYPES else _COLOURS.get(kind, _OTHER_COLOUR)


def _ink(edge: Mapping[str, Any]) -> str:
    return _REFUSED_COLOUR if edge["refused"] else _JOINED_COLOUR


def _write(graph: Any, places: Any, axes: Any) -> None:
    """What is what: values above nodes; on edges where and when it was said, or why it was refused."""
    for node, (x, y) in places.items():
        axes.annotate(
            graph.nodes[node]["value"], (x, y), (0, 12), textcoords="offset points", ha="center",
            fontsize=9,
            bbox={"boxstyle": "round,pad=0.1", "facecolor": "white", "alpha": 0.7, "linewidth": 0},
        )  # fmt: skip
    for (a, b), edge in graph.edges.items():
        nx.draw_networkx_edge_labels(
            graph, places, {(a, b): _said(edge)}, ax=axes, rotate=False, font_size=7,
            font_color=_ink(edge), bbox={"facecolor": "white", "linewidth": 0, "pad": 0.5},
        )  # fmt: skip


def _said(edge: Mapping[str, Any]) -> str:
    if edge["refused"]:
        rule, _, about = edge["refused"].partition(":")
        return f"refused: {rule}\n{about[:12]}".rstrip()
    day = datetime.fromtimestamp(edge["first_ms"] / 1000, UTC).strftime("%d %b %Y")
    if edge["kind"] == "match":
        return f"model {edge['probability']:.3f}\n{day}"
    kind = "" if edge["kind"] in ("link", "trusted_link") else f"{edge['kind'].replace('_', '-')} "
    return f"{kind}{edge['source']}\n{day}"


class Labelled(msgspec.Struct, frozen=True):
    """Whose an identifier truly is; people have any names."""

    type: str
    value: str
    people: tuple[str, ...]
    """Exactly one, or it has no one right person: none for junk, several for what people share."""


_decoder: Final = msgspec.json.Decoder(Labelled)


def read_labels(path: Path) -> list[Labelled]:
    """Labels from JSON lines, as `python -m simulator --identifiers` writes them.

    BadReview names the line that is not `{"type": …, "value": …, "people": […]}`.
    """
    found = []
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            try:
                found.append(_decoder.decode(line))
            except (msgspec.DecodeError, UnicodeDecodeError):
                raise BadReview(
                    f'{path}, line {number}: a label is {{"type": "email", "value": "a@b.in", '
                    '"people": ["p1"]}}'
                ) from None
    return found


def truth(labels: Iterable[Labelled], store: Store, keys: Keys, rules: Rules) -> dict[Node, str]:
    """The true person of each identifier that can be scored.

    Left out are devices, what is not exactly one person's, what the rules block, and what the store never saw.
    """
    normalizer, hasher = Normalizer(rules), keys.hasher()
    whose = {}
    for label in labels:
        value = normalizer.value(label.type, label.value)
        if value and label.type not in DEVICE_TYPES and len(label.people) == 1:
            whose[hasher.node(label.type, value)] = label.people[0]
    known = store.identifiers.known(sorted(whose))
    return {node: name for node, name in whose.items() if node in known}


def scored(
    people: Iterable[Collection[Node]],
    whose: Mapping[Node, str],
    among: Collection[Node] | None = None,
) -> Clustered:
    """How right `people` (sets of identifiers) are: of labelled identifiers only, at least one.

    With `among`, of those labelled identifiers only, each beside everybody.

    What is in none of them is alone. `pairs` asks of every two identifiers whether they are one person: one
    large mistake weighs much. `b3` asks of every identifier whom it is with: each weighs the same.
    """
    place = {node: number for number, members in enumerate(people) for node in members}
    alone = len(place)
    found = [place.get(node, alone + number) for number, node in enumerate(whose)]
    some = None if among is None else np.array([node in among for node in whose], bool)
    numbers = {name: number for number, name in enumerate(dict.fromkeys(whose.values()))}
    return clustered(
        np.array(found, np.int64),
        np.array([numbers[name] for name in whose.values()], np.int64),
        some,
    )


def reachable(graph: Any, whose: Mapping[Node, str]) -> list[set[Node]]:
    """The people that evidence would make if every link between two different people were left out.

    What rules find is to be measured by its recall: nobody finds what no event says. By way of what several
    people share, or by a guess, they may find a little more.
    """
    right = nx.Graph()
    right.add_edges_from((a, b) for a, b in graph.edges if a in whose and whose[a] == whose.get(b))
    return [set(component) for component in nx.connected_components(right)]
