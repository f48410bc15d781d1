"""One server process: started, killed, paused, and started again on its data."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Final

from deploy.servers.errors import NotStarted, ServersError

READY_TIMEOUT_S: Final = 180.0
"""Far above what a start takes, for machines whose cores are busy."""
STOP_TIMEOUT_S: Final = 20.0
POLL_S: Final = 0.1
LOG_LINES_SHOWN: Final = 25
MARK: Final = "-Donefold.server="
"""The argument by which a process is known as one of ours, with its folder."""


class Process:
    """A server that keeps its data in `folder`, with `output.log` in it.

    Unless `detached`, it is killed when this process ends. `ready` says whether it answers.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        folder: Path,
        ready: Callable[[], bool],
        *,
        detached: bool = False,
    ) -> None:
        self.name = name
        self.folder = folder.resolve()
        self._command = [*command]
        self._ready = ready
        self._detached = detached
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def mark(self) -> str:
        """The argument that belongs in `command`: by it `is_ours` knows the process again."""
        return mark_of(self.folder)

    @property
    def pid(self) -> int:
        """The process id; ServersError unless it runs."""
        if self._child is None:
            raise ServersError(f"{self.name} is not running")
        return self._child.pid

    @property
    def running(self) -> bool:
        """Whether the process is there, paused or not."""
        return self._child is not None and self._child.poll() is None

    @property
    def log(self) -> Path:
        """The file of everything it printed."""
        return self.folder / "output.log"

    def start(self) -> None:
        """Start, or start again on the same data, and wait until it answers. NotStarted has the log."""
        self.spawn()
        self.wait_ready()

    def spawn(self) -> None:
        """Start without waiting for an answer. Nothing happens if it runs."""
        if self.running:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        # The kernel's "parent" is the thread that forked: one that ended would take the server along.
        self._child = _spawner().submit(self._fork).result()

    def wait_ready(self, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Wait until it answers. NotStarted if it ends first, or takes longer than `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        while not self._ready():
            if not self.running:
                raise NotStarted(f"{self.name} ended while it started:\n{self.log_tail()}")
            if time.monotonic() > deadline:
                raise NotStarted(
                    f"{self.name} does not answer after {timeout_s:.0f} s:\n{self.log_tail()}"
                )
            time.sleep(POLL_S)

    def kill(self) -> None:
        """SIGKILL: a crash. Returns when the process is gone."""
        if self._child is not None:
            self._child.kill()
            self._child.wait()

    def pause(self) -> None:
        """SIGSTOP: it keeps its connections and answers nothing."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT, after `pause`."""
        os.kill(self.pid, signal.SIGCONT)

    def terminate(self) -> None:
        """SIGTERM, without waiting. Nothing happens if it does not run."""
        if self._child is not None and self.running:
            self._child.send_signal(signal.SIGCONT)  # a paused process would not see SIGTERM
            self._child.terminate()

    def stop(self) -> None:
        """SIGTERM, and SIGKILL if that does not suffice in time. Nothing happens if it does not run."""
        if self._child is None:
            return
        self.terminate()
        try:
            self._child.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.kill()

    def release(self) -> None:
        """Let a detached server live on without us."""
        if self._child is not None:
            self._child.returncode = 0  # it is not lost, which Popen would warn of
            self._child = None

    def log_tail(self, lines: int = LOG_LINES_SHOWN) -> str:
        """The last `lines` lines that it printed."""
        if not self.log.exists():
            return ""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def _fork(self) -> subprocess.Popen[bytes]:
        command = self._command
        if not self._detached:
            launch = Path(__file__).with_name("launch.py")
            command = [sys.executable, "-I", "-S", str(launch), str(os.getpid()), *command]
        with self.log.open("ab") as log:
            return subprocess.Popen(  # noqa: S603  # a command line of this package
                command,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C in a terminal is for us; we stop the servers in order
            )


def mark_of(folder: Path) -> str:
    """The argument that marks the server of `folder`."""
    return f"{MARK}{folder.resolve()}"


def is_ours(pid: int, folder: Path) -> bool:
    """Whether `pid` is, at this moment, the server of `folder`: process ids are used again."""
    try:
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return mark_of(folder).encode() in arguments


def stop_by_pid(pid: int, folder: Path, timeout_s: float = STOP_TIMEOUT_S) -> bool:
    """End the server of `folder` that another process started. False if `pid` is not that server."""
    if not is_ours(pid, folder):
        return False
    for each, wait_s in ((signal.SIGTERM, timeout_s), (signal.SIGKILL, STOP_TIMEOUT_S)):
        if not is_ours(pid, folder):
            return True
        os.kill(pid, each)
        deadline = time.monotonic() + wait_s
        while is_ours(pid, folder) and time.monotonic() < deadline:
            time.sleep(POLL_S)
    return True


@cache
def _spawner() -> ThreadPoolExecutor:
    """The one thread that starts servers; it lives as long as this process."""
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix="servers")
