"""Workers as they run in production: children that are `onefold worker STAGE`, which a test may kill."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil

from deploy.servers import launch

STAGES = ("record", "fold", "identify", "evaluate")
STOP_TIMEOUT_S = 30.0
ROOT = Path(__file__).resolve().parents[2]


class Worker:
    """One process of one stage."""

    def __init__(self, stage: str, config: Path, output: Path, *options: str) -> None:
        self.stage = stage
        self.output = output
        with output.open("ab") as log:
            # It ends with this process, however that ends: nobody's worker is left behind.
            self._child = subprocess.Popen(
                [
                    *(sys.executable, "-I", "-S", launch.__file__, str(os.getpid())),
                    *(sys.executable, "-m", "service.cli", "--config", str(config)),
                    *("worker", stage, *options),
                ],
                cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def running(self) -> bool:
        """Whether it is there, paused or not."""
        return self._child.poll() is None

    @property
    def status(self) -> int | None:
        """Its exit status; None while it runs."""
        return self._child.poll()

    @property
    def cpu_s(self) -> float:
        """CPU seconds of all its threads so far, in user and system mode."""
        times = psutil.Process(self.pid).cpu_times()
        return float(times.user + times.system)

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self._child.kill()
        self._child.wait()

    def pause(self) -> None:
        """SIGSTOP: it keeps its connections, and will go on in the middle of whatever it does."""
        self._child.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        self._child.send_signal(signal.SIGCONT)

    def stop(self) -> int:
        """SIGTERM; its exit status when it has drained."""
        self.resume()
        self._child.terminate()
        try:
            return self._child.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(
                f"{self.stage} did not end within {STOP_TIMEOUT_S:.0f} s\n{self.tail()}"
            ) from None

    def tail(self, lines: int = 20) -> str:
        """The last it said."""
        return "\n".join(self.output.read_text(errors="replace").splitlines()[-lines:])
