"""Dates of birth as eight digits, YYYYMMDD; 00 for a part that is not told. A wrong date stays comparable."""

import re
from typing import Final

_MONTHS: Final = (
    "jan",
    "feb",
    "mar",
    "apr",
    "may",
    "jun",
    "jul",
    "aug",
    "sep",
    "oct",
    "nov",
    "dec",
)
_REST: Final = r"(?:[t ].*)?"
_FORMS: Final = tuple(
    re.compile(form)
    for form in (
        r"(?P<year>\d{4})(?P<month>0[1-9]|1[0-2])(?P<day>\d\d)",
        r"(?P<first>\d\d)(?P<second>\d\d)(?P<year>\d{4})",
        r"(?P<year>\d{4})[-/. ](?P<month>\d{1,2})[-/. ](?P<day>\d{1,2})" + _REST,
        r"(?P<first>\d{1,2})[-/. ](?P<second>\d{1,2})[-/. ](?P<year>\d{4})" + _REST,
        r"(?P<day>\d{1,2})(?:st|nd|rd|th)?[-/. ]*(?P<name>[a-z]{3})[a-z]*[-/., ]*(?P<year>\d{4})",
        r"(?P<name>[a-z]{3})[a-z]*[-/. ]*(?P<day>\d{1,2})(?:st|nd|rd|th)?[-/., ]+(?P<year>\d{4})",
        r"(?P<year>\d{4})[-/.](?P<month>\d{1,2})",
        r"(?P<year>\d{4})",
    )
)
"""The ways in which dates are written, the first that fits counts."""


def standard_date(text: str, *, day_first: bool = True) -> str:
    """YYYYMMDD, or "" for what is no date. `day_first` says what 03/04/1980 means.

    Months above 12 and days above 31 are kept: 1856-86-18 is one slip from 1856-06-18.
    """
    text = text.strip().lower()
    for form in _FORMS:
        if found := form.fullmatch(text):
            return _digits(found.groupdict(), day_first)
    return ""


def _digits(parts: dict[str, str], day_first: bool) -> str:
    if name := parts.get("name"):
        if name not in _MONTHS:
            return ""
        month, day = _MONTHS.index(name) + 1, int(parts["day"])
    elif "first" in parts:
        day, month = int(parts["first"]), int(parts["second"])
        # Whatever is said of the file, there is no 25th month.
        if (not day_first and day <= 12) or month > 12 >= day:
            day, month = month, day
    else:
        month, day = int(parts.get("month", 0)), int(parts.get("day", 0))
    return f"{parts['year']}{month:02}{day:02}"
