"""`onefold worker`: one stage as a process of its own, on Kafka and Cassandra."""

import threading
from typing import TYPE_CHECKING, Final

import click

from service.config_checks import need_workers
from service.logs import log_to_stderr
from service.output import errors
from service.pages import Pages
from service.patience import Pauses, passing_errors, patiently
from service.stopping import asked_to_stop
from service.workspace import Workspace, pass_workspace

if TYPE_CHECKING:
    from ingest.workers.running import Worker

STAGES: Final = ("record", "fold", "identify", "evaluate")


@click.command("worker")
@click.argument("stage", type=click.Choice(STAGES))
@click.option(
    "--metrics-port",
    type=click.IntRange(0, 65535),
    help="As worker.metrics_port; 0 for any free one.",
)
@click.option(
    "--generation",
    type=click.IntRange(1),
    help="Fold into this generation of derived tables, which `onefold replay` builds.",
)
@pass_workspace
def worker(
    workspace: Workspace, stage: str, metrics_port: int | None, generation: int | None
) -> None:
    r"""Run one stage until SIGINT or SIGTERM; a second one does not wait.

    record reads events and says who is in them, fold keeps profiles, identify decides who is who, evaluate
    keeps segments. Start each as often as there is work, up to kafka.partitions: Kafka shares the partitions
    among them. Of identify one works, and others stand by. Each takes the next free port for /metrics,
    /healthz and /readyz, and prints it.

    \b
    onefold worker record & onefold worker fold & onefold worker identify & onefold worker evaluate &
    """
    config = workspace.config
    need_workers(config)
    if generation is not None and stage != "fold":
        raise click.UsageError("--generation is for fold: the other stages write facts")
    workspace.generation = generation
    log_to_stderr()
    with asked_to_stop() as stop:
        _work(workspace, stage, metrics_port, stop)


def _work(
    workspace: Workspace, stage: str, metrics_port: int | None, stop: threading.Event
) -> None:
    from service.stages import open_stage

    config = workspace.config
    opened: list[Worker] = []
    pages = Pages(
        workspace.metrics.text,
        lambda: bool(opened) and opened[0].ready,
        config.worker.metrics_host,
        config.worker.metrics_port if metrics_port is None else metrics_port,
        healthy=lambda: not opened or opened[0].healthy,
    )
    pages.start()
    errors.print(f"{stage:<10} http://{pages.host}:{pages.port}/metrics", markup=False)
    try:
        running = patiently(
            lambda: open_stage(workspace, stage),
            passing_errors(),
            stop,
            Pauses(config.worker.retry_max_s),
            lambda text: errors.print(text, markup=False, soft_wrap=True),
        )
        if running is None:
            return
        opened.append(running)
        threading.Thread(
            target=_pass_on, args=(stop, running), name="onefold-stopping", daemon=True
        ).start()
        errors.print(f"store      {workspace.place}", markup=False, soft_wrap=True)
        errors.print(
            f"log        Kafka at {config.kafka.brokers}, {config.kafka.prefix}", markup=False
        )
        running.run()
        errors.print("stopped: what was taken is done", markup=False)
    finally:
        pages.stop()


def _pass_on(stop: threading.Event, running: "Worker") -> None:
    stop.wait()
    running.stop()
