"""What a process tells of its work: metrics, whether it lives, whether it can work now."""

import http.client
import re
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from ingest.errors import CollectorError
from service.commands.serve import Running
from service.config import GrpcConfig, load_config
from service.metrics import Metrics
from service.pages import Pages
from service.pb.onefold.v1 import profile_service_pb2 as pb
from service.pb.onefold.v1.profile_service_pb2_grpc import ProfileServiceStub
from service.readiness import FAILURES_MAX, Readiness, reads
from service.rpc.server import RpcServer
from service.workspace import Workspace
from storage.errors import StoreUnavailable
from tests.service.conftest import TIMEOUT_S, Api, who


def get(port: int, path: str, method: str = "GET", host: str = "127.0.0.1") -> tuple[int, str]:
    connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)
    connection.request(method, path)
    answer = connection.getresponse()
    body = answer.read().decode()
    connection.close()
    return answer.status, body


def samples(text: str) -> dict[str, float]:
    found = re.findall(r"^([a-z_]+(?:\{[^}]*\})?) ([0-9.e+-]+)$", text, re.MULTILINE)
    return {name: float(value) for name, value in found}


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def pages(metrics: Metrics) -> Iterator[Pages]:
    made = Pages(metrics.text, lambda: False, "127.0.0.1", 0)
    made.start()
    yield made
    made.stop()


def test_a_worker_shows_three_pages(pages: Pages) -> None:
    status, text = get(pages.port, "/metrics")

    assert (status, "onefold_build_info{version=" in text) == (200, True)
    assert get(pages.port, "/healthz") == (200, "ok")
    assert get(pages.port, "/readyz") == (503, "not ready")
    assert get(pages.port, "/healthz", "HEAD") == (200, "")
    assert get(pages.port, "/")[0] == 404
    assert get(pages.port, "/metrics", "POST")[0] == 501


def test_workers_of_one_machine_find_a_port_each(metrics: Metrics, pages: Pages) -> None:
    another = Pages(metrics.text, lambda: True, "127.0.0.1", pages.port)

    assert pages.port < another.port < pages.port + 100
    another.stop()


def test_no_free_port_is_said_so(metrics: Metrics, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CollectorError, match=r"192\.0\.2\.1:9464.*worker\.metrics_port"):
        Pages(metrics.text, lambda: True, "192.0.2.1", 9464)


def test_two_processes_worth_of_metrics_live_side_by_side() -> None:
    one, other = Metrics(), Metrics()
    one.ingest.events("fold", "counted", 3)

    assert 'onefold_events_total{outcome="counted",stage="fold"} 3.0' in one.text().decode()
    assert "counted" not in other.text().decode()
    assert "_created" not in one.text().decode()


def test_labels_have_bounds(metrics: Metrics) -> None:
    for rule in ("limit:user_id", "kept_apart:7f3a", "kept_apart:91c2", "hub"):
        metrics.ingest.conflict(rule, 1)
    found = samples(metrics.text().decode())

    rules = {name: value for name, value in found.items() if name.startswith("onefold_conflicts")}
    assert rules == {
        'onefold_conflicts_total{rule="limit:user_id"}': 1,
        'onefold_conflicts_total{rule="kept_apart"}': 2,
        'onefold_conflicts_total{rule="hub"}': 1,
    }


def test_calls_are_timed_by_method_and_code(api: Api, metrics: Metrics) -> None:
    api.shop.see(user="asha", view="tea")
    with (
        RpcServer(api.served, GrpcConfig(port=0, grace_s=0), metrics.rpc) as server,
        grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel,
    ):
        stub = ProfileServiceStub(channel)
        stub.GetProfile(pb.GetProfileRequest(lookup=who(user_id="asha")), timeout=TIMEOUT_S)
        with pytest.raises(grpc.RpcError):
            stub.GetProfile(pb.GetProfileRequest(lookup=who(user_id="ravi")), timeout=TIMEOUT_S)
    found = samples(metrics.text().decode())

    count = "onefold_rpc_duration_seconds_count"
    assert found[f'{count}{{code="OK",method="ProfileService/GetProfile"}}'] == 1
    assert found[f'{count}{{code="NOT_FOUND",method="ProfileService/GetProfile"}}'] == 1
    assert "asha" not in metrics.text().decode()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Running]:
    workspace = Workspace(
        load_config(
            None, {"ONEFOLD_GRPC__PORT": "0", "ONEFOLD_COLLECTOR__PORT": "0"}, data=tmp_path
        )
    )
    running = Running(workspace)
    running.start()
    yield running
    running.stop()
    workspace.close()


def test_the_collector_shows_what_it_answered(served: Running) -> None:
    port = served.collector.port
    assert get(port, "/v1/track")[0] == 405
    assert get(port, "/wp-login.php?user=asha")[0] == 404
    assert get(port, "/readyz") == (200, "ok")
    found = samples(get(port, "/metrics")[1])

    requests = "onefold_collector_requests_total"
    assert found[f'{requests}{{endpoint="/v1/track",status="405"}}'] == 1
    assert found[f'{requests}{{endpoint="other",status="404"}}'] == 1
    assert not [name for name in found if "asha" in name or "wp-login" in name]


def test_events_are_counted_where_they_are_taken(served: Running) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", served.collector.port, timeout=TIMEOUT_S)
    batch = b'{"batch": [{"type": "track", "event": "A", "userId": "u"}, {"type": "nonsense", "userId": "u"}]}'
    connection.request("POST", "/v1/batch", batch, {"Authorization": "Basic a2V5Og=="})
    assert connection.getresponse().read() == b"ok"
    connection.close()
    found = samples(get(served.collector.port, "/metrics")[1])

    assert found['onefold_events_total{outcome="accepted",stage="collect"}'] == 1
    assert found['onefold_events_total{outcome="refused",stage="collect"}'] == 1
    assert found['onefold_batch_messages_sum{stage="collect"}'] == 2
    assert found['onefold_batch_duration_seconds_count{stage="collect"}'] == 1
    assert found['onefold_dead_letters_total{reason="unknown_type"}'] == 1


def test_outside_loopback_nobody_reads_metrics_by_default(tmp_path: Path) -> None:
    def shown(**collector: str) -> bool:
        environ = {f"ONEFOLD_COLLECTOR__{name}": value for name, value in collector.items()}
        return load_config(None, environ, data=tmp_path).collector.shows_metrics

    assert shown()
    assert not shown(HOST="0.0.0.0")
    assert shown(HOST="0.0.0.0", METRICS="true")
    assert not shown(METRICS="false")


def test_a_store_that_cannot_be_read_makes_the_process_unready() -> None:
    broken = False
    told: list[bool] = []

    def look() -> None:
        if broken:
            raise StoreUnavailable("down")

    readiness = Readiness(look, told.append, interval_s=0)
    assert not readiness.ready
    readiness._once()
    assert readiness.ready
    broken = True
    for _ in range(FAILURES_MAX - 1):
        readiness._once()
        assert readiness.ready, "one slow answer is no outage"
    readiness._once()
    assert not readiness.ready
    broken = False
    readiness._once()
    assert (readiness.ready, told) == (True, [True, False, True])
    readiness.end()
    assert not readiness.ready


def test_readiness_looks_at_the_real_store(api: Api) -> None:
    readiness = Readiness(reads(api.shop.store), interval_s=0.01)
    readiness.start()
    assert readiness.ready
    readiness.end()
