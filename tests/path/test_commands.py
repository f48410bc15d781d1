"""The command line as people use it, errors included."""

import gzip
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.path.conftest import Run

EVENTS = [
    {"type": "identify", "userId": "asha", "traits": {"email": "a@b.com"}, "timestamp": "2026-11-01T10:00:00Z"},
    {"type": "identify", "userId": "ravi", "traits": {"email": "a@b.com"}, "timestamp": "2026-11-02T10:00:00Z"},
    {"type": "track", "event": "Order Completed", "userId": "asha", "timestamp": "2026-11-03T10:00:00Z",
     "properties": {"order_id": "o1", "revenue": "12.50", "currency": "INR", "products": [{"sku": "tea"}]}},
    {"type": "track", "event": "Product Viewed", "userId": "null", "timestamp": "2026-11-03T10:00:00Z"},
]  # fmt: skip


@pytest.fixture
def loaded(tmp_path: Path, onefold: Run) -> Path:
    """A file with three good events, one that names nobody and one that is broken."""
    file = tmp_path / "events.jsonl.gz"
    lines = [json.dumps(event) for event in EVENTS] + ['{"type": "track", ']
    file.write_bytes(gzip.compress("\n".join(lines).encode()))
    onefold("ingest", str(file))
    return file


def test_a_person_is_shown_explained_and_recommended_to(
    loaded: Path, onefold: Run, as_json: Callable[..., Any]
) -> None:
    shown = onefold("profile", "show", "--email", "a@b.com", "--events").stdout
    assert "asha" in shown
    assert "1 for 12.50 INR" in shown
    explained = onefold("identity", "explain", "--user", "asha").stdout
    assert "named together" in explained
    assert "limit:user_id" in explained
    (conflict,) = as_json("identity", "conflicts")
    assert conflict["rule"] == "limit:user_id"
    answer = as_json("recommend", "--user", "asha")
    assert answer["items"] == []
    assert answer["fallback"] == "no model is trained"


def test_what_was_refused_is_listed_and_can_be_tried_again(
    loaded: Path, onefold: Run, as_json: Callable[..., Any]
) -> None:
    letters = as_json("deadletters", "list")
    assert sorted(letters["counts"]) == ["invalid_json", "names_nobody"]
    assert any("line 5" in letter["detail"] for letter in letters["letters"])
    assert all(letter["origin"] == str(loaded) for letter in letters["letters"])
    assert "userId" not in onefold("deadletters", "list").stdout
    assert as_json("deadletters", "replay") == {"accepted": 0, "refused": 2}
    assert sum(as_json("deadletters", "list")["counts"].values()) == 2


def test_new_rules_accept_what_old_rules_refused(
    tmp_path: Path, loaded: Path, onefold: Run, as_json: Callable[..., Any]
) -> None:
    config = tmp_path / "onefold.yaml"
    config.write_text("identity: {external_ids: [crm_id]}\n")
    event = {"type": "identify", "context": {"externalId": [{"type": "crm_id", "id": "c9"}]},
             "timestamp": "2026-11-03T10:00:00Z"}  # fmt: skip
    onefold("ingest", "-", text=json.dumps(event))
    assert as_json("deadletters", "list")["counts"]["names_nobody"] == 2
    replayed = as_json("--config", str(config), "deadletters", "replay")
    assert replayed == {"accepted": 1, "refused": 2}
    shown = as_json("--config", str(config), "profile", "show", "--external", "crm_id=c9")
    assert shown["events"] == 1


def test_verify_says_what_it_compared(loaded: Path, as_json: Callable[..., Any]) -> None:
    report = as_json("verify")
    assert (report["events"], report["differences"]) == (3, 0)


def test_doctor_finds_open_keys(tmp_path: Path, loaded: Path, onefold: Run) -> None:
    assert "3 events" in onefold("doctor").stdout
    (tmp_path / "data" / "onefold.keys").chmod(0o644)
    assert "chmod 600" in onefold("doctor", ok=False).stdout


def test_items_are_imported_with_errors_that_name_the_line(
    tmp_path: Path, onefold: Run, as_json: Callable[..., Any]
) -> None:
    items = tmp_path / "items.csv"
    items.write_text(
        "id,name,price,in_stock,colour\ntea,Tea,2.50,yes,green\n,Nameless,1,yes,\nsalt,Salt,free,no,\n"
    )
    done = onefold("catalog", "import", str(items), ok=False)
    assert "1 items" in done.stdout
    assert f"{items}:3: id: missing" in done.stderr
    assert f"{items}:4: price: not an amount" in done.stderr
    (item,) = as_json("catalog", "list")
    assert (item["id"], item["price_micros"], item["attributes"]) == (
        "tea",
        2_500_000,
        {"colour": "green"},
    )


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["ingest", "no-such-*.json"], "no-such-*.json: no such file"),
        (["profile", "show", "--user", "nobody"], "nobody is known by that"),
        (["profile", "show"], "name somebody"),
        (["profile", "show", "--id", "xyz"], "32 hexadecimal digits"),
        (["models", "promote"], "no candidate"),
        (["models", "rollback"], "no former champion"),
        (["train"], "nothing to learn from"),
        (["evaluate"], "no interactions"),
        (["--config", "none.yaml", "config", "show"], "none.yaml"),
        (["nonsense"], "No such command"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_one_clear_line(arguments: list[str], says: str, onefold: Run) -> None:
    done = onefold(*arguments, ok=False)
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_a_configuration_error_names_line_and_field(tmp_path: Path, onefold: Run) -> None:
    config = tmp_path / "onefold.yaml"
    config.write_text("grpc:\n  prot: 50051\n")
    done = onefold("--config", str(config), "config", "show", ok=False)
    assert f"{config}:2: grpc.prot" in done.stderr
    assert "port" in done.stderr


def test_a_damaged_database_and_missing_keys_are_named(
    tmp_path: Path, loaded: Path, onefold: Run
) -> None:
    keys = tmp_path / "data" / "onefold.keys"
    keys.rename(tmp_path / "elsewhere")
    assert f"{keys}: no key file" in onefold("verify", ok=False).stderr
    (tmp_path / "elsewhere").rename(keys)
    database = tmp_path / "data" / "onefold.sqlite"
    database.write_bytes(b"this is not a database" * 500)
    assert "not an intact Onefold database" in onefold("verify", ok=False).stderr


def test_a_full_disk_loses_nothing(tmp_path: Path, onefold: Run) -> None:
    """A file-size limit stands for the full disk: what was told before it is kept, the rest can be loaded."""
    from simulator.slice import EVENTS as SLICE

    data = tmp_path / "data"
    command = [sys.executable, "-m", "service.cli", "--data", str(data), "ingest", str(SLICE)]
    limited = subprocess.run(
        ["bash", "-c", 'ulimit -f 6000; trap "" XFSZ; exec "$@"', "limited", *command],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert limited.returncode == 1, limited.stderr
    assert "Traceback" not in limited.stderr
    assert str(data) in limited.stderr
    done = json.loads(onefold("ingest", str(SLICE), "--json").stdout)
    assert done["refused"] == 0
    assert json.loads(onefold("verify", "--json").stdout)["events"] == 11_030


def test_serve_answers_and_ends_in_order(tmp_path: Path) -> None:
    environ = os.environ | {"ONEFOLD_GRPC__PORT": "0", "ONEFOLD_COLLECTOR__PORT": "0"}
    with subprocess.Popen(
        [sys.executable, "-m", "service.cli", "--data", str(tmp_path / "data"), "serve"],
        stderr=subprocess.PIPE, text=True, env=environ,
    ) as served:  # fmt: skip
        assert served.stderr is not None
        lines = [served.stderr.readline() for _ in range(3)]
        assert lines[0].startswith("gRPC ")
        assert "http://127.0.0.1:" in lines[1]
        served.send_signal(signal.SIGTERM)
        assert served.wait(timeout=30) == 0
        assert "stopping" in served.stderr.read()
