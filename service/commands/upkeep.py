"""`onefold verify`, `onefold deadletters` and `onefold catalog`: keeping what is stored in order."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import msgspec

from identity.event import Event
from ingest.decode import Refused, decode
from ingest.items import ItemRefused, read_items
from ingest.verify import verify as compare
from service.exporting import LETTERS
from service.output import console, json_option, print_json, steps_progress, table, when
from service.workspace import Workspace, pass_workspace
from storage.ports import DeadLetter

REPLAY_BATCH = 500


@click.command("verify")
@click.option("--sample", type=int, help="Compare only this many parts; all people in any case.")
@json_option
@pass_workspace
def verify(workspace: Workspace, sample: int | None, as_json: bool) -> None:
    """Fold timelines, resolve links and evaluate segments again, and compare with what is live."""
    workspace.asking.settle()
    with steps_progress() as progress:
        task = progress.add_task("refolding", total=workspace.store.timeline.count())
        report = compare(
            workspace.store,
            workspace.keys,
            workspace.config.identity,
            workspace.sources.named,
            sample=sample,
            progress=lambda events: progress.update(task, completed=events),
            now_ms=workspace.now_ms(),
        )
    if as_json:
        print_json(report)
    else:
        console.print(
            f"{report.parts:,} parts of {report.events:,} events, {report.people:,} people of "
            f"{report.links:,} links, segments of {report.evaluated:,} profiles: "
            f"{report.differences:,} differences"
        )
        if report.examples:
            console.print(
                table(
                    ["what", "id", "difference"],
                    [(d.what, d.id, d.detail) for d in report.examples],
                )
            )
    if not report.right:
        raise SystemExit(1)


@click.group("deadletters")
def deadletters() -> None:
    """What was refused, why, and trying it again."""


@deadletters.command("list")
@click.option("--reason", help="Only letters with this reason.")
@click.option("--limit", default=20, show_default=True)
@click.option(
    "--raw", is_flag=True, help="Show the refused message itself (it may hold personal data)."
)
@json_option
@pass_workspace
def list_letters(
    workspace: Workspace, reason: str | None, limit: int, raw: bool, as_json: bool
) -> None:
    """List refused messages, oldest first, and how many there are for each reason."""
    letters = workspace.store.dead_letters.list(limit, reason=reason)
    counts = workspace.store.dead_letters.counts()
    if as_json:
        print_json({"counts": counts, "letters": [_letter(letter, raw) for letter in letters]})
        return
    if not counts:
        console.print("no dead letters")
        return
    console.print(table(["reason", "letters"], counts.items()))
    console.print()
    columns = ["id", "received", "source", "reason", "detail", "from"] + (
        ["message"] if raw else []
    )
    console.print(
        table(
            columns,
            [
                (
                    str(letter.id), when(letter.received_ms), letter.source, letter.reason,
                    letter.detail, letter.origin,
                    *([letter.raw.decode("utf-8", "replace")] if raw else []),
                )
                for letter in letters
            ],
        )
    )  # fmt: skip


@deadletters.command("replay")
@click.option("--reason", help="Only letters with this reason.")
@json_option
@pass_workspace
def replay(workspace: Workspace, reason: str | None, as_json: bool) -> None:
    """Try refused messages again, with today's rules; those that are accepted leave the list."""
    accepted = refused = last = 0
    while letters := workspace.store.dead_letters.list(REPLAY_BATCH, last, reason):
        last = letters[-1].id
        # What a destination refused is no event of ours.
        ours = [letter for letter in letters if not letter.source.startswith(LETTERS)]
        done = [(letter.id, _decoded(workspace, letter)) for letter in ours]
        taken = {
            letter_id: event
            for letter_id, event in done
            if isinstance(event, Event) and workspace.pipeline.accepts(event)
        }
        # In this order: if it stops in between, they are tried again, and an event counts once.
        workspace.pipeline.process(list(taken.values()))
        workspace.store.dead_letters.remove(list(taken))
        accepted += len(taken)
        refused += len(ours) - len(taken)
    if as_json:
        print_json({"accepted": accepted, "refused": refused})
    else:
        console.print(f"{accepted:,} accepted, {refused:,} still refused")


def _decoded(workspace: Workspace, letter: DeadLetter) -> Event | Refused:
    return decode(letter.raw, letter.received_ms, workspace.sources.named(letter.source))


def _letter(letter: DeadLetter, raw: bool) -> dict[str, Any]:
    fields = msgspec.structs.asdict(letter)
    fields["raw"] = letter.raw.decode("utf-8", "replace") if raw else len(letter.raw)
    return fields


@click.group("catalog")
def catalog() -> None:
    """The items that can be recommended."""


@catalog.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@json_option
@pass_workspace
def import_items(workspace: Workspace, file: Path, as_json: bool) -> None:
    """Load items from JSON lines or CSV; an item that is there already is replaced."""
    taken = 0
    refused: list[ItemRefused] = []
    for batch in _batches(read_items(file, workspace.now_ms()), refused):
        workspace.store.catalog.upsert(batch)
        taken += len(batch)
    if as_json:
        print_json({"items": taken, "refused": refused})
    else:
        click.echo(f"{taken:,} items from {file}")
        for each in refused[:20]:
            click.echo(f"{file}:{each.line}: {each.detail}", err=True)
    if refused:
        raise SystemExit(1)


def _batches(
    items: Iterator[Any], refused: list[ItemRefused], size: int = 500
) -> Iterator[list[Any]]:
    batch: list[Any] = []
    for item in items:
        if isinstance(item, ItemRefused):
            refused.append(item)
            continue
        batch.append(item)
        if len(batch) >= size:
            yield batch
            batch = []
    yield batch


@catalog.command("list")
@click.option("--limit", default=50, show_default=True)
@click.option("--after", default="", help="Items above this id.")
@json_option
@pass_workspace
def list_items(workspace: Workspace, limit: int, after: str, as_json: bool) -> None:
    """List items in the order of their ids."""
    items = workspace.store.catalog.list(after, limit)
    if as_json:
        print_json(items)
        return
    console.print(f"{workspace.store.catalog.count():,} items")
    console.print(
        table(
            ["id", "name", "category", "price", "in stock"],
            [
                (
                    item.id, item.name, item.category,
                    "" if item.price_micros is None else f"{item.price_micros / 1e6:,.2f} {item.currency}",
                    "yes" if item.in_stock else "no",
                )
                for item in items
            ],
        )
    )  # fmt: skip
