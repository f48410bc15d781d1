"""What every store promises (storage/ports.py), promise by promise."""

import threading
from collections.abc import Sequence

import msgspec
import pytest

from identity.changes import Kind, PersonChange
from identity.decisions import Decision, DecisionKind, Retraction
from identity.evidence import NEVER, Companion, Link, Match, MustLink, Use
from identity.nodes import Node, NodeHasher
from identity.owning import Ownership, tell
from identity.resolve import Cluster, Refusal
from storage.identity_ports import Held, Named
from storage.ports import CatalogItem, DeadLetter, Store, StoredPosition, TimelineQuery, TimelineRow
from storage.sqlite import SqliteStore

hasher = NodeHasher(b"k" * 32)
ASHA, RAVI, MAIL = (
    hasher.node("user_id", "asha"),
    hasher.node("user_id", "ravi"),
    hasher.node("email", "asha@example.com"),
)
BROWSER, PHONE = hasher.node("anonymous_id", "b1"), hasher.node("device_id", "p1")


def row(
    message: str, offset: int, leaf: Node = ASHA, at: int = 1000, name: str = ""
) -> TimelineRow:
    return TimelineRow(
        leaf=leaf, key_ms=at, message_id=message, offset=offset, time_ms=at, received_ms=at,
        type="track", name=name or message, source="web", raw=b'{"type":"track"}',
    )  # fmt: skip


def link(a: Node, b: Node, first: int = 100, trusted: int = NEVER, last: int = 0) -> Link:
    low, high = sorted((a, b))
    return Link(
        a=low, b=high, first_ms=first, first_event=f"e{first}", source="web",
        trusted_ms=trusted, last_ms=last,
    )  # fmt: skip


def messages(rows: Sequence[TimelineRow]) -> list[str]:
    return [found.message_id for found in rows]


def test_any_thread_may_use_it(store: Store) -> None:
    def write(n: int) -> None:
        store.timeline.add([row(f"m{n}", n)])

    threads = [threading.Thread(target=write, args=(n,)) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.timeline.count() == 20
    assert len(store.timeline.read([ASHA], TimelineQuery())) == 20


# --- timeline and parts ---------------------------------------------------------------------------


def test_an_event_stored_twice_is_there_once_at_its_lowest_offset(store: Store) -> None:
    assert store.timeline.add([row("m1", 1), row("m2", 2), row("m1", 3)]) == [1, 2, 1]
    assert store.timeline.add([row("m2", 4), row("m3", 5)]) == [2, 5]
    assert store.timeline.count() == 3


def test_an_earlier_copy_of_an_event_takes_its_place(store: Store) -> None:
    if isinstance(store, SqliteStore):
        pytest.skip("an embedded log has one writer: offsets never go back")
    store.timeline.add([row("m1", 7, name="late")])
    assert store.timeline.add([row("m1", 3, name="early")]) == [3]
    assert store.timeline.add([row("m1", 7, name="late")]) == [3]
    (held,) = store.timeline.read([ASHA], TimelineQuery())
    assert (held.offset, held.name) == (3, "early")


def test_a_row_past_what_a_leaf_holds_is_new(store: Store) -> None:
    store.timeline.add([row("m1", 1, at=1000)], {})
    rows = [row("m1", 2, at=1000), row("m2", 3, at=1001), row("m2", 4, at=1001)]
    assert store.timeline.add(rows, {ASHA: 1000}) == [1, 3, 3]
    assert store.timeline.count() == 2


def test_the_same_message_under_another_leaf_or_time_is_another(store: Store) -> None:
    rows = [row("m1", 1), row("m1", 2, leaf=RAVI), row("m1", 3, at=2000)]
    assert store.timeline.add(rows) == [1, 2, 3]


def test_a_timeline_is_read_newest_first_in_pages(store: Store) -> None:
    rows = [row(f"m{n}", n + 1, leaf=(ASHA, MAIL)[n % 2], at=n * 10) for n in range(10)]
    store.timeline.add(rows)
    pages, before = [], None
    while page := store.timeline.read([ASHA, MAIL], TimelineQuery(limit=3, before=before)):
        pages += messages(page)
        before = (page[-1].key_ms, page[-1].message_id, page[-1].leaf)
    assert pages == [f"m{n}" for n in reversed(range(10))]


def test_a_timeline_is_filtered_by_name_type_and_time(store: Store) -> None:
    store.timeline.add(
        [row("m1", 1, at=10, name="Product Viewed"), row("m2", 2, at=20, name="Order Completed")]
    )
    read = store.timeline.read
    assert messages(read([ASHA], TimelineQuery(names=("product viewed",)))) == ["m1"]
    assert messages(read([ASHA], TimelineQuery(names=("track",)))) == ["m2", "m1"]
    assert messages(read([ASHA], TimelineQuery(since_ms=20))) == ["m2"]
    assert messages(read([ASHA], TimelineQuery(until_ms=20))) == ["m1"]
    assert read([], TimelineQuery()) == read([RAVI], TimelineQuery()) == []


def test_a_scan_gives_every_row_by_leaf_in_one_order(store: Store) -> None:
    year = 365 * 86_400_000
    leaves = [hasher.node("user_id", str(n)) for n in range(40)]
    rows = [
        row(f"{n}-{at}", 3 * n + at, leaf=leaf, at=at * year)
        for n, leaf in enumerate(leaves)
        for at in range(3)
    ]
    store.timeline.add(rows)
    found = list(store.timeline.scan())
    assert sorted(found, key=lambda each: each.offset) == rows
    order = list(dict.fromkeys(each.leaf for each in found))
    assert [(each.leaf, each.key_ms) for each in found] == [
        (leaf, at * year) for leaf in order for at in range(3)
    ]
    assert list(store.timeline.scan(after=order[25])) == found[26 * 3 :]
    store.parts.write({leaf: (1, leaf) for leaf in leaves})
    assert store.parts.leaves(None, 100) == order


def test_a_row_comes_back_as_it_was_stored(store: Store) -> None:
    stored = row("m1", 7, name="ünï\u200dcode")
    store.timeline.add([stored])
    assert store.timeline.read([ASHA], TimelineQuery()) == [stored]


def test_parts_are_replaced_and_listed_in_order(store: Store) -> None:
    store.parts.write({ASHA: (1, b"1"), RAVI: (2, b"2")})
    store.parts.write({ASHA: (3, b"3")})
    assert store.parts.read([ASHA, RAVI, MAIL, ASHA]) == {ASHA: b"3", RAVI: b"2"}
    first, second = store.parts.leaves(None, 10)
    assert {first, second} == {ASHA, RAVI}
    assert store.parts.leaves(None, 1) == [first]
    assert store.parts.leaves(first, 10) == [second]
    assert store.parts.leaves(second, 10) == []
    assert store.parts.count() == 2


def test_how_many_parts_there_are_is_known_about_without_counting_all(store: Store) -> None:
    store.parts.write({hasher.node("user_id", f"u{n}"): (1, b"1") for n in range(2_000)})
    assert store.parts.about(2_001) == (2_000, 0.0)
    about, off = store.parts.about(500)
    assert off < 0.1
    assert abs(about - 2_000) <= off * 2_000


def test_a_part_of_a_lower_offset_never_replaces_one_of_a_higher(store: Store) -> None:
    if isinstance(store, SqliteStore):
        pytest.skip("an embedded store has one writer")
    store.parts.write({ASHA: (5, b"5")})
    store.parts.write({ASHA: (4, b"4")})
    assert store.parts.read([ASHA]) == {ASHA: b"5"}


def test_many_keys_are_read_in_one_call(store: Store) -> None:
    leaves = [hasher.node("user_id", str(n)) for n in range(2_345)]
    store.parts.write({leaf: (1, leaf) for leaf in leaves})
    assert store.parts.read(leaves) == {leaf: leaf for leaf in leaves}


# --- evidence and devices -------------------------------------------------------------------------


def test_links_merge_and_only_what_matters_is_told(store: Store) -> None:
    merge = store.evidence.merge_links
    assert merge([link(ASHA, MAIL, 100)]) == [link(ASHA, MAIL, 100)]
    assert merge([link(ASHA, MAIL, 100), link(MAIL, ASHA, 200, last=200)]) == []
    earlier = link(ASHA, MAIL, 50, last=200)
    assert merge([link(ASHA, MAIL, 50)]) == [earlier]
    (trusted,) = merge([link(ASHA, MAIL, 300, trusted=300)])
    assert (trusted.first_ms, trusted.trusted_ms) == (50, 300)
    assert store.evidence.links_of([MAIL]) == store.evidence.links_of([ASHA, MAIL]) == [trusted]
    assert list(store.evidence.scan_links()) == [trusted]


def test_the_links_of_a_hub_can_be_read_in_part(store: Store) -> None:
    others = [hasher.node("user_id", str(n)) for n in range(100)]
    store.evidence.merge_links([link(MAIL, other) for other in others])
    assert len(store.evidence.links_of([MAIL])) == 100
    assert 10 <= len(store.evidence.links_of([MAIL], limit_each=10)) <= 20


def test_the_earliest_must_link_stands(store: Store) -> None:
    a, b = sorted((ASHA, RAVI))
    later = MustLink(a=a, b=b, first_ms=2, first_event="e2", source="crm")
    earlier = MustLink(a=a, b=b, first_ms=1, first_event="e1", source="crm")
    merge = store.evidence.merge_must_links
    assert [merge([later]), merge([later]), merge([earlier]), merge([later])] == [
        [later], [], [earlier], [],
    ]  # fmt: skip
    assert (
        store.evidence.must_links_of([RAVI]) == list(store.evidence.scan_must_links()) == [earlier]
    )


def test_uses_merge_per_device_person_and_hour(store: Store) -> None:
    def use(first: int, last: int, person: Node = ASHA, hour: int = 0) -> Use:
        return Use(device=BROWSER, person=person, hour=hour, first_ms=first, last_ms=last)

    store.devices.merge_uses([use(5, 9), use(20, 20, RAVI)])
    store.devices.merge_uses([use(3, 4), use(7, 12), use(30, 30, Node(b""), 1)])
    assert store.devices.uses_of([BROWSER, PHONE]) == {
        BROWSER: [use(3, 12), use(20, 20, RAVI), use(30, 30, Node(b""), 1)]
    }
    assert len(list(store.devices.scan_uses())) == 3


def test_companions_answer_both_ways_newest_first(store: Store) -> None:
    def together(node: Node, other: Node, at: int) -> Companion:
        return Companion(node=node, with_node=other, last_ms=at)

    store.devices.merge_companions([together(BROWSER, PHONE, 5), together(BROWSER, ASHA, 7)])
    store.devices.merge_companions([together(BROWSER, PHONE, 3)])
    found = store.devices.companions_of([BROWSER, PHONE])
    assert [c.with_node for c in found[BROWSER]] == [ASHA, PHONE]
    assert found[PHONE] == [together(PHONE, BROWSER, 5)]


# --- people ---------------------------------------------------------------------------------------


def cluster(*members: Node) -> Cluster:
    return Cluster(profile_id=members[0], members=frozenset(members))


def refusal(a: Node, b: Node, since: int) -> Refusal:
    low, high = sorted((a, b))
    return Refusal(a=low, b=high, rule="limit:user_id", detail="", since_ms=since)


def test_clusters_are_found_by_every_member(store: Store) -> None:
    store.people.write([ASHA, MAIL], [cluster(ASHA, MAIL)], [])
    found = store.people.clusters_of([ASHA, MAIL, RAVI])
    assert found == {ASHA: cluster(ASHA, MAIL), MAIL: cluster(ASHA, MAIL)}
    assert list(store.people.scan()) == [cluster(ASHA, MAIL)]


def test_clusters_merge_and_split_without_a_trace(store: Store) -> None:
    other = hasher.node("phone", "+911234567890")
    everybody = [ASHA, MAIL, RAVI, other]
    store.people.write(everybody, [cluster(ASHA, MAIL), cluster(RAVI, other)], [])
    store.people.write(everybody, [cluster(*everybody)], [])
    assert list(store.people.scan()) == [cluster(*everybody)]
    store.people.write(everybody, [cluster(RAVI, other)], [])
    assert list(store.people.scan()) == [cluster(RAVI, other)]
    assert set(store.people.clusters_of([ASHA, MAIL, RAVI])) == {RAVI}
    assert store.people.counts() == (1, 0)


def test_refusals_of_nodes_are_replaced_together(store: Store) -> None:
    both = [refusal(ASHA, MAIL, 1), refusal(RAVI, MAIL, 2)]
    store.people.write([ASHA, MAIL, RAVI], [], both)
    assert {r.since_ms for r in store.people.refusals_of([MAIL])} == {1, 2}
    assert [r.since_ms for r in store.people.refusals(10)] == [2, 1]
    assert store.people.counts() == (0, 2)
    store.people.write([ASHA, MAIL, RAVI], [cluster(ASHA, MAIL)], both[1:])
    assert [r.since_ms for r in store.people.refusals_of([ASHA, MAIL])] == [2]
    assert [r.since_ms for r in store.people.refusals(10)] == [2]
    assert store.people.refusals(0) == []


def test_a_hub_is_one_refusal(store: Store) -> None:
    hub = Refusal(a=MAIL, b=MAIL, rule="hub", detail="linked to more than 20 others", since_ms=3)
    store.people.write([MAIL], [], [hub])
    assert store.people.refusals_of([MAIL]) == store.people.refusals(10) == [hub]
    assert store.people.counts() == (0, 1)


def test_the_first_value_of_a_node_stays(store: Store) -> None:
    store.identifiers.put({ASHA: ("user_id", b"sealed")})
    store.identifiers.put({ASHA: ("user_id", b"again"), MAIL: ("email", b"m")})
    assert store.identifiers.get([ASHA, RAVI]) == {ASHA: ("user_id", b"sealed")}
    assert store.identifiers.known([ASHA, RAVI]) == {ASHA}
    assert store.identifiers.count() == {"email": 1, "user_id": 1}


def test_a_known_identifier_leads_to_its_cluster_value_part_and_uses(store: Store) -> None:
    store.identifiers.put({ASHA: ("user_id", b"a"), MAIL: ("email", b"m"), RAVI: ("user_id", b"r")})
    store.identifiers.put({BROWSER: ("anonymous_id", b"b")})
    store.people.write([ASHA, MAIL], [cluster(ASHA, MAIL)], [])
    store.parts.write({ASHA: (1, b"part")})
    use = Use(device=BROWSER, person=ASHA, hour=0, first_ms=1, last_ms=2)
    store.devices.merge_uses([use])
    named = store.lookups.named([ASHA, RAVI, BROWSER, PHONE])
    users = named[BROWSER].users
    assert named == {
        ASHA: Named(cluster(ASHA, MAIL), Held("user_id", b"a", b"part")),
        RAVI: Named(cluster(RAVI), Held("user_id", b"r", None)),
        BROWSER: Named(cluster(BROWSER), Held("anonymous_id", b"b", None), [use], users),
    }
    assert users in ({}, {ASHA: cluster(ASHA, MAIL).profile_id})
    assert store.lookups.named([]) == {}


# --- ledger ---------------------------------------------------------------------------------------


def test_a_dead_letter_is_kept_once_and_listed_in_order(store: Store) -> None:
    def letter(raw: bytes, reason: str = "bad_json", at: int = 1) -> DeadLetter:
        return DeadLetter(received_ms=at, source="web", reason=reason, detail="d", raw=raw)

    store.dead_letters.add([letter(b"{"), letter(b"{"), letter(b"\xff", "not_utf8", 2)])
    store.dead_letters.add([letter(b"{", at=3)])
    first, second = store.dead_letters.list(10)
    assert (first.raw, second.raw) == (b"{", b"\xff")
    assert store.dead_letters.counts() == {"bad_json": 1, "not_utf8": 1}
    assert store.dead_letters.list(10, reason="not_utf8") == [second]
    assert store.dead_letters.list(10, after_id=first.id) == [second]
    store.dead_letters.remove([first.id])
    assert store.dead_letters.list(10) == [second]


def test_positions_are_replaced(store: Store) -> None:
    half = StoredPosition(uri="a.json", fingerprint="f", line=5, finished=False)
    done = StoredPosition(uri="a.json", fingerprint="f", line=9, finished=True)
    store.positions.put([half])
    store.positions.put([done])
    assert store.positions.get(["a.json", "b.json"]) == {"a.json": done}


def test_an_older_item_does_not_replace_a_newer_one(store: Store) -> None:
    new = CatalogItem(id="tea", name="Tea", price_micros=5, attributes={"grams": 250}, updated_ms=9)
    store.catalog.upsert([new, CatalogItem(id="salt")])
    version = store.catalog.version()
    store.catalog.upsert([CatalogItem(id="tea", name="Old", updated_ms=3)])
    assert store.catalog.get(["tea", "none"]) == {"tea": new}
    assert [item.id for item in store.catalog.list("", 10)] == ["salt", "tea"]
    assert [item.id for item in store.catalog.list("salt", 10)] == ["tea"]
    assert store.catalog.version() > version
    assert store.catalog.count() == 2


# --- changes and leases ---------------------------------------------------------------------------


def change(id_: str, at: int) -> PersonChange:
    before = (cluster(ASHA), cluster(MAIL))
    return PersonChange(
        id=id_, time_ms=at, kind=Kind.MERGED, before=before, after=(cluster(ASHA, MAIL),)
    )


def test_a_change_is_announced_until_it_is_published(store: Store) -> None:
    early, late = change("a", 5), change("b", 7)
    store.changes.announce([late, early])
    store.changes.announce([late])
    assert store.changes.announced(10) == [early, late]
    assert store.changes.announced(1) == [early]
    assert store.changes.history(0, 10) == []
    store.changes.published([early])
    store.changes.published([early])
    assert store.changes.announced(10) == [late]
    store.changes.published([late])
    assert store.changes.announced(10) == []
    published = store.changes.history(0, 10)
    assert [each.change for each in published if each.change != early] == [late]
    assert published[0].change == early
    assert sorted({each.position for each in published}) == [each.position for each in published]
    assert store.changes.history(0, 1) == published[:1]
    assert store.changes.history(published[0].position, 10) == published[1:]
    assert store.changes.history(published[-1].position, 10) == []


def test_changes_are_found_by_id_and_by_whom_they_were_about(store: Store) -> None:
    one, other = change("a", 5), change("b", 7)
    store.changes.published([one])
    store.changes.published([other])
    assert store.changes.get(["b", "nobody", "a"]) == {"a": one, "b": other}
    assert store.changes.of([MAIL, ASHA], 10) == [other, one]
    assert store.changes.of([MAIL], 1) == [other]
    assert store.changes.of([RAVI], 10) == []


def test_what_is_published_later_is_never_behind_a_reader(store: Store) -> None:
    seen: list[int] = []
    for number in range(4):
        if number == 2:
            store.leases.take("identity", "another")
        # Evidence may come late: its change is published last all the same.
        store.changes.published([change(f"c{number}", 10 - number)])
        (new,) = store.changes.history(seen[-1] if seen else 0, 10)
        assert new.change.id == f"c{number}"
        seen.append(new.position)
    assert seen == sorted(seen)


def test_all_that_is_said_of_some_identifiers_is_read_at_once(store: Store) -> None:
    hub = MAIL
    named = [link(hub, hasher.node("user_id", f"u{n}")) for n in range(5)]
    store.evidence.merge_links([link(ASHA, MAIL), link(ASHA, RAVI), *named])
    low, high = sorted((ASHA, RAVI))
    must = MustLink(a=low, b=high, first_ms=2, first_event="alias", source="crm")
    match = Match(a=low, b=high, probability=0.9, first_ms=3, first_event="run")
    store.evidence.merge_must_links([must])
    store.evidence.merge_matches([match])
    person = Cluster(ASHA, frozenset({ASHA, RAVI}))
    refusal = Refusal(hub, hub, "hub", "linked to more than 3 others", 100)
    store.people.write([ASHA, RAVI, MAIL], [person], [refusal])
    made = decision("m", 5, {ASHA, RAVI})
    back = msgspec.structs.replace(made, retraction=Retraction("meera", "a mistake", 9))
    store.decisions.put([back])

    around, decisions = store.lookups.around({ASHA: 100, RAVI: 100, PHONE: 1})
    assert {(each.a, each.b) for each in around.links} == {
        (each.a, each.b) for each in (link(ASHA, MAIL), link(ASHA, RAVI))
    }
    assert len(around.links) == 2
    assert (around.must_links, around.matches) == ([must], [match])
    assert around.clusters == {ASHA: person, RAVI: person}
    assert (around.refusals, decisions) == ([], [back])
    around, decisions = store.lookups.around({MAIL: 3})
    assert 3 <= len(around.links) <= 6
    assert (around.clusters, around.refusals, decisions) == ({}, [refusal], [])


def test_what_was_told_of_devices_is_replaced_and_found_by_their_users(store: Store) -> None:
    tablet = hasher.node("anonymous_id", "tablet")
    one = Ownership(ASHA, 5, newest_ms=5, latest=ASHA, users=(ASHA,))
    shared = Ownership(None, 9, newest_ms=9, users=(ASHA, RAVI), logged_out=True)
    store.owners.put({BROWSER: one, tablet: one})
    store.owners.put({BROWSER: shared})
    assert store.owners.of([BROWSER, tablet, PHONE]) == {BROWSER: shared, tablet: one}
    assert dict(store.owners.scan()) == {BROWSER: shared, tablet: one}
    assert store.owners.used_by([RAVI]) == {BROWSER}
    assert store.owners.used_by([ASHA, MAIL]) == {BROWSER, tablet}
    assert store.owners.used_by([]) == set()


def test_a_change_of_ownership_is_in_the_history_of_the_device_and_of_both_owners(
    store: Store,
) -> None:
    held, told = tell(BROWSER, None, Ownership(ASHA, 0), 7, ["e1"])
    assert told is not None
    store.changes.published([told])
    _, gone = tell(BROWSER, held, Ownership(RAVI, 0), 7, ["e2"])
    assert gone is not None
    store.changes.published([gone])
    assert store.changes.of([BROWSER], 9) == [gone, told]
    assert store.changes.of([ASHA], 9) == [gone, told]
    assert store.changes.of([RAVI], 9) == [gone]


def test_who_were_one_person_are_read_as_they_are_now(store: Store) -> None:
    other = hasher.node("email", "asha@work.in")
    people = [ASHA, MAIL, other]
    everybody = [*people, RAVI, PHONE]
    limits = dict.fromkeys(everybody, 10)

    def read(*as_one: Sequence[Node]) -> tuple[dict[Node, Cluster], list[Refusal]]:
        around, _ = store.lookups.around(limits, as_one)
        assert (around.clusters, around.refusals) == (
            store.people.clusters_of(everybody), store.people.refusals_of(everybody),
        )  # fmt: skip
        return dict(around.clusters), list(around.refusals)

    assert read(people, [RAVI]) == ({}, [])
    one = Cluster(ASHA, frozenset(people))
    store.people.write(people, [one], [])
    assert read(people, [RAVI, PHONE]) == (dict.fromkeys(people, one), [])
    assert read([*people, RAVI]) == (dict.fromkeys(people, one), [])
    low, high = sorted((other, RAVI))
    refusal = Refusal(low, high, "limit:user_id", "two user ids", 100)
    store.people.write([*people, RAVI], [one], [refusal])
    assert read(people) == (dict.fromkeys(people, one), [refusal])
    two = Cluster(ASHA, frozenset({ASHA, MAIL}))
    store.people.write([*people, RAVI], [two], [])
    assert read(people) == (dict.fromkeys((ASHA, MAIL), two), [])


# --- decisions ------------------------------------------------------------------------------------


def decision(id_: str, at: int, *groups: set[Node], kind: str = "merge") -> Decision:
    return Decision(
        id=id_, kind=DecisionKind(kind), operator="meera", reason="called us", time_ms=at,
        groups=tuple(map(frozenset, groups)),
    )  # fmt: skip


def test_decisions_are_found_by_id_by_node_and_by_time(store: Store) -> None:
    merged, apart = decision("m", 5, {ASHA, MAIL}), decision("s", 7, {ASHA}, {RAVI}, kind="split")
    assert store.decisions.put([merged, apart]) == [merged, apart]
    assert store.decisions.get(["m", "none"]) == {"m": merged}
    assert store.decisions.of([MAIL]) == [merged]
    assert store.decisions.of([ASHA, RAVI]) == [merged, apart]
    assert store.decisions.of([BROWSER]) == []
    assert store.decisions.list(10) == [apart, merged]
    assert store.decisions.list(1) == [apart]
    assert store.decisions.list(10, (7, "s")) == [merged]


def test_a_decision_that_was_taken_back_stays_so_whatever_comes_again(store: Store) -> None:
    made = decision("b", 5, {MAIL}, kind="block")
    back = msgspec.structs.replace(made, retraction=Retraction("meera", "a mistake", 9))
    store.decisions.put([made])
    assert store.decisions.blocked() == {MAIL}
    assert store.decisions.put([back]) == [back]
    assert store.decisions.put([made]) == [back]
    assert store.decisions.blocked() == frozenset()
    assert store.decisions.of([MAIL]) == [back]
    assert store.decisions.list(10) == [back]
    applied = msgspec.structs.replace(made, applied=("c1",))
    assert store.decisions.put([applied])[0].applied == ("c1",)
    assert store.decisions.get(["b"])["b"].retraction == back.retraction


def test_the_most_probable_match_of_a_pair_stays(store: Store) -> None:
    def match(probability: float, run: str) -> Match:
        a, b = sorted((ASHA, RAVI))
        return Match(a=a, b=b, probability=probability, first_ms=3, first_event=run)

    merge = store.evidence.merge_matches
    likely = match(0.9, "r1")
    likelier = msgspec.structs.replace(match(0.99, "r2"), also=("r1",))
    assert [merge([likely]), merge([likely]), merge([likelier]), merge([likely])] == [
        [likely], [], [likelier], [],
    ]  # fmt: skip
    assert store.evidence.matches_of([RAVI]) == list(store.evidence.scan_matches()) == [likelier]
    assert store.evidence.matches_of([MAIL]) == []


def test_each_holder_of_a_lease_has_a_later_epoch(store: Store) -> None:
    assert store.leases.epoch("identity") == 0
    first = store.leases.take("identity", "one")
    second = store.leases.take("identity", "two")
    assert 0 < first < second == store.leases.epoch("identity")
    assert store.leases.epoch("another") == 0
    assert store.leases.epochs(["identity", "another"]) == {"identity": second, "another": 0}


def test_many_holders_at_once_have_different_epochs(store: Store) -> None:
    epochs: list[int] = []
    threads = [
        threading.Thread(target=lambda n=n: epochs.append(store.leases.take("identity", str(n))))
        for n in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(epochs)) == 4
