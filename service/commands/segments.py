"""`onefold segments`: define audiences, see them fill, look at who is in them."""

import difflib
from pathlib import Path
from typing import Any, Final

import click
from rich.markup import escape

from identity.nodes import names_device
from identity.normalize import Normalizer
from ingest.scores import RefusedScore, read_scores
from ingest.segments import defining
from ingest.segments.asking import Asking
from ingest.segments.sampling import Sampler
from profiles.segments.tree import Definition, Segment
from profiles.segments.write import write
from service.commands.lookups import lookup_options, wanted
from service.commands.naming import Names
from service.commands.segment_definitions import COMMANDS, plan_of
from service.commands.segment_pictures import (
    EXAMPLES_SHOWN,
    counts,
    history_table,
    preview_text,
    share,
    written,
)
from service.commands.segment_traits import traits
from service.output import console, errors, json_option, print_json, steps_progress, table, when
from service.rpc.parsing import identifier_types, type_names
from service.workspace import Workspace, pass_workspace
from storage.chunks import chunks
from storage.segment_ports import ScoreRow

SCORES_AT_ONCE: Final = 1_000


@click.group()
def segments() -> None:
    """Audiences: defined once, right at every moment."""


for _command in (*COMMANDS, traits):
    segments.add_command(_command)


@segments.command("list")
@json_option
@pass_workspace
def list_segments(workspace: Workspace, as_json: bool) -> None:
    """What is in force, how large it is, and who came and went in 24 hours."""
    asking = _asking(workspace)
    catalogue = asking.catalogue()
    statuses = asking.statuses(sorted(catalogue.segments))
    if as_json:
        print_json(
            {"segments": statuses, "computed_traits": sorted(catalogue.computed),
             "revision": catalogue.revision, "filled": asking.filled(), "broken": catalogue.broken}
        )  # fmt: skip
        return
    for key, why in sorted(catalogue.broken.items()):
        errors.print(f"[red]left out[/] {escape(key)}: {escape(why)}", soft_wrap=True)
    if not catalogue.segments and not catalogue.computed and not catalogue.broken:
        console.print("no segments yet: write segments/*.yaml, then `onefold segments apply`")
        return
    filled = asking.filled()
    rows = [
        (
            each.id, catalogue.segments[each.id].name, each.people, each.devices,
            f"+{each.day.entered:,} −{each.day.left:,}",
            "sensitive" if each.id in catalogue.sensitive else "",
            "" if filled[each.id] >= 1 else f"filling, {filled[each.id]:.0%}",
        )
        for each in statuses
    ]  # fmt: skip
    console.print(table(["segment", "name", "people", "devices", "24 h", "", ""], rows))
    for name in sorted(catalogue.computed):
        console.print(f"computed trait {name}")


@segments.command("show")
@click.argument("segment")
@json_option
@pass_workspace
def show_segment(workspace: Workspace, segment: str, as_json: bool) -> None:
    """One segment: its definition, its size, who can be reached, and its last 30 days."""
    definition = _definition(workspace, segment)
    if not isinstance(definition, Segment):
        print_json(write(definition)) if as_json else console.print(written(definition))
        return
    asking = _asking(workspace)
    (status,) = asking.statuses([segment])
    flows = asking.history(segment, 30)
    reach = asking.reach(segment, type_names(workspace.config.identity))
    if as_json:
        print_json(
            {"definition": write(definition), "status": status, "history": flows, "reach": reach}
        )
        return
    console.print(written(definition))
    console.print(f"{status.people:,} people · {status.devices:,} devices that are nobody's")
    if reach.identifiers:
        console.print("known by " + counts(reach.identifiers))
    console.print("consent " + (counts(reach.consent) or "none was given"))
    console.print(history_table(flows, status))


@segments.command("preview")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--sample", type=click.IntRange(0), help="Identifiers to look at; 0 for everybody.")
@json_option
@pass_workspace
def preview(workspace: Workspace, file: Path, sample: int | None, as_json: bool) -> None:
    """How large a draft would be, whom it would hold and how they could be reached. Writes nothing."""
    made = plan_of(workspace, [file], prune=False)
    drafts = [d for d in (*made.added.values(), *made.changed.values()) if isinstance(d, Segment)]
    known = workspace.catalogues.now()
    drafts += [known.segments[key] for key in made.unchanged if key in known.segments]
    if not drafts:
        raise click.UsageError("a computed trait has no members; `onefold profile show` shows it")
    _asking(workspace)
    rules = workspace.config.identity
    sampler = Sampler(workspace.store, rules, type_names(rules))
    for draft in drafts:
        with steps_progress() as bar:
            task = bar.add_task(f"looking at {draft.id}", total=None)
            found = sampler.preview(
                known, draft, workspace.now_ms(), sample=sample,
                progress=lambda done, total: bar.update(task, completed=done, total=total),  # noqa: B023
            )  # fmt: skip
        if as_json:
            print_json(found)
        else:
            console.print(preview_text(workspace, draft, found))


@segments.command("members")
@click.argument("segment")
@click.option(
    "--limit", default=100, show_default=True, type=click.IntRange(0), help="How many; 0 for all."
)
@json_option
@pass_workspace
def members(workspace: Workspace, segment: str, limit: int, as_json: bool) -> None:
    """Who is in a segment now: JSON lines with --json."""
    _segment(workspace, segment)
    left = limit or (1 << 62)
    for page in _asking(workspace).members(segment, most=min(left, 2_000)):
        shown = page[:left]
        if as_json:
            for node, since_ms in shown:
                click.echo(f'{{"profile_id": "{node.hex()}", "since_ms": {since_ms}}}')
        else:
            names = Names(workspace.reader, (node for node, _ in shown))
            console.print(
                table(
                    ["profile", "", "", "since"],
                    [
                        (n.hex(), names.bare(n), "device" if names_device(n) else "", when(since))
                        for n, since in shown
                    ],
                )
            )
        left -= len(shown)
        if not left:
            return


@segments.command("history")
@click.argument("segment")
@click.option("--days", default=30, show_default=True, type=click.IntRange(1, 400))
@click.option("--hourly", is_flag=True, help="By hour instead of by day.")
@json_option
@pass_workspace
def history(workspace: Workspace, segment: str, days: int, hourly: bool, as_json: bool) -> None:
    """How a segment's size came about: who entered and left, and why."""
    _segment(workspace, segment)
    asking = _asking(workspace)
    flows = asking.history(segment, days, hourly=hourly)
    if as_json:
        print_json(flows)
    else:
        console.print(history_table(flows, asking.statuses([segment])[0]))


@segments.command("overlap")
@click.argument("one")
@click.argument("other")
@json_option
@pass_workspace
def overlap(workspace: Workspace, one: str, other: str, as_json: bool) -> None:
    """How many are in both of two segments."""
    for key in (one, other):
        _segment(workspace, key)
    asking = _asking(workspace)
    first, second = asking.statuses([one, other])
    both = asking.overlap(one, other)
    if as_json:
        print_json({"both": both, one: first, other: second})
        return
    sizes = [each.people + each.devices for each in (first, second)]
    console.print(f"{both:,} are in both: {share(both, sizes[0])} of {one} ({sizes[0]:,}), "
                  f"{share(both, sizes[1])} of {other} ({sizes[1]:,})")  # fmt: skip


@segments.command("of")
@lookup_options
@json_option
@pass_workspace
def segments_of(workspace: Workspace, /, as_json: bool, **identifiers: Any) -> None:
    """The segments of one profile at this moment."""
    (resolved,) = workspace.reader.resolve([wanted(identifiers)], workspace.now_ms())
    if resolved is None:
        raise click.ClickException("nobody is known by that")
    standing = _asking(workspace).standing(resolved.profile_id)
    if as_json:
        print_json({"profile_id": resolved.profile_id, "segments": standing.segments})
        return
    rows = [(key, when(since_ms)) for key, since_ms in sorted(standing.segments.items())]
    console.print(table(["segment", "since"], rows) if rows else "in no segment")


@segments.command("scores")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--name", required=True, help="Of the score, as conditions name it: churn.")
@json_option
@pass_workspace
def load_scores(workspace: Workspace, file: Path, name: str, as_json: bool) -> None:
    """Load what a batch model says of people: a CSV with an identifier's column, `value` and `computed_at`."""
    rules = workspace.config.identity
    loaded, refused = 0, []
    rows = read_scores(
        file, name, workspace.keys.hasher(), Normalizer(rules), identifier_types(rules),
        workspace.now_ms(),
    )  # fmt: skip
    for some in chunks(rows, SCORES_AT_ONCE):
        scores = [each for each in some if isinstance(each, ScoreRow)]
        refused += [each for each in some if isinstance(each, RefusedScore)]
        workspace.store.scores.put(scores)
        workspace.touch({each.node for each in scores})
        loaded += len(scores)
    if as_json:
        print_json({"loaded": loaded, "refused": refused})
        return
    console.print(f"{loaded:,} scores loaded as {name}")
    for each in refused[:EXAMPLES_SHOWN]:
        errors.print(f"{file}:{each.line}: {each.detail}")
    if len(refused) > EXAMPLES_SHOWN:
        errors.print(f"and {len(refused) - EXAMPLES_SHOWN:,} more lines are no scores")


def _asking(workspace: Workspace) -> Asking:
    asking = workspace.asking
    asking.settle()
    return asking


def _definition(workspace: Workspace, key: str) -> Definition:
    held = defining.in_force(workspace.catalogues.now())
    broken = workspace.catalogues.now().broken
    if key in broken:
        raise click.ClickException(f"{key} is left out: {broken[key]}")
    if key not in held:
        near = difflib.get_close_matches(key, held, 1)
        hint = f"; did you mean {near[0]}?" if near else "; `onefold segments list` shows all"
        raise click.ClickException(f"no segment {key!r} is in force{hint}")
    return held[key]


def _segment(workspace: Workspace, key: str) -> Segment:
    found = _definition(workspace, key)
    if not isinstance(found, Segment):
        raise click.ClickException(f"{key} is a computed trait: it has no members")
    return found
