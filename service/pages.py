"""The small HTTP server of a worker: `/metrics`, `/healthz` and `/readyz`, and nothing else."""

import socket
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from ingest.errors import CollectorError
from service.metrics import CONTENT_TYPE

PORTS_TRIED_MAX: Final = 100
"""Workers of one machine that start with the same configured port find one each."""
REQUEST_SECONDS_MAX: Final = 10.0
"""A scraper that takes longer to say what it wants has gone."""

_PLAIN: Final = "text/plain; charset=utf-8"


class Pages:
    """Serves the three pages in a thread of its own, from `start` until `stop`."""

    def __init__(
        self,
        metrics: Callable[[], bytes],
        ready: Callable[[], bool],
        host: str,
        port: int,
        *,
        healthy: Callable[[], bool] = lambda: True,
    ) -> None:
        """Take `port`, or the next free one above it; 0: any. CollectorError if there is none."""
        pages = {
            "/metrics": lambda: (HTTPStatus.OK, CONTENT_TYPE, metrics()),
            "/healthz": lambda: _yes_or(healthy(), b"hangs"),
            "/readyz": lambda: _yes_or(ready(), b"not ready"),
        }

        class Handler(_Handler):
            answers = pages

        self._server = _listen(host, port, Handler)
        self._thread = threading.Thread(
            target=self._server.serve_forever, name="onefold-pages", daemon=True
        )
        self.host = host
        self.port = int(self._server.server_address[1])
        """The port that was taken."""

    def start(self) -> None:
        """Answer from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Answer no more, and let go of the port."""
        if self._thread.is_alive():
            self._server.shutdown()
        self._server.server_close()


def _yes_or(yes: bool, no: bytes) -> tuple[HTTPStatus, str, bytes]:
    if yes:
        return HTTPStatus.OK, _PLAIN, b"ok"
    return HTTPStatus.SERVICE_UNAVAILABLE, _PLAIN, no


class _Handler(BaseHTTPRequestHandler):
    answers: dict[str, Callable[[], tuple[HTTPStatus, str, bytes]]]
    timeout = REQUEST_SECONDS_MAX
    server_version = "onefold"
    sys_version = ""

    def do_GET(self) -> None:  # the name that http.server calls
        page = self.answers.get(self.path.partition("?")[0])
        status, kind, body = page() if page else (HTTPStatus.NOT_FOUND, _PLAIN, b"no such page")
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, format: str, *args: Any) -> None:
        """Probes every few seconds would be all that the log holds."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True


class _Server6(_Server):
    address_family = socket.AF_INET6


def _listen(host: str, port: int, handler: type[BaseHTTPRequestHandler]) -> ThreadingHTTPServer:
    kind = _Server6 if ":" in host else _Server
    last = port if port == 0 else min(port + PORTS_TRIED_MAX, 65_536) - 1
    for each in range(port, last + 1):
        try:
            return kind((host, each), handler)
        except (OSError, OverflowError) as error:
            why = getattr(error, "strerror", None) or str(error)
    raise CollectorError(f"cannot listen on {host}:{port} to {last} (worker.metrics_port): {why}")
