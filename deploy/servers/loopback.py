"""Loopback addresses that no other server of this machine uses. Linux answers on all of 127/8."""

import fcntl
import os
import socket
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from deploy.servers.errors import NotInstalled, ServersError

FIRST_FREE: Final = 20
"""127.0.* to 127.19.* are left to people and their other software."""
LAST: Final = 250
DEFAULT_PREFIX: Final = "127.0.0"
"""Where people expect a server."""


@dataclass
class Subnet:
    """254 addresses, ours until `release` or the end of this process."""

    prefix: str
    _claim: int
    """The descriptor that holds the file lock; -1: released."""

    def address(self, number: int) -> str:
        """The address that ends in `number`."""
        return f"{self.prefix}.{number}"

    def release(self) -> None:
        """Let others have it."""
        if self._claim >= 0:
            os.close(self._claim)
            self._claim = -1


def claim_subnet(ports: Iterable[int], addresses: int = 1) -> Subnet:
    """A subnet on whose first `addresses` addresses all of `ports` are free.

    The claim is a file lock, so two test sessions that start together get different ones, and a server
    that is down between a kill and a restart does not lose its address.
    """
    wanted = list(ports)
    for prefix in _prefixes():
        if (subnet := try_claim(prefix, wanted, addresses)) is not None:
            return subnet
    raise ServersError("no loopback subnet with free ports is left on this machine")


def try_claim(prefix: str, ports: Iterable[int], addresses: int = 1) -> Subnet | None:
    """The subnet `prefix` (three numbers of an address), or None if it is claimed or in use."""
    if sys.platform != "linux":
        raise NotInstalled(
            "the servers start on Linux only: other systems do not answer on all of 127.0.0.0/8."
            " Use deploy/compose.yaml"
        )
    folder = Path(tempfile.gettempdir()) / f"onefold-servers-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    claim = os.open(folder / f"{prefix}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(claim)
        return None
    wanted = [(f"{prefix}.{number}", port) for number in range(1, addresses + 1) for port in ports]
    if all(is_free(host, port) for host, port in wanted):
        return Subnet(prefix, claim)
    os.close(claim)
    return None


def is_free(host: str, port: int) -> bool:
    """Whether a server could listen on `host:port` now."""
    with socket.socket() as probe:
        # As servers do: connections of a server that just ended do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def _prefixes() -> Iterator[str]:
    """Every candidate once, from a place that differs between processes."""
    width = LAST - FIRST_FREE
    start = os.getpid() * 7919
    for step in range(width * LAST):
        place = (start + step) % (width * LAST)
        yield f"127.{FIRST_FREE + place // LAST}.{place % LAST}"
