"""The health of who is who as one SVG: four panels of counts, and nobody's name."""

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Final, NamedTuple

from storage.auditing import Audit

WIDTH: Final = 1120
HEIGHT: Final = 760
_PANEL_W: Final = 520
_PANEL_H: Final = 330
_LEFT: Final = 20
_TOP: Final = 64
_GAP: Final = 40
_INK: Final = "#1f2933"
_FAINT: Final = "#7b8794"
_RULE: Final = "#d9dee4"
_BAR: Final = "#2f6f9f"
_LINES: Final = (("people", "#2f6f9f"), ("identifiers", "#c2621b"), ("links", "#4f8a3c"))
SIZES: Final = (1, 2, 3, 4, 5, 6, 11, 21, 51, 101)
USERS: Final = (1, 2, 3, 4, 5, 6, 11, 51)
RULES_SHOWN: Final = 8
MONTHS_LABELLED: Final = 6


class Bar(NamedTuple):
    """One bar."""

    label: str
    value: int


def picture(found: Audit) -> str:
    """The audit as an SVG document that needs nothing else."""
    places = [
        (_LEFT + column * (_PANEL_W + _GAP), _TOP + row * (_PANEL_H + _GAP // 2))
        for row in (0, 1)
        for column in (0, 1)
    ]
    panels = (
        _columns("People by number of identifiers (log scale)", binned(found.sizes, SIZES)),
        _growth(found),
        _rows(
            "Conflicts by rule" + (" (the newest)" if found.conflicts_cut else ""),
            [Bar(rule, count) for rule, count in list(found.conflicts.items())[:RULES_SHOWN]],
        ),
        _columns("Devices by number of people (log scale)", binned(found.devices, USERS)),
    )
    body = "".join(
        f'<g transform="translate({x},{y})">{panel}</g>'
        for (x, y), panel in zip(places, panels, strict=True)
    )
    title = (
        f"{found.people:,} people of two identifiers or more · {found.links:,} links · "
        f"{found.hub_count:,} hubs · {found.over_merge_count:,} who may be two"
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" '
        f'height="{HEIGHT}" font-family="system-ui, Helvetica, Arial, sans-serif" font-size="13">'
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>'
        f"{_text(_LEFT, 34, title, size=18)}{body}</svg>\n"
    )


def binned(counts: Mapping[int, int], starts: Sequence[int]) -> list[Bar]:
    """Counts by number in bins that begin at `starts`; empty bins past the largest number are left out."""
    bars = []
    for start, after in zip(starts, [*starts[1:], None], strict=True):
        last = None if after is None else after - 1
        value = sum(
            n for key, n in counts.items() if key >= start and (last is None or key <= last)
        )
        label = f"{start}+" if last is None else str(start) if last == start else f"{start}–{last}"
        bars.append(Bar(label, value))
    while bars and not bars[-1].value:
        bars.pop()
    return bars


def _columns(title: str, bars: Sequence[Bar]) -> str:
    """Upright bars on a logarithmic scale from 1: each is as high as its number of digits, about."""
    head = _head(title)
    if not bars:
        return head + _nothing()
    base, high = _PANEL_H - 30, _PANEL_H - 100
    decades = max(1, math.ceil(math.log10(max(bar.value for bar in bars) + 1)))
    out = [head]
    for decade in range(decades + 1):
        y = base - high * decade / decades
        out.append(_line(52, y, _PANEL_W, y, _RULE))
        out.append(_text(46, y + 4, _short(10**decade), anchor="end", ink=_FAINT, size=11))
    step = (_PANEL_W - 60) / len(bars)
    for at, bar in enumerate(bars):
        x = 60 + at * step
        # A bar of one is a line of its own on this scale, not nothing.
        tall = high * math.log10(bar.value) / decades + 2 if bar.value else 0
        middle = x + step * 0.4
        out.append(_rect(x, base - tall, step * 0.8, tall))
        out.append(_text(middle, base + 18, bar.label, anchor="middle"))
        if bar.value:
            out.append(_text(middle, base - tall - 6, f"{bar.value:,}", anchor="middle", size=11))
    return "".join(out)


def _rows(title: str, bars: Sequence[Bar]) -> str:
    """Lying bars on a plain scale."""
    head = _head(title)
    if not bars:
        return head + _nothing()
    most = max(bar.value for bar in bars)
    step = min(34.0, (_PANEL_H - 60) / len(bars))
    out = [head]
    for at, bar in enumerate(bars):
        y = 50 + at * step
        wide = (_PANEL_W - 220) * bar.value / most
        out.append(_text(140, y + step * 0.55, bar.label, anchor="end"))
        out.append(_rect(150, y, max(wide, 1), step * 0.75))
        out.append(_text(156 + wide, y + step * 0.55, f"{bar.value:,}", size=11))
    return "".join(out)


def _growth(found: Audit) -> str:
    """What was known by the end of each month."""
    head = _head("Known so far, by the month in which it was first seen")
    months = found.growth
    if not months:
        return head + _nothing()
    totals = {name: _summed(getattr(month, name) for month in months) for name, _ in _LINES}
    step = _round_step(max(values[-1] for values in totals.values()) / 4)
    most = 4 * step
    base, high, wide = _PANEL_H - 30, _PANEL_H - 100, _PANEL_W - 190
    out = [head]
    for part in range(5):
        y = base - high * part / 4
        out.append(_line(52, y, 52 + wide, y, _RULE))
        out.append(_text(46, y + 4, _short(part * step), anchor="end", ink=_FAINT, size=11))
    xs = [52 + wide * at / max(1, len(months) - 1) for at in range(len(months))]
    every = max(1, math.ceil(len(months) / MONTHS_LABELLED))
    for x, month in list(zip(xs, months, strict=True))[::every]:
        out.append(_text(x, base + 18, month.month, anchor="middle", size=11))
    ends = []
    for name, ink in _LINES:
        points = [
            (x, base - high * value / most) for x, value in zip(xs, totals[name], strict=True)
        ]
        drawn = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        out.append(f'<polyline points="{drawn}" fill="none" stroke="{ink}" stroke-width="2"/>')
        out.append(_dot(*points[-1], ink))
        ends.append((points[-1][1], f"{totals[name][-1]:,} {name}", ink))
    lowest = float("-inf")
    for y, label, ink in sorted(ends):
        lowest = max(
            y, lowest + 16
        )  # labels of lines that end close together stand below each other
        out.append(_text(52 + wide + 10, lowest + 4, label, ink=ink, size=12))
    return "".join(out)


def _round_step(least: float) -> int:
    """The next of 1, 2, 5, 10, 20, 50, …"""
    size = 10 ** max(0, math.floor(math.log10(max(least, 1))))
    return next(int(size * part) for part in (1, 2, 5, 10) if size * part >= least)


def _summed(values: Iterable[int]) -> list[int]:
    total, out = 0, []
    for value in values:
        total += value
        out.append(total)
    return out


def _head(title: str) -> str:
    return _text(0, 16, title, size=15)


def _nothing() -> str:
    return _text(0, 50, "none", ink=_FAINT)


def _short(value: float) -> str:
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"


def _text(
    x: float, y: float, text: str, *, anchor: str = "start", ink: str = _INK, size: int = 13
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{ink}" '
        f'font-size="{size}">{escape(text)}</text>'
    )


def _rect(x: float, y: float, wide: float, tall: float) -> str:
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{wide:.1f}" height="{tall:.1f}" fill="{_BAR}"/>'


def _line(x: float, y: float, to_x: float, to_y: float, ink: str) -> str:
    return f'<line x1="{x:.1f}" y1="{y:.1f}" x2="{to_x:.1f}" y2="{to_y:.1f}" stroke="{ink}"/>'


def _dot(x: float, y: float, ink: str) -> str:
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{ink}"/>'
