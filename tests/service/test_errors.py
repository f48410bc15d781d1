"""The one table of errors, for unary and streaming calls alike."""

import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pkgutil import walk_packages
from typing import Any

import grpc
import pytest

import models
import service.rpc
import storage
from service.rpc.errors import (
    ROOTS,
    TABLE,
    CallError,
    InvalidArgument,
    Meaning,
    Violation,
    meaning,
    tree,
)
from service.rpc.guard import GuardedServer
from storage.errors import StoreError
from tests.service.conftest import TIMEOUT_S
from tests.service.refusals import Refused, read

SECRET = "asha@example.com in /var/lib/onefold.sqlite"


def classes() -> list[type[Exception]]:
    """Every class of every tree, wherever in our packages it is defined."""
    for package in (storage, models, service.rpc):
        for module in walk_packages(package.__path__, package.__name__ + "."):
            import_module(module.name)
    found = [kind for root in ROOTS for kind in tree(root)]
    return [kind for kind in found if kind.__module__.split(".")[0] != "tests"]


def made(kind: type[Exception]) -> Exception:
    if kind is InvalidArgument:
        return InvalidArgument([Violation("lookup", "names nobody")])
    try:
        return kind()
    except TypeError:
        return kind(SECRET)


@pytest.fixture(scope="module")
def failing() -> Iterator[grpc.Channel]:
    """A server that raises what it is asked for, as a unary and as a streaming call."""
    raised = {kind.__name__: made(kind) for kind in [*classes(), KeyError, RecursionError]}
    raised["KeyError"] = KeyError(SECRET)

    def unary(request: bytes, context: grpc.ServicerContext) -> bytes:
        raise raised[request.decode()]

    def stream(request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        yield b"first"
        raise raised[request.decode()]

    pool = ThreadPoolExecutor(2)
    server = grpc.server(pool)
    GuardedServer(server).add_registered_method_handlers(
        "test.Failing",
        {
            "Unary": grpc.unary_unary_rpc_method_handler(unary),
            "Stream": grpc.unary_stream_rpc_method_handler(stream),
        },
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield channel
    server.stop(0).wait()
    pool.shutdown()


def ask(channel: grpc.Channel, name: str, *, streaming: bool) -> Refused:
    open_call: Any = channel.unary_stream if streaming else channel.unary_unary
    call = open_call("/test.Failing/Stream" if streaming else "/test.Failing/Unary")
    with pytest.raises(grpc.RpcError) as caught:
        list(call(name.encode(), timeout=TIMEOUT_S))
    return read(caught.value)


def test_every_error_of_every_tree_has_its_row() -> None:
    assert {kind.__qualname__ for kind in classes() if kind not in TABLE} == set()


def test_every_row_is_of_a_tree() -> None:
    assert [kind.__name__ for kind in TABLE if not issubclass(kind, ROOTS)] == []


def test_every_reason_is_a_name() -> None:
    for row in TABLE.values():
        assert row.reason.isupper()
        assert row.reason.replace("_", "").isalpha()
        assert len(row.reason) <= 63


@pytest.mark.parametrize("streaming", [False, True], ids=["unary", "streaming"])
def test_every_error_looks_as_the_table_says(failing: grpc.Channel, streaming: bool) -> None:
    for kind in classes():
        said = ask(failing, kind.__name__, streaming=streaming)
        row = TABLE[kind]

        assert (said.code, said.reason) == (row.code, row.reason)
        assert said.message == (row.text or str(made(kind)))
        assert (said.retry_s is not None) == (row.code is grpc.StatusCode.UNAVAILABLE)
        assert said.fields == (["lookup"] if kind is InvalidArgument else [])


@pytest.mark.parametrize("streaming", [False, True], ids=["unary", "streaming"])
@pytest.mark.parametrize("name", ["KeyError", "RecursionError", "StoreError", "ModelError"])
def test_what_callers_are_not_meant_to_know_is_not_said(
    failing: grpc.Channel, name: str, streaming: bool
) -> None:
    said = ask(failing, name, streaming=streaming)

    assert said.code is grpc.StatusCode.INTERNAL
    assert "asha" not in said.message
    assert "/var" not in said.message


def test_the_log_says_where_but_not_whom(
    failing: grpc.Channel, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR, "service.rpc.errors"):
        ask(failing, "KeyError", streaming=False)

    assert "KeyError" in caplog.text
    assert "test_errors.py" in caplog.text
    assert "asha" not in caplog.text


def test_a_class_without_a_row_is_seen_as_the_one_above_it() -> None:
    class Leaky(StoreError):
        """Defined in a test."""

    assert meaning(Leaky()) is TABLE[StoreError]
    assert meaning(ValueError()).code is grpc.StatusCode.INTERNAL
    assert isinstance(meaning(CallError()), Meaning)
