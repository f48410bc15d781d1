"""Customers of a shop in India, as two systems wrote them down: known truth, every kind of slip."""

import random
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from identity.normalize import Normalizer
from identity.rules import Rules
from models.linking.people import People, standardize
from models.linking.reading import Sheet, in_order

NORMALIZER: Final = Normalizer(Rules())

NAMES: Final = """
Lakshmi Deepak Sudhir Mohammed Kavita Vivek Priya Anil Sunita Rajesh Meenakshi Fatima Srinivas Poornima
Aishwarya Zakir Jyoti Satish Gopal Harpreet Nandini Arjun Farhan Ishita Karthik Leela Manoj Neha Omkar
Pallavi Qasim Ritu Suresh Tanvi Umesh Varun Yasmin Asha Bhavna Chetan
| Sharma Verma Iyer Nair Reddy Khan Chaudhary Mukherjee Banerjee Singh Patel Shah Mehta Joshi Kulkarni Rao
Pillai Menon Gupta Agarwal Das Ghosh Naidu Hussain Ansari Shetty Deshpande Bhat Kaur Gill
| Mumbai Pune Chennai Kolkata Hyderabad Bengaluru Delhi Kochi Jaipur Lucknow
| Gandhi Nehru Station Temple Lake Market Church Hill Park College Mill Fort
"""
GIVEN, SURNAMES, CITIES, STREETS = (group.split() for group in NAMES.split("|"))
SPELLINGS: Final = {
    "Lakshmi": "Laxmi", "Deepak": "Dipak", "Sudhir": "Sudheer", "Mohammed": "Md", "Kavita": "Kavitha",
    "Vivek": "Bibek", "Meenakshi": "Minaxi", "Fatima": "Fathima", "Srinivas": "Shrinivas",
    "Poornima": "Purnima", "Jyoti": "Jyothi", "Satish": "Sathish", "Chaudhary": "Chowdhury",
    "Mukherjee": "Mukherji", "Banerjee": "Bandopadhyay", "Agarwal": "Aggarwal", "Nair": "Nayar",
    "Reddy": "Reddi", "Hussain": "Hossain", "Das": "Dass",
}  # fmt: skip

Row = dict[str, str]


def person(draw: random.Random) -> Row:
    """Somebody, as they would write it themselves."""
    year, month, day = draw.randrange(1950, 2005), draw.randrange(1, 13), draw.randrange(1, 29)
    given, surname = draw.choice(GIVEN), draw.choice(SURNAMES)
    number = draw.randrange(1, 400)
    return {
        "given": given, "surname": surname, "birth_date": f"{day:02}/{month:02}/{year}",
        "phone": f"9{draw.randrange(10**8, 10**9)}",
        "email": f"{given}.{surname}{draw.randrange(100)}@example.in".lower(),
        "address": f"{number}, {draw.choice(STREETS)} Road", "city": draw.choice(CITIES),
        "postcode": str(draw.randrange(110001, 860000)), "sex": draw.choice("MF"),
    }  # fmt: skip


def written_again(row: Row, draw: random.Random) -> Row:
    """The same person in another system: one or two slips, and what they did not tell there."""
    again = dict(row)
    for slip in draw.sample(_SLIPS, 2):
        slip(again, draw)
    for column in draw.sample(["phone", "email", "address", "birth_date", "postcode"], 2):
        again[column] = ""
    return again


def _respelled(row: Row, draw: random.Random) -> None:
    for column in ("given", "surname"):
        row[column] = SPELLINGS.get(row[column], row[column])


def _initial(row: Row, draw: random.Random) -> None:
    row["given"] = row["given"][:1] + "."


def _swapped_day(row: Row, draw: random.Random) -> None:
    day, month, year = row["birth_date"].split("/")
    row["birth_date"] = f"{month}/{day}/{year}"


def _phone_slip(row: Row, draw: random.Random) -> None:
    place = draw.randrange(1, 10)
    row["phone"] = row["phone"][:place] + str(draw.randrange(10)) + row["phone"][place + 1 :]


def _shortened(row: Row, draw: random.Random) -> None:
    row["address"] = row["address"].replace("Road", "Rd")


def _turned(row: Row, draw: random.Random) -> None:
    row["given"], row["surname"] = row["surname"], row["given"]


_SLIPS: Final[Sequence[Callable[[Row, random.Random], None]]] = (
    _respelled, _initial, _swapped_day, _phone_slip, _shortened, _turned,
)  # fmt: skip


def customers(people: int, seed: int = 0) -> list[tuple[str, Row]]:
    """(id, row): everybody once, two of three again. The id up to the dash is the person."""
    draw = random.Random(seed)
    found = []
    for number in range(people):
        row = person(draw)
        found.append((f"{number}-a", row))
        if draw.random() < 2 / 3:
            found.append((f"{number}-b", written_again(row, draw)))
    draw.shuffle(found)
    return found


def sheet(rows: Sequence[tuple[str, Row]], name: str = "crm.csv") -> Sheet:
    """Rows as a file that was read."""
    roles = sorted({role for _, row in rows for role in row})
    texts = {role: [row.get(role, "") for _, row in rows] for role in roles}
    return in_order(Sheet(name, [each for each, _ in rows], texts, {role: role for role in roles}))


def people_of(*rows: Row, second_from: int | None = None) -> People:
    """Records in the order given; from `second_from` on they are the second file's."""
    roles = sorted({role for row in rows for role in row})
    side = np.zeros(len(rows), np.int8)
    if second_from is not None:
        side[second_from:] = 1
    raw = {role: [row.get(role, "") for row in rows] for role in roles}
    return standardize([str(place) for place in range(len(rows))], side, raw, NORMALIZER)


def whose(ids: Sequence[str]) -> list[str]:
    """The people that ids name."""
    return [each.partition("-")[0] for each in ids]
