"""What must hold of the manifests and the compose file, as functions from documents to complaints."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

import click
import kubernetes_validate  # type: ignore[import-untyped]
import yaml
from compose_spec import PyCompose

from service.cli import cli
from service.config import Config, load_config

REPOSITORY: Final = Path(__file__).resolve().parents[2]
DEPLOY: Final = REPOSITORY / "deploy"
KUBERNETES: Final = DEPLOY / "kubernetes"
RELEASES: Final = ("1.30", "1.37")
"""Of Kubernetes: the oldest that the manifests are for, and the newest whose schema there is."""
CONFIG_FOLDER: Final = "/etc/onefold"
SPARE_S: Final = 10
"""For what drain and grace do not cover: a batch that is under way, and closing."""

Document = Mapping[str, Any]


def read_documents(*files: Path) -> list[Document]:
    """Every YAML document of `files`."""
    return [each for file in files for each in yaml.safe_load_all(file.read_text()) if each]


def config_of(text: str, folder: Path, secrets: Mapping[str, str]) -> Config:
    """What a process reads from the configuration `text`, its secret files put in `folder`."""
    for name, value in secrets.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(value)
    (folder / "onefold.yaml").write_text(text.replace(CONFIG_FOLDER, str(folder)))
    return load_config(folder / "onefold.yaml")


def complaints(documents: Sequence[Document], config: Config) -> list[str]:
    """Everything that is wrong with Kubernetes documents, one line each."""
    found = [
        f"{name_of(each)}: {text}"
        for each in documents
        for text in (*not_in_schema(each), *not_portable(each), *_workload(each, config))
    ]
    return [*found, *_references(documents)]


def name_of(document: Document) -> str:
    """Kind and name."""
    return f"{document.get('kind')}/{document.get('metadata', {}).get('name')}"


def not_in_schema(document: Document) -> list[str]:
    """What Kubernetes' own OpenAPI schema refuses, unknown fields included."""
    return _not_in_schema(json.dumps(document, sort_keys=True))


@cache  # a schema takes long to read, and most documents are looked at again and again
def _not_in_schema(text: str) -> list[str]:
    document = json.loads(text)
    found: list[str] = []
    for release in RELEASES:
        try:
            kubernetes_validate.validate(document, release, strict=True)
        except kubernetes_validate.ValidationError as error:
            path = ".".join(map(str, error.path))
            found.append(f"Kubernetes {release}: {path}: {error.message}")
        except kubernetes_validate.SchemaNotFoundError:
            kind = f"{document.get('apiVersion')} {document.get('kind')}"
            found.append(f"Kubernetes {release} has no {kind}")
    return found


def not_portable(document: Document) -> Iterator[str]:
    """What ties a document to one cluster."""
    if "namespace" in document.get("metadata", {}):
        yield "names a namespace"


def _workload(document: Document, config: Config) -> Iterator[str]:
    if document["kind"] not in {"Deployment", "Job"}:
        return
    spec = document["spec"]["template"]["spec"]
    if spec.get("automountServiceAccountToken") is not False:
        yield "gets a token for the cluster's API"
    if not spec.get("securityContext", {}).get("runAsNonRoot"):
        yield "may run as root"
    for container in spec["containers"]:
        yield from _container(container)
        yield from not_a_command(container.get("args", []))
        yield from _mounts(spec, container)
    if document["kind"] == "Deployment":
        labels = document["spec"]["template"]["metadata"]["labels"]
        if not selects(document["spec"]["selector"]["matchLabels"], labels):
            yield "selects other pods than its own"
        (container,) = spec["containers"]
        yield from _probes(container, config)
        needed = config.grpc.drain_s + config.grpc.grace_s + SPARE_S
        if spec.get("terminationGracePeriodSeconds", 30) < needed:
            yield f"is killed before the {needed:.0f} s that its end may take"


def _container(container: Document) -> Iterator[str]:
    security = container.get("securityContext", {})
    if not security.get("readOnlyRootFilesystem"):
        yield "may write to its image's file system"
    if security.get("allowPrivilegeEscalation") is not False:
        yield "may gain privileges"
    if security.get("capabilities", {}).get("drop") != ["ALL"]:
        yield "keeps capabilities"
    resources = container.get("resources", {})
    for what in ("cpu", "memory"):
        if what not in resources.get("requests", {}):
            yield f"requests no {what}"
    if "memory" not in resources.get("limits", {}):
        yield "has no limit of memory"


def not_a_command(arguments: Sequence[str]) -> Iterator[str]:
    """What `onefold` itself says against a command line."""
    if not arguments:
        yield "says not what to run"
        return
    context = click.Context(cli, info_name="onefold")
    command = cli.get_command(context, arguments[0])
    if command is None:
        yield f"runs `onefold {arguments[0]}`, which there is not"
        return
    try:
        command.make_context(arguments[0], [*arguments[1:]], parent=context)
    except click.ClickException as error:
        yield f"runs `onefold {' '.join(arguments)}`: {error.message}"


def _mounts(spec: Document, container: Document) -> Iterator[str]:
    volumes = {each["name"] for each in spec.get("volumes", [])}
    mounted = {each["name"] for each in container.get("volumeMounts", [])}
    for name in sorted(mounted - volumes):
        yield f"mounts {name}, which is no volume"
    for name in sorted(volumes - mounted):
        yield f"has a volume {name} that nothing mounts"


def _probes(container: Document, config: Config) -> Iterator[str]:
    ports = {each["name"]: each["containerPort"] for each in container.get("ports", [])}
    served = {config.grpc.port, config.collector.port}
    if container["args"][0] == "worker":
        served = {config.worker.metrics_port}
    if set(ports.values()) != served:
        yield f"names the ports {sorted(ports.values())}, and listens on {sorted(served)}"
    for kind in ("readinessProbe", "livenessProbe", "startupProbe"):
        probe = container.get(kind)
        if probe is None:
            yield f"has no {kind}"
            continue
        asked = (probe.get("grpc") or probe["httpGet"])["port"]
        if ports.get(asked, asked) not in served:
            yield f"{kind} asks port {asked}, where nothing listens"
        if kind != "readinessProbe" and probe.get("httpGet", {}).get("path") != "/healthz":
            yield f"{kind} ends processes that only wait for a server"


def _references(documents: Sequence[Document]) -> Iterator[str]:
    names = {name_of(each) for each in documents}
    labels = [
        each["spec"]["template"]["metadata"]["labels"]
        for each in documents
        if each["kind"] in {"Deployment", "Job"}
    ]
    for each in documents:
        spec = each.get("spec", {})
        selectors: dict[str, dict[str, str]] = {
            "Service": spec.get("selector", {}),
            "PodDisruptionBudget": spec.get("selector", {}),
            "NetworkPolicy": spec.get("podSelector", {}),
        }
        if each["kind"] in selectors:
            selector = selectors[each["kind"]]
            wanted: Any = selector.get("matchLabels", selector)
            if not wanted or not any(selects(wanted, one) for one in labels):
                yield f"{name_of(each)}: selects none of our pods, or everybody's"
        if each["kind"] == "HorizontalPodAutoscaler":
            target = spec["scaleTargetRef"]
            if f"{target['kind']}/{target['name']}" not in names:
                yield f"{name_of(each)}: scales {target['name']}, which there is not"
        for secret in _secrets(each):
            if f"Secret/{secret}" not in names:
                yield f"{name_of(each)}: needs the secret {secret}, which no example shows"


def _secrets(document: Document) -> Iterable[str]:
    spec = document.get("spec", {}).get("template", {}).get("spec", {})
    return [each["secret"]["secretName"] for each in spec.get("volumes", []) if each.get("secret")]


def selects(selector: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    """Whether a selector picks pods with these labels."""
    return selector.items() <= labels.items()


def compose_complaints(text: str, folder: Path) -> list[str]:
    """Everything that is wrong with a compose file that lies in `folder`."""
    document = yaml.safe_load(text)  # it merges `<<` as compose does
    try:
        PyCompose.from_json(json.dumps(document)).validate()
    except ValueError as error:
        return [f"not a compose file: {error}"]
    services: dict[str, dict[str, Any]] = document["services"]
    return [
        f"{name}: {problem}"
        for name, service in services.items()
        for problem in (
            *_service(service, services),
            *_files(service, folder, {*document.get("volumes", {})}),
        )
    ]


def _service(service: Document, services: Mapping[str, Document]) -> Iterator[str]:
    for other, how in service.get("depends_on", {}).items():
        if other not in services:
            yield f"waits for {other}, which there is not"
        elif how["condition"] == "service_healthy" and "healthcheck" not in services[other]:
            yield f"waits for the health of {other}, which has no check"
    if service["image"] == "onefold":
        yield from not_a_command(service["command"])
        if not service.get("read_only") or service.get("cap_drop") != ["ALL"]:
            yield "may write to its image's file system, or keeps capabilities"
    for port in service.get("ports", []):
        if not port.startswith("127.0.0.1:"):
            yield f"port {port} is open to the network"


def _files(service: Document, folder: Path, volumes: set[str]) -> Iterator[str]:
    for mount in service.get("volumes", []):
        source = mount.split(":")[0]
        if source.startswith("."):
            if not (folder / source).exists():
                yield f"mounts {source}, which there is not"
        elif source not in volumes:
            yield f"uses the volume {source}, which there is not"
