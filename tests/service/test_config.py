"""The configuration: what is wrong is said with file, line and field."""

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from identity.event import Source
from identity.rules import Rules
from service.config import Config, ConfigError, load_config
from service.config_checks import need_cassandra, need_log, need_workers
from service.config_docs import describe

MISTAKES = [
    # (YAML, what the message says)
    ("grpc: {prot: 1}", ":1: grpc.prot: no such field; did you mean port?"),
    ("gprc:\n  port: 1", ":1: gprc: no such field; did you mean grpc?"),
    ("zzz: 1", ":1: zzz: no such field; there are data, currency, store"),
    ("grpc:\n  port: many", ":2: grpc.port: must be a whole number, not 'many'"),
    ("grpc:\n  host: h\n  port: 70000", ":3: grpc.port: expected int <= 65535, not 70000"),
    ("grpc:\n  port: true", ":2: grpc.port: must be a whole number, not True"),
    ("grpc: [1, 2]", ":1: grpc: must be a mapping"),
    ("- a\n- b", ":1: must be a mapping"),
    ("data: 17", ":1: data: must be a text (put it in quotes), not 17"),
    ("identity:\n  default_region: NO", ":2: identity.default_region: must be a text (put it in quotes)"),
    ("identity:\n  members_max: -1", ":2: identity.members_max: must not be negative"),
    ("identity:\n  external_ids: crm_id", ":2: identity.external_ids: must be a list, not 'crm_id'"),
    ("identity:\n  external_ids: [crm_id, 7]", ":2: identity.external_ids: [1] must be a text"),
    ("identity:\n  blocked_patterns: {email: ['(']}", ":2: identity.blocked_patterns.email: '(' is no regular"),
    ("identity:\n  external_ids: [anonymous_id]", ":2: identity.external_ids: 'anonymous_id' cannot be"),
    ("identity:\n  fanout_maks: 3", ":2: identity.fanout_maks: no such field; did you mean fanout_max?"),
    ("grpc: {port: 1}\ngrpc: {port: 2}", ":2: grpc: is there twice"),
    ("grpc:\n  port: 1\n  port: 2", ":3: grpc.port: is there twice"),
    ("currency: rupees", ":1: currency: "),
    ("a: [1", ":1: not YAML"),
    ("a: b: c", ":1: not YAML"),
    ("data: !!python/object:os.system x", ":1: data: cannot be read"),
    ("sources:\n  web:\n    trustd: true", ":3: sources.web.trustd: no such field; did you mean trusted?"),
    ("store: {kind: redis}", ":1: store.kind: must be one of sqlite, cassandra, not 'redis'"),
    ("cassandra:\n  hosts: n1", ":2: cassandra.hosts: must be a list, not 'n1'"),
    ("cassandra:\n  hosts: []", ":2: cassandra.hosts: must name at least one node"),
    ("cassandra:\n  keyspace: One-Fold", ":2: cassandra.keyspace: "),
    ("cassandra:\n  password: hush-hush", ":2: cassandra.password: whose? set cassandra.username too"),
    ("cassandra:\n  username: onefold", ":2: cassandra.username: set cassandra.password or"),
    ("kafka:\n  brokers: k1", ":2: kafka.brokers: must be host:port"),
    ("kafka:\n  inputs: [rudder]", ":2: kafka.inputs: set kafka.brokers too"),
    ("kafka:\n  brokers: k:1\n  inputs: [onefold.events]", ":3: kafka.inputs: onefold.events is read anyway"),
    ("kafka:\n  security_protocol: tls", ":2: kafka.security_protocol: must be one of plaintext, ssl"),
    ("kafka:\n  security_protocol: sasl_ssl", ":2: kafka.security_protocol: sasl_ssl logs in: set"),
    ("kafka:\n  username: onefold", ":2: kafka.username: security_protocol plaintext never logs in"),
    ("kafka:\n  tls_ca: ca.pem", ":2: kafka.tls_ca: security_protocol plaintext is not encrypted"),
    ("worker:\n  batch_events: 0", ":2: worker.batch_events: expected int >= 1"),
    ("sources:\n  web:\n    write_key_file: nowhere", "sources.web.write_key_file: "),
    (
        "sources:\n  web: {write_key: aaaaaaaa}\n  app:\n    write_key: aaaaaaaa",
        ":4: sources.app.write_key: is the write key of web too",
    ),
]  # fmt: skip


def load(folder: Path, text: str = "", **environ: str) -> Config:
    file = folder / "onefold.yaml"
    file.write_text(text)
    return load_config(file, environ)


@pytest.mark.parametrize(("text", "message"), MISTAKES, ids=[text for text, _ in MISTAKES])
def test_a_mistake_is_named_with_file_line_and_field(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)

    assert str(caught.value).startswith(str(tmp_path / "onefold.yaml"))
    assert message in str(caught.value)


def test_all_mistakes_are_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, "grpc: {prot: 1}\ncollector: {port: x}", ONEFOLD_GRPC__WORKERS="0")

    assert len(str(caught.value).splitlines()) == 3


def test_without_a_file_everything_has_a_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = load_config()

    assert config.identity == Rules()
    assert config.store.path == "onefold-data/onefold.sqlite"
    assert config.store.keys == "onefold-data/onefold.keys"
    assert config.models.registry == "onefold-data/models"
    assert config.grpc.reflects
    assert config.accepts_any_key
    assert {setting.origin for setting in config.settings()} == {"default"}


def test_the_file_in_this_folder_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    load(tmp_path, "grpc: {port: 7}")

    assert load_config().grpc.port == 7


def test_a_file_that_is_named_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        load_config(tmp_path / "other.yaml")


@pytest.mark.parametrize("content", [b"", b"# nothing\n", b"grpc:\n"])
def test_an_empty_file_means_the_defaults(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "onefold.yaml").write_bytes(content)
    assert load_config(tmp_path / "onefold.yaml").grpc.port == 50051


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "onefold.yaml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load_config(tmp_path / "onefold.yaml")


def test_paths_of_a_file_are_relative_to_its_folder(tmp_path: Path) -> None:
    config = load(tmp_path, "data: here\nmodels: {registry: /elsewhere}\nstore: {keys: k}")

    assert config.store.path == str(tmp_path / "here" / "onefold.sqlite")
    assert config.store.keys == str(tmp_path / "k")
    assert config.models.registry == "/elsewhere"
    over = load_config(tmp_path / "onefold.yaml", {}, data=Path("there"))
    assert over.store.path == "there/onefold.sqlite"


def test_variables_lie_over_the_file_and_are_typed_like_it(tmp_path: Path) -> None:
    config = load(
        tmp_path,
        "grpc: {port: 1, host: '::1'}",
        ONEFOLD_GRPC__PORT="2",
        ONEFOLD_GRPC__REFLECTION="false",
        ONEFOLD_IDENTITY__EXTERNAL_IDS="[crm_id, card]",
        ONEFOLD_IDENTITY__DEFAULT_REGION="NO",
        ONEFOLD_SOURCES__WEB__WRITE_KEY="12345678",
        ONEFOLD_SOURCES__WEB__TRUSTED="yes",
        ONEFOLD_CONFIG="ignored",
        OTHER="ignored",
    )

    assert (config.grpc.port, config.grpc.host, config.grpc.reflects) == (2, "::1", False)
    assert config.identity.external_ids == ("crm_id", "card")
    assert config.identity.default_region == "NO"
    assert config.write_keys() == {"12345678": Source(name="web", trusted=True)}
    origins = {setting.path: setting.origin for setting in config.settings()}
    assert origins["grpc.port"] == "ONEFOLD_GRPC__PORT"
    assert origins["grpc.host"] == f"{tmp_path / 'onefold.yaml'}:1"


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("ONEFOLD_GRPC__PROT", "1", "ONEFOLD_GRPC__PROT: no such setting; did you mean ONEFOLD_GRPC__PORT?"),
        ("ONEFOLD_GRPC__PORT", "x", "ONEFOLD_GRPC__PORT: grpc.port: must be a whole number, not 'x'"),
        ("ONEFOLD_GRPC__PORT", "[", "ONEFOLD_GRPC__PORT: cannot be read"),
        ("ONEFOLD_IDENTITY__EXTERNAL_IDS", "crm", "identity.external_ids: must be a list, not 'crm'"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_variable_is_named(
    tmp_path: Path, variable: str, value: str, message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, **{variable: value})
    assert message in str(caught.value)


def test_secrets_come_from_files_and_are_never_shown(tmp_path: Path) -> None:
    (tmp_path / "hash").write_text("s3cret-of-the-web\n")
    config = load(
        tmp_path,
        "sources:\n  shop.example.com: {write_key: key-of-the-web, user_hash_secret_file: hash}",
    )

    assert config.sources()["shop.example.com"].user_hash_secret == "s3cret-of-the-web"
    shown = repr(config.settings()) + msgspec.json.encode(config.redacted()).decode()
    assert "key-of-the-web" not in shown
    assert "s3cret" not in shown
    assert config.redacted()["sources"]["shop.example.com"]["write_key"] == "…"
    assert config.redacted()["sources"]["shop.example.com"]["trusted"] is False


def test_a_secret_that_is_wrong_is_not_shown_either(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, "sources: {web: {write_key: 8812345, user_hash_secret: [hush-hush]}}")
    assert "8812345" not in str(caught.value)
    assert "hush" not in str(caught.value)


def test_a_secret_is_given_once(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("key-of-the-web")
    with pytest.raises(ConfigError, match="given too"):
        load(tmp_path, "sources: {web: {write_key: aaaaaaaa, write_key_file: key}}")


def test_outside_loopback_nothing_is_open_by_itself(tmp_path: Path) -> None:
    config = load(tmp_path, "grpc: {host: 0.0.0.0}\ncollector: {host: 10.0.0.1}")

    assert not config.grpc.reflects
    assert not config.accepts_any_key
    assert load(tmp_path, "collector: {host: 10.0.0.1, any_key: true}").accepts_any_key
    assert not load(tmp_path, "sources: {web: {write_key: aaaaaaaa}}").accepts_any_key


def test_servers_are_configured_with_paths_and_secrets_in_place(tmp_path: Path) -> None:
    (tmp_path / "cassandra").write_text("word-of-cassandra\n")
    config = load(
        tmp_path,
        "store: {kind: cassandra}\n"
        "cassandra: {hosts: [n1, n2], username: u, password_file: cassandra, tls_ca: ca.pem}\n"
        "kafka: {brokers: 'k1:1,k2:1', security_protocol: sasl_ssl, username: u, password: word-of-kafka}",
        ONEFOLD_KAFKA__INPUTS="[rudder-web]",
    )

    assert config.cassandra.hosts == ("n1", "n2")
    assert config.cassandra.password == "word-of-cassandra"
    assert config.cassandra.password_file == str(tmp_path / "cassandra")
    assert config.cassandra.tls_ca == str(tmp_path / "ca.pem")
    assert config.kafka.inputs == ("rudder-web",)
    shown = repr(config.settings()) + msgspec.json.encode(config.redacted()).decode()
    assert "word-of" not in shown
    assert config.redacted()["cassandra"]["password"] == "…"


def test_what_a_command_needs_is_said_with_where_it_was_set(tmp_path: Path) -> None:
    file = tmp_path / "onefold.yaml"
    embedded = load(tmp_path, "kafka: {brokers: 'k1:9092'}")
    with pytest.raises(ConfigError, match=r"^configuration: store\.kind: workers need cassandra"):
        need_workers(embedded)
    with pytest.raises(ConfigError, match="`onefold migrate` is for cassandra"):
        need_cassandra(embedded, "migrate")
    need_log(embedded)
    without_log = load(tmp_path, "store:\n  kind: cassandra")
    with pytest.raises(ConfigError, match=f"^{file}:2: kafka.brokers: events go through Kafka"):
        need_workers(without_log)


def test_importing_the_configuration_imports_no_driver() -> None:
    script = (
        "import sys, service.config_file, service.workspace\n"
        "assert not {'cassandra.cluster', 'confluent_kafka', 'numpy', 'grpc'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_types_are_told_as_people_say_them() -> None:
    told = {row.path: row.type for row in describe()}

    assert told["store.kind"] == "`sqlite` or `cassandra`"
    assert told["cassandra.hosts"] == told["kafka.inputs"] == "list of text"
    assert told["kafka.sasl_mechanism"] == "`PLAIN` or `SCRAM-SHA-256` or `SCRAM-SHA-512`"
    assert told["worker.retry_max_s"] == "number, above 0, to 600"


def test_every_setting_is_documented() -> None:
    rows = describe()

    assert [row.path for row in rows if not row.doc] == []
    assert [row.path for row in rows if not row.type] == []
    assert len({row.path for row in rows}) == len(rows) > 30


def test_every_default_in_the_table_is_what_an_empty_file_means(tmp_path: Path) -> None:
    shown = {
        row.path: row.default
        for row in describe()
        if row.path
        not in ("data", "store.path", "store.keys", "models.registry", "models.rules", "exports")
    }
    for setting in load(tmp_path).settings():
        if setting.path in shown:
            assert shown[setting.path] == msgspec.json.encode(setting.value).decode()


def test_every_documented_variable_is_read(tmp_path: Path) -> None:
    rows = [row for row in describe() if ".NAME." not in row.path and row.default not in ("null",)]
    for row in rows:
        text = row.default.strip('"')
        config = load(tmp_path, **{row.env: text}) if text else None
        if config is not None:
            origins = {setting.path: setting.origin for setting in config.settings()}
            assert origins[row.path] == row.env
