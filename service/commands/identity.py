"""`onefold identity explain|conflicts`: why identifiers are one person or not, and what was not joined."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any, Final

import click
from rich.markup import escape

from identity.conflicts import conflict_id, of_two
from identity.explain import Verdict, steps
from identity.normalize import Normalizer
from identity.resolve import BLOCKED, Refusal
from service.commands import explaining
from service.commands.identity_audit import audit
from service.commands.lookups import wanted
from service.commands.naming import Names
from service.output import console, json_option, print_json, table, when
from service.workspace import Workspace, pass_workspace
from storage import conflicts as stored
from storage.explaining import explain_pair, explain_person
from storage.gathering import Answer, Resolved
from storage.profiles import Lookup

_NAMED: Final = f"{__name__}.named"
_OPTIONS: Final = {
    "user": "user id", "email": "e-mail", "phone": "phone", "anonymous": "anonymous id",
    "device": "device id", "advertising": "advertising id", "ga": "GA client id",
    "external": "external id, as TYPE=VALUE", "id": "profile or identifier id",
}  # fmt: skip


@click.group()
def identity() -> None:
    """Who is who, and why."""


identity.add_command(audit)


def _remember(context: click.Context, option: click.Parameter, values: tuple[str, ...]) -> None:
    named = context.meta.setdefault(_NAMED, [])
    named.extend((str(option.name), value) for value in values)


def _named_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options that each name an identifier, as often as one likes; `context.meta` has them in order."""
    for option, what in reversed(_OPTIONS.items()):
        command = click.option(
            f"--{option}", multiple=True, expose_value=False, callback=_remember, metavar="VALUE",
            help=f"By {what}.",
        )(command)  # fmt: skip
    return command


@identity.command("explain")
@_named_options
@json_option
@pass_workspace
@click.pass_context
def explain(context: click.Context, workspace: Workspace, /, as_json: bool) -> None:
    """Why two identifiers are one person, or are not; of one alone, what made this person.

    Name them in any way: --email a@b.com --user u42, or --user u42 --user u77.
    """
    named: list[tuple[str, str]] = context.meta[_NAMED]
    if len(named) not in (1, 2):
        raise click.UsageError("name one identifier or two: --email, --user, --phone, … or --id")
    lookups = [
        wanted({"profile_id" if option == "id" else option: value}) for option, value in named
    ]
    found = []
    for lookup, (option, value), resolved in zip(
        lookups, named, workspace.reader.resolve(lookups, workspace.now_ms()), strict=True
    ):
        if resolved is None:
            why = _why_unknown(workspace, lookup)
            raise click.ClickException(f"nobody is known by that: --{option} {value}{why}")
        found.append(resolved)
    if len(found) == 1:
        _explain_person(workspace, found[0], as_json=as_json)
    else:
        _explain_pair(workspace, found[0], found[1], as_json=as_json)


def _why_unknown(workspace: Workspace, lookup: Lookup) -> str:
    normalizer = Normalizer(workspace.config.identity)
    for each in lookup.identifiers:
        why = normalizer.normalize(each.type, each.value)[1]
        if why == BLOCKED:
            return ", a blocked value: it names nobody, and what names it joins nobody"
        if why:
            return f", {why}"
    return ""


def _explain_person(workspace: Workspace, resolved: Resolved, *, as_json: bool) -> None:
    person = explain_person(workspace.store, resolved.members)
    names = Names(workspace.reader, person.nodes)
    if as_json:
        print_json(
            {
                "profile_id": resolved.profile_id.hex(),
                "answered_by": resolved.answered_by.value,
                "links": [explaining.link_plain(r.a, r, r.b, names) for r in person.reasons],
                "refused": [explaining.conflict_plain(each, names) for each in person.refusals],
            }
        )
        return
    console.print(f"[dim]profile[/] [bold]{resolved.profile_id.hex()}[/]")
    _say_found_by([resolved])
    for reason in person.reasons:
        console.print(explaining.line(reason.a, reason, reason.b, names), markup=False)
    if not person.reasons:
        console.print("one identifier; no link made this person")
    for refusal in person.refusals:
        console.print(
            f"[yellow]not joined[/]: {escape(_who(refusal, names))}: {refusal.rule} "
            f"({escape(refusal.detail)}), conflict {conflict_id(refusal)} since {when(refusal.since_ms)}"
        )


def _explain_pair(workspace: Workspace, one: Resolved, other: Resolved, *, as_json: bool) -> None:
    pair = explain_pair(workspace.store, workspace.config.identity, one, other)
    names = Names(workspace.reader, pair.nodes)
    if as_json:
        chain = steps(pair.one, pair.chain)
        print_json(
            {
                "verdict": pair.verdict.value,
                "one": {"identifier": names.of(pair.one), "profile_id": one.profile_id.hex()},
                "other": {"identifier": names.of(pair.other), "profile_id": other.profile_id.hex()},
                "chain": [explaining.link_plain(a, reason, b, names) for a, reason, b in chain],
                "obstacles": [explaining.obstacle_plain(each, names) for each in pair.obstacles],
            }
        )
        return
    _say_found_by([one, other])
    for sentence in explaining.sentences(pair, names):
        console.print(sentence, markup=False)
    if pair.verdict is Verdict.NOT_ONE_PERSON:
        for line in explaining.lines(pair, names):
            console.print(line, markup=False)
    if advice := explaining.advice(pair, names):
        console.print("[dim]to decide:[/]")
        for command in advice:
            console.print(f"  {command}", markup=False)


def _say_found_by(found: Iterable[Resolved]) -> None:
    for each in found:
        if each.answered_by is not Answer.PERSON:
            console.print(f"found by a device: {each.answered_by.value.replace('_', ' ')}")


def _who(refusal: Refusal, names: Names) -> str:
    """Whom a conflict is about."""
    both = of_two(refusal)
    return f"{names.of(refusal.a)} and {names.of(refusal.b)}" if both else names.of(refusal.a)


@identity.command("conflicts")
@click.option("--rule", default="", help="Of a rule: limit:user_id, limit, hub, kept_apart, …")
@click.option("--since", type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M"]), help="UTC.")
@click.option(
    "--limit", type=click.IntRange(1, stored.LISTED_MAX), default=50, show_default=True,
    help="How many, newest first.",
)  # fmt: skip
@click.option("--by-rule", is_flag=True, help="Only how many conflicts each rule made.")
@json_option
@pass_workspace
def conflicts(
    workspace: Workspace,
    /,
    rule: str,
    since: datetime | None,
    limit: int,
    by_rule: bool,
    as_json: bool,
) -> None:
    """What was not joined, by which rule, newest first; with ids to decide it by."""
    if by_rule:
        counted = stored.counts(workspace.store)
        if as_json:
            print_json(counted)
        else:
            console.print(table(["rule", "conflicts"], list(counted.items())))
        return
    since_ms = int(since.replace(tzinfo=UTC).timestamp() * 1000) if since else None
    found = stored.page(workspace.store, limit, rule=rule, since_ms=since_ms)
    shown = found.conflicts
    names = Names(workspace.reader, {node for each in shown for node in (each.a, each.b)})
    if as_json:
        print_json([explaining.conflict_plain(refusal, names) for refusal in shown])
        return
    if not shown:
        others = ", ".join(stored.counts(workspace.store)) if rule or since else ""
        console.print(f"no such conflicts; there are: {others}" if others else "no conflicts")
        return
    rows = [
        (conflict_id(r), when(r.since_ms), r.rule, escape(_who(r, names)), escape(r.detail))
        for r in shown
    ]
    console.print(table(["id", "since", "rule", "not joined", "why"], rows))
    if found.next:
        console.print(f"the newest {len(shown):,}; --limit shows more, --by-rule counts them")
