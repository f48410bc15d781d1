"""`onefold identity rebuild`: everybody resolved again from all evidence, beside who is who as it is stored."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from identity.changes import Kind
from identity.rules import Rules
from service.commands.decisions import print_changes
from service.config import load_config
from service.output import StepBars, console, json_option, print_json, rows_progress, table
from service.workspace import Workspace, pass_workspace

if TYPE_CHECKING:
    from ingest.comparing import Comparison, Followers, Loaded, Side

HOLDER: Final = "onefold identity rebuild"


@click.command("rebuild")
@click.option(
    "--rules", "rules_file", type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Only look: who is who by the identity rules of this configuration file.",
)  # fmt: skip
@click.option("--load", is_flag=True, help="Make what is stored equal to what follows from it.")
@json_option
@pass_workspace
def rebuild(workspace: Workspace, rules_file: Path | None, load: bool, as_json: bool) -> None:
    r"""Resolve all history again, on all cores, and compare with what is stored: people, and whose devices are.

    Without --load nothing is written; exit code 1 says that something differs. With --load the differences
    are written, and whoever follows changes hears of them.

    \b
    onefold identity rebuild                       # 0 differences: what is stored is right
    onefold identity rebuild --rules new.yaml      # who would change under other rules
    onefold identity rebuild --load                # once they are in onefold.yaml, with workers stopped
    """
    if rules_file and load:
        raise click.UsageError(
            "--rules only looks: put the rules into the configuration, then --load, so that everything "
            "that decides people goes by them"
        )
    rules = workspace.config.identity
    if rules_file:
        rules = load_config(rules_file, environ={}).identity
    begun = time.monotonic()
    comparison, loaded = _loaded(workspace, rules) if load else _compared(workspace, rules)
    took_s = time.monotonic() - begun
    report = _report(comparison, loaded, took_s, written=load)
    if as_json:
        print_json(report)
    else:
        _show(workspace, comparison, loaded, report)
    if comparison and not load and not rules_file:
        raise SystemExit(1)


def _compared(workspace: Workspace, rules: Rules) -> tuple["Comparison", "Loaded"]:
    # numpy and scipy, which other commands do not need.
    from ingest.comparing import compare

    with rows_progress() as progress:
        comparison = compare(workspace.store, rules, progress=StepBars(progress), devices=True)
    return comparison, comparison.preview(workspace.now_ms())


def _loaded(workspace: Workspace, rules: Rules) -> tuple["Comparison", "Loaded"]:
    from ingest.comparing import compare

    with _followers(workspace, rules) as followers, rows_progress() as progress:
        bars = StepBars(progress)
        comparison = compare(workspace.store, rules, progress=bars, devices=True)
        loaded = comparison.load(workspace.store, workspace.now_ms(), followers, progress=bars)
    return comparison, loaded


@contextmanager
def _followers(workspace: Workspace, rules: Rules) -> Iterator["Followers"]:
    """Who hears of changes, while nobody else decides people."""
    if workspace.config.store.kind == "sqlite":
        from ingest.comparing import History

        with workspace.embedded_store.transaction():
            yield History(workspace.store)
        return
    from ingest.workers.publishing import Publisher, Tenure
    from ingest.workers.running import Superseded
    from service.config_checks import need_log

    need_log(workspace.config)
    settings = workspace.config.kafka
    workspace.log.check([settings.topic("changes"), settings.topic("evaluate")])
    producer = workspace.log.producer()
    try:
        publisher = Publisher(workspace.store, producer, settings)
        yield Tenure(workspace.store, rules, publisher, HOLDER)
    except Superseded:
        raise click.ClickException(
            "an identify worker has taken over; what was written so far is whole. Stop "
            "`onefold worker identify`, and run this again"
        ) from None
    finally:
        producer.close()


def _report(
    comparison: "Comparison", loaded: "Loaded", took_s: float, *, written: bool
) -> dict[str, Any]:
    return {
        "links": comparison.links,
        "seconds": round(took_s, 3),
        "differences": sum(1 for _ in comparison.differences()),
        "written": written and bool(comparison),
        "before": _side(comparison.before()),
        "after": _side(comparison.after()),
        "changes": {kind.value: count for kind, count in sorted(loaded.changes.items())},
        "examples": [change for some in loaded.examples.values() for change in some],
    }


def _side(side: "Side") -> dict[str, Any]:
    return {
        "people": side.people,
        "largest": [{"profile_id": node.hex(), "members": size} for node, size in side.largest],
        "refusals": side.refusals,
    }


def _show(
    workspace: Workspace, comparison: "Comparison", loaded: "Loaded", report: dict[str, Any]
) -> None:
    console.print(f"{report['links']:,} links resolved in {report['seconds']:.1f} s")
    console.print(
        table(["", "stored", "by the evidence"], _rows(report["before"], report["after"]))
    )
    what = "written" if report["written"] else "nothing is written"
    tail = f"; {what}" if comparison else ""
    console.print(f"{report['differences']:,} differences{tail}")
    _show_changes(workspace, loaded)


def _rows(before: dict[str, Any], after: dict[str, Any]) -> list[tuple[str, str, str]]:
    counts = [
        ("people", before["people"], after["people"]),
        ("identifiers of the largest", _most(before["largest"]), _most(after["largest"])),
    ]
    for rule in sorted(before["refusals"].keys() | after["refusals"].keys()):
        refused = (side["refusals"].get(rule, 0) for side in (before, after))
        counts.append((f"refused: {rule}", *refused))
    return [(what, f"{stored:,}", f"{right:,}") for what, stored, right in counts]


def _most(largest: Sequence[dict[str, Any]]) -> int:
    return max((each["members"] for each in largest), default=0)


def _show_changes(workspace: Workspace, loaded: "Loaded") -> None:
    for kind in Kind:
        if count := loaded.changes[kind]:
            shown = loaded.examples[kind]
            of = f", {len(shown)} of them" if len(shown) < count else ""
            console.print(f"\n[bold]{kind.value} {count:,}[/]{of}")
            print_changes(workspace, shown)
