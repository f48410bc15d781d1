"""The catalogue of Online Retail II: what each product is called, costs, and whether it still sells."""

import re
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

import msgspec

from simulator.online_retail import CHARGES, CURRENCY, Row, amount, documents, is_refund

IN_STOCK_DAYS: Final = 60
"""A product that nobody bought for this long before the end of the data counts as sold out."""

# The first category with a word of the name wins, so what a thing is *for* stands before what it is.
_WORDS: Final = (
    ("christmas", "christmas xmas advent santa reindeer snowman snowflake stocking bauble"),
    ("easter", "easter bunny egg eggs"),
    (
        "cards-and-stationery",
        "card cards wrap notebook pencil pencils pen stationery envelope envelopes",
    ),
    ("cards-and-stationery", "stickers sticker journal tape letter paper postage ribbon ribbons"),
    (
        "jewellery",
        "necklace bracelet earrings earring ring rings brooch bangle jewellery charm pendant",
    ),
    ("bags", "bag bags purse shopper rucksack suitcase handbag holdall"),
    (
        "lighting",
        "light lights lamp lantern candle candles t-light candlestick candleholder chandelier",
    ),
    (
        "kitchen",
        "cake cakestand baking tin tins mug mugs cup cups teapot bowl plate plates jug tray",
    ),
    (
        "kitchen",
        "spoon spoons napkins apron kitchen recipe jar jars bottle lunch snack cutlery dish",
    ),
    (
        "kitchen",
        "tea coffee oven tablecloth glass glasses coaster coasters jam bread egg-cup pantry",
    ),
    ("toys", "toy toys game games doll dolls puzzle dominoes skittles playhouse jigsaw crayons"),
    ("toys", "children childrens kids girls boys baby soldiers dinosaur spaceboy circus blocks"),
    (
        "garden",
        "garden plant planter watering herb flower flowers seeds bird birdhouse parasol gnome",
    ),
    ("bath", "bath soap bathroom towel sponge wash toilet hand-cream washbag"),
    ("textiles", "cushion throw quilt blanket doormat mat rug curtain fabric bunting hot-water"),
    ("storage", "box boxes drawer drawers cabinet storage basket hook hooks hanger rack shelf"),
    (
        "decoration",
        "heart hanging frame clock sign mirror wall decoration ornament vase wicker wooden",
    ),
    ("decoration", "metal ceramic garland wreath photo picture antique feather magnets magnet"),
)
_CATEGORY: Final = {word: name for name, words in reversed(_WORDS) for word in words.split()}
_RANK: Final = {name: rank for rank, (name, _) in reversed(list(enumerate(_WORDS)))}
_WORD: Final = re.compile(r"[a-z]+(?:-[a-z]+)*")


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """One product. `price` is the newest that a customer paid, 0 where nobody ever paid."""

    id: str
    name: str
    price: float
    currency: str = CURRENCY
    in_stock: bool
    category: str
    """One of 13 words derived from the name; "" where no word of it says anything."""


def category_of(name: str) -> str:
    """The category that the words of a product's name suggest, else ""."""
    found = [_CATEGORY[word] for word in _WORD.findall(name.lower()) if word in _CATEGORY]
    return min(found, key=_RANK.__getitem__, default="")


def catalog(rows: Iterable[Row]) -> list[Item]:
    """Every product that the events of the same `rows` name, sorted by id.

    Name and price are those of the newest order line of a known customer with a price.
    """
    newest: dict[str, tuple[str, int, datetime]] = {}
    end = datetime.min
    for document in documents(rows):
        for row in document:
            end = max(end, row.at)
            if row.code in CHARGES:
                continue
            held = newest.get(row.code, (row.name, 0, datetime.min))
            if row.price_micros > 0 and not is_refund(row):
                held = (row.name or held[0], row.price_micros, row.at)
            newest[row.code] = held
    oldest = end - timedelta(days=IN_STOCK_DAYS) if newest else end
    return [
        Item(
            id=code,
            name=name,
            price=amount(price),
            in_stock=price > 0 and at >= oldest,
            category=category_of(name),
        )
        for code, (name, price, at) in sorted(newest.items())
    ]
