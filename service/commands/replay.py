"""`onefold replay`: derived tables of another generation, built beside the live ones, then switched to."""

from collections.abc import Iterable
from contextlib import closing
from typing import Final

import click

from identity.nodes import Node
from profiles.segments.membership import Cause
from service.config_checks import need_cassandra, need_workers
from service.output import StepBars, console, json_option, print_json, rows_progress
from service.workspace import Workspace, pass_workspace
from storage.cassandra.store import CassandraStore
from storage.chunks import chunks

LAG_MAX: Final = 1_000
"""Activity that may be unread at a switch: it is folded right after."""
CARRIED_AT_ONCE: Final = 2_000


@click.command("replay")
@click.option("--into", type=click.IntRange(1), help="Build the profiles of this generation.")
@click.option("--switch", "switch_to", type=click.IntRange(1), help="Let this generation answer.")
@json_option
@pass_workspace
def replay(workspace: Workspace, into: int | None, switch_to: int | None, as_json: bool) -> None:
    r"""Fold all that is stored again, with today's code and rules, into another generation of derived tables.

    The live generation goes on answering and being written. What an event is stored under stays as it was:
    rules about identifiers act on new events only.

    \b
    onefold replay --into 2                   # builds it; repeat if it was interrupted
    onefold worker fold --generation 2 &      # folds what has come since, and what comes
    onefold replay --switch 2                 # decides all people again, then it answers
    ... and start serve and worker identify, fold and evaluate again, without --generation
    """
    if (into is None) == (switch_to is None):
        raise click.UsageError("one of --into and --switch")
    need_cassandra(workspace.config, "replay")
    need_workers(workspace.config)
    report = _build(workspace, into) if into is not None else _switch(workspace, switch_to or 0)
    if as_json:
        print_json(report)
    else:
        console.print(", ".join(f"{count:,} {what}" for what, count in report.items()))


def _build(workspace: Workspace, generation: int) -> dict[str, int]:
    from ingest.rebuild import Rebuilt, Refolder, rebuild_parts
    from storage.cassandra.schema import migrate

    live = _live(workspace)
    if generation == live.generation:
        raise click.BadParameter(f"{generation} is the live generation", param_hint="--into")
    settings = workspace.config.kafka
    migrate(workspace.config.cassandra, generation)
    # From here on its own workers read; up to here the live parts stand, at least.
    copied = workspace.log.start_group_at(
        settings.group("fold", generation),
        settings.group("fold", live.generation),
        [settings.topic("activity")],
    )
    target = CassandraStore(workspace.config.cassandra, workspace.keys, generation=generation)
    refolder = Refolder(
        workspace.keys,
        workspace.config.identity,
        workspace.sources.named,
        workspace.catalogues.now(),
    )
    try:
        with rows_progress() as progress:
            task = progress.add_task("events folded", total=live.timeline.count() or None)

            def show(so_far: Rebuilt) -> None:
                progress.update(task, completed=so_far.events)

            built = rebuild_parts(live, target, refolder, show)
    finally:
        target.close()
    return {"profiles": built.parts, "events": built.events, "partitions": len(copied)}


def _switch(workspace: Workspace, generation: int) -> dict[str, int]:
    from ingest.rebuild import rebuild_people
    from ingest.workers.publishing import LEASE
    from storage.cassandra.carrying import carried_ids, carry_segments
    from storage.cassandra.schema import begin_switch, finish_switch

    live = _live(workspace)
    settings = workspace.config.kafka
    lag = workspace.log.lag(settings.group("fold", generation), [settings.topic("activity")])
    if lag > LAG_MAX:
        raise click.ClickException(
            f"generation {generation} has yet to fold {lag:,} events: run "
            f"`onefold worker fold --generation {generation}` until it has caught up"
        )
    facts, _ = workspace.config.cassandra.keyspaces(generation)
    target = CassandraStore(
        workspace.config.cassandra, workspace.keys, generation=generation, switching=True
    )
    try:
        before = begin_switch(live.connection, facts, generation)
        # Whoever decides people now is fenced, and cannot come back before the switch is done.
        target.leases.take(LEASE, "onefold replay")
        _fence_evaluation(workspace, target)
        with rows_progress() as progress:
            bars = StepBars(progress)
            nodes = rebuild_people(target, workspace.config.identity, bars)
            carry_segments(live, target, lambda rows: bars("segments", rows, 0))
        finish_switch(live.connection, facts, before, generation)
        _end_lost(workspace, target, carried_ids(target))
    finally:
        target.close()
    return {"identifiers decided": nodes, "generation": generation}


def _fence_evaluation(workspace: Workspace, target: CassandraStore) -> None:
    """Whoever evaluates stops, and goes on when it is started again: everybody is looked at then."""
    from ingest.workers.evaluate import LEASE

    for _, number in workspace.log.ends(workspace.config.kafka.topic("evaluate")):
        target.leases.take(f"{LEASE}:{number}", "onefold replay")


def _end_lost(workspace: Workspace, target: CassandraStore, carried: Iterable[Node]) -> None:
    """Who is no profile under today's rules leaves every segment: filling looks at leaves alone."""
    from ingest.messages import encode_look
    from ingest.segments.evaluating import Look, is_itself

    with closing(workspace.log.producer()) as producer:
        for some in chunks(carried, CARRIED_AT_ONCE):
            named = target.lookups.named(some)
            for node in (each for each in some if not is_itself(each, named)):
                key, value = encode_look(node, Look(Cause.MERGED))
                producer.send(workspace.config.kafka.topic("evaluate"), value, key)
        producer.flush()


def _live(workspace: Workspace) -> CassandraStore:
    store = workspace.store
    assert isinstance(store, CassandraStore)  # noqa: S101  # `need_cassandra` saw to it
    return store
