"""What the fault proxy does to bytes, before a server that answers each line with itself."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from deploy.servers.loopback import claim_subnet
from deploy.servers.proxy import Fault, FaultProxy

PORT = 9042


class Echo:
    """A server that sends back what it receives, and remembers it."""

    def __init__(self, host: str) -> None:
        self.address = (host, PORT)
        self.received = bytearray()
        self._loop = asyncio.new_event_loop()
        self._listening = threading.Event()
        self._thread = threading.Thread(target=lambda: self._loop.run_until_complete(self._run()))
        self._thread.start()
        assert self._listening.wait(10)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join()
        self._loop.close()

    async def _run(self) -> None:
        self._ended = asyncio.Event()
        server = await asyncio.start_server(self._serve, *self.address)
        self._listening.set()
        await self._ended.wait()
        server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            self.received += data
            writer.write(data)
            await writer.drain()
        writer.close()


@pytest.fixture
def echo() -> Iterator[Echo]:
    subnet = claim_subnet([PORT])
    server = Echo(subnet.address(1))
    yield server
    server.stop()
    subnet.release()


@pytest.fixture
def proxy(echo: Echo) -> Iterator[FaultProxy]:
    with FaultProxy(echo.address) as proxy:
        yield proxy


@pytest.fixture
def client(proxy: FaultProxy) -> Iterator[socket.socket]:
    with socket.create_connection((proxy.host, proxy.port), 5) as connection:
        yield connection


def call(client: socket.socket, data: bytes) -> bytes:
    client.sendall(data)
    return client.recv(65536)


def test_without_a_fault_everything_passes_and_is_counted(
    proxy: FaultProxy, client: socket.socket
) -> None:
    assert proxy.fault is Fault.NONE
    assert call(client, b"hello") == b"hello"
    assert (proxy.counts.connections, proxy.counts.sent_bytes) == (1, 5)
    assert proxy.counts.answered_bytes == 5


def test_a_large_answer_passes_whole(proxy: FaultProxy, client: socket.socket) -> None:
    sent = bytes(range(256)) * 4000
    threading.Thread(target=client.sendall, args=(sent,)).start()
    got = bytearray()
    while len(got) < len(sent):
        got += client.recv(65536)
    assert bytes(got) == sent


def test_an_end_of_what_is_sent_reaches_the_server(client: socket.socket) -> None:
    assert call(client, b"last") == b"last"
    client.shutdown(socket.SHUT_WR)
    assert client.recv(10) == b""


def test_delayed_requests_and_answers_take_their_time(
    proxy: FaultProxy, client: socket.socket
) -> None:
    proxy.delay(0.2)
    began = time.monotonic()
    assert call(client, b"slow") == b"slow"
    assert time.monotonic() - began >= 0.4

    proxy.pass_all()
    assert call(client, b"fast") == b"fast"


def test_a_dropped_answer_was_asked_and_stays_lost(
    echo: Echo, proxy: FaultProxy, client: socket.socket
) -> None:
    proxy.drop_answers()
    client.settimeout(0.3)
    with pytest.raises(TimeoutError):
        call(client, b"write")
    assert echo.received == b"write"
    assert (proxy.counts.answered_bytes, proxy.counts.dropped_bytes) == (0, 5)

    proxy.pass_all()
    client.settimeout(5)
    assert call(client, b"read") == b"read"


def test_open_and_new_connections_are_reset(proxy: FaultProxy, client: socket.socket) -> None:
    assert call(client, b"hello") == b"hello"
    proxy.reset()
    with pytest.raises(ConnectionResetError):
        client.recv(10)
    with (
        pytest.raises(ConnectionResetError),
        socket.create_connection((proxy.host, proxy.port), 5) as new,
    ):
        new.recv(10)

    proxy.pass_all()
    with socket.create_connection((proxy.host, proxy.port), 5) as new:
        assert call(new, b"back") == b"back"


def test_connections_are_refused(proxy: FaultProxy) -> None:
    proxy.refuse()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((proxy.host, proxy.port), 5)

    proxy.pass_all()
    with socket.create_connection((proxy.host, proxy.port), 5) as new:
        assert call(new, b"back") == b"back"


def test_a_server_that_is_down_looks_down() -> None:
    subnet = claim_subnet([PORT])
    with (
        FaultProxy((subnet.address(1), PORT)) as proxy,
        pytest.raises(ConnectionResetError),
        socket.create_connection((proxy.host, proxy.port), 5) as new,
    ):
        new.recv(10)
    subnet.release()
