"""The collector on uvicorn, in the calling thread's event loop or in a thread of its own."""

import asyncio
import logging
import socket
import threading
from collections.abc import Sequence
from typing import Final

import uvicorn

from ingest.collector import Collector
from ingest.errors import CollectorError

GRACE_SECONDS: Final = 10
"""Requests under way have this long to finish when the server is stopped."""
KEEP_ALIVE_SECONDS: Final = 65
"""Longer than the idle time-out of common load balancers (60 s), so that they close first."""
START_SECONDS_MAX: Final = 30.0
"""Listening takes milliseconds; a start that takes longer never ends."""
BACKLOG: Final = 2_048


class CollectorServer:
    """Serves a collector: `serve` in a loop, `run` in this thread, or `start` in a thread of its own."""

    def __init__(
        self,
        collector: Collector,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        sockets: Sequence[socket.socket] = (),
        tls: tuple[str, str] | None = None,
        reuse_port: bool = False,
    ) -> None:
        """`tls` is (certificate file, key file). With `sockets` (bound), host and port do not count.

        With `reuse_port` several processes share the port (SO_REUSEPORT).
        """
        self._where = (host, port)
        self._reuse_port = reuse_port
        self._sockets = list(sockets)
        config = uvicorn.Config(
            collector, loop="uvloop", http="httptools", ws="none", lifespan="on",
            interface="asgi3", access_log=False, log_config=None, server_header=False,
            proxy_headers=False, timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=GRACE_SECONDS, backlog=BACKLOG,
            ssl_certfile=tls[0] if tls else None, ssl_keyfile=tls[1] if tls else None,
        )  # fmt: skip
        # Whoever adds a handler to it would log the write keys of beacons and pixels.
        logging.getLogger("uvicorn.access").disabled = True
        self._server = uvicorn.Server(config)
        self._config = config
        self._thread: threading.Thread | None = None

    def bind(self) -> None:
        """Listen from now on; CollectorError if the address is taken."""
        if not self._sockets:
            host, port = self._where
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            try:
                self._sockets = [
                    socket.create_server(
                        (host, port), family=family, backlog=BACKLOG, reuse_port=self._reuse_port
                    )
                ]
            except (OSError, OverflowError) as error:
                why = getattr(error, "strerror", None) or str(error)
                raise CollectorError(f"cannot listen on {host}:{port}: {why}") from error

    @property
    def port(self) -> int:
        """The port it listens on, after `bind`."""
        return int(self._sockets[0].getsockname()[1])

    @property
    def running(self) -> bool:
        """Whether it serves in a thread of its own."""
        return self._thread is not None

    async def serve(self) -> None:
        """Serve in the running loop until `stop`; in the main thread, until SIGINT or SIGTERM too."""
        self.bind()
        try:
            await self._server.serve(sockets=self._sockets)
        finally:
            for each in self._sockets:
                each.close()

    def run(self) -> None:
        """Serve in this thread until `stop`."""
        with asyncio.Runner(loop_factory=self._config.get_loop_factory()) as runner:
            runner.run(self.serve())

    def start(self) -> None:
        """Serve in a thread of its own; returns when requests are taken."""
        self.bind()
        self._thread = threading.Thread(target=self.run, name="onefold-collector", daemon=True)
        self._thread.start()
        waited = threading.Event()
        for _ in range(int(START_SECONDS_MAX * 200)):
            if self._server.started:
                return
            if not self._thread.is_alive():
                break
            waited.wait(0.005)
        raise CollectorError("the collector did not start")

    def stop(self) -> None:
        """Take no more requests, finish those under way, and wait for that if in a thread of its own."""
        self._server.should_exit = True
        if self._thread is not None:
            self._thread.join()
            self._thread = None
