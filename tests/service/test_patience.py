"""Servers that are not up yet are waited for; an end that was asked for comes, at once if asked twice."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from service.patience import Pauses, passing_errors, patiently
from storage.errors import KeyMismatch, Misconfigured, StoreUnavailable


def test_pauses_grow_to_a_limit_and_never_march_in_step() -> None:
    longest, shortest = Pauses(30, lambda: 1.0), Pauses(30, lambda: 0.0)

    assert [longest.next_s() for _ in range(7)] == [1, 2, 4, 8, 16, 30, 30]
    assert [shortest.next_s() for _ in range(7)] == [0.5, 1, 2, 4, 8, 15, 15]
    longest.reset()
    assert longest.next_s() == 1


def test_what_does_not_answer_is_tried_again_and_said() -> None:
    said: list[str] = []
    tries = iter([StoreUnavailable("Cassandra at n1:9042: no answer"), None])

    def attempt() -> str:
        if (error := next(tries)) is not None:
            raise error
        return "open"

    pauses = Pauses(0.02)
    assert patiently(attempt, passing_errors(), threading.Event(), pauses, said.append) == "open"
    assert said == ["Cassandra at n1:9042: no answer; trying again in 0 s"]


@pytest.mark.parametrize("kind", [Misconfigured, KeyMismatch])
def test_what_waiting_does_not_mend_is_not_tried_again(kind: type[Exception]) -> None:
    def attempt() -> None:
        raise kind("wrong")

    with pytest.raises(kind):
        patiently(attempt, passing_errors(), threading.Event(), Pauses(1), print)


def test_who_is_asked_to_end_while_waiting_ends() -> None:
    stop = threading.Event()

    def attempt() -> None:
        stop.set()
        raise StoreUnavailable("down")

    assert patiently(attempt, passing_errors(), stop, Pauses(60), lambda text: None) is None


SCRIPT = """
import sys, time
from service.stopping import asked_to_stop
with asked_to_stop() as stop:
    print("up", flush=True)
    stop.wait()
    print("stopping", flush=True)
    time.sleep({seconds})
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_asks_and_the_second_ends(number: signal.Signals) -> None:
    def run(seconds: float) -> "subprocess.Popen[str]":
        command = [sys.executable, "-c", SCRIPT.format(seconds=seconds)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    with run(0) as patient, run(60) as stuck:
        for process in (patient, stuck):
            assert process.stdout is not None
            assert process.stdout.readline() == "up\n"
            process.send_signal(number)
            assert process.stdout.readline() == "stopping\n"
        assert patient.wait(timeout=20) == 0
        stuck.send_signal(number)
        assert stuck.wait(timeout=20) == 128 + number


def test_a_signal_that_another_thread_was_given_is_heard() -> None:
    script = """
import signal, threading
from service.stopping import asked_to_stop
with asked_to_stop() as stop:
    other = threading.Thread(target=threading.Event().wait, daemon=True)
    other.start()
    threading.Timer(0.5, signal.pthread_kill, (other.ident, signal.SIGTERM)).start()
    stop.wait()
"""
    assert subprocess.run([sys.executable, "-c", script], timeout=20, check=False).returncode == 0


@pytest.mark.slow
def test_serve_waits_for_cassandra_and_says_what_is_wrong(tmp_path: Path) -> None:
    pytest.importorskip("cassandra", reason="pip install 'onefold[cassandra]'")
    (tmp_path / "onefold.keys").write_text(
        f'{{"hash_key": "{"1" * 64}", "value_key": "{"2" * 64}"}}'
    )
    environ = os.environ | {
        "ONEFOLD_STORE__KIND": "cassandra", "ONEFOLD_CASSANDRA__HOSTS": "[127.99.99.99]",
        "ONEFOLD_KAFKA__BROKERS": "127.99.99.99:9092",
        "ONEFOLD_GRPC__PORT": "0", "ONEFOLD_COLLECTOR__PORT": "0",
    }  # fmt: skip
    command = [sys.executable, "-m", "service.cli", "--data", str(tmp_path), "serve"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environ) as served:
        assert served.stderr is not None
        # The driver of Kafka may say first that it cannot connect.
        line = next(line for line in served.stderr if "trying again in" in line)
        served.send_signal(signal.SIGTERM)
        assert served.wait(timeout=30) == 0
        rest = served.stderr.read()
    assert "127.99.99.99" in line
    assert "Traceback" not in line + rest
