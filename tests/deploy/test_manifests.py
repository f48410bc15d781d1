"""Manifests and the compose file: their schemas, and what they say of commands, ports, files and each other.

What this cannot tell: whether images can be pulled and built, and whether a cluster or an engine runs them.
"""

import shutil
import subprocess
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml

from service.config import Config
from tests.deploy.manifests import (
    DEPLOY,
    KUBERNETES,
    Document,
    complaints,
    compose_complaints,
    config_of,
    name_of,
    read_documents,
)
from tests.servers import required

Change = Callable[[dict[str, Any]], None]


def base() -> list[Document]:
    """The documents that the kustomization names, and the example of secrets."""
    (kustomization,) = read_documents(KUBERNETES / "kustomization.yaml")
    files = [KUBERNETES / each for each in kustomization["resources"]]
    return read_documents(*files, KUBERNETES / "secret.example.yaml")


def labelled(documents: list[Document]) -> list[Document]:
    """As kustomize labels them."""
    name = {"app.kubernetes.io/name": "onefold"}
    made: list[dict[str, Any]] = deepcopy([dict(each) for each in documents])
    for each in made:
        if each["kind"] in {"Deployment", "Job"}:
            each["spec"]["template"]["metadata"]["labels"] |= name
    return [*made]


def secret_files(documents: list[Document]) -> dict[str, str]:
    folders = {"onefold-keys": "keys", "onefold-secrets": "secrets"}
    return {
        f"{folders[each['metadata']['name']]}/{file}": f"{file}-value"
        for each in documents
        if each["kind"] == "Secret"
        for file in each["stringData"]
    }


@pytest.fixture
def documents() -> list[Document]:
    return labelled(base())


@pytest.fixture
def config(documents: list[Document], tmp_path: Path) -> Config:
    text = (KUBERNETES / "onefold.yaml").read_text()
    return config_of(text, tmp_path, secret_files(documents))


def rendered(folder: Path) -> list[Document]:
    """What kustomize makes of a folder."""
    program = shutil.which("kubectl")
    if program is None:
        message = "kustomizations are rendered with kubectl: install it (Debian: kubernetes-client)"
        if required():
            pytest.fail(message, pytrace=False)
        pytest.skip(message)
    told = subprocess.run(
        [program, "kustomize", folder], capture_output=True, text=True, check=False, timeout=60
    )
    assert told.returncode == 0, told.stderr
    assert told.stderr == ""
    return [*yaml.safe_load_all(told.stdout)]


def test_the_manifests_are_right(documents: list[Document], config: Config) -> None:
    assert complaints(documents, config) == []


def test_every_process_has_a_manifest(documents: list[Document]) -> None:
    commands = {
        tuple(each["spec"]["template"]["spec"]["containers"][0]["args"])
        for each in documents
        if each["kind"] in {"Deployment", "Job"}
    }
    assert commands == {
        ("migrate", "--topics"),
        ("serve",),
        ("worker", "record"),
        ("worker", "fold"),
        ("worker", "identify"),
        ("worker", "evaluate"),
    }
    budgets = {name_of(each) for each in documents if each["kind"] == "PodDisruptionBudget"}
    assert len(budgets) == len({each for each in commands if each[0] != "migrate"})


def test_the_configuration_uses_what_the_cluster_gives(config: Config) -> None:
    assert config.store.kind == "cassandra"
    assert config.cassandra.password == "cassandra-password-value"
    assert {each.write_key for each in config.source_table.values()} == {
        "website-write-key-value",
        "backend-write-key-value",
    }
    assert not config.accepts_any_key
    assert {config.grpc.host, config.collector.host, config.worker.metrics_host} == {"0.0.0.0"}


def test_the_example_secrets_are_no_secrets(documents: list[Document]) -> None:
    for each in documents:
        if each["kind"] == "Secret":
            assert all("REPLACE" in value for value in each["stringData"].values())


def find(documents: list[Document], name: str) -> dict[str, Any]:
    return next(dict(each) for each in documents if name_of(each) == name)


def container_of(document: dict[str, Any]) -> dict[str, Any]:
    container: dict[str, Any] = document["spec"]["template"]["spec"]["containers"][0]
    return container


def misspell(document: dict[str, Any]) -> None:
    document["spec"]["replica"] = 2


def wrong_type(document: dict[str, Any]) -> None:
    document["spec"]["replicas"] = "two"


def old_version(document: dict[str, Any]) -> None:
    document["apiVersion"] = "extensions/v1beta1"


def a_namespace(document: dict[str, Any]) -> None:
    document["metadata"]["namespace"] = "onefold"


def no_such_stage(document: dict[str, Any]) -> None:
    container_of(document)["args"] = ["worker", "recrod"]


def no_such_command(document: dict[str, Any]) -> None:
    container_of(document)["args"] = ["work"]


def wrong_port(document: dict[str, Any]) -> None:
    container_of(document)["readinessProbe"] = {"grpc": {"port": 5051}}


def restart_on_trouble(document: dict[str, Any]) -> None:
    container_of(document)["livenessProbe"]["httpGet"]["path"] = "/readyz"


def kill_early(document: dict[str, Any]) -> None:
    document["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = 20


def root(document: dict[str, Any]) -> None:
    del document["spec"]["template"]["spec"]["securityContext"]["runAsNonRoot"]


def writable(document: dict[str, Any]) -> None:
    container_of(document)["securityContext"]["readOnlyRootFilesystem"] = False


def no_volume(document: dict[str, Any]) -> None:
    del document["spec"]["template"]["spec"]["volumes"][0]


def no_request(document: dict[str, Any]) -> None:
    del container_of(document)["resources"]["requests"]["cpu"]


def other_labels(document: dict[str, Any]) -> None:
    document["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/component"] = "other"


def unknown_secret(document: dict[str, Any]) -> None:
    document["spec"]["template"]["spec"]["volumes"][1]["secret"]["secretName"] = "other"


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (misspell, "'replica' was unexpected"),
        (wrong_type, "'two' is not"),
        (old_version, "has no extensions/v1beta1 Deployment"),
        (a_namespace, "names a namespace"),
        (no_such_stage, "'recrod' is not one of"),
        (no_such_command, "runs `onefold work`, which there is not"),
        (wrong_port, "readinessProbe asks port 5051"),
        (restart_on_trouble, "livenessProbe ends processes"),
        (kill_early, "is killed before the 35 s"),
        (root, "may run as root"),
        (writable, "may write to its image's file system"),
        (no_volume, "mounts config, which is no volume"),
        (no_request, "requests no cpu"),
        (other_labels, "selects other pods than its own"),
        (unknown_secret, "needs the secret other"),
    ],
)
def test_a_broken_manifest_is_noticed(
    documents: list[Document], config: Config, change: Change, complaint: str
) -> None:
    broken = deepcopy(find(documents, "Deployment/onefold-record"))
    change(broken)
    others = [each for each in documents if name_of(each) != name_of(broken)]

    found = complaints([*others, broken], config)

    assert any(complaint in each for each in found), found


def test_a_service_without_pods_is_noticed(documents: list[Document], config: Config) -> None:
    found = complaints([each for each in documents if each["kind"] != "Deployment"], config)
    assert any(each.startswith("Service/onefold-grpc: selects none") for each in found)


def test_kustomize_makes_the_same_of_it(config: Config) -> None:
    made = rendered(KUBERNETES)
    assert complaints([*made, *read_documents(KUBERNETES / "secret.example.yaml")], config) == []
    settings = next(each for each in made if each["kind"] == "ConfigMap")
    assert settings["data"]["onefold.yaml"] == (KUBERNETES / "onefold.yaml").read_text()


@pytest.fixture
def overlay(tmp_path: Path) -> Path:
    """An overlay as README.md shows it, with both components."""
    shutil.copytree(KUBERNETES, tmp_path / "base")
    folder = tmp_path / "overlay"
    folder.mkdir()
    (folder / "kustomization.yaml").write_text(
        "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nnamespace: shop\n"
        "resources: [../base]\ncomponents: [../base/autoscaling, ../base/shared-models]\n"
    )
    return folder


def test_an_overlay_scales_and_shares_models(overlay: Path, config: Config) -> None:
    made = rendered(overlay)
    assert {each["metadata"]["namespace"] for each in made} == {"shop"}
    found = complaints([*made, *read_documents(KUBERNETES / "secret.example.yaml")], config)
    assert [each for each in found if not each.endswith("names a namespace")] == []

    by_name = {name_of(each): each for each in made}
    assert "replicas" not in by_name["Deployment/onefold-fold"]["spec"]
    serve = by_name["Deployment/onefold-serve"]["spec"]["template"]["spec"]
    assert {"name": "data", "persistentVolumeClaim": {"claimName": "onefold-models"}} in serve[
        "volumes"
    ]
    for stage in ("record", "fold"):
        scaler = by_name[f"HorizontalPodAutoscaler/onefold-{stage}"]["spec"]
        assert scaler["maxReplicas"] == config.kafka.partitions


COMPOSE = DEPLOY / "compose.yaml"


def test_the_compose_file_is_right(tmp_path: Path) -> None:
    assert compose_complaints(COMPOSE.read_text(), DEPLOY) == []

    config = config_of((DEPLOY / "compose" / "onefold.yaml").read_text(), tmp_path, {})
    document = yaml.safe_load(COMPOSE.read_text())
    services = document["services"]
    assert config.cassandra.hosts == ("cassandra",)
    assert config.kafka.brokers == services["kafka"]["environment"][
        "KAFKA_ADVERTISED_LISTENERS"
    ].removeprefix("PLAINTEXT://")
    assert config.cassandra.replication == config.kafka.replication == 1
    ports = (config.grpc.port, config.collector.port)
    assert services["serve"]["ports"] == [f"127.0.0.1:{port}:{port}" for port in ports]
    for stage in ("record", "fold", "identify", "evaluate"):
        asked = services[stage]["environment"]["HEALTH_URL"]
        assert f":{config.worker.metrics_port}/" in asked
    grace_s = int(services["serve"]["stop_grace_period"].removesuffix("s"))
    assert grace_s > config.grpc.drain_s + config.grpc.grace_s


@pytest.mark.parametrize(
    ("right", "wrong", "complaint"),
    [
        ("restart: unless-stopped", "restarts: unless-stopped", "not a compose file"),
        ("interval: 5s", "interval: 5 bananas", "not a compose file"),
        ("service_healthy", "service_is_fine", "not a compose file"),
        ("source: onefold", "source: other", "not a compose file"),
        ("[worker, fold]", "[worker, flod]", "fold: runs `onefold worker flod`"),
        ("    migrate:\n      cond", "    migrating:\n      cond", "waits for migrating"),
        ("./prometheus:", "./prometheuz:", "prometheus: mounts ./prometheuz"),
        ("- kafka:/var", "- kafak:/var", "uses the volume kafak"),
        ("read_only: true", "read_only: false", "may write to its image"),
        ('"127.0.0.1:8080:8080"', '"8080:8080"', "port 8080:8080 is open to the network"),
    ],
)
def test_a_broken_compose_file_is_noticed(right: str, wrong: str, complaint: str) -> None:
    text = COMPOSE.read_text()
    assert right in text

    found = compose_complaints(text.replace(right, wrong), DEPLOY)

    assert any(complaint in each for each in found), found


def test_a_service_that_is_waited_for_has_a_check() -> None:
    text = "services:\n  a: {image: x, depends_on: {b: {condition: service_healthy}}}\n  b: {image: y}\n"
    assert compose_complaints(text, DEPLOY) == ["a: waits for the health of b, which has no check"]
