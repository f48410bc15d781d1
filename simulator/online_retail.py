"""UCI Online Retail II, two years of a real shop's order lines, as the events its back end would have sent.

The events are what RudderStack's gateway writes to S3: one JSON object a line. What is decided about
odd rows stands in simulator/README.md, section "Online Retail II".

Source: Chen, D. (2012). Online Retail II. UCI Machine Learning Repository.
https://doi.org/10.24432/C5CG6D (CC BY 4.0).
"""

import gzip
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any, Final, NamedTuple, cast

import msgspec

Json = dict[str, Any]

MICROS: Final = 1_000_000
CURRENCY: Final = "GBP"
INVOICE_SPAN_MS: Final = 3_600_000
"""An invoice is complete when the rows are this far past it; the longest real one spans nine minutes."""
ROWS_PER_READ: Final = 65_536

CHARGES: Final = frozenset(
    {"POST", "DOT", "C2", "C3", "M", "D", "S", "B", "BANK CHARGES", "ADJUST", "ADJUST2"}
    | {"AMAZONFEE", "CRUK", "TEST001", "TEST002", "GIFT"}
)
"""Codes that are no goods: postage, discounts, fees, manual corrections, tests."""

_CONTEXT: Final[Json] = {"library": {"name": "@rudderstack/rudder-sdk-node", "version": "3.0.13"}}
_MINUTE_TEXT: Final = "%Y-%m-%dT%H:%M"


class Row(NamedTuple):
    """One order line. `customer` is "" where the shop knew none."""

    invoice: str
    code: str
    name: str
    quantity: int
    at: datetime
    price_micros: int
    customer: str
    country: str


class Line(NamedTuple):
    """What one document says of one product at one price; the quantity has the document's sign."""

    code: str
    name: str
    price_micros: int
    quantity: int


def read_rows(path: str | Path) -> Iterator[Row]:
    """The rows of the parquet file, in its order (by time). Needs pyarrow."""
    import pyarrow.parquet as pq

    for batch in pq.ParquetFile(path).iter_batches(ROWS_PER_READ):
        columns = (
            _texts(batch, "Invoice", str),
            _texts(batch, "StockCode", lambda text: text.strip().upper()),
            _texts(batch, "Description", display_name),
            batch.column("Quantity").to_numpy().tolist(),
            batch.column("InvoiceDate").to_numpy(zero_copy_only=False).tolist(),
            (batch.column("Price").to_numpy() * MICROS).round().astype("int64").tolist(),
            # An empty cell is null or NaN.
            _texts(batch, "Customer ID", lambda number: str(int(number)) if number > 0 else ""),
            _texts(batch, "Country", str),
        )
        yield from map(Row._make, zip(*columns, strict=True))


def _texts(batch: Any, name: str, text_of: Callable[[Any], str]) -> list[str]:
    """A column of a record batch as texts, each distinct value converted once; null becomes ""."""
    column = batch.column(name).dictionary_encode()
    values = ["" if value is None else text_of(value) for value in column.dictionary.to_pylist()]
    return ["" if index is None else values[index] for index in column.indices.to_pylist()]


def display_name(text: str) -> str:
    """The till's capitals as a sentence, without stray spaces."""
    text = " ".join(text.replace("Â£", "£").split())
    return text.capitalize() if text.isupper() else text


def events(rows: Iterable[Row]) -> Iterator[Json]:
    """One identify per customer and country, one order or refund per document, in order of time.

    Rows without a customer are skipped. Rows must be sorted by time; ValueError if an invoice comes
    back more than INVOICE_SPAN_MS after it began. Equal rows give equal events, ids included.
    """
    country_of: dict[str, str] = {}
    for document in documents(rows):
        first = document[0]
        if country_of.get(first.customer) != first.country:
            country_of[first.customer] = first.country
            yield _identify(first)
        yield _order(document)


def documents(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """The rows of each order or credit note that names a customer, by the time of their first row."""
    open_rows: dict[str, list[Row]] = {}
    done: set[str] = set()
    span = timedelta(milliseconds=INVOICE_SPAN_MS)
    for row in rows:
        if not row.customer or row.invoice[0] == "A":
            continue
        held = open_rows.get(row.invoice)
        if held is not None:
            held.append(row)
            continue
        if row.invoice in done:
            raise ValueError(f"invoice {row.invoice}: its rows are hours apart; sort them by time")
        while open_rows:
            oldest = next(iter(open_rows))
            if row.at - open_rows[oldest][0].at <= span:
                break
            done.add(oldest)
            yield open_rows.pop(oldest)
        open_rows[row.invoice] = [row]
    yield from open_rows.values()


def is_refund(row: Row) -> bool:
    """Whether the row is of a credit note."""
    return row.invoice[0] == "C"


def lines_of(document: list[Row]) -> list[Line]:
    """Its lines, those of one product at one price added up; a credit note's quantities turned positive."""
    sign = -1 if is_refund(document[0]) else 1
    found: dict[tuple[str, int], Line] = {}
    for row in document:
        key = (row.code, row.price_micros)
        held = found.get(key)
        quantity = sign * row.quantity + (held.quantity if held else 0)
        name = held.name if held else row.name
        found[key] = Line(row.code, name, row.price_micros, quantity)
    return list(found.values())


def amount(micros: int) -> float | int:
    """Millionths as a JSON number whose shortest spelling is the exact decimal (up to 9·10⁹)."""
    return micros // MICROS if micros % MICROS == 0 else micros / MICROS


def email_of(customer: str) -> str:
    """The made-up address of a customer: the data set names none."""
    return f"customer-{customer}@example.com"


def _identify(row: Row) -> Json:
    traits = {"email": email_of(row.customer), "country": row.country}
    event: Json = {
        "type": "identify",
        "messageId": f"online-retail-identify-{row.customer}-{row.invoice}",
        "userId": row.customer,
        "traits": traits,
        "context": {**_CONTEXT, "traits": traits},
    }
    return _delivered(event, row.at)


def _order(document: list[Row]) -> Json:
    first = document[0]
    lines = lines_of(document)
    total = sum(line.price_micros * line.quantity for line in lines)
    properties: Json = {
        "order_id": first.invoice,
        "currency": CURRENCY,
        "revenue": amount(total),
        "products": [_product(line) for line in lines if line.code not in CHARGES],
    }
    if charges := [_product(line) for line in lines if line.code in CHARGES]:
        properties["charges"] = charges
    event: Json = {
        "type": "track",
        "event": "Order Refunded" if is_refund(first) else "Order Completed",
        "messageId": f"online-retail-{first.invoice}",
        "userId": first.customer,
        "properties": properties,
        "context": _CONTEXT,
    }
    return _delivered(event, first.at)


def _product(line: Line) -> Json:
    return {
        "product_id": line.code,
        "name": line.name,
        "price": amount(line.price_micros),
        "quantity": line.quantity,
    }


def _delivered(event: Json, at: datetime) -> Json:
    """`event` as the gateway passes it on: sent at once, received a second later."""
    seconds = at.strftime(_MINUTE_TEXT) + f":{at.second:02d}"
    happened = seconds + ".000Z"
    event["channel"] = "server"
    event["originalTimestamp"] = happened
    event["sentAt"] = happened
    event["timestamp"] = event["receivedAt"] = seconds + ".250Z"
    event["integrations"] = {"All": True}
    return event


def time_ms(text: str) -> int:
    """The milliseconds since 1970 of a time as these events write it."""
    return round(datetime.fromisoformat(text).astimezone(UTC).timestamp() * 1000)


def write(path: str | Path, found: Iterable[Json]) -> int:
    """Write events (or items) as JSON lines, gzipped if the name ends in .gz; returns how many.

    Equal input gives equal bytes: the gzip header holds no time.
    """
    encoder = msgspec.json.Encoder()
    count = 0
    with Path(path).open("wb") as file:
        compressed = str(path).endswith(".gz")
        sink = cast(IO[bytes], gzip.GzipFile("", "wb", 9, file, mtime=0) if compressed else file)
        for one in found:
            sink.write(encoder.encode(one) + b"\n")
            count += 1
        if compressed:
            sink.close()
    return count


def read(path: str | Path) -> Iterator[Json]:
    """The objects of a file of JSON lines, gzipped or not."""
    decoder = msgspec.json.Decoder(Json)
    compressed = str(path).endswith(".gz")
    with gzip.open(path) if compressed else Path(path).open("rb") as file:
        for line in file:
            yield decoder.decode(line)
