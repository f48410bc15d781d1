"""Processes and addresses: only ours are ended, none is left behind, no two servers meet."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from threading import Thread

import pytest

from deploy.servers.background import Background
from deploy.servers.errors import NotInstalled, NotStarted, ServersError
from deploy.servers.loopback import claim_subnet, is_free, try_claim
from deploy.servers.process import Process, is_ours, mark_of, stop_by_pid
from deploy.servers.settings import token
from tests.servers import host_and_port, require

SLEEP = "import time; print('up', flush=True); time.sleep(60)"


def sleeper(folder: Path, *, code: str = SLEEP, detached: bool = False) -> Process:
    """A program that answers when it has printed its first line."""
    command = [sys.executable, "-c", code, mark_of(folder)]
    log = folder / "output.log"
    return Process(
        "sleeper",
        command,
        folder,
        lambda: log.exists() and "up" in log.read_text(),
        detached=detached,
    )


def eventually(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 20
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return condition()


def test_a_process_is_ended_only_while_it_is_ours(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", SLEEP]) as stranger:
        assert not stop_by_pid(stranger.pid, tmp_path)
        assert stranger.poll() is None
        stranger.kill()


def test_a_detached_process_is_found_again_by_pid_and_folder(tmp_path: Path) -> None:
    process = sleeper(tmp_path, detached=True)
    process.start()

    assert is_ours(process.pid, tmp_path)
    assert not is_ours(process.pid, tmp_path / "other")
    with Thread_that_reaps(process):
        assert stop_by_pid(process.pid, tmp_path)
    assert not process.running


class Thread_that_reaps:  # noqa: N801
    """Collects the exit code while somebody else waits for the process to be gone."""

    def __init__(self, process: Process) -> None:
        self._thread = Thread(target=lambda: eventually(lambda: not process.running))

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._thread.join()


def test_a_server_outlives_the_thread_that_started_it(tmp_path: Path) -> None:
    process = sleeper(tmp_path)
    thread = Thread(target=process.start)
    thread.start()
    thread.join()
    time.sleep(0.2)
    try:
        assert process.running
    finally:
        process.kill()


def test_a_server_does_not_outlive_the_tests(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from tests.deploy.test_processes import sleeper\n"
        "process = sleeper(Path(sys.argv[1])); process.start(); print(process.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, tmp_path], stdout=subprocess.PIPE, text=True
    ) as tests:
        assert tests.stdout is not None
        pid = int(tests.stdout.readline())
        assert is_ours(pid, tmp_path)
        tests.send_signal(signal.SIGKILL)
        tests.wait()
        assert eventually(lambda: not is_ours(pid, tmp_path))


def test_a_paused_server_can_be_stopped(tmp_path: Path) -> None:
    process = sleeper(tmp_path)
    process.start()
    process.pause()
    process.stop()
    assert not process.running


def test_a_server_that_ends_at_once_shows_its_log(tmp_path: Path) -> None:
    process = sleeper(tmp_path, code="raise SystemExit('unknown key in yaml')")
    with pytest.raises(NotStarted, match=r"(?s)ended while it started.*unknown key in yaml"):
        process.start()


def test_a_server_that_never_answers_is_given_up(tmp_path: Path) -> None:
    process = sleeper(tmp_path, code="import time; time.sleep(60)")
    process.spawn()
    try:
        with pytest.raises(NotStarted, match="does not answer after 0 s"):
            process.wait_ready(0.3)
    finally:
        process.kill()


def test_a_server_that_does_not_run_has_no_pid(tmp_path: Path) -> None:
    with pytest.raises(ServersError, match="not running"):
        _ = sleeper(tmp_path).pid


def test_two_claims_get_different_addresses() -> None:
    first, second = claim_subnet([9042]), claim_subnet([9042])
    try:
        assert first.prefix != second.prefix
        assert try_claim(first.prefix, [9042]) is None
    finally:
        first.release()
        second.release()
    again = try_claim(first.prefix, [9042])
    assert again is not None
    again.release()


def test_an_address_with_a_server_is_not_claimed() -> None:
    import socket

    taken = claim_subnet([9042], addresses=3)
    taken.release()
    with socket.create_server((taken.address(3), 9042)):
        assert not is_free(taken.address(3), 9042)
        assert try_claim(taken.prefix, [9042], addresses=3) is None


def test_the_ring_is_divided_in_equal_arcs() -> None:
    assert token(0, 1) == -(2**63)
    assert [token(node, 3) for node in range(3)] == [
        -9223372036854775808,
        -3074457345618258603,
        3074457345618258602,
    ]


def missing() -> Path:
    raise NotInstalled("install a JDK 17")


def test_a_missing_server_is_skipped_on_a_laptop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.delenv("ONEFOLD_REQUIRE_SERVERS", raising=False)
    with pytest.raises(pytest.skip.Exception, match="install a JDK 17"):
        require(missing)


@pytest.mark.parametrize("variable", ["CI", "ONEFOLD_REQUIRE_SERVERS"])
def test_a_missing_server_fails_where_it_is_required(
    monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, "1")
    with pytest.raises(pytest.fail.Exception, match="install a JDK 17"):
        require(missing)


def test_servers_named_by_the_environment_have_a_port_or_the_usual_one() -> None:
    assert host_and_port("10.0.0.1", 9042) == ("10.0.0.1", 9042)
    assert host_and_port("10.0.0.1:9142", 9042) == ("10.0.0.1", 9142)


def test_a_state_folder_without_servers_is_empty(tmp_path: Path) -> None:
    background = Background(tmp_path / "none")
    assert background.status() == []
    assert background.stop() == 0


def test_a_process_id_that_belongs_to_another_is_not_taken_for_a_server(tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text(
        f'[{{"kind": "kafka", "name": "kafka", "host": "127.0.0.1", "port": 9092,'
        f' "pid": {os.getpid()}, "folder": "{tmp_path}"}}]'
    )
    background = Background(tmp_path)

    assert [each.running for each in background.status()] == [False]
    assert background.stop() == 0
