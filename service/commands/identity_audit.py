"""`onefold identity audit`: the health of who is who, as tables and a picture."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import click
import msgspec
from rich.console import RenderableType
from rich.markup import escape

from identity.audit import Contested, Suspect
from identity.nodes import Node
from service.commands.audit_picture import SIZES, USERS, binned, picture
from service.commands.naming import Names
from service.output import StepBars, console, json_option, print_json, rows_progress, table, when
from service.workspace import Workspace, pass_workspace
from storage.auditing import Audit, read_audit

SHOWN: Final = 10
"""Of each list; --json has all that are kept."""
GROUP_SHOWN: Final = 4
"""Identifiers of one group of a suspect."""


class _Part(NamedTuple):
    """One table."""

    title: str
    columns: Sequence[str]
    rows: list[tuple[Any, ...]]


@click.command("audit")
@click.option(
    "--plot", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE.svg",
    help="Draw it as well.",
)  # fmt: skip
@json_option
@pass_workspace
def audit(workspace: Workspace, plot: Path | None, as_json: bool) -> None:
    """The health of who is who: sizes, hubs, shared devices, growth, conflicts, who looks wrongly joined."""
    if plot is not None and plot.suffix != ".svg":
        raise click.UsageError(f"--plot {plot}: write FILE.svg; browsers and notebooks show it")
    found = _read(workspace)
    names = Names(workspace.reader, _named(found))
    if plot is not None:
        plot.write_text(picture(found), encoding="utf-8")
    if as_json:
        print_json(_plain(found, names))
        return
    for part in _tables(found, names):
        console.print(part)
    if plot is not None:
        console.print(f"drawn: {plot}", markup=False)


def _read(workspace: Workspace) -> Audit:
    with rows_progress() as progress:
        return read_audit(workspace.store, StepBars(progress))


def _named(found: Audit) -> set[Node]:
    """Everybody whose name is shown."""
    nodes = {each.node for each in found.hubs}
    nodes |= {each.device for each in found.shared_devices}
    nodes |= {cluster.profile_id for cluster in found.largest}
    for suspect in found.over_merges:
        nodes.update(suspect.through, *suspect.groups)
    for each in (*found.contested, *found.splits):
        nodes.update(each.nodes)
    return nodes


def _tables(found: Audit, names: Names) -> list[RenderableType]:
    """What people read; what there is none of is left out."""
    summary, *others = (
        *_sizes(found, names), *_crowds(found, names), *_counts(found), *_suspects(found, names),
    )  # fmt: skip
    shown: list[RenderableType] = []
    for title, columns, rows in (summary, *(part for part in others if part.rows)):
        # A title of the table's own would be as narrow as the table.
        shown += [f"[bold cyan]{title}[/]", table(columns, rows), ""]
    return shown


def _sizes(found: Audit, names: Names) -> list[_Part]:
    return [
        _Part(
            f"{found.people:,} people of two identifiers or more, {found.alone:,} identifiers alone",
            ("identifiers", "people"),
            [(bar.label, bar.value) for bar in binned(found.sizes, SIZES)],
        ),
        _Part(
            "The largest people",
            ("identifiers", "person", "look at them with"),
            [
                (len(each.members), escape(names.of(each.profile_id)), _explain(each.profile_id))
                for each in found.largest[:SHOWN]
            ],
        ),
    ]


def _crowds(found: Audit, names: Names) -> list[_Part]:
    return [
        _Part(
            f"{found.hub_count:,} hubs: identifiers of so many that they join nobody",
            ("hub", "names", "identifiers", "since", "for good"),
            [
                (
                    escape(names.of(hub.node)), hub.people, hub.identifiers, when(hub.since_ms),
                    escape(names.block_command(hub.node)),
                )
                for hub in found.hubs[:SHOWN]
            ],
        ),
        _Part(
            "Devices by number of people",
            ("people", "devices"),
            [(bar.label, bar.value) for bar in binned(found.devices, USERS)],
        ),
        _Part(
            "The most shared devices",
            ("device", "people"),
            [
                (escape(names.of(each.device)), f"{each.people:,}{' or more' * each.capped}")
                for each in found.shared_devices[:SHOWN]
            ],
        ),
    ]  # fmt: skip


def _counts(found: Audit) -> list[_Part]:
    cut = ", of the newest" if found.conflicts_cut else ""
    return [
        _Part(
            "First seen",
            ("month", "people", "identifiers", "links"),
            [(each.month, each.people, each.identifiers, each.links) for each in found.growth],
        ),
        _Part(f"Conflicts by rule{cut}", ("rule", "conflicts"), list(found.conflicts.items())),
    ]


def _suspects(found: Audit, names: Names) -> list[_Part]:
    return [
        _Part(
            f"{found.over_merge_count:,} people who may be two",
            ("identifiers that would leave", "why", "look at them with"),
            [
                (each.weight, escape(why_two(each, names)), _explain(each.profile_id))
                for each in found.over_merges[:SHOWN]
            ],
        ),
        _Part(
            "Identifiers that several people named",
            ("identifier", "people", "refused links", "rules"),
            [
                (escape(names.of(each.nodes[0])), each.people, each.links, ", ".join(each.rules))
                for each in found.contested[:SHOWN]
            ],
        ),
        _Part(
            "People who may be one",
            ("refused links", "who", "rules", "why not, with"),
            [
                (
                    each.links, escape(" and ".join(map(names.of, each.nodes))),
                    ", ".join(each.rules),
                    escape("onefold identity explain " + " ".join(map(names.option, each.nodes))),
                )
                for each in found.splits[:SHOWN]
            ],
        ),
    ]  # fmt: skip


def _explain(profile_id: Node) -> str:
    return f"onefold identity explain --id {profile_id.hex()}"


def why_two(suspect: Suspect, names: Names) -> str:
    """What is all that holds a person together, in words."""
    groups = " | ".join(_group(group, names) for group in suspect.groups)
    if len(suspect.through) == 1:
        return f"only {names.of(suspect.through[0])} joins: {groups}"
    a, b = (names.of(node) for node in suspect.through)
    source = f" ({suspect.source})" if suspect.source else ""
    return f"only event {suspect.event_id}{source} of {when(suspect.first_ms)}, {a} with {b}, joins: {groups}"


def _group(group: Sequence[Node], names: Names) -> str:
    shown = ", ".join(names.of(node) for node in group[:GROUP_SHOWN])
    more = len(group) - GROUP_SHOWN
    return f"{shown} and {more} more" if more > 0 else shown


def _plain(found: Audit, names: Names) -> dict[str, Any]:
    """The audit for programs, with names beside ids."""

    def contested(each: Contested) -> dict[str, Any]:
        return {
            "named": [names.of(node) for node in each.nodes],
            "ids": [node.hex() for node in each.nodes],
            "people": each.people,
            "refused_links": each.links,
            "rules": list(each.rules),
        }

    return {
        "people": found.people,
        "alone": found.alone,
        "identifiers": found.identifiers,
        "links": found.links,
        "sizes": {str(size): count for size, count in found.sizes.items()},
        "largest": [
            {
                "profile_id": each.profile_id.hex(),
                "name": names.of(each.profile_id),
                "identifiers": len(each.members),
            }
            for each in found.largest
        ],
        "hub_count": found.hub_count,
        "hubs": [
            {
                "name": names.of(each.node),
                "people": each.people,
                "identifiers": each.identifiers,
                "since_ms": each.since_ms,
                "block": names.block_command(each.node),
            }
            for each in found.hubs
        ],
        "devices": {str(people): count for people, count in found.devices.items()},
        "shared_devices": [
            {"name": names.of(each.device), "people": each.people, "more": each.capped}
            for each in found.shared_devices
        ],
        "growth": [msgspec.structs.asdict(month) for month in found.growth],
        "conflicts": found.conflicts,
        "conflicts_cut": found.conflicts_cut,
        "may_be_two_count": found.over_merge_count,
        "may_be_two": [
            {
                "profile_id": each.profile_id.hex(),
                "why": why_two(each, names),
                "would_leave": each.weight,
                "groups": [[names.of(node) for node in group] for group in each.groups],
                "through": [names.of(node) for node in each.through],
                "event_id": each.event_id,
                "source": each.source,
            }
            for each in found.over_merges
        ],
        "contested": [contested(each) for each in found.contested],
        "may_be_one": [contested(each) for each in found.splits],
    }
