"""The dashboard and the alarms: expressions that parse, over metrics and labels that the code has."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec
import promql_parser
import pytest
import yaml
from prometheus_client.metrics import MetricWrapperBase
from promql_parser import VectorSelector

from service.metrics import Metrics
from tests.deploy.manifests import DEPLOY, KUBERNETES, read_documents

DASHBOARD = DEPLOY / "grafana" / "onefold.json"
ALARMS = DEPLOY / "prometheus" / "alarms.yaml"
TARGET_LABELS = {"job", "instance"}
"""What Prometheus adds to everything that it scrapes."""
METHOD = re.compile(r'method="(\w+)/(\w+)"')


class Alert(msgspec.Struct, forbid_unknown_fields=True):
    """One rule, as Prometheus reads it."""

    alert: str
    expr: str
    labels: dict[Literal["severity"], Literal["page", "ticket"]]
    annotations: dict[Literal["summary", "description"], str]
    for_: str = msgspec.field(name="for", default="0s")


class Group(msgspec.Struct, forbid_unknown_fields=True):
    """Rules that are evaluated together."""

    name: str
    rules: list[Alert]


class Rules(msgspec.Struct, forbid_unknown_fields=True):
    """A file of rules."""

    groups: list[Group]


def alarms() -> list[Alert]:
    rules = msgspec.convert(yaml.safe_load(ALARMS.read_text()), Rules)
    return [alert for group in rules.groups for alert in group.rules]


def panels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(DASHBOARD.read_text())["panels"]
    return found


def expressions() -> Iterator[tuple[str, str]]:
    """Every expression, and whose it is."""
    for alarm in alarms():
        yield alarm.alert, alarm.expr
    for panel in panels():
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"].replace("$__rate_interval", "1m")


def known() -> dict[str, set[str]]:
    """Each sample that a process can show, with its labels; those of a metric that was never used, too."""
    found: dict[str, set[str]] = {"up": set()}
    registry = Metrics().registry
    for family in registry.collect():
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    for collector in {*registry._collector_to_names}:
        if not isinstance(collector, MetricWrapperBase):
            continue
        (family,) = collector.describe()
        labels = {*collector._labelnames}
        suffixes = {
            "counter": ["_total"],
            "histogram": ["_bucket", "_count", "_sum"],
            "info": ["_info"],
        }
        for suffix in suffixes.get(family.type, [""]):
            more = {"le"} if suffix == "_bucket" else set()
            found.setdefault(family.name + suffix, set()).update(labels | more)
    return found


def selectors(expression: Any) -> Iterator[VectorSelector]:
    """Every selector of a parsed expression."""
    if isinstance(expression, VectorSelector):
        yield expression
        return
    for name in ("expr", "lhs", "rhs", "vector_selector", "vs", "param"):
        inner = getattr(expression, name, None)
        if inner is not None and not isinstance(inner, str):
            yield from selectors(inner)
    for inner in getattr(expression, "args", None) or []:
        yield from selectors(inner)


def unknown(text: str) -> list[str]:
    """Metrics and labels of an expression that no process shows."""
    metrics = known()
    found: list[str] = []
    for selector in selectors(promql_parser.parse(text)):
        if selector.name not in metrics:
            found.append(str(selector.name))
            continue
        asked = {matcher.name for matcher in selector.matchers.matchers}
        found += [
            f"{selector.name}{{{label}}}"
            for label in asked - metrics[selector.name] - TARGET_LABELS
        ]
    return found


def test_every_metric_and_label_is_one_that_the_code_has() -> None:
    assert {where: bad for where, text in expressions() if (bad := unknown(text))} == {}


def test_every_expression_selects_something() -> None:
    for where, text in expressions():
        assert [*selectors(promql_parser.parse(text))], where


@pytest.mark.parametrize(
    ("text", "bad"),
    [
        ("rate(onefold_event_total[5m])", ["onefold_event_total"]),
        ("sum(onefold_events)", ["onefold_events"]),
        ('onefold_events_total{stag="fold"}', ["onefold_events_total{stag}"]),
        ("a and on () max(deriv(b[10m]))", ["a", "b"]),
        ("histogram_quantile(0.9, sum by (le) (rate(c_bucket[5m])))", ["c_bucket"]),
        ("(d or vector(0)) > 0.1 * scalar(sum(e))", ["d", "e"]),
    ],
)
def test_an_unknown_metric_is_noticed(text: str, bad: list[str]) -> None:
    assert unknown(text) == bad


def test_an_expression_that_prometheus_refuses_is_noticed() -> None:
    with pytest.raises(ValueError, match="invalid promql query"):
        promql_parser.parse("sum by (stage) rate(onefold_events_total)")


def test_methods_that_are_named_are_in_the_api() -> None:
    from service.pb.onefold.v1 import profile_service_pb2

    services = profile_service_pb2.DESCRIPTOR.services_by_name
    named = {match for _, text in expressions() for match in METHOD.findall(text)}
    assert named
    for service, method in named:
        assert method in services[service].methods_by_name


def test_every_alarm_says_what_to_do() -> None:
    found = alarms()
    assert len({alarm.alert for alarm in found}) == len(found)
    for alarm in found:
        assert alarm.alert.startswith("Onefold")
        assert {"summary", "description"} == {*alarm.annotations}
        assert re.fullmatch(r"\d+[smh]", alarm.for_)


def test_an_alarm_without_advice_is_noticed() -> None:
    rules = {"groups": [{"name": "a", "rules": [{"alert": "A", "expr": "up"}]}]}
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(rules, Rules)


def test_commands_that_alarms_name_are_there() -> None:
    from tests.deploy.manifests import not_a_command

    for text in [a for alarm in alarms() for a in alarm.annotations.values()]:
        for command in re.findall(r"`onefold ([^`]+)`", text):
            assert [*not_a_command(command.split())] == []


def test_the_panels_fill_the_grid_without_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in panels():
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells
    assert len({panel["id"] for panel in panels()}) == len(panels())


def test_every_panel_takes_the_chosen_data_source() -> None:
    dashboard = json.loads(DASHBOARD.read_text())
    (variable,) = dashboard["templating"]["list"]
    assert (variable["name"], variable["type"]) == ("datasource", "datasource")
    for panel in panels():
        if panel["type"] != "row":
            assert panel["datasource"]["uid"] == "${datasource}"
            assert panel["targets"]


@pytest.fixture
def promtool() -> str:
    """Prometheus' own checker. Not in any registry of Python packages: nobody has to have it."""
    if (program := shutil.which("promtool")) is None:
        pytest.skip("promtool proves that alarms ring (Debian: apt-get install prometheus)")
    return program


def test_alarms_ring_when_they_should(promtool: str, tmp_path: Path) -> None:
    tests = Path(__file__).with_name("alarms.test.yaml").read_text()
    (tmp_path / "alarms.test.yaml").write_text(tests.replace("ALARMS", str(ALARMS)))
    told = subprocess.run(
        [promtool, "test", "rules", tmp_path / "alarms.test.yaml"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert told.returncode == 0, told.stdout + told.stderr


def test_prometheus_reads_its_configuration(promtool: str) -> None:
    told = subprocess.run(
        [promtool, "check", "config", DEPLOY / "prometheus" / "prometheus.yaml"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert told.returncode == 0, told.stdout + told.stderr


def relabelled(labels: dict[str, str], rules: list[dict[str, Any]]) -> dict[str, str] | None:
    """What Prometheus makes of a target that it found, or None if it drops it."""
    labels = dict(labels)
    for rule in rules:
        value = ";".join(labels.get(name, "") for name in rule["source_labels"])
        match = re.fullmatch(rule.get("regex", "(.*)"), value)
        if rule.get("action") == "keep":
            if match is None:
                return None
        elif match is not None:
            template = re.sub(r"\$(\d+)", r"\\\1", rule.get("replacement", "$1"))
            labels[rule["target_label"]] = match.expand(template)
    return {name: value for name, value in labels.items() if not name.startswith("__meta")}


def test_the_scrape_job_finds_each_pod_once_under_the_name_that_alarms_expect() -> None:
    (job,) = yaml.safe_load((DEPLOY / "prometheus" / "kubernetes.yaml").read_text())[
        "scrape_configs"
    ]
    found: dict[str, set[str]] = {}
    files = [
        KUBERNETES / f"{name}.yaml" for name in ("serve", "record", "fold", "identify", "evaluate")
    ]
    for document in read_documents(*files):
        if document["kind"] != "Deployment":
            continue
        template = document["spec"]["template"]
        name = template["metadata"]["labels"]["app.kubernetes.io/component"]
        for port in template["spec"]["containers"][0]["ports"]:
            made = relabelled(
                {
                    "__address__": f"10.0.0.7:{port['containerPort']}",
                    "__meta_kubernetes_pod_name": f"onefold-{name}-0",
                    "__meta_kubernetes_pod_label_app_kubernetes_io_name": "onefold",
                    "__meta_kubernetes_pod_label_app_kubernetes_io_component": name,
                    **{
                        f"__meta_kubernetes_pod_annotation_{re.sub('[./-]', '_', key)}": value
                        for key, value in template["metadata"]["annotations"].items()
                    },
                },
                job["relabel_configs"],
            )
            assert made is not None
            found.setdefault(made["job"], set()).add(made["__address__"])
    assert found == {
        "onefold-serve": {"10.0.0.7:8080"},
        "onefold-record": {"10.0.0.7:9464"},
        "onefold-fold": {"10.0.0.7:9464"},
        "onefold-identify": {"10.0.0.7:9464"},
        "onefold-evaluate": {"10.0.0.7:9464"},
    }
    assert relabelled({"__address__": "10.0.0.8:80"}, job["relabel_configs"]) is None
