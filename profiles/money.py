"""Money and numbers as events state them: floats, integers and texts, read into exact integers."""

from decimal import Decimal, InvalidOperation
from typing import Any, Final

MICROS: Final = 1_000_000
"""Money is kept in millionths of the currency's unit: sums of integers do not depend on their order."""

AMOUNT_MAX: Final = 10**12
"""An amount beyond this is a mistake (ten times the largest order ever plausible) and is not read."""

NO_CURRENCY: Final = "XXX"
"""ISO 4217's code for "no currency": the event named none."""


def micros(value: Any) -> int | None:
    """`value` in millionths, or None if it is no finite number up to AMOUNT_MAX. Texts are read."""
    if isinstance(value, float):
        # Rounding gives back the decimal that was written, up to six places: the error of the
        # product is far below a half for every amount under AMOUNT_MAX.
        return round(value * MICROS) if -AMOUNT_MAX <= value <= AMOUNT_MAX else None
    if isinstance(value, int) and not isinstance(value, bool):
        return value * MICROS if -AMOUNT_MAX <= value <= AMOUNT_MAX else None
    if isinstance(value, str) and len(value) <= 64:
        try:
            number = Decimal(value.strip().replace(",", ""))
        except InvalidOperation:
            return None
        if number.is_finite() and abs(number) <= AMOUNT_MAX:
            return int((number * MICROS).to_integral_value())
    return None


def quantity_of(value: Any) -> float:
    """How many: a finite positive number, else 1."""
    read = micros(value)
    if read is None or read <= 0:
        return 1
    return read // MICROS if read % MICROS == 0 else read / MICROS


def times(price_micros: int, quantity: float) -> int:
    """Price times quantity, in millionths; exact for whole quantities."""
    return price_micros * quantity if isinstance(quantity, int) else round(price_micros * quantity)


def currency_of(value: Any) -> str:
    """A currency code in capitals, NO_CURRENCY where none is stated."""
    if isinstance(value, str) and 0 < len(value) <= 8:
        return value.strip().upper() or NO_CURRENCY
    return NO_CURRENCY
