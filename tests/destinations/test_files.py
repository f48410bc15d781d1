"""Tables, hashed e-mails, and the folders that files are put into."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from destinations.audience import MemoryAudience
from destinations.errors import NotInstalled, TargetRefused, TargetUnavailable
from destinations.folders import Folder, open_folder
from destinations.lotame import Lotame
from destinations.lotame_email import LotameEmail
from destinations.settings import LotameEmailSettings, LotameSettings, TableSettings
from destinations.tables import Table
from identity.nodes import Identifier
from tests.destinations.lotame_reader import read_day
from tests.destinations.people import SEGMENTS, TODAY, Desk, person, some_people
from tests.destinations.sftp_server import SftpServer
from tests.workspace import DAY, NOON

# --- tables ---------------------------------------------------------------------------------------


def table_of(folder: Path, audience: MemoryAudience, **settings: Any) -> list[dict[str, str]]:
    out = open_folder(str(folder / "out"))
    Desk(folder, audience, Table(TableSettings(**settings), out, "crm")).export()
    (path,) = (folder / "out").glob("*.csv")
    digest = hashlib.md5(path.read_bytes()).hexdigest()
    assert path.with_name(path.name + ".md5").read_text() == f"{digest}  {path.name}\n"
    assert path.with_name(path.name + ".done").exists()
    return list(csv.DictReader(io.StringIO(path.read_text(), newline="")))


def test_a_table_has_the_columns_that_are_asked_for(tmp_path: Path) -> None:
    audience = MemoryAudience(SEGMENTS)
    traits = {"city": 'Pune, "old"\ntown', "vip": True, "tags": ["a", 1], "age": 30}
    audience.put(person("asha", "regulars", traits=traits))
    (row,) = table_of(
        tmp_path, audience, identifiers=("user_id", "email", "crm_id"), hashed=("email",),
        traits=("city", "vip", "tags", "age", "none"),
    )  # fmt: skip
    assert row == {
        "segment": "regulars", "profile_id": person("asha").profile_id.hex(), "member": "true",
        "at": "2026-09-20T14:13:20.000Z", "user_id": "asha", "crm_id": "",
        "email": hashlib.sha256(b"asha@example.com").hexdigest(),
        "trait_city": 'Pune, "old"\ntown', "trait_vip": "true", "trait_tags": '["a",1]', "trait_age": "30",
        "trait_none": "",
    }  # fmt: skip


# --- hashed e-mails -------------------------------------------------------------------------------


def email_desk(folder: Path, audience: MemoryAudience, **settings: Any) -> Desk:
    out = open_folder(str(folder / "out"))
    return Desk(folder, audience, LotameEmail(LotameEmailSettings(client_id=7, **settings), out))


def test_addresses_are_hashed_and_named_as_lotame_wants(tmp_path: Path) -> None:
    done = email_desk(tmp_path, some_people()).export().delivery
    (path,) = (tmp_path / "out").rglob("*.csv")
    assert str(path.relative_to(tmp_path / "out")) == done.files[0]
    assert done.files[0] == "client_id=7/type=DATA/onefold-20260921T141320_EMAIL_SHA256.csv"
    digests = {hashlib.sha256(f"{n}@example.com".encode()).hexdigest() for n in ("asha", "ravi")}
    lines = path.read_text().splitlines()
    assert sorted(lines) == sorted(f'{digest},"regulars"' for digest in digests)


def test_json_lines_hold_segments_as_texts(tmp_path: Path) -> None:
    audience = MemoryAudience(SEGMENTS)
    audience.put(person("asha", "regulars"))
    email_desk(tmp_path, audience, format="json").export()
    (path,) = (tmp_path / "out").rglob("*_EMAIL_SHA256.json")
    (row,) = map(json.loads, path.read_text().splitlines())
    assert row == {
        "userid": hashlib.sha256(b"asha@example.com").hexdigest(), "segments": ["regulars"],
    }  # fmt: skip


@pytest.mark.parametrize("mode", ["full", "delta"])
def test_who_withdrew_is_opted_out_and_nobody_else(tmp_path: Path, mode: str) -> None:
    desk = email_desk(tmp_path, some_people())
    desk.export()
    desk.audience.put(person("asha", "regulars", granted=False), NOON)
    desk.audience.put(person("ravi"), NOON)
    desk.audience.put(person("meera", granted=False), NOON)
    desk.now_ms += DAY
    desk.export("full" if mode == "full" else "delta")
    (path,) = (tmp_path / "out").rglob("type=OPTOUT/*.csv")
    assert path.read_text() == hashlib.sha256(b"asha@example.com").hexdigest() + "\n"


def test_an_address_is_there_once(tmp_path: Path) -> None:
    audience = MemoryAudience(SEGMENTS)
    for name in ("asha", "ravi"):
        audience.put(person(name, "regulars", identifiers=(Identifier("email", "a@b.com"),)))
    done = email_desk(tmp_path, audience).export().delivery
    assert (done.rows, done.withheld) == (1, {"identifier_sent_before": 1})


# --- folders --------------------------------------------------------------------------------------


@pytest.fixture(params=["openssh", "plain"])
def sftp(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SftpServer]:
    root = tmp_path / "there"
    root.mkdir()
    server = SftpServer(root, plain=request.param == "plain")
    yield server
    server.close()


def sftp_folder(server: SftpServer, tmp_path: Path, **options: Any) -> Folder:
    known = {"password": "open sesame", "known_hosts": str(server.known_hosts(tmp_path))}
    return open_folder(f"sftp://onefold@127.0.0.1:{server.port}/in", known | options)


def test_lotames_files_go_over_sftp(sftp: SftpServer, tmp_path: Path) -> None:
    settings = LotameSettings(replace=True)
    desk = Desk(tmp_path, some_people(), Lotame(settings, sftp_folder(sftp, tmp_path)))
    desk.export()
    desk.audience.put(person("zoya", "regulars"), NOON)
    desk.export()
    assert len(read_day(tmp_path / "there" / "in" / TODAY)) == 6


def test_a_host_whose_key_is_not_known_gets_nothing(sftp: SftpServer, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text(f"[127.0.0.1]:{sftp.port + 1} ssh-ed25519 {sftp.key.get_base64()}\n")
    folder = sftp_folder(sftp, tmp_path, known_hosts=str(other))
    with pytest.raises(TargetRefused, match="known_hosts"):
        folder.names("")


def test_a_wrong_password_is_said_without_it(sftp: SftpServer, tmp_path: Path) -> None:
    with pytest.raises(TargetRefused, match="login refused") as caught:
        sftp_folder(sftp, tmp_path, password="guessed").names("")
    assert "guessed" not in str(caught.value)


def test_nobody_at_the_other_end_may_be_there_later(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    known = tmp_path / "known"
    known.write_text("")
    folder = open_folder(f"sftp://u@127.0.0.1:{port}/in", {"known_hosts": str(known)})
    with pytest.raises(TargetUnavailable):
        folder.names("")


@pytest.fixture(params=["local", "memory", "sftp"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Folder]:
    if request.param == "sftp":
        root = tmp_path / "there"
        root.mkdir()
        server = SftpServer(root)
        yield sftp_folder(server, tmp_path)
        server.close()
    elif request.param == "memory":
        yield open_folder(f"memory://{tmp_path.name}")
    else:
        yield open_folder(str(tmp_path / "there"))


def test_a_folder_holds_what_is_put_into_it(folder: Folder, tmp_path: Path) -> None:
    file = tmp_path / "file"
    assert folder.names("20260921") == set()
    file.write_bytes(b"first")
    folder.put(file, "20260921/a.gz")
    file.write_bytes(b"second, longer")
    folder.put(file, "20260921/a.gz")
    folder.touch("20260921/b.done")
    assert folder.names("20260921") == {"a.gz", "b.done"}
    folder.remove("20260921/b.done")
    assert folder.names("20260921") == {"a.gz"}
    assert folder.place
    folder.close()


def test_what_is_not_installed_is_said(tmp_path: Path) -> None:
    with pytest.raises((NotInstalled, TargetRefused), match="nowhere"):
        open_folder("nowhere://x")


def test_s3_without_credentials_or_server_is_an_error_of_ours() -> None:
    pytest.importorskip("s3fs")
    options = {
        "key": "k", "secret": "s" * 20, "client_kwargs": {"endpoint_url": "http://127.0.0.1:9"},
        "config_kwargs": {"retries": {"max_attempts": 1}, "connect_timeout": 1},
    }  # fmt: skip
    with pytest.raises(TargetUnavailable):
        open_folder("s3://bucket/path", options).names("20260921")
