import pytest

from simulator.around_orders import storefront_for
from simulator.shop import Scenario
from simulator.slice import customers_of, orders_of, slice_catalog, slice_events
from simulator.truth import Login, Situation
from tests.simulator.spec import faults

EVENTS = list(slice_events())
ORDERS = {order.order_id: order for order in orders_of(EVENTS)}
CATALOG = slice_catalog()


@pytest.fixture(scope="module")
def site() -> Scenario:
    return storefront_for(customers_of(EVENTS), CATALOG, list(ORDERS.values()), seed=7)


def test_it_makes_about_fifteen_thousand_valid_clicks(site: Scenario) -> None:
    told = site.events()

    assert 12_000 < len(told) < 18_000
    assert [fault for event, _ in told for fault in faults(event)] == []


def test_its_people_products_and_orders_are_the_shop_s(site: Scenario) -> None:
    customers = {one.user_id for one in customers_of(EVENTS)}
    products = {item.id for item in CATALOG}
    for event, truth in site:
        said = event.get("properties", {})
        assert event["userId"] in customers | {"", "null"}
        assert truth.person is None or truth.person.removeprefix("customer-") in customers
        if event.get("event", "").lower() == "product viewed":
            assert said["product_id"] in products
        if event.get("event", "").lower() == "order completed" and "order_id" in said:
            order = ORDERS[said["order_id"]]
            assert said["revenue"] == order.properties["revenue"]
            assert event["userId"] == order.user_id


def test_every_order_is_told_by_the_browser_of_who_placed_it(site: Scenario) -> None:
    told = {
        event["properties"]["order_id"]
        for event, _ in site
        if event.get("event", "").lower() == "order completed"
    }
    last = max(order.time_ms for order in ORDERS.values())
    recent = {one.order_id for one in ORDERS.values() if one.time_ms >= last - 21 * 86_400_000}
    assert told == recent


def test_somebody_looked_at_a_product_before_logging_in_and_did_not_buy_it(site: Scenario) -> None:
    bought = {(order.user_id, one) for order in ORDERS.values() for one in order.product_ids}
    stories = [
        (truth.person, event["properties"]["product_id"])
        for event, truth in site
        if truth.situation is Situation.SINGLE_OWNER
        and truth.login is Login.BEFORE_FIRST
        and event.get("event") == "Product Viewed"
        and truth.person
        and (truth.person.removeprefix("customer-"), event["properties"]["product_id"])
        not in bought
    ]
    assert len(stories) > 20


def test_the_same_seed_gives_the_same_site(site: Scenario) -> None:
    again = storefront_for(customers_of(EVENTS), CATALOG, list(ORDERS.values()), seed=7)

    assert again.events() == site.events()
