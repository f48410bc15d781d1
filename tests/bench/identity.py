"""Who is who, beside the truth: a shop whose people are known, and what goes wrong in the field.

`make bench-identity`: some ten minutes and 2 GB. Scores are of identifiers that name a person (user id, e-mail,
phone), unless a table says "all": a device is used by people and in nobody's cluster (`make bench-people` says
whose its visits are). An identifier is *in a wrong cluster* if anybody else's is in it, which is how
facts/identity.md counts, and *a stranger* there if most of it is somebody else's.
"""

import argparse
import time
from collections.abc import Callable
from functools import partial
from typing import Final, NamedTuple

from identity.extract import Extractor
from identity.resolve import Cluster, resolve
from identity.rules import Rules
from models.scores import Clustered, Ints, clustered
from simulator.population import Rates
from simulator.shop import Shop, people_for
from tests.bench.identity_data import (
    PERSONS,
    Bools,
    Injection,
    Kind,
    World,
    false_links,
    family_phones,
    one_value,
    shared_values,
    world,
)
from tests.bench.identity_shop import (
    Said,
    Truths,
    labels,
    people_in_one,
    said_by,
    stored,
    told,
    truths,
)
from tests.bench.identity_tables import (
    SCORES,
    least_recall,
    precise,
    scores,
    share,
    table,
)
from tests.bench.identity_union import (
    Found,
    Guarded,
    Named,
    injected_by,
    no_bridges,
    people_joined,
    unguarded,
)
from tests.bench.report import goal, machine
from tests.workspace import KEYS

EVENTS: Final = 230_000
RULES_PERSONS: Final = 100_000
WRONG_MAX: Final = 0.001
RECALL_MIN: Final = 0.99
FEWER_MIN: Final = 5.0
"""How many times fewer identifiers than the field's union are to be in a wrong cluster under junk."""
CLEAN: Final = Rates(same_email=0, junk=0)

LINKS_4: Final = "false links, .04 % of events"
LINKS_40: Final = "false links, .4 % of events"
LINKS_100: Final = "false links, 1 % of events"
LINKS_PEOPLE: Final = "the same, person identifiers"
LINKS_400: Final = "false links, 4 % of events"
HUB_1: Final = "one e-mail, 1,000 identifiers"
HUB_80: Final = "one e-mail, 80,000 identifiers"
MAILS: Final = "2,000 e-mails x 15 people"
BROWSERS: Final = "2,000 browsers x 15 people"
KIOSKS: Final = "200 kiosks x 500 people"
PHONES: Final = "family phone, 5 % of persons"
FACTS: Final = {
    LINKS_4: ("160", ".985", ".996", "1.3%"),
    LINKS_40: ("337", ".845", ".961", "10.6%"),
    LINKS_100: ("579", ".630", ".902", "22%"),
    LINKS_400: ("571,054", "~0", ".613", "53%"),
    HUB_1: ("6,503", ".344", ".998", ".16%"),
    HUB_80: ("430,603", ".0001", ".892", "10.8%"),
    BROWSERS: ("1,603", ".310", ".961", "4.5%"),
    PHONES: ("311", ".724", ".927", "17.7%"),
}
"""The table "how little it takes" of facts/identity.md: largest, pair P, B³ P, ids in a wrong cluster."""


class Stream(NamedTuple):
    """A simulated stream, resolved all at once."""

    people: frozenset[Cluster]
    truth: Truths
    events: int
    union: Clustered
    score: Clustered
    reachable: Clustered
    """Beside what messages connect: its precision is no precision."""
    joined: int
    """Pairs of people in one cluster."""


def streamed(shop: Shop) -> Stream:
    """A shop's stream through decoding, extraction and `resolve`."""
    hasher = KEYS.hasher()
    truth = truths(shop, hasher)
    said = said_by(told(shop), Extractor(Rules(), hasher))
    people = resolve(said.evidence, Rules()).clusters
    person = labels(truth.nodes, people)
    return Stream(
        people=people,
        truth=truth,
        events=said.events,
        union=clustered(truth.union, truth.owner),
        score=clustered(person, truth.owner),
        reachable=clustered(person, truth.reachable),
        joined=people_in_one(people, truth),
    )


def shop_figures(events: int, seed: int) -> None:
    """The storefront's stream: clean, and with its usual conflicts; that one also batch by batch."""
    shops = {
        "clean": Shop(seed, people_for(events), rates=CLEAN),
        "usual conflicts": Shop(seed, people_for(events)),
    }
    found = {name: streamed(shop) for name, shop in shops.items()}
    _shop_table(found)
    usual = found["usual conflicts"]
    _households(usual)
    started = time.perf_counter()
    held = stored(shops["usual conflicts"], Rules())
    print(
        f"batch by batch into the embedded store: {len(held.people):,} people of several identifiers, "
        f"{len(held.refusals):,} links refused, {time.perf_counter() - started:.0f} s\n"
    )
    for name, one in found.items():
        print(goal(f"{name}, share in a wrong cluster", one.score.wrong, "<=", WRONG_MAX))
        print(
            goal(f"{name}, recall of what is known", least_recall(one.reachable), ">=", RECALL_MIN)
        )
        print(goal(f"{name}, pairs of people in one cluster", one.joined, "==", 0))
    print(goal("clean, recall of everything", least_recall(found["clean"].score), ">=", RECALL_MIN))
    print(goal("pairs of people joined by a device", held.joined_by_a_device, "==", 0))
    differing = len(held.people ^ usual.people)
    print(goal("people who differ: batch by batch, and all at once", differing, "==", 0))


def _shop_table(found: dict[str, Stream]) -> None:
    rows: list[tuple[str, ...]] = []
    for name, one in found.items():
        known = (precise(one.reachable.pairs.recall), precise(one.reachable.b3.recall))
        count = f"{len(one.truth.nodes):,}"
        rows += [
            (f"{name}, {one.events:,} events", "field's union", count, *scores(one.union), "", ""),
            ("", "Onefold", count, *scores(one.score), *known),
        ]
    columns = ("stream", "who", "identifiers", *SCORES, "known: pair R", "B³ R")
    table("A. A storefront whose people are known", columns, rows, words=2)
    print(
        "Known: recall of identifiers of one person that messages connect by naming two together. The rest\n"
        "nobody can know: an e-mail that only ever stood alone in a newsletter's form."
    )


def _households(found: Stream) -> None:
    """What became of e-mails that two people gave."""
    owner = dict(zip(found.truth.nodes, found.truth.owner.tolist(), strict=True))
    cluster_of = {node: cluster for cluster in found.people for node in cluster.members}
    beside = [
        len({owner[node] for node in cluster_of[shared].members if node in owner})
        for shared in found.truth.shared
        if shared in cluster_of
    ]
    print(
        f"{len(found.truth.shared)} e-mails that two of a household gave: "
        f"{sum(people == 1 for people in beside)} stand with one of them, "
        f"{sum(people > 1 for people in beside)} join them, the rest stand alone"
    )


def injections(size: float) -> dict[str, Callable[[World, int], Injection]]:
    """What goes wrong, by name; counts of values shrink with the population."""

    def values(count: int) -> int:
        return max(1, round(count * size))

    return {
        LINKS_4: partial(false_links, share=0.0004),
        LINKS_40: partial(false_links, share=0.004),
        LINKS_100: partial(false_links, share=0.01),
        LINKS_PEOPLE: partial(false_links, share=0.01, devices=False),
        LINKS_400: partial(false_links, share=0.04),
        HUB_1: partial(one_value, count=values(1_000)),
        HUB_80: partial(one_value, count=values(80_000)),
        MAILS: partial(shared_values, kind=Kind.EMAIL, values=values(2_000), people=15),
        BROWSERS: partial(shared_values, kind=Kind.BROWSER, values=values(2_000), people=15),
        KIOSKS: partial(shared_values, kind=Kind.BROWSER, values=values(200), people=500),
        PHONES: partial(family_phones, share=0.05),
    }


class Row(NamedTuple):
    """One injection: what the field's union and Onefold make of it."""

    field: Clustered
    """Of all identifiers."""
    union: Clustered
    """Of person identifiers, as the rest."""
    union_joined: int
    """Pairs of people in one cluster."""
    deviceless: Clustered
    """The field's union, if devices did not join."""
    ours: Clustered
    ours_joined: int
    with_user_id: float
    """The share in a wrong cluster, of people with a user id."""
    guests: float
    said: Said
    found: Found


def measured(guarded: Guarded, made: World, injected: Injection) -> Row:
    """Score one injection. What really is two persons' has no one right cluster and is left out."""
    some = made.named.copy()
    some[injected.shared] = False
    owner, guest = made.owner[some], made.guest[some]
    everything = unguarded(made, injected, devices=True)
    links_only = unguarded(made, injected, devices=False)
    said = injected_by(made, injected)
    found = guarded.after(said)
    person = found.person[some]
    return Row(
        field=clustered(everything, made.owner),
        union=clustered(everything[some], owner),
        union_joined=people_joined(everything[some], owner),
        deviceless=clustered(links_only[some], owner),
        ours=clustered(person, owner),
        ours_joined=people_joined(person, owner),
        with_user_id=clustered(person, owner, ~guest).wrong,
        guests=clustered(person, owner, guest).wrong,
        said=said,
        found=found,
    )


def population_figures(persons: int, seed: int) -> None:
    """The table of facts/identity.md, by the field's union and by our rules."""
    made = world(seed, persons)
    guarded = Guarded(Named(made), Rules())
    rows = {}
    for number, (name, make) in enumerate(injections(persons / PERSONS).items()):
        rows[name] = measured(guarded, made, make(made, seed + number))
    _field_table(rows, made)
    if persons != PERSONS:
        print(f"Numbers of e-mails, browsers and kiosks are those of {PERSONS:,} persons, scaled.")
    _guarded_table(rows)
    _where_table(rows)
    _population_goals(rows, guarded.clean(), made)


def _field_table(rows: dict[str, Row], made: World) -> None:
    columns = ("largest", "pair P", "B³ P", "in wrong")
    table(
        f"B. {made.owner.max() + 1:,} persons. The field: what is named together is one person. All "
        f"{len(made.owner):,} identifiers",
        ("injected", *columns, *(f"facts: {column}" for column in columns)),
        [
            (
                name,
                f"{row.field.largest:,}",
                precise(row.field.pairs.precision),
                precise(row.field.b3.precision),
                share(row.field.wrong),
                *FACTS.get(name, ()),
            )
            for name, row in rows.items()
        ],
        words=1,
    )


def _guarded_table(rows: dict[str, Row]) -> None:
    lines: list[tuple[str, ...]] = []
    for name, row in rows.items():
        hubs = f" + {row.found.hubs:,} hubs" if row.found.hubs else ""
        lines += [
            (name, "field's union", *scores(row.union), f"{row.union_joined:,}"),
            ("", " without devices", *scores(row.deviceless)),
            ("", "Onefold", *scores(row.ours), f"{row.ours_joined:,}", f"{row.found.refused:,}{hubs}"),
        ]  # fmt: skip
    columns = ("injected", "who", *SCORES, "people joined", "refused")
    table("The same with our guards on, default rules. Person identifiers", columns, lines, words=2)
    print(
        "People joined: pairs of people in one cluster. Nothing injected is trusted, nor is what is true. A\n"
        "false link comes at any time of the year: one that comes before the true ones is believed instead."
    )


def _where_table(rows: dict[str, Row]) -> None:
    table(
        "Onefold: whose are in a wrong cluster, and what was injected",
        ("injected", "with user id", "guests", "messages", "links", "uses of devices"),
        [
            (
                name,
                share(row.with_user_id),
                share(row.guests),
                f"{row.said.events:,}",
                f"{len(row.said.evidence.links):,}",
                f"{row.said.uses:,}",
            )
            for name, row in rows.items()
        ],
        words=1,
    )
    print(
        "The links of those who sign in on a shared browser are their own. A guest has no user id, of which a\n"
        "person has one: nothing tells a guest with two e-mails from two guests who gave one phone."
    )


def _population_goals(rows: dict[str, Row], clean: Found, made: World) -> None:
    score = clustered(clean.person[made.named], made.owner[made.named])
    print()
    print(goal("nothing injected, recall", least_recall(score), ">=", RECALL_MIN))
    print(goal("nothing injected, share in a wrong cluster", score.wrong, "<=", WRONG_MAX))
    for name, row in rows.items():
        print(goal(f"{name}, share in a wrong cluster", row.ours.wrong, "<=", WRONG_MAX))
    for name in (BROWSERS, KIOSKS):
        print(goal(f"{name}, pairs of people joined", rows[name].ours_joined, "==", 0))
    junk = rows[LINKS_100]
    fewer = junk.union.wrong / junk.ours.wrong
    print(
        goal(
            f"{LINKS_100}, times fewer in a wrong cluster than the field's", fewer, ">=", FEWER_MIN
        )
    )


def _cell(person: Ints, made: World, some: Bools) -> str:
    score = clustered(person[some], made.owner[some])
    return f"{share(score.wrong)}  {precise(score.pairs.recall)}"


def rule_figures(persons: int, seed: int) -> None:
    """What other rules would make of the same."""
    made = world(seed, persons)
    named = Named(made)
    tried = {
        "defaults: 5 e-mails, 5 phones": Guarded(named, Rules()),
        "3 e-mails, 3 phones": Guarded(named, Rules(limit_default=3)),
        "2 e-mails, 2 phones": Guarded(named, Rules(limit_default=2)),
        "1 e-mail, 1 phone": Guarded(named, Rules(limit_default=1)),
        "defaults, .8 of what is true is trusted": Guarded(named, Rules(), trusted=0.8),
        "defaults, and no bridges (not ours)": Guarded(named, Rules(), heeded=no_bridges),
    }
    lines = {
        name: [name, _cell(guarded.clean().person, made, made.named)]
        for name, guarded in tried.items()
    }
    wanted = (LINKS_100, LINKS_PEOPLE, MAILS, PHONES)
    for number, name in enumerate(wanted):
        injected = injections(persons / PERSONS)[name](made, seed + number)
        said = injected_by(made, injected)
        some = made.named.copy()
        some[injected.shared] = False
        for rules, guarded in tried.items():
            lines[rules].append(_cell(guarded.after(said).person, made, some))
    columns = (
        "rules",
        "clean",
        "1 % false links",
        "person identifiers",
        "e-mails x 15",
        "family phones",
    )
    title = f"C. Other rules, {persons:,} persons: share in a wrong cluster, pair recall"
    table(title, columns, lines.values(), words=1)
    print(
        "No bridges: what untrusted events of one day alone name together joins nobody, if each of the\n"
        "two has another link that is trusted or that several days state. Measured by leaving such links out."
    )


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.identity")
    parser.add_argument("--events", type=int, default=EVENTS, help="of the storefront, about")
    parser.add_argument("--persons", type=int, default=PERSONS, help="of the population")
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    print(machine("msgspec", "numpy", "scipy"))
    shop_figures(options.events, options.seed)
    population_figures(options.persons, options.seed)
    rule_figures(min(options.persons, RULES_PERSONS), options.seed)


if __name__ == "__main__":
    main()
