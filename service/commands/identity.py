"""`onefold identity`: why identifiers are one person, and what was not joined."""

from typing import Any

import click

from identity.evidence import NEVER, Link, MustLink
from identity.nodes import Node
from identity.resolve import HUB, Refusal
from service.commands.lookups import lookup_options, wanted
from service.output import console, json_option, print_json, table, when
from service.workspace import Workspace, pass_workspace
from storage.profiles import Answer


@click.group()
def identity() -> None:
    """Who is who, and why."""


@identity.command("explain")
@lookup_options
@json_option
@pass_workspace
def explain(workspace: Workspace, /, as_json: bool, **identifiers: Any) -> None:
    """Which links made this person: what named two identifiers together, when, and where."""
    (resolved,) = workspace.reader.resolve([wanted(identifiers)], workspace.now_ms())
    if resolved is None:
        raise click.ClickException("nobody is known by that")
    members = set(resolved.members)
    name = _names(workspace, members)
    evidence = workspace.store.evidence
    links: list[Link | MustLink] = [
        *evidence.must_links_of(sorted(members)),
        *evidence.links_of(sorted(members)),
    ]
    joined = sorted(
        (link for link in links if {link.a, link.b} <= members), key=lambda link: link.first_ms
    )
    refused = workspace.store.people.refusals_of(sorted(members))
    if as_json:
        print_json(
            {
                "profile_id": resolved.profile_id.hex(),
                "answered_by": resolved.answered_by.value,
                "links": [_plain(link, name) for link in joined],
                "refused": [
                    {"rule": r.rule, "detail": r.detail, "since_ms": r.since_ms} for r in refused
                ],
            }
        )
        return
    console.print(f"[dim]profile[/] [bold]{resolved.profile_id.hex()}[/]")
    if resolved.answered_by is not Answer.PERSON:
        console.print(f"found by a device: {resolved.answered_by.value.replace('_', ' ')}")
    for link in joined:
        console.print(_sentence(link, name), markup=False)
    if not joined:
        console.print("one identifier; no link made this person")
    for refusal in refused:
        console.print(
            f"[yellow]not joined[/]: {refusal.rule} ({refusal.detail}), since {when(refusal.since_ms)}"
        )


@identity.command("conflicts")
@click.option("--limit", default=50, show_default=True, help="How many, newest first.")
@json_option
@pass_workspace
def conflicts(workspace: Workspace, limit: int, as_json: bool) -> None:
    """What was not joined, by which rule, newest first."""
    refused = workspace.store.people.refusals(limit)
    name = _names(workspace, {node for refusal in refused for node in (refusal.a, refusal.b)})
    if as_json:
        print_json([_conflict(refusal, name) for refusal in refused])
        return
    if not refused:
        console.print("no conflicts")
        return
    console.print(
        table(
            ["since", "rule", "not joined", "why"],
            [
                (
                    when(r.since_ms),
                    r.rule,
                    name[r.a] if r.rule == HUB else f"{name[r.a]} and {name[r.b]}",
                    r.detail,
                )
                for r in refused
            ],
        )
    )


def _conflict(refusal: Refusal, name: dict[Node, str]) -> dict[str, Any]:
    return {
        "rule": refusal.rule,
        "a": name[refusal.a],
        "b": name[refusal.b],
        "detail": refusal.detail,
        "since_ms": refusal.since_ms,
    }


def _names(workspace: Workspace, nodes: set[Node]) -> dict[Node, str]:
    return {
        member.node: f"{member.identifier.type} {member.identifier.value}"
        if member.identifier
        else member.node.hex()
        for member in workspace.reader.members(sorted(nodes))
    }


def _plain(link: Link | MustLink, name: dict[Node, str]) -> dict[str, Any]:
    return {
        "kind": "link" if isinstance(link, Link) else "must_link",
        "a": name[link.a],
        "b": name[link.b],
        "first_ms": link.first_ms,
        "event_id": link.first_event,
        "source": link.source,
        "trusted": isinstance(link, MustLink) or link.trusted_ms < NEVER,
    }


def _sentence(link: Link | MustLink, name: dict[Node, str]) -> str:
    kind = "told to be one" if isinstance(link, MustLink) else "named together"
    return (
        f"  {name[link.a]} ── {kind} by event {link.first_event} "
        f"({link.source}, {when(link.first_ms)}) ── {name[link.b]}"
    )
