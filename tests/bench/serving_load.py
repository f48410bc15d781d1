"""Servers in processes of their own, and a load from many clients, for the serving benchmark.

Each process listens on a port of its own and keeps to a core of its own, as the README says; gRPC's round robin
spreads every client's calls over them. With `together` they share one port (SO_REUSEPORT) and all cores.
"""

import json
import os
import random
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Final

import grpc
import msgspec
import psutil

CHANNEL: Final = (
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.service_config", json.dumps({"loadBalancingConfig": [{"round_robin": {}}]})),
)


class Run(msgspec.Struct):
    """What clients saw."""

    requests: int = 0
    seconds: float = 0.0
    cpu_s: float = 0.0
    latencies_ms: list[float] = []
    late_ms: list[float] = []
    """Of each latency, what the client itself took to send the request when it was due and its turn."""
    errors: Counter[str] = msgspec.field(default_factory=Counter)

    def at(self, share: float) -> float:
        """A latency that this share of the requests was not slower than."""
        return _at(self.latencies_ms, share)

    def late_at(self, share: float) -> float:
        """The same of the client's own part."""
        return _at(self.late_ms, share)


def _at(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0


class Servers:
    """Processes that answer the same."""

    def __init__(self, ports: Sequence[int], processes: Sequence[psutil.Process]) -> None:
        self.target = "ipv4:" + ",".join(f"127.0.0.1:{port}" for port in dict.fromkeys(ports))
        """For a channel."""
        self.processes = processes

    def cpu_s(self) -> float:
        """What they have used."""
        return sum(sum(each.cpu_times()[:2]) for each in self.processes)


@contextmanager
def children(module: str, count: int, *arguments: str, together: bool = False) -> Iterator[Servers]:
    """Servers in processes of their own. Each is given a `--port`, and prints the one it listens on."""
    with ExitStack() as stack:
        port = free_port() if together else 0
        ports, processes = [], []
        for number in range(count):
            made = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-m", module, *arguments, "--port", str(port)],
                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                )
            )  # fmt: skip
            if not together:
                keep_to_core(made.pid, number)
            assert made.stdin
            assert made.stdout
            stack.callback(made.stdin.close)
            ports.append(int(made.stdout.readline()))
            processes.append(psutil.Process(made.pid))
        yield Servers(ports, processes)


def free_port() -> int:
    """A port that several may share now."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


def keep_to_core(pid: int, number: int) -> None:
    """What `taskset -c` does, for a process that has no threads yet; where there is no such thing, nothing."""
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(pid, {cores[number % len(cores)]})


def load(
    servers: Servers, method: str, requests: Sequence[bytes], clients: int, seconds: float,
    rate: float = 0.0,
) -> Run:  # fmt: skip
    """Ask for a while, each client on a connection of its own.

    With a `rate` requests begin at times of their own, as from many visitors, and latency counts from then:
    an answer that comes late delays the next request of nobody.
    """
    run = Run()
    guard = threading.Lock()
    ready = threading.Barrier(clients + 1)
    until = [0.0]

    def ask(index: int) -> None:
        with grpc.insecure_channel(servers.target, options=CHANNEL) as channel:
            call: Any = channel.unary_unary(method)
            call(requests[index], wait_for_ready=True)
            chance = random.Random(index)
            ready.wait()
            ready.wait()
            due = free = time.perf_counter()
            mine: list[float] = []
            late: list[float] = []
            errors: Counter[str] = Counter()
            count = index
            while due < until[0]:
                if rate:
                    due += chance.expovariate(rate / clients)
                    time.sleep(max(0.0, due - time.perf_counter()))
                else:
                    due = time.perf_counter()
                late.append((time.perf_counter() - max(due, free)) * 1000)
                try:
                    call(requests[count % len(requests)])
                    mine.append((time.perf_counter() - due) * 1000)
                except grpc.RpcError as error:
                    errors[error.code().name] += 1
                free = time.perf_counter()
                count += clients
            with guard:
                run.latencies_ms += mine
                run.late_ms += late
                run.errors.update(errors)

    threads = [threading.Thread(target=ask, args=[index]) for index in range(clients)]
    for thread in threads:
        thread.start()
    ready.wait()
    cpu, began = servers.cpu_s(), time.perf_counter()
    until[0] = began + seconds
    ready.wait()
    for thread in threads:
        thread.join()
    run.seconds = time.perf_counter() - began
    run.cpu_s = servers.cpu_s() - cpu
    run.requests = len(run.latencies_ms)
    return run
