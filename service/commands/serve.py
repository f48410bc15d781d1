"""`onefold serve`: the gRPC service and the HTTP collector in one process."""

import signal
import threading

import click

from identity.event import Event, Source
from ingest.collector import Collector
from ingest.deadletters import Refused
from ingest.http.keys import WriteKeys
from ingest.http.serve import CollectorServer
from ingest.intake import Intake
from service.output import errors
from service.rpc.process import settle
from service.rpc.served_models import ServedModels
from service.rpc.server import RpcServer, Served
from service.workspace import Workspace, pass_workspace


class Running:
    """The two servers over one workspace; `start` returns when both answer."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        config = workspace.config
        self._ready = True
        recommending = ServedModels(
            workspace.registry, workspace.store.catalog, config.models.refresh_s
        )
        self.rpc = RpcServer(
            Served(
                store=workspace.store,
                keys=workspace.keys,
                rules=config.identity,
                reader=workspace.reader,
                recommending=recommending,
                now_ms=workspace.now_ms,
            ),
            config.grpc,
        )
        intake = Intake(self._process)
        collector = Collector(
            WriteKeys(config.write_keys(), Source(name="any") if config.accepts_any_key else None),
            intake.submit,
            workspace.now_ms,
            body_bytes_max=config.collector.body_bytes_max,
            ready=lambda: self._ready,
            on_stop=intake.close,
        )
        self.collector = CollectorServer(collector, config.collector.host, config.collector.port)

    def _process(self, events: list[Event], refused: list[Refused]) -> None:
        self._workspace.pipeline.process(events, refused, origin="collector")

    def start(self) -> None:
        """Answer calls and take events."""
        settle()
        self.collector.start()
        self.rpc.start()

    def stop(self) -> None:
        """Take nothing more, finish what is under way."""
        self._ready = False
        self.collector.stop()
        self.rpc.stop()


@click.command("serve")
@pass_workspace
def serve(workspace: Workspace) -> None:
    """Serve gRPC and the HTTP collector, until SIGINT or SIGTERM."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    running = Running(workspace)
    running.start()
    config = workspace.config
    errors.print(f"gRPC       {config.grpc.host}:{running.rpc.port}", markup=False)
    errors.print(
        f"collector  http://{config.collector.host}:{running.collector.port}"
        + ("  (any write key)" if config.accepts_any_key else ""),
        markup=False,
    )
    errors.print(f"store      {workspace.store_path}", markup=False)
    stop.wait()
    errors.print("stopping: finishing what is under way")
    running.stop()
