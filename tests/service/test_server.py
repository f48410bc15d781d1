"""The server itself: health, reflection, deadlines, sizes, load, an orderly end."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc  # type: ignore[import-untyped]
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc  # type: ignore[import-untyped]

from onefold_client import Onefold
from service.config import GrpcConfig
from service.errors import PortTaken
from service.pb.onefold.v1 import profile_service_pb2 as pb
from service.pb.onefold.v1 import recommendation_service_pb2 as recommendation_pb
from service.pb.onefold.v1.profile_service_pb2_grpc import ProfileServiceStub
from service.rpc.errors import CallCancelled, DeadlinePassed
from service.rpc.guard import HANGS_S, Deadline, Gate, Handler, ShortCalls, guarded, unary
from service.rpc.recommending import Answered, Asked
from service.rpc.server import SERVICES, WAITING_MAX, RpcServer
from storage.errors import StoreUnavailable
from tests.service.conftest import TIMEOUT_S, Api, who
from tests.service.refusals import refused

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


def recommend(api: Api, timeout: float = TIMEOUT_S) -> recommendation_pb.RecommendResponse:
    return api.recommendations.Recommend(
        recommendation_pb.RecommendRequest(surface=recommendation_pb.SURFACE_FOR_YOU),
        timeout=timeout,
    )


class Waiting:
    """Models that take as long as the test says."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.go_on = threading.Event()
        self.asked = 0

    def recommend(self, asked: Asked) -> Answered:
        self.asked += 1
        self.begun.release()
        assert self.go_on.wait(TIMEOUT_S)
        return Answered(items=[], model="waiting")


@pytest.fixture
def waiting(api: Api, monkeypatch: pytest.MonkeyPatch) -> Waiting:
    models = Waiting()
    monkeypatch.setattr(api.models, "recommend", models.recommend)
    return models


def health(api: Api, service: str = "") -> int:
    stub = health_pb2_grpc.HealthStub(api.channel)
    status: int = stub.Check(
        health_pb2.HealthCheckRequest(service=service), timeout=TIMEOUT_S
    ).status
    return status


def test_every_service_says_that_it_serves(api: Api) -> None:
    assert [health(api, name) for name in ("", *SERVICES)] == [SERVING] * (len(SERVICES) + 1)


def test_a_server_that_ends_says_so_first_and_finishes_what_it_began(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Api(tmp_path, GrpcConfig(port=0, drain_s=0.3, grace_s=TIMEOUT_S)) as api:
        models = Waiting()
        monkeypatch.setattr(api.models, "recommend", models.recommend)
        stub = health_pb2_grpc.HealthStub(api.channel)
        watch = stub.Watch(health_pb2.HealthCheckRequest(), timeout=TIMEOUT_S)
        assert next(watch).status == SERVING
        under_way = api.recommendations.Recommend.future(
            recommendation_pb.RecommendRequest(surface=recommendation_pb.SURFACE_FOR_YOU),
            timeout=TIMEOUT_S,
        )
        assert models.begun.acquire(timeout=TIMEOUT_S)
        end = threading.Thread(target=api.server.stop)
        end.start()

        assert next(watch).status == NOT_SERVING
        watch.cancel()
        models.go_on.set()
        assert under_way.result(TIMEOUT_S).model == "waiting"
        end.join(TIMEOUT_S)
        assert not end.is_alive()


def test_tools_can_list_the_services_on_loopback(api: Api) -> None:
    stub = reflection_pb2_grpc.ServerReflectionStub(api.channel)
    (reply,) = stub.ServerReflectionInfo(
        iter([reflection_pb2.ServerReflectionRequest(list_services="")]), timeout=TIMEOUT_S
    )

    names = {service.name for service in reply.list_services_response.service}
    assert names >= {*SERVICES, "grpc.health.v1.Health"}


def test_tools_can_read_the_types(api: Api) -> None:
    stub = reflection_pb2_grpc.ServerReflectionStub(api.channel)
    request = reflection_pb2.ServerReflectionRequest(
        file_containing_symbol="onefold.v1.ProfileService"
    )
    (reply,) = stub.ServerReflectionInfo(iter([request]), timeout=TIMEOUT_S)
    assert reply.file_descriptor_response.file_descriptor_proto


def test_nobody_lists_the_services_where_reflection_is_off(tmp_path: Path) -> None:
    with Api(tmp_path, GrpcConfig(port=0, reflection=False, grace_s=0)) as api:
        stub = reflection_pb2_grpc.ServerReflectionStub(api.channel)
        with pytest.raises(grpc.RpcError) as caught:
            list(
                stub.ServerReflectionInfo(
                    iter([reflection_pb2.ServerReflectionRequest(list_services="")]),
                    timeout=TIMEOUT_S,
                )
            )
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_a_call_whose_time_is_up_is_not_begun(tmp_path: Path) -> None:
    with Api(tmp_path, GrpcConfig(port=0, workers=1, grace_s=0)) as api:
        models = Waiting()
        api.models.recommend = models.recommend  # type: ignore[method-assign]
        slow = api.recommendations.Recommend.future(
            recommendation_pb.RecommendRequest(surface=recommendation_pb.SURFACE_FOR_YOU),
            timeout=TIMEOUT_S,
        )
        assert models.begun.acquire(timeout=TIMEOUT_S)
        with pytest.raises(grpc.RpcError) as caught:
            recommend(api, timeout=0.2)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        models.go_on.set()
        slow.result(TIMEOUT_S)
        health(api)

        assert models.asked == 1


def test_short_calls_are_done_one_by_one_in_the_order_they_came() -> None:
    done: list[int] = []
    inside = threading.Lock()

    def work(n: int) -> None:
        assert inside.acquire(blocking=False)
        time.sleep(0.001)
        done.append(n)
        inside.release()

    with ThreadPoolExecutor(4) as others, ShortCalls(others) as short:
        for each in [short.submit(work, n) for n in range(20)]:
            each.result(TIMEOUT_S)

    assert done == list(range(20))


def test_no_short_call_waits_for_one_that_hangs() -> None:
    begun, go_on = threading.Event(), threading.Event()

    def hang() -> str:
        begun.set()
        go_on.wait(TIMEOUT_S)
        return "hung"

    with ThreadPoolExecutor(4) as others, ShortCalls(others) as short:
        hanging = short.submit(hang)
        begun.wait(TIMEOUT_S)
        time.sleep(2 * HANGS_S)
        assert short.submit(lambda: "next").result(TIMEOUT_S) == "next"
        go_on.set()
        assert hanging.result(TIMEOUT_S) == "hung"


def test_short_calls_that_others_do_while_one_hangs_leave_room_for_long_ones() -> None:
    begun, go_on, together = threading.Semaphore(0), threading.Event(), threading.Semaphore(2)

    def work(request: str, context: grpc.ServicerContext) -> str:
        if request == "hang":
            begun.release()
            go_on.wait(TIMEOUT_S)
            return request
        assert together.acquire(blocking=False)
        time.sleep(0.01)
        together.release()
        return request

    caller: Any = Caller(waits=True, left_s=None)
    with ThreadPoolExecutor(8) as others, ShortCalls(others) as short:
        call = unary(work, "ProfileService/GetProfile", Gate(at_once=2, short=short))
        hanging = short.submit(call, "hang", caller)
        assert begun.acquire(timeout=TIMEOUT_S)
        time.sleep(2 * HANGS_S)
        calls = [short.submit(call, str(n), caller) for n in range(8)]
        assert [each.result(TIMEOUT_S) for each in calls] == [str(n) for n in range(8)]
        go_on.set()
        assert hanging.result(TIMEOUT_S) == "hang"


def test_one_clients_calls_go_round_all_processes_that_it_knows(tmp_path: Path) -> None:
    with Api(tmp_path / "a") as one, Api(tmp_path / "b") as other:
        ports = (one.server.port, other.server.port)
        with Onefold(
            "ipv4:" + ",".join(f"127.0.0.1:{port}" for port in ports), timeout_s=TIMEOUT_S
        ) as client:
            deadline = time.monotonic() + TIMEOUT_S
            while not (one.models.asked and other.models.asked) and time.monotonic() < deadline:
                client.recommend()
            before = (len(one.models.asked), len(other.models.asked))
            for _ in range(10):
                client.recommend()
        after = (len(one.models.asked), len(other.models.asked))

    assert [now - then for now, then in zip(after, before, strict=True)] == [5, 5]


class Caller:
    """Somebody who waits, for so long."""

    def __init__(self, *, waits: bool, left_s: float | None) -> None:
        self._waits, self._left_s = waits, left_s

    def is_active(self) -> bool:
        return self._waits

    def time_remaining(self) -> float | None:
        return self._left_s


def test_long_work_stops_when_nobody_waits() -> None:
    def deadline(caller: Caller, cap_s: float = 60) -> Deadline:
        return Deadline(caller, cap_s)  # type: ignore[arg-type]

    deadline(Caller(waits=True, left_s=None)).check()
    deadline(Caller(waits=True, left_s=1)).check()
    with pytest.raises(CallCancelled):
        deadline(Caller(waits=False, left_s=1)).check()
    with pytest.raises(DeadlinePassed):
        deadline(Caller(waits=True, left_s=0)).check()
    with pytest.raises(DeadlinePassed):
        deadline(Caller(waits=True, left_s=None), cap_s=0).check()


def test_a_client_stream_is_not_served_unguarded() -> None:
    handler: Handler = grpc.stream_unary_rpc_method_handler(lambda requests, context: b"")
    with pytest.raises(NotImplementedError):
        guarded(handler)


def test_a_request_over_the_size_is_refused(tmp_path: Path) -> None:
    with Api(tmp_path, GrpcConfig(port=0, message_bytes_max=64 * 1024, grace_s=0)) as api:
        with pytest.raises(grpc.RpcError) as caught:
            api.profiles.GetProfile(
                pb.GetProfileRequest(lookup=who(user_id="x" * 70_000)), timeout=TIMEOUT_S
            )
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert health(api) == SERVING


def test_a_compressed_request_over_the_size_is_refused_too(tmp_path: Path) -> None:
    with Api(tmp_path, GrpcConfig(port=0, message_bytes_max=64 * 1024, grace_s=0)) as api:
        with pytest.raises(grpc.RpcError) as caught:
            api.profiles.GetProfile(
                pb.GetProfileRequest(lookup=who(user_id="x" * 7_000_000)),
                compression=grpc.Compression.Gzip,
                timeout=TIMEOUT_S,
            )
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert health(api) == SERVING


def test_bytes_that_are_no_message_harm_nobody(api: Api) -> None:
    call: Any = api.channel.unary_unary("/onefold.v1.ProfileService/GetProfile")
    with pytest.raises(grpc.RpcError) as caught:
        call(b"\xff\xff\xff", timeout=TIMEOUT_S)
    assert caught.value.code() is grpc.StatusCode.INTERNAL
    assert health(api) == SERVING


def test_calls_over_the_load_are_refused_at_once(tmp_path: Path) -> None:
    with Api(tmp_path, GrpcConfig(port=0, workers=1, grace_s=0)) as api:
        models = Waiting()
        api.models.recommend = models.recommend  # type: ignore[method-assign]
        calls = [
            api.recommendations.Recommend.future(
                recommendation_pb.RecommendRequest(surface=recommendation_pb.SURFACE_FOR_YOU),
                timeout=TIMEOUT_S,
            )
            for _ in range(100)
        ]
        wait_until = time.monotonic() + TIMEOUT_S
        while sum(call.done() for call in calls) < 35 and time.monotonic() < wait_until:
            time.sleep(0.01)
        models.go_on.set()
        codes = [call.code() for call in calls]

        assert codes.count(grpc.StatusCode.OK) == 1 + WAITING_MAX
        assert codes.count(grpc.StatusCode.RESOURCE_EXHAUSTED) == 99 - WAITING_MAX


def test_a_full_disk_is_said_to_be_temporary(api: Api) -> None:
    api.models.failure = StoreUnavailable("/data/onefold.sqlite: the disk is full")
    said = refused(lambda: recommend(api))

    assert (said.code, said.reason) == (grpc.StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE")
    assert said.retry_s == 1
    assert "/data" not in said.message


def test_a_port_in_use_is_said_so(api: Api) -> None:
    with pytest.raises(PortTaken, match=str(api.server.port)):
        RpcServer(api.served, GrpcConfig(port=api.server.port))


def test_several_servers_may_share_a_port(tmp_path: Path) -> None:
    with Api(tmp_path / "a", GrpcConfig(port=0, reuse_port=True, grace_s=0)) as first:
        shared = GrpcConfig(port=first.server.port, reuse_port=True, grace_s=0)
        with Api(tmp_path / "b", shared) as second:
            assert second.server.port == first.server.port
            assert health(second) == SERVING


def test_any_number_of_callers_at_once_get_their_own_answers(api: Api) -> None:
    for n in range(8):
        api.shop.see(user=f"u{n}", view=f"item{n}")
    stub = ProfileServiceStub(api.channel)
    requests = [pb.GetProfileRequest(lookup=who(user_id=f"u{n % 8}")) for n in range(64)]
    calls = [stub.GetProfile.future(request, timeout=TIMEOUT_S) for request in requests]
    for n, call in enumerate(calls):
        assert call.result().profile.interactions[0].item_id == f"item{n % 8}"
