"""What every store promises about deliveries (storage/ports.py)."""

import msgspec
import pytest

from storage.ports import Store
from storage.segment_ports import Delivery


def run(id_: str, at: int, destination: str = "lotame") -> Delivery:
    return Delivery(
        id=id_, destination=destination, kind="lotame", mode="full", who="meera", started_ms=at,
        segments=("regulars",),
    )  # fmt: skip


def ended(begun: Delivery, result: str = "delivered") -> Delivery:
    return msgspec.structs.replace(
        begun, ended_ms=begun.started_ms + 9, result=result, people=3, withheld={"no_consent": 2}
    )


def ids(some: list[Delivery]) -> list[str]:
    return [each.id for each in some]


def test_runs_are_listed_newest_first_in_pages(store: Store) -> None:
    store.deliveries.put([run("a", 1), run("c", 2), run("b", 2), run("crm", 3, "crm")])
    assert ids(store.deliveries.list(10)) == ["crm", "c", "b", "a"]
    assert ids(store.deliveries.list(2)) == ["crm", "c"]
    assert ids(store.deliveries.list(2, before=(2, "c"))) == ["b", "a"]
    assert ids(store.deliveries.list(10, "lotame")) == ["c", "b", "a"]
    assert ids(store.deliveries.list(10, "lotame", (2, "b"))) == ["a"]
    assert store.deliveries.list(10, "nowhere") == []


@pytest.mark.parametrize("first", ["begun", "ended"])
def test_the_end_of_a_run_replaces_its_beginning_whichever_comes_first(
    store: Store, first: str
) -> None:
    begun = run("a", 1)
    both = [begun, ended(begun)]
    for each in both if first == "begun" else reversed(both):
        store.deliveries.put([each])
    assert store.deliveries.list(10) == [ended(begun)]


def test_how_far_each_segment_is_told_is_kept_for_each_destination(store: Store) -> None:
    assert store.deliveries.positions("lotame") == {}
    store.deliveries.acknowledge("lotame", {"regulars": "7", "lapsed": ""}, at=5)
    store.deliveries.acknowledge("crm", {"regulars": "1.50"}, at=1)
    store.deliveries.acknowledge("lotame", {"regulars": "late"}, at=4)
    assert store.deliveries.positions("lotame") == {"lapsed": "", "regulars": "7"}
    store.deliveries.acknowledge("lotame", {"regulars": "8"}, at=6)
    assert store.deliveries.positions("lotame") == {"lapsed": "", "regulars": "8"}
    assert store.deliveries.positions("crm") == {"regulars": "1.50"}
