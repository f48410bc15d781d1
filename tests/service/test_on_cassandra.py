"""`onefold migrate`, `copy` and `doctor` on a real Cassandra."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from service.cli import main
from tests.servers import Cassandra, drop_keyspaces, fresh_name
from tests.workspace import NOON, Workspace


class Done(NamedTuple):
    """What a command printed."""

    stdout: str
    stderr: str


Run = Callable[..., Done]


def run(*arguments: str, ok: bool = True) -> Done:
    stdout, stderr = io.StringIO(), io.StringIO()
    status: object = 0
    with redirect_stdout(stdout), redirect_stderr(stderr):
        try:
            main(list(arguments))
        except SystemExit as stop:
            status = stop.code or 0
    done = Done(stdout.getvalue(), stderr.getvalue())
    assert (status == 0) == ok, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


def configuration(folder: Path, cassandra: Cassandra, keyspace: str, **more: Any) -> Path:
    file = folder / f"{keyspace}.json"
    text = {
        "data": str(folder / "data"),
        "store": {"kind": "cassandra"},
        "cassandra": {
            "hosts": list(cassandra.hosts), "port": cassandra.port, "keyspace": keyspace, "replication": 1,
        },
        "grpc": {"port": 0},
        "collector": {"port": 0},
    } | more  # fmt: skip
    file.write_text(json.dumps(text))  # JSON is YAML
    return file


@pytest.fixture
def onefold(tmp_path: Path, cassandra: Cassandra, cassandra_keyspace: str) -> Run:
    """Runs a command on a keyspace of the test's own."""
    file = configuration(tmp_path, cassandra, cassandra_keyspace)
    return lambda *arguments, ok=True: run("--config", str(file), *arguments, ok=ok)


def test_migrate_makes_what_it_announced_and_then_has_nothing_to_do(
    onefold: Run, cassandra_keyspace: str, tmp_path: Path
) -> None:
    announced = json.loads(onefold("migrate", "--dry-run", "--json").stdout)["would"]
    assert f"make keyspace {cassandra_keyspace}_facts" in announced
    assert not (tmp_path / "data" / "onefold.keys").exists()

    made = json.loads(onefold("migrate", "--json").stdout)["did"]

    assert len(made) == len(announced)
    assert any("keep a copy" in line for line in made)
    assert (tmp_path / "data" / "onefold.keys").stat().st_mode & 0o077 == 0
    assert "nothing to do" in onefold("migrate").stdout
    assert json.loads(onefold("migrate", "--dry-run", "--json").stdout) == {"would": []}


def test_a_newer_schema_is_refused(
    onefold: Run, cassandra: Cassandra, cassandra_keyspace: str
) -> None:
    onefold("migrate")
    cassandra.query(
        f"UPDATE {cassandra_keyspace}_facts.meta SET value = '99' WHERE key = 'schema_version' IF EXISTS"
    )

    for arguments in (["migrate"], ["migrate", "--dry-run"], ["profile", "show", "--user", "u"]):
        assert "schema version 99 is newer" in onefold(*arguments, ok=False).stderr


def test_keys_of_a_workspace_with_data_are_not_made_up(onefold: Run, tmp_path: Path) -> None:
    onefold("migrate")
    keys = tmp_path / "data" / "onefold.keys"
    keys.unlink()

    assert f"{keys}: no key file" in onefold("migrate", ok=False).stderr
    assert not keys.exists()
    assert f"{keys}: no key file" in onefold("profile", "show", "--user", "u", ok=False).stderr


def test_what_is_missing_is_said_before_anything_is_made(onefold: Run, tmp_path: Path) -> None:
    assert "kafka.brokers: whose topics?" in onefold("migrate", "--topics", ok=False).stderr
    assert "no key file" in onefold("profile", "show", "--user", "u", ok=False).stderr
    onefold("migrate")
    assert "kafka.brokers: events go through Kafka" in onefold("ingest", "-", ok=False).stderr
    assert "kafka.brokers: events go through Kafka" in onefold("worker", "fold", ok=False).stderr


def test_an_embedded_store_is_taken_along(
    tmp_path: Path, cassandra: Cassandra, cassandra_keyspace: str, onefold: Run
) -> None:
    shop = Workspace(tmp_path / "data")
    for n in range(60):
        shop.see(browser=f"b{n % 20}", view=f"item{n % 7}", at=NOON + n * 60_000)
        shop.see(
            type="identify", browser=f"b{n % 20}", user=f"u{n % 10}", at=NOON + n * 60_000,
            traits={"email": f"e{n % 7}@example.com"},
        )  # fmt: skip
    before = shop.profile(user_id="u3")
    shop.close()
    (tmp_path / "data" / "onefold.keys").chmod(0o600)
    onefold("migrate")
    path = tmp_path / "data" / "onefold.sqlite"

    done = json.loads(
        onefold("copy", "--from", f"sqlite:{path}", "--to", "cassandra:", "--json").stdout
    )

    assert (done["differences"], done["rows"]["events"]) == ([], 120)
    shown = json.loads(onefold("profile", "show", "--user", "u3", "--json").stdout)
    assert shown["events"] == before.events
    assert json.loads(onefold("verify", "--json").stdout)["differences"] == 0
    found = onefold("doctor").stdout
    assert "120 events" in found
    assert f"{cassandra_keyspace}_facts" in found


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--from", "sqlite:nowhere", "--to", "cassandra:"], "nowhere: no such file"),
        (["--from", "cassandra:", "--to", "cassandra:"], "must be sqlite:PATH"),
        (["--from", "sqlite:x", "--to", "sqlite:y"], "must be cassandra:"),
    ],
)
def test_copy_says_what_it_cannot_do(onefold: Run, arguments: list[str], says: str) -> None:
    assert says in onefold("copy", *arguments, ok=False).stderr


def test_doctor_says_what_to_do_about_a_cluster_without_keyspaces(
    onefold: Run, tmp_path: Path
) -> None:
    found = {
        each["about"]: each for each in json.loads(onefold("doctor", "--json", ok=False).stdout)
    }

    assert found["Cassandra"]["state"] == "ok"
    assert (found["keyspaces"]["state"], found["keyspaces"]["todo"]) == (
        "problem",
        "onefold migrate",
    )


def test_doctor_survives_a_cluster_that_is_not_there(tmp_path: Path) -> None:
    file = tmp_path / "onefold.yaml"
    file.write_text(
        "store: {kind: cassandra}\ncassandra: {hosts: [127.99.99.98], connect_timeout_s: 1}\n"
    )

    done = run("--config", str(file), "--data", str(tmp_path), "doctor", ok=False)

    assert "127.99.99.98" in done.stdout


def test_another_workspace_of_the_cluster_is_another(
    tmp_path: Path, cassandra: Cassandra, onefold: Run
) -> None:
    onefold("migrate")
    other = fresh_name()
    file = configuration(tmp_path, cassandra, other, data=str(tmp_path / "other"))
    try:
        run("--config", str(file), "migrate")
        assert "0 events" in run("--config", str(file), "doctor").stdout
    finally:
        drop_keyspaces(cassandra, other)
