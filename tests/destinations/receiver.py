"""A real HTTP server on loopback that does what a test tells it, and keeps what it took."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Behaviour = Callable[[int, bytes], int | str | tuple[int, dict[str, str]]]
"""(number of the request, body) -> a status, with headers, or `drop`, `hang`, `drip`, `nonsense`."""


class Receiver:
    """What was asked and taken."""

    def __init__(self) -> None:
        self.behaviour: Behaviour = lambda number, body: 200
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.taken: list[dict[str, Any]] = []
        self.answer = b"ok"
        self.port = 0
        self.over = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    def events(self) -> list[dict[str, Any]]:
        return [event for body in self.taken for event in body.get("batch", [body])]


@contextmanager
def receiving() -> Iterator[Receiver]:
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.requests.append((self.path, dict(self.headers), body))
            said = receiver.behaviour(len(receiver.requests), body)
            if isinstance(said, str):
                self.close_connection = True
                self._misbehave(said)
                return
            status, headers = said if isinstance(said, tuple) else (said, {})
            if status < 300:
                receiver.taken.append(json.loads(body))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(receiver.answer)))
            self.end_headers()
            self.wfile.write(receiver.answer)

        def _misbehave(self, how: str) -> None:
            if how == "hang":
                receiver.over.wait(5)
            elif how == "nonsense":
                self.wfile.write(b"\x00\xffwhat? " * 20)
            elif how == "drip":
                for _ in range(50):
                    if receiver.over.wait(0.1):
                        return
                    self.wfile.write(b"H")
                    self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)

        def log_message(self, format: str, *args: object) -> None:
            """Silence."""

        def handle_one_request(self) -> None:
            try:
                super().handle_one_request()
            except OSError:
                self.close_connection = True

        def finish(self) -> None:
            try:
                super().finish()
            except OSError:
                self.close_connection = True

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    receiver.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield receiver
    finally:
        receiver.over.set()
        server.shutdown()
        thread.join()
        server.server_close()
