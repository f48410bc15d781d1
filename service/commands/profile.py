"""`onefold profile`: find a person and look at them."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import click
import msgspec
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.text import Text

from profiles.facts import CANONICAL, Kind
from profiles.profile import Member
from service.commands.lookups import lookup_options, wanted
from service.output import amount, console, json_option, print_json, table, when
from service.workspace import Workspace, pass_workspace
from storage.gathering import Answer
from storage.ports import TimelineQuery, TimelineRow
from storage.profiles import Found

SHOWN = 8
"""Interactions and events that a profile shows without --events."""

_ANSWERS = {
    Answer.PERSON: "person",
    Answer.DEVICE_OWNER: "present owner of the device",
    Answer.DEVICE: "a device that belongs to nobody",
}


@click.group()
def profile() -> None:
    """Find a person and what they did."""


@profile.command("show")
@lookup_options
@click.option("--events", is_flag=True, help="List events, newest first.")
@click.option("--limit", default=50, show_default=True, help="Events to list.")
@json_option
@pass_workspace
def show_profile(
    workspace: Workspace, /, events: bool, limit: int, as_json: bool, **identifiers: Any
) -> None:
    """Show the profile of any identifier or profile id."""
    lookup = wanted(identifiers)
    now_ms = workspace.now_ms()
    found = workspace.reader.get(lookup, now_ms)
    if found is None:
        raise click.ClickException(
            "nobody is known by that; `onefold doctor` counts what is loaded"
        )
    rows: list[TimelineRow] = []
    if events:
        rows = workspace.reader.timeline(lookup, TimelineQuery(limit=limit), now_ms) or []
    member_of = _segments(workspace, found)
    if as_json:
        print_json(
            as_plain(found)
            | {"segments": member_of}
            | ({"timeline": [event_row(row) for row in rows]} if events else {})
        )
    else:
        console.print(render(found, member_of))
        if events:
            console.print(timeline_table(rows))


def _segments(workspace: Workspace, found: Found) -> dict[str, int]:
    """The segments that a profile is in at this moment, and since when."""
    asking = workspace.asking
    held = asking.standing(found.profile.id).segments if asking.catalogue() else {}
    return {key: held[key] for key in sorted(held)}


def as_plain(found: Found) -> dict[str, Any]:
    """A found profile for programs."""
    shown = found.profile
    return {
        "profile_id": shown.id.hex(),
        "answered_by": found.answered_by.value,
        "identifiers": [_identifier(member) for member in shown.members],
        "devices": [_identifier(member) for member in shown.devices],
        "traits": shown.traits,
        "computed_traits": shown.computed,
        "consent": shown.consent,
        "events": shown.events,
        "first_seen_ms": shown.first_ms,
        "last_seen_ms": shown.last_ms,
        "anonymous_visits": shown.anonymous_visits,
        "counts": {counter.spelling: counter.total for counter in shown.counters.values()},
        "orders": [msgspec.structs.asdict(sums) for sums in shown.sums],
        "interactions": [
            {
                "event": CANONICAL[Kind(i.kind)],
                "item": i.item,
                "time_ms": i.time_ms,
                "quantity": i.quantity,
            }
            for i in sorted([*shown.interactions, *shown.purchases], reverse=True)
        ],
        "disagreeing": [node.hex() for node in found.disagreeing],
    }


def _identifier(member: Member) -> dict[str, str]:
    named = member.identifier
    return {"type": named.type, "value": named.value} if named else {"node": member.node.hex()}


def render(found: Found, member_of: Mapping[str, int] = MappingProxyType({})) -> RenderableType:
    """A found profile for people."""
    shown = found.profile
    head = Text.assemble(
        ("profile ", "dim"), (shown.id.hex(), "bold"), ("  " + _ANSWERS[found.answered_by], "dim")
    )
    lines: list[RenderableType] = [head]
    facts: list[tuple[str, str]] = [
        (member.identifier.type, member.identifier.value)
        for member in shown.members
        if member.identifier
    ]
    facts += [(f"trait {name}", str(value)) for name, value in shown.traits.items()]
    facts += [(f"computed {name}", _text(value)) for name, value in shown.computed.items()]
    facts += [
        (f"consent {purpose}", "given" if granted else "withdrawn")
        for purpose, granted in shown.consent.items()
    ]
    facts.append(
        ("seen", f"{when(shown.first_ms)} to {when(shown.last_ms)} UTC, {shown.events:,} events")
    )
    facts += [
        ("orders", f"{sums.orders:,} for {amount(sums.revenue, sums.currency)}"
         + (f", {sums.refunds:,} refunds of {amount(sums.refunded, sums.currency)}" if sums.refunds else ""))
        for sums in shown.sums
    ]  # fmt: skip
    if shown.devices:
        facts.append(
            ("devices", f"{len(shown.devices)}, {shown.anonymous_visits} visits on them count here")
        )
    facts += [(f"segment {key}", f"since {when(since_ms)}") for key, since_ms in member_of.items()]
    lines.append(table(["", ""], facts))
    if found.disagreeing:
        lines.append(
            Text(f"{len(found.disagreeing)} other identifiers belong to somebody else", "yellow")
        )
    recent = sorted([*shown.interactions, *shown.purchases], reverse=True)[:SHOWN]
    if recent:
        lines.append(Text())
        lines.append(
            table(
                ["last did", "item", "when"],
                [(CANONICAL[Kind(i.kind)], i.item, when(i.time_ms)) for i in recent],
            )
        )
    return Panel(Group(*lines), expand=False)


def _text(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def event_row(row: TimelineRow) -> dict[str, Any]:
    """One event for programs."""
    return {
        "time_ms": row.time_ms,
        "type": row.type,
        "name": row.name,
        "source": row.source,
        "message_id": row.message_id,
        "leaf": row.leaf.hex(),
        "event": msgspec.json.decode(row.raw),
    }


def timeline_table(rows: list[TimelineRow]) -> RenderableType:
    """Events for people."""
    return table(
        ["when", "type", "event", "source", "under"],
        [
            (
                when(row.time_ms),
                row.type,
                row.name,
                row.source,
                "device" if row.leaf[6] & 8 else "person",
            )
            for row in rows
        ],
    )
