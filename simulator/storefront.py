"""What the SDKs send during a visit, and when each message reaches the collector."""

from collections.abc import Iterator, Sequence
from random import Random
from typing import Any, Final, NamedTuple

from simulator.catalog import Item
from simulator.messages import (
    HOST,
    SERVER,
    context_of,
    iso,
    message,
    product_of,
    traits_of,
)
from simulator.online_retail import MICROS, Json, amount
from simulator.population import (
    DAY_MS,
    HOUR_MS,
    JUNK_EMAIL,
    JUNK_USER_ID,
    Person,
    Rates,
)
from simulator.truth import Login, Situation, Source, Truth
from simulator.visits import STEP_MS_MAX, Visit

LATE_MS_MAX: Final = 3 * DAY_MS
"""How long a phone without network keeps its messages."""
REPEAT_MS_MAX: Final = 6 * HOUR_MS


class Delivery(NamedTuple):
    """One message reaching the collector. Deliveries sort by time, then by the order they were made in."""

    at_ms: int
    number: int
    event: Json
    truth: Truth


class Step(NamedTuple):
    """Something a visitor does: the type, the event's name and its content."""

    kind: str
    name: str
    content: Json


class Shelves:
    """The products by category, and what a person picks from them."""

    def __init__(self, items: Sequence[Item]) -> None:
        if not items:
            raise ValueError("a shop needs at least one product")
        self._items = list(items)
        by_category: dict[str, list[Item]] = {}
        for item in items:
            by_category.setdefault(item.category, []).append(item)
        self._shelves = list(by_category.values())
        self.product = {item.id: product_of(item) for item in items}

    def pick(self, random: Random, person: Person | None) -> Item:
        """An item: mostly from the person's favourite shelves, the first ones of a shelf more often."""
        if person is None or random.random() < 0.3:
            shelf = self._items
        else:
            favourite = person.favourites[random.random() < 0.4]
            shelf = self._shelves[favourite % len(self._shelves)]
        return shelf[int(len(shelf) * random.random() ** 2)]


class Storefront:
    """Turns visits into deliveries. One of them serves one stream; it is the randomness's only user."""

    def __init__(self, random: Random, items: Sequence[Item], rates: Rates) -> None:
        self._random = random
        self._shelves = Shelves(items)
        self._rates = rates
        self._count = 0
        self._orders = 0
        self._aliased: set[Person] = set()

    def deliveries(self, visit: Visit) -> Iterator[Delivery]:
        """Everything that the visit causes to be delivered, none of it before the visit starts."""
        random, person, device = self._random, visit.person, visit.device
        order = self._order(visit) if visit.buys else None
        steps = list(self._steps(visit, order))
        if visit.login and person is not None and visit.user_id == person.user_id:
            yield from self._alias(visit, person)
        late_from, late_ms = len(steps), 0
        if random.random() < self._rates.late:
            late_from = random.randrange(len(steps))
            late_ms = random.randrange(HOUR_MS // 2, LATE_MS_MAX)
        context = context_of(device, person, visit.start_ms)
        anonymous_id = device.anonymous_id_at(visit.start_ms)
        traits: Json = {}
        user_id = ""
        if visit.known and person is not None:
            user_id, traits = visit.user_id, traits_of(random, person, device.source)
        context["traits"] = traits
        at_ms = visit.start_ms
        for number, step in enumerate(steps):
            if step.kind == "identify":
                user_id, traits = step.content["userId"], step.content["traits"]
                context = {**context, "traits": traits}
            event = message(random, step.kind, context, user_id, anonymous_id)
            _fill(event, step, device.lower_case)
            yield from self._sent(event, visit, at_ms, late_ms if number >= late_from else 0)
            if step.name == "Logged Out" or (step.kind == "identify" and user_id == JUNK_USER_ID):
                # reset(): the anonymous id stays, and nothing is sent.
                user_id, context = "", {**context, "traits": {}}
            if order is not None and step.name == "Order Completed":
                yield from self._told_again(visit, order, at_ms, user_id, anonymous_id)
            at_ms += random.randrange(4_000, STEP_MS_MAX)

    def _steps(self, visit: Visit, order: Json | None) -> Iterator[Step]:
        """What the visitor does, in order."""
        random, person = self._random, visit.person
        home = _view(visit, "Home", "/")
        yield home
        login_at = random.randrange(visit.steps) if visit.login else -1
        if visit.order is not None:
            login_at = visit.steps - 1
        for number in range(visit.steps):
            if number == login_at and person is not None:
                traits = traits_of(random, person, visit.device.source)
                yield Step("identify", "", {"userId": visit.user_id, "traits": traits})
            seen = visit.items
            item = seen[number % len(seen)] if seen else self._shelves.pick(random, person)
            yield from self._look(visit, item, number)
        if visit.newsletter and person is not None:
            yield Step("identify", "", {"userId": visit.user_id, "traits": {"email": person.email}})
        if visit.junk and not visit.known:
            yield Step("identify", "", {"userId": JUNK_USER_ID, "traits": {"email": JUNK_EMAIL}})
        if order is not None:
            for product in order["products"][:3]:
                yield Step("track", "Product Added", product)
            yield Step("track", "Checkout Started", order)
            email = {} if visit.login or visit.known or person is None else {"email": person.email}
            # A guest's e-mail stands in the properties, where it may as well be a friend's.
            yield Step("track", "Order Completed", {**order, **email})
        if visit.logs_out:
            yield Step("track", "Logged Out", {})
            yield home

    def _look(self, visit: Visit, item: Item, number: int) -> Iterator[Step]:
        product = self._shelves.product.get(item.id) or product_of(item)
        if number % 3 == 0:
            if visit.device.source is Source.WEB:
                yield _view(visit, item.category or "All", f"/c/{item.category or 'all'}")
            shown = [product, *(self._shelves.product[one.id] for one in self._some(2))]
            content = {"list_id": item.category or "all", "products": shown}
            yield Step("track", "Product List Viewed", content)
        yield Step("track", "Product Viewed", product)

    def _some(self, count: int) -> list[Item]:
        return [self._shelves.pick(self._random, None) for _ in range(count)]

    def _order(self, visit: Visit) -> Json:
        """The properties of the visit's order: the real one's, or a made-up basket's."""
        if visit.order is not None:
            return visit.order.properties
        random = self._random
        self._orders += 1
        basket = {
            item.id: item
            for item in (
                self._shelves.pick(random, visit.person) for _ in range(random.randint(1, 4))
            )
        }
        products = [product_of(item, quantity=random.choice((1, 1, 2))) for item in basket.values()]
        revenue = sum(round(one["price"] * MICROS) * one["quantity"] for one in products)
        return {
            "order_id": f"o{visit.id.removeprefix('visit-')}-{self._orders}",
            "currency": products[0]["currency"],
            "revenue": amount(revenue),
            "products": products,
        }

    def _sent(self, event: Json, visit: Visit, at_ms: int, late_ms: int) -> Iterator[Delivery]:
        """The message leaves the device `late_ms` after it was made; its own clock dates it."""
        random, device, rates = self._random, visit.device, self._rates
        sent_ms = at_ms + late_ms + random.randrange(2, 40)
        received_ms = sent_ms + random.randrange(30, 400)
        if event["type"] == "identify" and random.random() < rates.identify_late:
            received_ms += random.randrange(5_000, 3 * STEP_MS_MAX)
        event["channel"] = "mobile" if device.source is Source.APP else "web"
        event["originalTimestamp"] = iso(at_ms + device.skew_ms)
        event["sentAt"] = iso(sent_ms + device.skew_ms)
        event["receivedAt"] = iso(received_ms)
        truth = self._truth(event, visit, at_ms, device.source)
        yield self._delivery(received_ms, event, truth)
        if random.random() < rates.repeated:
            again_ms = received_ms + random.randrange(1_000, REPEAT_MS_MAX)
            yield self._delivery(again_ms, event, truth)

    def _told_again(
        self, visit: Visit, order: Json, at_ms: int, user_id: str, anonymous_id: str
    ) -> Iterator[Delivery]:
        """The back end tells a made-up order too, and sometimes that a user returned it."""
        random = self._random
        if visit.order is not None:
            return
        # The back end names the visitor's cookie only where it knows no user.
        cookie = None if user_id else anonymous_id
        done = self._server("Order Completed", order, user_id, cookie)
        yield self._from_server(done, visit, at_ms + random.randrange(200, 3_000))
        if user_id and random.random() < self._rates.refunded:
            back_ms = at_ms + random.randrange(2 * DAY_MS, 10 * DAY_MS)
            refund = self._server("Order Refunded", order, user_id, None)
            yield self._from_server(refund, None, back_ms, visit.person)

    def _alias(self, visit: Visit, person: Person) -> Iterator[Delivery]:
        """At the first login with a new id the back end says which old id it replaces."""
        if not person.legacy_id or person in self._aliased:
            return
        self._aliased.add(person)
        event = message(self._random, "alias", SERVER, person.user_id, None)
        event["previousId"] = person.legacy_id
        yield self._from_server(event, None, visit.start_ms, person)

    def _server(self, name: str, content: Json, user_id: str, anonymous_id: str | None) -> Json:
        event = message(self._random, "track", SERVER, user_id, anonymous_id)
        event["event"], event["properties"] = name, content
        return event

    def _from_server(
        self, event: Json, visit: Visit | None, at_ms: int, person: Person | None = None
    ) -> Delivery:
        event["channel"] = "server"
        event["originalTimestamp"] = event["sentAt"] = iso(at_ms)
        event["receivedAt"] = iso(at_ms + 40)
        return self._delivery(
            at_ms + 40, event, self._truth(event, visit, at_ms, Source.BACK_END, person)
        )

    def _truth(
        self,
        event: Json,
        visit: Visit | None,
        at_ms: int,
        source: Source,
        person: Person | None = None,
    ) -> Truth:
        if visit is not None:
            person = visit.person
        return Truth(
            message_id=event["messageId"],
            person=person.id if person else None,
            situation=visit.device.situation if visit else Situation.BACK_END,
            visit=visit.id if visit else "",
            login=visit.place if visit else Login.NEVER,
            source=source,
            time_ms=at_ms,
        )

    def _delivery(self, at_ms: int, event: Json, truth: Truth) -> Delivery:
        self._count += 1
        return Delivery(at_ms, self._count, event, truth)


def _view(visit: Visit, name: str, path: str) -> Step:
    """A page in a browser, a screen in an app."""
    if visit.device.source is Source.APP:
        return Step("screen", name, {"name": name})
    return Step("page", name, {"name": name, "path": path, "url": HOST + path})


def _fill(event: Json, step: Step, lower_case: bool) -> None:
    """Lay the step's content into the message."""
    content: dict[str, Any] = step.content
    if step.kind == "identify":
        # The SDKs of RudderStack carry an identify's traits in the context alone.
        return
    event["properties"] = content
    if step.kind == "track":
        event["event"] = step.name.lower() if lower_case else step.name
    else:
        event["name"] = step.name
