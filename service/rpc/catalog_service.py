"""`onefold.v1.CatalogService`: thin over `storage.ports.Catalog`."""

from collections.abc import Callable
from typing import Final

import grpc

from profiles.money import AMOUNT_MAX, MICROS, currency_of
from service.pb.onefold.v1 import catalog_service_pb2 as pb
from service.pb.onefold.v1 import common_pb2
from service.pb.onefold.v1.catalog_service_pb2_grpc import CatalogServiceServicer
from service.rpc import limits
from service.rpc.errors import InvalidArgument, ItemNotFound, Violation
from service.rpc.messages import clean, set_money, set_time, set_value
from service.rpc.paging import Tokens, page_size
from service.rpc.parsing import at_most, time_of
from storage.ports import Catalog, CatalogItem

_NANOS: Final = 10**9
_NANOS_PER_MICRO: Final = 1_000
_ABOUT: Final = ("ListItems",)
Scalar = str | int | float | bool


class CatalogService(CatalogServiceServicer):
    """Keeps the catalogue."""

    def __init__(self, catalog: Catalog, tokens: Tokens, now_ms: Callable[[], int]) -> None:
        self._catalog = catalog
        self._tokens = tokens
        self._now_ms = now_ms

    def UpsertItems(
        self, request: pb.UpsertItemsRequest, _context: grpc.ServicerContext
    ) -> pb.UpsertItemsResponse:
        """Add or replace items, all or none."""
        at_most("items", request.items, limits.ITEMS_MAX)
        self._catalog.upsert(items_of(request, self._now_ms()))
        return pb.UpsertItemsResponse(item_count=len(request.items))

    def GetItem(
        self, request: pb.GetItemRequest, _context: grpc.ServicerContext
    ) -> pb.GetItemResponse:
        """One item."""
        if not request.item_id:
            raise InvalidArgument([Violation("item_id", "must not be empty")])
        item = self._catalog.get([request.item_id]).get(request.item_id)
        if item is None:
            raise ItemNotFound
        reply = pb.GetItemResponse()
        fill_item(reply.item, item)
        return reply

    def ListItems(
        self, request: pb.ListItemsRequest, _context: grpc.ServicerContext
    ) -> pb.ListItemsResponse:
        """A page of items."""
        after = self._tokens.open(request.page_token, str, _ABOUT) if request.page_token else ""
        limit = page_size(request.page_size)
        items = self._catalog.list(after, limit + 1)
        reply = pb.ListItemsResponse()
        size = 0
        for index, item in enumerate(items):
            if index == limit or size > limits.REPLY_BYTES_MAX:
                reply.next_page_token = self._tokens.seal(items[index - 1].id, _ABOUT)
                break
            message = reply.items.add()
            fill_item(message, item)
            size += message.ByteSize()
        return reply


def items_of(request: pb.UpsertItemsRequest, now_ms: int) -> list[CatalogItem]:
    """The items of a request; InvalidArgument with everything that is wrong with them."""
    violations: list[Violation] = []
    items = []
    seen: set[str] = set()
    for index, message in enumerate(request.items):
        field = f"items[{index}]"
        if message.item_id in seen:
            violations.append(Violation(f"{field}.item_id", "is named twice"))
        seen.add(message.item_id)
        try:
            items.append(item_of(message, field, now_ms))
        except InvalidArgument as error:
            violations += error.violations
    if violations:
        raise InvalidArgument(violations)
    return items


def item_of(message: pb.Item, field: str, now_ms: int) -> CatalogItem:
    """One item; InvalidArgument with everything that is wrong with it."""
    violations = []
    if (
        not 0 < len(message.item_id) <= limits.ITEM_ID_MAX
        or message.item_id.strip() != message.item_id
    ):
        violations.append(
            Violation(
                f"{field}.item_id",
                f"must have 1 to {limits.ITEM_ID_MAX} characters, no space around",
            )
        )
    for name in ("name", "category", "brand", "url", "image_url"):
        if len(getattr(message, name)) > limits.TEXT_MAX:
            violations.append(Violation(f"{field}.{name}", f"at most {limits.TEXT_MAX} characters"))
    price = None
    if message.HasField("price"):
        price = micros_of(message.price)
        if price is None or price < 0:
            violations.append(Violation(f"{field}.price", "must be an amount from 0 to 10^12"))
    attributes, wrong = _attributes(message, field)
    violations += wrong
    updated_ms = now_ms
    if message.HasField("update_time"):
        try:
            updated_ms = time_of(message.update_time, f"{field}.update_time")
        except InvalidArgument as error:
            violations += error.violations
    if violations:
        raise InvalidArgument(violations)
    return CatalogItem(
        id=message.item_id,
        name=message.name,
        category=message.category,
        brand=message.brand,
        price_micros=price,
        currency=currency_of(message.price.currency_code) if price is not None else "",
        in_stock=message.in_stock if message.HasField("in_stock") else True,
        sensitive=message.sensitive,
        url=message.url,
        image_url=message.image_url,
        attributes=attributes,
        updated_ms=updated_ms,
    )


def _attributes(message: pb.Item, field: str) -> tuple[dict[str, Scalar], list[Violation]]:
    if len(message.attributes) > limits.ATTRIBUTES_MAX:
        return {}, [Violation(f"{field}.attributes", f"at most {limits.ATTRIBUTES_MAX}")]
    attributes: dict[str, Scalar] = {}
    violations = []
    for name, value in message.attributes.items():
        kind = value.WhichOneof("kind")
        if not name or len(name) > limits.ITEM_ID_MAX:
            violations.append(Violation(f"{field}.attributes", "names have 1 to 200 characters"))
        elif kind is None or kind == "json_value":
            violations.append(
                Violation(f"{field}.attributes[{name}]", "must be a text, number or boolean")
            )
        elif kind == "string_value" and len(value.string_value) > limits.TEXT_MAX:
            violations.append(
                Violation(f"{field}.attributes[{name}]", f"at most {limits.TEXT_MAX} characters")
            )
        else:
            attributes[name] = getattr(value, kind)
    return attributes, violations


def micros_of(money: common_pb2.Money) -> int | None:
    """An amount in millionths, or None if its parts disagree or it is beyond AMOUNT_MAX."""
    if not -_NANOS < money.nanos < _NANOS or abs(money.units) > AMOUNT_MAX:
        return None
    if money.units * money.nanos < 0:
        return None
    return money.units * MICROS + round(money.nanos / _NANOS_PER_MICRO)


def fill_item(message: pb.Item, item: CatalogItem) -> None:
    """Set an Item."""
    message.item_id = clean(item.id)
    message.name = clean(item.name)
    message.category = clean(item.category)
    message.brand = clean(item.brand)
    if item.price_micros is not None:
        set_money(message.price, item.price_micros, item.currency)
    message.in_stock = item.in_stock
    message.sensitive = item.sensitive
    message.url = clean(item.url)
    message.image_url = clean(item.image_url)
    for name, value in item.attributes.items():
        set_value(message.attributes[clean(name)], value)
    set_time(message.update_time, item.updated_ms)
