"""`onefold identity undo-run`: what a run of `onefold link --keep` joined is taken back, after a look."""

import uuid
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

import click
import msgspec

from identity.changes import PersonChange
from identity.decisions import Decision
from ingest.deciding import Draft, NoSuchDecision, preview_all
from ingest.undoing import RunUndone, undo_run
from models.linking.matches import run_of
from service.commands.decisions import SHOWN_MAX, deciding_options, print_changes
from service.output import console, print_json, steps_progress
from service.workspace import Workspace, pass_workspace
from storage.chunks import chunks

DECISIONS_AT_ONCE: Final = 100
"""Decisions that are looked at, and made, together."""


@click.command("undo-run")
@click.argument("run", nargs=-1, required=True)
@deciding_options
@pass_workspace
def undo_linking_run(
    workspace: Workspace, /, run: tuple[str, ...], as_json: bool, **options: Any
) -> None:
    """Undo every change that joined people because of runs of `onefold link --keep`, and of nothing else.

    RUN is the version of the model, as `onefold link` says it: with a stored model, all that it ever joined.
    What another run says too stays, unless that one is named as well.
    Each is a decision of its own, as of `onefold identity undo`: the sides stay apart until it is retracted.
    """
    draft_id = options["decision_id"] or uuid.uuid4().hex[:16]
    draft = Draft(draft_id, options["operator"], options["reason"], workspace.now_ms())
    found = undo_run(workspace.store, draft, *map(run_of, run))
    if not (found.decisions or found.undone or found.helped):
        raise NoSuchDecision(
            f"run {' '.join(run)} joined nobody; `onefold identity changes` says because of what"
        )
    looking = options["dry_run"] or not options["yes"]
    if looking:
        changes = _looked_at(workspace, found.decisions)
        if options["dry_run"] or not as_json:
            _print(workspace, found, changes, as_json=as_json, said="would be")
    if options["dry_run"] or not found.decisions:
        if not looking:
            _print(workspace, found, [], as_json=as_json, said="were")
        return
    if not options["yes"]:
        if as_json:
            raise click.UsageError("--json decides without asking: add --yes, or --dry-run")
        click.confirm("decide so?", abort=True)
    reason = options["reason"]
    if not reason:
        if options["yes"]:
            raise click.UsageError("--reason: decisions are kept with why they were made")
        reason = click.prompt("why")
    decisions = [msgspec.structs.replace(each, reason=reason) for each in found.decisions]
    changes = _made(workspace, decisions)
    _print(workspace, found, changes, as_json=as_json, said="were")


def _looked_at(workspace: Workspace, decisions: Sequence[Decision]) -> list[PersonChange]:
    changes: list[PersonChange] = []
    with steps_progress() as progress:
        task = progress.add_task("looking at what would change", total=len(decisions))
        for some in chunks(decisions, DECISIONS_AT_ONCE):
            plan = preview_all(workspace.store, workspace.config.identity, some)
            changes += [*plan.changes, *plan.owners]
            progress.advance(task, len(some))
    return changes


def _made(workspace: Workspace, decisions: Sequence[Decision]) -> list[PersonChange]:
    ids: list[str] = []
    with steps_progress() as progress:
        task = progress.add_task("deciding", total=len(decisions))
        for some in chunks(decisions, DECISIONS_AT_ONCE):
            for made in workspace.deciding.make_all(some):
                ids += made.applied or ()
            progress.advance(task, len(some))
    known = workspace.store.changes.get(ids)
    found = [known[change] for change in dict.fromkeys(ids) if change in known]
    return [change for change in found if change.refusal is None]


def _print(
    workspace: Workspace, found: RunUndone, changes: Sequence[PersonChange], *, as_json: bool, said: str
) -> None:  # fmt: skip
    kinds = Counter(change.kind.value for change in changes)
    if as_json:
        print_json(
            {
                "decisions": [each.id for each in found.decisions],
                "undone_before": found.undone,
                "helped_by_others": list(found.helped),
                "changes": dict(kinds),
                "examples": list(changes[:SHOWN_MAX]),
            }
        )
        return
    told = ", ".join(f"{kind} {count:,}" for kind, count in kinds.items()) or "nobody changes"
    console.print(f"{len(found.decisions):,} changes {said} undone: {told}")
    if found.undone:
        console.print(f"{found.undone:,} are undone already")
    if found.helped:
        shown = ", ".join(found.helped[:SHOWN_MAX])
        console.print(
            f"{len(found.helped):,} stay, for other news brought them about too, or an operator merged them "
            f"(onefold identity undo <change>): {shown}"
        )
    print_changes(workspace, changes[:SHOWN_MAX])
