"""`onefold serve`: the gRPC service and the HTTP collector in one process."""

import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import click

from identity.event import Event, Source
from ingest.collector import Collector
from ingest.deadletters import Refused
from ingest.http.keys import WriteKeys
from ingest.http.serve import CollectorServer
from ingest.intake import Intake
from service.keeping import KeepingCurrent
from service.logs import log_to_stderr
from service.metrics import running_version
from service.output import errors
from service.pages import Pages
from service.patience import Pauses, passing_errors, patiently
from service.readiness import Readiness, reads
from service.rpc.process import settle
from service.rpc.served_models import ServedModels
from service.rpc.server import RpcServer, Served
from service.standing import ChampionStanding
from service.stopping import asked_to_stop, end_process
from service.workspace import Workspace, pass_workspace
from storage.errors import StoreUnavailable


class Running:
    """The two servers over one workspace; `start` returns when both answer."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        config = workspace.config
        self._rpc: RpcServer | None = None
        self._readiness: Readiness | None = None
        self._keeping: KeepingCurrent | None = None
        self._stopping = False
        intake = Intake(self._process)
        collector = Collector(
            WriteKeys(config.write_keys(), Source(name="any") if config.accepts_any_key else None),
            intake.submit,
            workspace.now_ms,
            body_bytes_max=config.collector.body_bytes_max,
            ready=lambda: self.ready,
            on_stop=intake.close,
            version=running_version(),
            leaving=lambda: self._stopping,
            metrics=workspace.metrics.text if config.collector.shows_metrics else None,
            answered=workspace.metrics.collector.answered,
        )
        self.collector = CollectorServer(
            collector,
            config.collector.host,
            config.collector.port,
            reuse_port=config.collector.reuse_port,
        )

    @property
    def rpc(self) -> RpcServer:
        """The gRPC server, once the store is open."""
        if self._rpc is None:
            raise StoreUnavailable("the store is not open yet")
        return self._rpc

    @property
    def ready(self) -> bool:
        """Whether it answers: the store can be read, and nobody asked it to end."""
        return self._readiness is not None and self._readiness.ready

    def open(self) -> None:
        """Open the store and the log, once; StoreUnavailable or LogUnavailable if that must be tried again."""
        _ = self._workspace.pipeline, self._workspace.store

    def start(self) -> None:
        """Answer calls and take events."""
        self.open()
        workspace, config = self._workspace, self._workspace.config
        models = ServedModels(
            workspace.registry,
            workspace.store.catalog,
            config.models.refresh_s,
            rules=Path(config.models.rules),
            aside=True,
        )
        with suppress(StoreUnavailable):  # then the first call tries it again
            models.refresh()
        self._rpc = RpcServer(
            Served(
                store=workspace.store,
                keys=workspace.keys,
                rules=config.identity,
                reader=workspace.reader,
                recommending=models,
                now_ms=workspace.now_ms,
                open_deciding=lambda: workspace.deciding,
                segments=workspace.segments if config.store.kind == "sqlite" else None,
                segments_of=workspace.segments_of,
                sensitive_consent=config.models.sensitive_consent,
            ),
            config.grpc,
            workspace.metrics.rpc,
        )
        standing = ChampionStanding(workspace.registry, workspace.metrics.champion)
        workspace.metrics.asked.append(standing.tell)
        settle()
        self.listen()
        self._rpc.start()
        if config.store.kind == "sqlite":
            workspace.segments.expect_live_events()
            self._keeping = KeepingCurrent(workspace.segments)
            self._keeping.start()
        self._readiness = Readiness(reads(workspace.store), self._rpc.serving)
        self._readiness.start()

    def listen(self) -> None:
        """Let the collector answer, with 503 to events while there is no store yet."""
        if not self.collector.running:
            self.collector.start()

    def fall_silent(self) -> bool:
        """Say so, wait for balancers to see it, take nothing more, finish what is under way.

        Whether all calls ended; if not, `stop` gives them more time.
        """
        self._stopping = True
        if self._readiness is not None:
            self._readiness.end()
        if self._rpc is None:
            self.collector.stop()
            return True
        silent = self._rpc.fall_silent()
        self.collector.stop()
        return silent

    def stop(self) -> None:
        """End, and let go of the ports."""
        self.fall_silent()
        if self._rpc is not None:
            self._rpc.stop()
        if self._keeping is not None:
            self._keeping.stop()

    def _process(self, events: list[Event], refused: list[Refused]) -> None:
        if self._rpc is None:
            raise StoreUnavailable("the store is not open yet")
        told, started = self._workspace.metrics.ingest, time.monotonic()
        outcome = self._workspace.pipeline.process(events, refused, origin="collector")
        told.batch("collect", len(events) + len(refused), time.monotonic() - started)
        told.events("collect", "accepted", outcome.events)
        told.events("collect", "refused", outcome.refused)
        if self._workspace.config.store.kind == "sqlite":  # the log's own sink tells these itself
            for reason, count in Counter(each.reason for each in refused).items():
                told.refused(reason, count)
            told.refused("names_nobody", outcome.refused - len(refused))


@click.command("serve")
@pass_workspace
def serve(workspace: Workspace) -> None:
    """Serve gRPC and the HTTP collector, until SIGINT or SIGTERM; a second one does not wait.

    Servers that do not answer at the start are tried again, with /readyz saying no. Several processes share
    the ports with grpc.reuse_port and collector.reuse_port; each then prints a port of its own for /metrics
    and /readyz.
    """
    log_to_stderr()
    with asked_to_stop() as stop:
        running = Running(workspace)
        if workspace.config.collector.reuse_port:
            _show_own_pages(workspace, running)
        if _start(workspace, running, stop):
            stop.wait()
            errors.print("stopping: finishing what is under way")
        if not running.fall_silent():
            running.stop()
        workspace.close()
        # See `RpcServer.fall_silent`: who calls at this moment finds a closed connection, and calls again.
        end_process()


def _show_own_pages(workspace: Workspace, running: Running) -> None:
    """Whoever asks at a shared port is answered by any of the processes."""
    own = workspace.config.worker
    pages = Pages(workspace.metrics.text, lambda: running.ready, own.metrics_host, own.metrics_port)
    pages.start()
    errors.print(f"metrics    http://{pages.host}:{pages.port}/metrics", markup=False)


def _start(workspace: Workspace, running: Running, stop: threading.Event) -> bool:
    """Whether it runs, and was not asked to end while it waited for servers."""
    config = workspace.config

    def say(text: str) -> None:
        # Only a start that fails listens before it can work: others must not get requests they refuse.
        running.listen()
        errors.print(text, markup=False, soft_wrap=True)

    patiently(running.open, passing_errors(), stop, Pauses(config.worker.retry_max_s), say)
    if stop.is_set():
        return False
    running.start()
    errors.print(f"gRPC       {config.grpc.host}:{running.rpc.port}", markup=False)
    errors.print(
        f"collector  http://{config.collector.host}:{running.collector.port}"
        + ("  (any write key)" if config.accepts_any_key else ""),
        markup=False,
    )
    errors.print(f"store      {workspace.place}", markup=False)
    return True
