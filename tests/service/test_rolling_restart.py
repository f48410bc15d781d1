"""Processes that share their ports are replaced one after the other, and nobody's request is lost."""

import base64
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest

from onefold_client import RETRYING
from service.pb.onefold.v1 import profile_service_pb2 as pb
from service.pb.onefold.v1.profile_service_pb2_grpc import ProfileServiceStub
from storage.sqlite import open_store
from tests.service.conftest import who

TRIES = 30
"""Official SDKs try again for minutes."""


@contextmanager
def held_port() -> Iterator[int]:
    """A port that only those who share it can take."""
    with socket.socket() as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


class Processes:
    """`onefold serve`, several times over one store."""

    def __init__(self, data: Path, rpc: int, http: int) -> None:
        self._data = data
        self._environ = os.environ | {
            "ONEFOLD_GRPC__PORT": str(rpc), "ONEFOLD_GRPC__REUSE_PORT": "true",
            "ONEFOLD_GRPC__DRAIN_S": "0.3", "PYTHONFAULTHANDLER": "1", "ONEFOLD_WORKER__METRICS_PORT": "0",
            "ONEFOLD_COLLECTOR__PORT": str(http), "ONEFOLD_COLLECTOR__REUSE_PORT": "true",
        }  # fmt: skip
        self._running: list[subprocess.Popen[str]] = []

    def start(self) -> None:
        command = [sys.executable, "-m", "service.cli", "--data", str(self._data), "serve"]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=self._environ)
        self._running.append(process)
        assert process.stderr is not None
        assert process.stderr.readline().startswith("metrics ")
        assert process.stderr.readline().startswith("gRPC ")

    def stop_oldest(self) -> None:
        with self._running.pop(0) as process:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGABRT)  # it prints what each thread was doing
            assert process.wait() == 0, process.stderr and process.stderr.read()

    def kill(self) -> None:
        for process in self._running:
            with process:
                process.kill()


class Callers(threading.Thread):
    """Somebody who calls in a loop until told to stop."""

    def __init__(self, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self.stop = stop
        self.done = 0
        self.failed: list[str] = []


class RpcCaller(Callers):
    def __init__(self, stop: threading.Event, port: int) -> None:
        super().__init__(stop)
        self.port = port

    def run(self) -> None:
        with grpc.insecure_channel(f"127.0.0.1:{self.port}", options=list(RETRYING)) as channel:
            stub = ProfileServiceStub(channel)
            while not self.stop.is_set():
                try:
                    stub.GetProfile(pb.GetProfileRequest(lookup=who(user_id="asha")), timeout=10)
                    self.done += 1
                except grpc.RpcError as error:
                    self.failed.append(str(error))


class HttpCaller(Callers):
    """Sends events as an SDK does: one answer other than 200, or none, and it sends them again."""

    def __init__(self, stop: threading.Event, port: int, name: str) -> None:
        super().__init__(stop)
        self.url = f"http://127.0.0.1:{port}/v1/track"
        self.name = name
        self.retried = 0

    def run(self) -> None:
        while not self.stop.is_set():
            event = {"event": "Seen", "userId": "asha", "messageId": f"{self.name}{self.done}"}
            if self._delivered(json.dumps(event).encode()):
                self.done += 1
            else:
                self.failed.append(str(event))

    def _delivered(self, body: bytes) -> bool:
        key = base64.b64encode(b"key:").decode()
        for _ in range(TRIES):
            request = urllib.request.Request(
                self.url,
                body,
                {"Authorization": f"Basic {key}", "Content-Type": "application/json"},
            )
            try:
                with urllib.request.urlopen(request, timeout=10) as answer:
                    return bool(answer.status == 200)
            except (urllib.error.URLError, OSError):
                self.retried += 1
                time.sleep(0.05)
        return False


@pytest.mark.slow
def test_a_rolling_restart_loses_no_call_and_no_event(tmp_path: Path) -> None:
    stop = threading.Event()
    with held_port() as rpc, held_port() as http:
        served = Processes(tmp_path / "data", rpc, http)
        try:
            served.start()
            served.start()
            reader = RpcCaller(stop, rpc)
            writers = [HttpCaller(stop, http, name) for name in "ab"]
            assert writers[0]._delivered(b'{"event": "First", "userId": "asha"}')
            for each in (reader, *writers):
                each.start()
            for _ in range(3):
                served.stop_oldest()
                served.start()
            stop.set()
            for each in (reader, *writers):
                each.join(30)
        finally:
            served.kill()

    assert (reader.failed, writers[0].failed, writers[1].failed) == ([], [], [])
    assert reader.done > 100
    store, _ = open_store(tmp_path / "data" / "onefold.sqlite", tmp_path / "data" / "onefold.keys")
    assert store.timeline.count() == 1 + sum(each.done for each in writers)
    store.close()
