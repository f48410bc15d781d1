"""A TCP proxy between a client and one server, for faults that the server itself cannot show."""

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from deploy.servers.cluster import CassandraCluster
from deploy.servers.loopback import Subnet, claim_subnet
from deploy.servers.settings import CQL_PORT

CHUNK_BYTES: Final = 64 * 1024
CALL_TIMEOUT_S: Final = 10.0


class Fault(Enum):
    """What the proxy does to what passes."""

    NONE = "none"
    DELAY = "delay"
    DROP_ANSWERS = "drop answers"
    RESET = "reset"
    REFUSE = "refuse"


@dataclass
class Counts:
    """What passed since the proxy started."""

    connections: int = 0
    """Connections that were accepted."""
    sent_bytes: int = 0
    """From clients to the server."""
    answered_bytes: int = 0
    """From the server to clients."""
    dropped_bytes: int = 0
    """From the server, never given to a client."""


class FaultProxy:
    """A proxy at `listen` before the server at `upstream`, with one fault at a time; at first it has none.

    A mode applies, from the moment its method returns, to connections that are open as well. The proxy
    runs in a thread of its own, any thread may call it. Without `listen` it takes `upstream`'s port on a
    loopback address of its own.
    """

    def __init__(self, upstream: tuple[str, int], listen: tuple[str, int] | None = None) -> None:
        self.upstream = upstream
        self._subnet: Subnet | None = None
        if listen is None:
            self._subnet = claim_subnet((upstream[1],))
            listen = (self._subnet.address(1), upstream[1])
        self.host, self.port = listen
        self.counts = Counts()
        self._fault = Fault.NONE
        self._delay_s = 0.0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[Any] | None] = set()

    @property
    def fault(self) -> Fault:
        """The mode in force."""
        return self._fault

    def start(self) -> None:
        """Listen."""
        self._thread.start()
        self._do(self._listen())

    def stop(self) -> None:
        """Close everything."""
        if self._thread.is_alive():
            self._do(self._close())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
        self._loop.close()
        if self._subnet is not None:
            self._subnet.release()

    def pass_all(self) -> None:
        """No fault. Answers that were dropped stay lost."""
        self._set(Fault.NONE)

    def delay(self, seconds: float) -> None:
        """Requests and answers arrive `seconds` later, each."""
        self._set(Fault.DELAY, seconds)

    def drop_answers(self) -> None:
        """Requests reach the server, its answers never come back: a write that times out is applied."""
        self._set(Fault.DROP_ANSWERS)

    def reset(self) -> None:
        """Connections are reset, those that are open and each new one."""
        self._set(Fault.RESET)

    def refuse(self) -> None:
        """Connections that are open are reset; new ones are refused, as when nobody listens."""
        self._set(Fault.REFUSE)

    def _set(self, fault: Fault, delay_s: float = 0.0) -> None:
        async def change() -> None:
            self._fault, self._delay_s = fault, delay_s
            if fault in {Fault.RESET, Fault.REFUSE}:
                for writer in self._writers:
                    _reset(writer)
            if fault is Fault.REFUSE:
                await self._unlisten()
            else:
                await self._listen()

        self._do(change())

    def _do(self, what: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(what, self._loop).result(CALL_TIMEOUT_S)

    async def _listen(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._serve, self.host, self.port)

    async def _unlisten(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
            await asyncio.sleep(0)

    async def _close(self) -> None:
        await self._unlisten()
        for writer in self._writers:
            writer.transport.abort()
        tasks = [task for task in self._tasks if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        self._tasks.add(task)
        self.counts.connections += 1
        try:
            if self._fault is Fault.RESET:
                _reset(writer)
                return
            try:
                up_reader, up_writer = await asyncio.open_connection(*self.upstream)
            except OSError:
                _reset(writer)
                return
            self._writers |= {writer, up_writer}
            try:
                await asyncio.gather(
                    self._pump(reader, up_writer, answers=False),
                    self._pump(up_reader, writer, answers=True),
                )
            finally:
                self._writers -= {writer, up_writer}
                up_writer.transport.abort()
                writer.transport.abort()
        except asyncio.CancelledError:
            pass  # `stop` is under way; asyncio would print a cancelled handler
        finally:
            self._tasks.discard(task)

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answers: bool
    ) -> None:
        """Move bytes one way until an end closes, keeping the order even while delays change."""
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        deliver = asyncio.create_task(self._deliver(queue, writer, answers=answers))
        try:
            with contextlib.suppress(OSError):
                while chunk := await reader.read(CHUNK_BYTES):
                    due = self._loop.time() + self._delay_s
                    queue.put_nowait((due, chunk))
            queue.put_nowait((self._loop.time() + self._delay_s, b""))
            await deliver
        finally:
            deliver.cancel()

    async def _deliver(
        self,
        queue: asyncio.Queue[tuple[float, bytes]],
        writer: asyncio.StreamWriter,
        *,
        answers: bool,
    ) -> None:
        while True:
            due, chunk = await queue.get()
            if (wait_s := due - self._loop.time()) > 0:
                await asyncio.sleep(wait_s)
            if answers and self._fault is Fault.DROP_ANSWERS:
                self.counts.dropped_bytes += len(chunk)
                if chunk:
                    continue
            if not chunk:
                with contextlib.suppress(OSError, RuntimeError):
                    writer.write_eof()
                return
            if answers:
                self.counts.answered_bytes += len(chunk)
            else:
                self.counts.sent_bytes += len(chunk)
            with contextlib.suppress(OSError):
                writer.write(chunk)
                await writer.drain()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


@contextmanager
def proxied_cassandra(
    folder: Path, nodes: int = 1, *, heap_mb: int = 384
) -> Iterator[tuple[CassandraCluster, list[FaultProxy]]]:
    """A cluster whose nodes advertise a proxy each, so that drivers go through them.

    Give drivers the proxies' hosts; nodes talk to each other directly. (Before a single node a plain
    `FaultProxy` does as well: a driver stays with the address it was given.)
    """
    subnet = claim_subnet((CQL_PORT,), nodes)
    listens = [(subnet.address(number + 1), CQL_PORT) for number in range(nodes)]
    try:
        cluster = CassandraCluster(
            folder, nodes, heap_mb=heap_mb, advertise=[host for host, _ in listens]
        )
        with contextlib.ExitStack() as stack:
            stack.enter_context(cluster)
            proxies = [
                stack.enter_context(FaultProxy((host, cluster.port), listen))
                for host, listen in zip(cluster.hosts, listens, strict=True)
            ]
            yield cluster, proxies
    finally:
        subnet.release()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with RST: lingering for no time at all is how a socket asks for it."""
    with contextlib.suppress(OSError):
        connection = writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
