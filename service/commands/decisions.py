"""`onefold identity merge|split|undo|…`: an operator decides, after a look at what that would do."""

import getpass
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import click

from identity.changes import PersonChange
from identity.conflicts import of_two
from identity.decisions import Decision
from identity.nodes import Node
from identity.resolve import Cluster, Refusal
from ingest import deciding
from ingest.deciding import DecisionRefused, Draft, Preview
from service.commands.lookups import all_wanted, people_options, said, side
from service.commands.naming import Names
from service.output import console, json_option, print_json, table, when
from service.workspace import Workspace, pass_workspace
from storage.conflicts import AmbiguousConflict, find_conflict
from storage.gathering import Answer
from storage.profiles import Lookup

SHOWN_MAX: Final = 20
"""People and identifiers that a plan shows; --json has all."""
Make = Callable[[Workspace, Draft], Decision]


def _all(names: Names, members: Iterable[Node]) -> str:
    """Identifiers in words."""
    told = sorted(map(names.of, members))
    more = f" and {len(told) - SHOWN_MAX} more" if len(told) > SHOWN_MAX else ""
    return ", ".join(told[:SHOWN_MAX]) + more


def deciding_options(command: Any) -> Any:
    """Adds who decides, why, and whether to ask first."""
    for option in (
        json_option,
        click.option("--yes", is_flag=True, help="Do not ask."),
        click.option("--dry-run", is_flag=True, help="Only show what would change."),
        click.option("--decision-id", help="Makes repeating safe; made up if left out."),
        click.option("--operator", default=getpass.getuser, show_default="your login"),
        click.option("--reason", default="", help="Why; asked for if left out."),
    ):
        command = option(command)
    return command


@click.command("merge")
@people_options
@deciding_options
@pass_workspace
def merge(workspace: Workspace, /, **options: Any) -> None:
    """These identifiers are one person, whatever limits say."""
    nodes = _nodes(workspace, all_wanted(options))
    _decide(workspace, options, lambda ws, draft: deciding.merge(ws.store, draft, nodes))


@click.command("split")
@click.option(
    "--side", "sides", multiple=True, required=True, metavar="user=…,email=…", help="Twice or more."
)
@deciding_options
@pass_workspace
def split(workspace: Workspace, /, sides: Sequence[str], **options: Any) -> None:
    """Identifiers of different sides never share a profile."""
    nodes = [_nodes(workspace, side(text)) for text in sides]
    _decide(workspace, options, lambda _, draft: deciding.split(draft, nodes))


@click.command("block")
@people_options
@deciding_options
@pass_workspace
def block(workspace: Workspace, /, **options: Any) -> None:
    """These identifiers name nobody: what names them joins nobody."""
    nodes = _nodes(workspace, all_wanted(options))
    if not nodes:
        raise click.UsageError("name an identifier: --email, --phone, --user, --external or --id")
    _decide(workspace, options, lambda _, draft: deciding.block(draft, nodes))


@click.command("undo")
@click.argument("change")
@deciding_options
@pass_workspace
def undo(workspace: Workspace, /, change: str, **options: Any) -> None:
    """Undo a change that joined people (`onefold identity changes` lists them)."""
    _decide(workspace, options, lambda ws, draft: deciding.undo(ws.store, draft, change))


@click.command("retract")
@click.argument("decision")
@deciding_options
@pass_workspace
def retract(workspace: Workspace, /, decision: str, **options: Any) -> None:
    """Take a decision back (`onefold identity decisions` lists them)."""
    _decide(workspace, options, lambda ws, draft: deciding.retract(ws.store, draft, decision))


@click.command("accept")
@click.argument("conflict")
@deciding_options
@pass_workspace
def accept(workspace: Workspace, /, conflict: str, **options: Any) -> None:
    """The people of a conflict are one (`onefold identity conflicts` lists them)."""
    refused = _conflict(workspace, conflict)
    _decide(workspace, options, lambda ws, draft: deciding.accept(ws.store, draft, refused))


@click.command("keep-apart")
@click.argument("conflict")
@deciding_options
@pass_workspace
def keep_apart(workspace: Workspace, /, conflict: str, **options: Any) -> None:
    """The two of a conflict are never one person, whatever comes."""
    refused = _conflict(workspace, conflict)
    if not of_two(refused):
        raise DecisionRefused(
            f"conflict {conflict} is about one identifier ({refused.rule}): "
            f"`onefold identity block --id {refused.a.hex()}` lets it name nobody"
        )
    sides = [(refused.a,), (refused.b,)]
    _decide(workspace, options, lambda _, draft: deciding.split(draft, sides))


@click.command("decisions")
@click.option("--limit", default=50, show_default=True, help="How many, newest first.")
@json_option
@pass_workspace
def decisions(workspace: Workspace, limit: int, as_json: bool) -> None:
    """What operators decided, and took back."""
    found = workspace.store.decisions.list(limit)
    if as_json:
        print_json(found)
        return
    if not found:
        console.print("no decisions")
        return
    names = Names(workspace.reader, (node for each in found for node in each.nodes))
    rows = [
        (
            when(each.time_ms), each.id, each.kind.value, each.operator, each.reason,
            " | ".join(_all(names, group) for group in each.groups),
            f"retracted by {each.retraction.operator}: {each.retraction.reason}"
            if each.retraction
            else "stands",
        )
        for each in found
    ]  # fmt: skip
    console.print(table(["when", "id", "kind", "operator", "reason", "about", ""], rows))


@click.command("changes")
@people_options
@click.option("--limit", default=50, show_default=True, help="How many, newest first.")
@json_option
@pass_workspace
def changes(workspace: Workspace, /, limit: int, as_json: bool, **options: Any) -> None:
    """How a person came about: what merged, split and was refused, with ids to undo it by.

    And which devices became theirs or somebody else's; with --id of a device, whose it was.
    """
    lookups = all_wanted(options)
    if len(lookups) != 1:
        raise click.UsageError("name one person: --email, --phone, --user, --external or --id")
    (resolved,) = workspace.reader.resolve(lookups, workspace.now_ms())
    if resolved is None:
        raise click.ClickException(f"nobody is known by {said(lookups[0])}")
    found = workspace.store.changes.of(resolved.histories, limit)
    if as_json:
        print_json(found)
        return
    if not found:
        console.print("nothing ever joined this person to anybody, nor gave them a device")
        return
    print_changes(workspace, found)


COMMANDS: Final = (
    merge, split, block, undo, retract, accept, keep_apart, decisions, changes,
)  # fmt: skip


def _conflict(workspace: Workspace, text: str) -> Refusal:
    try:
        found = find_conflict(workspace.store, text)
    except AmbiguousConflict as error:
        raise click.ClickException(str(error)) from error
    if found is None:
        raise click.ClickException(f"no conflict {text}; `onefold identity conflicts` lists them")
    return found


def _nodes(workspace: Workspace, lookups: Sequence[Lookup]) -> list[Node]:
    nodes = []
    for lookup, found in zip(
        lookups, workspace.reader.resolve(lookups, workspace.now_ms()), strict=True
    ):
        if found is None:
            raise click.ClickException(f"nobody is known by {said(lookup)}")
        if found.answered_by is not Answer.PERSON:
            raise DecisionRefused(
                "a device is nobody's for good: name people by user id, e-mail or phone"
            )
        nodes.append(found.matched)
    return nodes


def _decide(workspace: Workspace, options: dict[str, Any], make: Make) -> None:
    """Show what a decision would do, ask, and make it."""
    decision_id = options["decision_id"] or uuid.uuid4().hex
    draft = Draft(decision_id, options["operator"], options["reason"], workspace.now_ms())
    decision = make(workspace, draft)
    plan = deciding.preview(workspace.store, workspace.config.identity, decision)
    as_json = options["as_json"]
    if options["dry_run"]:
        _print_plan(workspace, plan, as_json=as_json)
        return
    if not options["yes"]:
        if as_json:
            raise click.UsageError("--json decides without asking: add --yes, or --dry-run")
        _print_plan(workspace, plan, as_json=False)
        click.confirm("decide so?", abort=True)
    if not options["reason"]:
        if options["yes"]:
            raise click.UsageError("--reason: decisions are kept with why they were made")
        reason = click.prompt("why")
        draft = Draft(draft.id, draft.operator, reason, draft.time_ms)
        decision = make(workspace, draft)
    made = workspace.deciding.make(decision)
    ids = (made.retraction.applied if made.retraction else made.applied) or ()
    known = workspace.store.changes.get(ids)
    found = [known[change] for change in ids if change in known]
    if as_json:
        print_json({"decision": made, "changes": found})
        return
    done = "taken back" if made.retraction else "decided"
    console.print(f"{done}: [bold]{made.id}[/]  (onefold identity retract {made.id})")
    print_changes(workspace, found)
    if not found:
        console.print("nobody changed")


def _print_plan(workspace: Workspace, plan: Preview, *, as_json: bool) -> None:
    after: set[Cluster] = {person for change in plan.changes for person in change.after}
    rules = workspace.config.identity
    exceeded = [each for person in after for each in deciding.exceeded(person.members, rules)]
    refused, accepted = (
        dict(Counter(each.rule for each in some)) for some in (plan.refused, plan.accepted)
    )
    largest = max((len(person.members) for person in after), default=0)
    events = _events(workspace, {person for change in plan.changes for person in change.before})
    moves = workspace.asking.moves(plan.changes)
    if as_json:
        print_json(
            {
                "changes": list(plan.changes),
                "ownerships": list(plan.owners),
                "events_before": {node.hex(): count for node, count in events.items()},
                "largest": largest,
                "limits_exceeded": exceeded,
                "refused": refused,
                "accepted": accepted,
                "segments_gained": moves.gained,
                "segments_lost": moves.lost,
            }
        )
        return
    if not plan.changes:
        console.print("nobody would change")
    names = Names(workspace.reader, (node for person in after for node in person.members))
    for change in plan.changes:
        console.print(f"[bold]would be {change.kind.value}[/]")
        for mark, people in (("-", change.before), ("+", change.after)):
            for person in people:
                told = f", {events[person.profile_id]:,} events" if mark == "-" else ""
                console.print(
                    f"  {mark} {_all(names, person.members)}  [{person.profile_id.hex()}{told}]",
                    markup=False,
                )
    for rule, count in refused.items():
        console.print(f"  {count} links would be refused: {rule}")
    for rule, count in accepted.items():
        console.print(f"  {count} conflicts would end: {rule}")
    for mark, moved in (("+", moves.gained), ("-", moves.lost)):
        for segment, count in sorted(moved.items()):
            console.print(f"  {mark} segment {segment}: {count}")
    _print_owners(workspace, plan.owners)
    for limit in exceeded:
        console.print(f"  [yellow]beyond what links may join[/]: {limit}")


def _print_owners(workspace: Workspace, owners: Sequence[PersonChange]) -> None:
    """The devices that would be somebody else's: how many, then whose they are and would be."""
    if not owners:
        return
    told = "one device" if len(owners) == 1 else f"{len(owners):,} devices"
    console.print(f"  {told} would be of another profile, or nobody's")
    shown = owners[:SHOWN_MAX]
    nodes = {side.profile_id for each in shown for side in (*each.before, *each.after)}
    names = Names(workspace.reader, nodes.union(each.device for each in shown if each.device))
    for each in shown:
        console.print(
            f"    {_device(names, each)}: {_sides(names, each.before)} → {_sides(names, each.after)}",
            markup=False,
        )
    if len(owners) > len(shown):
        console.print(f"    and {len(owners) - len(shown):,} more (--json has all)")


def _device(names: Names, change: PersonChange) -> str:
    return names.of(change.device) if change.device else ""


def _events(workspace: Workspace, people: Iterable[Cluster]) -> dict[Node, int]:
    """How many events each profile counts now."""
    ordered = sorted(person.profile_id for person in people)
    lookups = [Lookup(profile_id=node) for node in ordered]
    found = workspace.reader.get_many(lookups, workspace.now_ms())
    return {
        node: answer.profile.events if answer else 0
        for node, answer in zip(ordered, found, strict=True)
    }


def print_changes(workspace: Workspace, found: Sequence[PersonChange]) -> None:
    """A table of what became of whom."""
    nodes = {
        node
        for change in found
        for person in (*change.before, *change.after)
        for node in (person.members or (person.profile_id,))
    }
    names = Names(workspace.reader, nodes.union(each.device for each in found if each.device))
    rows = [
        (
            when(change.time_ms), change.id, _what(names, change),
            _sides(names, change.before), "" if change.refusal else _sides(names, change.after),
            ", ".join(change.because),
        )
        for change in found
    ]  # fmt: skip
    console.print(table(["when", "id", "", "before", "after", "because"], rows))


def _sides(names: Names, people: Sequence[Cluster]) -> str:
    told = (_all(names, person.members or (person.profile_id,)) for person in people)
    return " | ".join(told) or "nobody"


def _what(names: Names, change: PersonChange) -> str:
    if change.refusal is not None:
        return f"conflict {change.refusal.rule}"
    return f"ownership of {names.of(change.device)}" if change.device else change.kind.value
