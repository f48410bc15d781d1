"""Destinations' files: what is wrong is said with file, line and field; secrets have files of their own."""

import re
import time
from pathlib import Path
from typing import Any

import pytest

from destinations.making import Means, make
from destinations.settings import KINDS, LotameSettings, TableSettings, WebhookSettings
from destinations.webhook import SIGNATURE, TIMESTAMP, signature
from service.config import ConfigError
from service.docs import README
from service.exports_file import find_destination, read_destinations

OK = "purpose: [ads]\nsegments: [regulars]\n"

MISTAKES = [
    # (file, what the message says)
    ("", "x.yaml:1: kind: is missing: one of lotame, lotame_email, ga4, webhook, kafka, table"),
    ("kind: lotme", "x.yaml:1: kind: must be one of lotame, lotame_email"),
    (
        "kind: parquet",
        "x.yaml:1: kind: must be one of lotame, lotame_email, ga4, webhook, kafka, table; "
        "`kind: table` with `format: parquet` writes such files",
    ),
    ("kind: [lotame]", "x.yaml:1: kind: must be one of"),
    ("- a", "x.yaml:1: kind: is missing"),
    ("a: [", "x.yaml:1: not YAML"),
    ("kind: lotame", "x.yaml:1: purpose: is missing: nobody is sent without consent"),
    ("kind: lotame\npurpose: [ads]", "x.yaml:1: segments: is missing"),
    ("kind: lotame\npurpose: ads", "x.yaml:2: purpose: must be a list, not 'ads'"),
    (f"{OK}kind: lotame\nsegmnets: []", "x.yaml:4: segmnets: no such field; did you mean segments?"),
    (f"{OK}kind: lotame\ntarget:\n  ulr: s3://b", "x.yaml:5: target.ulr: no such field; did you mean url?"),
    (f"{OK}kind: lotame\nsegment_form: lists", "x.yaml:4: segment_form: must be one of objects, strings"),
    (f"{OK}kind: lotame\nfile_bytes_max: 6000000000", "x.yaml:4: file_bytes_max: expected int <= 5368709120"),
    (f"{OK}kind: lotame\nid_types: {{email: EMAIL}}", "x.yaml:4: id_types.email: Lotame takes e-mails"),
    (f"{OK}kind: lotame\nallow_sensitive: [regular]", "x.yaml:4: allow_sensitive: regular is not among"),
    (f"{OK}kind: lotame\nallow_sensitive: ['*']", "x.yaml:4: allow_sensitive: each by its name"),
    (f"{OK}kind: lotame\naliases: {{other: o}}", "x.yaml:4: aliases: other is not among segments"),
    (f"{OK}kind: lotame\nschedule:\n  at: 12:00", "x.yaml:5: schedule.at: must be a text or null (put it in"),
    (f"{OK}kind: lotame\nschedule:\n  every: 6 hours", "x.yaml:5: schedule.every: "),
    (f"{OK}kind: lotame\nschedule: {{every: 6h, at: '02:00'}}", "x.yaml:4: schedule.at: every or at, not both"),
    (f"{OK}kind: lotame\ntarget:\n  password_file: nowhere", "x.yaml:5: target.password_file: "),
    (f"{OK}kind: lotame_email", "x.yaml:1: client_id: is missing"),
    (f"{OK}kind: ga4\nmeasurement_id: G-1", "x.yaml:1: api_secret: is missing: set api_secret_file"),
    (f"{OK}kind: ga4\napi_secret: s", "x.yaml:1: measurement_id: give one of"),
    (
        "kind: ga4\npurpose: [a]\nmeasurement_id: G\napi_secret: s\nsegments: [a-very-long-name-of-this-one]",
        "x.yaml:1: aliases: a-very-long-name-of-this-one cannot be a user property of GA4",
    ),
    (f"{OK}kind: webhook\nsecret: s", "x.yaml:1: url: is missing"),
    (f"{OK}kind: webhook\nurl: https://h.example", "x.yaml:1: secret: is missing"),
    (f"{OK}kind: webhook\nsecret: s\nurl: http://h.example", "x.yaml:5: url: must be https"),
    (f"{OK}kind: kafka", "x.yaml:1: topic: is missing"),
    (f"{OK}kind: table\ntopic: t", "x.yaml:4: topic: no such field"),
]  # fmt: skip


def folder_with(tmp_path: Path, **files: str) -> Path:
    for name, text in files.items():
        (tmp_path / f"{name}.yaml").write_text(text)
    return tmp_path


@pytest.mark.parametrize(("text", "says"), MISTAKES)
def test_a_mistake_is_said_with_its_place(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        find_destination(folder_with(tmp_path, x=text), "x")
    said = str(caught.value).splitlines()
    assert any(line.startswith(f"{tmp_path}/{says}") for line in said), said


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_can_be_written_with_little(tmp_path: Path, kind: str) -> None:
    needed = {
        "lotame_email": "client_id: 7", "ga4": "measurement_id: G-1\napi_secret: s",
        "webhook": "url: https://h.example\nsecret: s", "kafka": "topic: t",
    }  # fmt: skip
    text = f"kind: {kind}\n{OK}{needed.get(kind, '')}"
    found = find_destination(folder_with(tmp_path, x=text), "x")
    assert found.kind == kind
    assert isinstance(found.settings, KINDS[kind])
    assert (found.settings.purpose, found.settings.segments) == (("ads",), ("regulars",))


def test_paths_are_relative_to_the_file_and_secrets_come_from_theirs(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("open sesame\n")
    text = f"kind: table\n{OK}target: {{url: out, password_file: secret, known_hosts: hosts}}"
    settings = find_destination(folder_with(tmp_path, crm=text), "crm").settings
    assert isinstance(settings, TableSettings)
    assert settings.target.url == str(tmp_path / "out")
    assert settings.target.known_hosts == str(tmp_path / "hosts")
    assert settings.target.password == "open sesame"
    url = f"kind: lotame\n{OK}target: {{url: 's3://bucket/in'}}"
    lotame = find_destination(folder_with(tmp_path, lotame=url), "lotame").settings
    assert isinstance(lotame, LotameSettings)
    assert lotame.target.url == "s3://bucket/in"


def test_all_that_is_wrong_in_all_files_is_said_at_once(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, a="kind: kafka", b=f"kind: table\n{OK}", c="kind: nothing")
    with pytest.raises(ConfigError) as caught:
        read_destinations(folder)
    said = str(caught.value)
    assert "a.yaml:1: purpose" in said
    assert "a.yaml:1: topic" in said
    assert "c.yaml:1: kind" in said


def test_a_name_that_is_not_there_is_told_what_is(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, lotame=f"kind: lotame\n{OK}")
    with pytest.raises(ConfigError, match="did you mean lotame"):
        find_destination(folder, "lotme")
    with pytest.raises(ConfigError, match="no such file"):
        find_destination(folder, "../lotame")
    assert list(read_destinations(folder)) == ["lotame"]
    assert read_destinations(tmp_path / "nowhere") == {}


@pytest.mark.parametrize("name", ["list", "Lotame", "a b"])
def test_a_name_that_no_command_can_have_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="called by its file"):
        read_destinations(folder_with(tmp_path, **{name: f"kind: lotame\n{OK}"}))


def examples() -> dict[str, str]:
    text = (README.parent / "docs" / "destinations.md").read_text()
    blocks = re.findall(r"```yaml\n# exports/([a-z0-9-]+)\.yaml\n(.*?)```", text, re.DOTALL)
    return dict(blocks)


@pytest.mark.parametrize("name", examples())
def test_every_example_of_the_documents_can_be_used(tmp_path: Path, name: str) -> None:
    (tmp_path / "secret").write_text("open sesame")
    text = re.sub(r"/run/secrets/\w+", "secret", examples()[name])
    made = find_destination(folder_with(tmp_path, **{name: text}), name)
    if "s3://" in text:
        pytest.importorskip("s3fs", reason="pip install 'onefold[s3]'")
    assert make(name, made.settings, Means(now_ms=lambda: 0)).place


def test_a_receiver_can_check_a_signature_as_the_documents_show(tmp_path: Path) -> None:
    text = (README.parent / "docs" / "destinations.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    shown: dict[str, Any] = {}
    exec(code, shown)
    now = str(int(time.time()))
    signed = {TIMESTAMP: now, SIGNATURE: f"v1=00,{signature('key', now, b'{}')}"}
    assert shown["is_ours"]("key", signed, b"{}")
    assert not shown["is_ours"]("other", signed, b"{}")
    assert not shown["is_ours"]("key", signed, b"{ }")
    old = str(int(time.time()) - 1_000)
    assert not shown["is_ours"](
        "key", {TIMESTAMP: old, SIGNATURE: signature("key", old, b"{}")}, b"{}"
    )


def test_a_secret_is_never_said(tmp_path: Path) -> None:
    text = f"kind: webhook\n{OK}url: http://h.example\nsecret: [hush-hush]"
    with pytest.raises(ConfigError) as caught:
        find_destination(folder_with(tmp_path, x=text), "x")
    assert "hush" not in str(caught.value)
    assert isinstance(WebhookSettings(), KINDS["webhook"])
