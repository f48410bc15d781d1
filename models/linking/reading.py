"""Records of people from CSV and JSON lines. Columns are recognized by usual names, or mapped by the user.

Messages name file, line and column, and never what stands there.
"""

import csv
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec

from models.linking.errors import BadMapping, BadRecords
from models.linking.people import (
    ADDRESS,
    BORN,
    CITY,
    FULL,
    GIVEN,
    MAIL,
    MIDDLE,
    OTHER,
    POSTCODE,
    ROLES,
    SEX,
    STATE,
    SURNAME,
    TELEPHONE,
)

RECORDS_MAX: Final = 2_000_000
"""Records of one file: about 2 GB in memory with ten columns."""
VALUE_MAX: Final = 500
"""Characters of a value that are kept: what is longer is no name and no address."""
COLUMNS_MAX: Final = 500
FREE_COLUMNS_MAX: Final = 10
"""Free columns that are compared: each costs what an address costs."""

ID: Final = "id"
IGNORE: Final = "ignore"
FREE: Final = "other"
TARGETS: Final = (ID, *ROLES, FREE, IGNORE)
"""What a column can be mapped to."""

_SPACE: Final = re.compile(r"[\W_]+")
USUAL: Final[Mapping[str, str]] = {
    name: role
    for role, names in {
        ID: "id recordid recid crmid customerid clientid contactid userid uniqueid patientid memberid "
            "accountid customerno customernumber",
        GIVEN: "givenname firstname forename fname given christianname",
        MIDDLE: "middlename middlenames mname secondname",
        SURNAME: "surname lastname familyname lname sname family",
        FULL: "name fullname customername contactname clientname patientname displayname",
        BORN: "birthdate dateofbirth dob birthday born birth",
        MAIL: "email emailaddress mail emailid emailaddr",
        TELEPHONE: "phone phonenumber mobile mobileno mobilenumber mobilephone telephone tel cell cellphone "
                   "contact contactno contactnumber phoneno whatsapp",
        ADDRESS: "address street streetaddress addressline1 addressline2 addressline3 address1 address2 "
                 "address3 streetnumber housenumber houseno house locality landmark area line1 line2 "
                 "shippingaddress billingaddress flat building",
        POSTCODE: "postcode postalcode zip zipcode pin pincode",
        CITY: "city town suburb village placeofbirth birthplace district",
        STATE: "state province region",
        SEX: "sex gender",
    }.items()
    for name in names.split()
}  # fmt: skip
"""Names of columns without case, spaces and marks."""


class Sheet(msgspec.Struct, frozen=True):
    """The records of one file, in the order of their ids."""

    name: str
    """What messages call it."""
    ids: list[str]
    texts: dict[str, list[str]]
    """By role; several columns of one role are one text."""
    roles: dict[str, str]
    """What each column was taken for."""

    def __len__(self) -> int:
        """How many records there are."""
        return len(self.ids)


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How a file is read."""

    columns: dict[str, str] = {}
    """Roles of columns, over what their names say."""
    encoding: str = "utf-8-sig"


def read(path: Path, options: Options) -> Sheet:
    """The records of a `.csv`, `.tsv` or `.jsonl` file; BadRecords or BadMapping says what is wrong, where."""
    try:
        if path.stat().st_size == 0:
            raise BadRecords(f"{path}: empty")
        with path.open(encoding=options.encoding, newline="") as file, _told(path, options):
            lines = (
                _json_lines(path, file)
                if path.suffix in (".jsonl", ".ndjson", ".json")
                else _csv(path, file)
            )
            return _sheet(path, lines, options)
    except OSError as error:
        raise BadRecords(f"{path}: {error.strerror}") from None
    except LookupError:
        raise BadRecords(f"{path}: there is no encoding {options.encoding!r}") from None


@contextmanager
def _told(path: Path, options: Options) -> Iterator[None]:
    """Say on which line a file is not text."""
    try:
        yield
    except UnicodeDecodeError:
        line = 1
        with path.open("rb") as file:
            for line, text in enumerate(file, 1):  # noqa: B007
                try:
                    text.decode(options.encoding)
                except UnicodeDecodeError:
                    break
        raise BadRecords(
            f"{path}:{line}: not {options.encoding.removesuffix('-sig')}; name the file's encoding, "
            "for example cp1252 for one from Excel"
        ) from None


Row = tuple[int, Mapping[str, str]]


def _csv(path: Path, file: Iterable[str]) -> Iterator[Row]:
    lines = iter(file)
    head = next(lines, "")
    delimiter = max(",;\t|", key=head.count)
    rows = csv.reader(_with(head, lines), delimiter=delimiter, strict=True)
    try:
        header = [name.strip() for name in next(rows, [])]
        _check(path, header)
        for row in rows:
            if not any(row):
                continue
            if len(row) != len(header):
                raise BadRecords(
                    f"{path}:{rows.line_num}: {len(row)} fields; the header has {len(header)}"
                )
            yield rows.line_num, dict(zip(header, row, strict=True))
    except csv.Error as error:
        raise BadRecords(f"{path}:{rows.line_num}: {error}") from None


def _with(head: str, lines: Iterator[str]) -> Iterator[str]:
    yield head
    yield from lines


def _check(path: Path, header: Sequence[str]) -> None:
    if not any(header):
        raise BadRecords(f"{path}:1: no header")
    for place, name in enumerate(header):
        if not name:
            raise BadRecords(f"{path}:1: column {place + 1} has no name")
        if name in header[:place]:
            raise BadRecords(
                f"{path}:1: columns {header.index(name) + 1} and {place + 1} are both {name!r}"
            )
    if len(header) > COLUMNS_MAX:
        raise BadRecords(f"{path}:1: {len(header)} columns; at most {COLUMNS_MAX}")


def _json_lines(path: Path, file: Iterable[str]) -> Iterator[Row]:
    for line, text in enumerate(file, 1):
        if not text.strip():
            continue
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            raise BadRecords(f"{path}:{line}: not JSON; one object a line is") from None
        if not isinstance(value, dict):
            raise BadRecords(f"{path}:{line}: not an object")
        yield line, dict(flat(value))


def flat(value: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    """Names and texts of an object; what is nested gets names with dots."""
    for name, each in value.items():
        if isinstance(each, dict):
            yield from flat(each, f"{before}{name}.")
        elif isinstance(each, list):
            yield before + name, " ".join(str(part) for part in each if isinstance(part, str | int))
        else:
            yield before + name, "" if each is None else str(each)


def role_of(column: str) -> str:
    """What a column's name says it is; `ignore` if nothing."""
    plain = _SPACE.sub("", column.lower())
    return USUAL.get(plain) or USUAL.get(_SPACE.sub("", column.rpartition(".")[2].lower()), IGNORE)


def _sheet(path: Path, rows: Iterator[Row], options: Options) -> Sheet:
    texts: dict[str, list[str]] = {}
    roles: dict[str, str] = {}
    ids: list[str] = []
    lines: dict[str, int] = {}
    for line, row in rows:
        if len(ids) >= RECORDS_MAX:
            raise BadRecords(f"{path}:{line}: more than {RECORDS_MAX:,} records; link it in parts")
        found: dict[str, str] = {}
        for column, text in row.items():
            role = roles.get(column)
            if role is None:
                role = roles[column] = _role(path, column, options, roles)
            if text and role != IGNORE:
                _put(found, role, text.strip()[:VALUE_MAX])
        name = found.pop(ID, "") or str(line)
        if (before := lines.setdefault(name, line)) != line:
            raise BadRecords(f"{path}:{line}: the same id as line {before}")
        for role, text in found.items():
            # A role that comes late was absent before.
            texts.setdefault(role, []).extend([""] * (len(ids) - len(texts[role])))
            texts[role].append(text)
        ids.append(name)
    if not ids:
        raise BadRecords(f"{path}: no records")
    if missing := sorted(set(options.columns) - set(roles)):
        raise BadMapping(f"{path}: no column {missing[0]!r}; it has {', '.join(roles)}")
    for column_texts in texts.values():
        column_texts.extend([""] * (len(ids) - len(column_texts)))
    if not texts:
        raise BadMapping(
            f"{path}: no column that says who somebody is; map one, for example "
            f"`{next(iter(roles), 'column')}=name`"
        )
    return in_order(Sheet(str(path), ids, texts, roles))


def _put(found: dict[str, str], role: str, text: str) -> None:
    if role == ADDRESS and role in found:
        found[role] = f"{found[role]} {text}"[:VALUE_MAX]
    elif text:
        # Of two phones the first counts.
        found.setdefault(role, text)


def _role(path: Path, column: str, options: Options, roles: Mapping[str, str]) -> str:
    role = options.columns.get(column) or role_of(column)
    if role not in TARGETS:
        raise BadMapping(f"{path}: {column!r} cannot be {role!r}; it can be {', '.join(TARGETS)}")
    if role == ID and column not in options.columns and ID in roles.values():
        return IGNORE
    if role != FREE:
        return role
    if sum(known.startswith(OTHER) for known in roles.values()) >= FREE_COLUMNS_MAX:
        raise BadMapping(
            f"{path}: {column!r} is one free column too many; at most {FREE_COLUMNS_MAX}"
        )
    return OTHER + column


def in_order(sheet: Sheet) -> Sheet:
    """The records by id: what follows does not depend on their order in the file."""
    order = sorted(range(len(sheet.ids)), key=sheet.ids.__getitem__)
    return msgspec.structs.replace(
        sheet,
        ids=[sheet.ids[place] for place in order],
        texts={
            role: [texts[place] for place in order] for role, texts in sorted(sheet.texts.items())
        },
    )
