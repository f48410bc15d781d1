"""Reads what a refused call says."""

from collections.abc import Callable
from typing import Any

import grpc
import msgspec
import pytest
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]
from grpc_status import rpc_status  # type: ignore[import-untyped]


class Refused(msgspec.Struct, frozen=True):
    """A status, as callers see it."""

    code: grpc.StatusCode
    message: str
    reason: str
    fields: list[str] = []
    retry_s: int | None = None


def refused(call: Callable[[], Any]) -> Refused:
    """What `call` was refused for; it must be refused."""
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return read(caught.value)


def read(error: Any) -> Refused:
    """A status with exactly one ErrorInfo."""
    status: status_pb2.Status = rpc_status.from_call(error)
    assert status is not None, f"no details: {error.code()} {error.details()}"
    details = {}
    for packed in status.details:
        kind = getattr(error_details_pb2, packed.TypeName().rpartition(".")[2])
        assert kind not in details
        details[kind] = kind.FromString(packed.value)
    info = details[error_details_pb2.ErrorInfo]
    assert info.domain == "onefold.dev"
    bad = details.get(error_details_pb2.BadRequest)
    retry = details.get(error_details_pb2.RetryInfo)
    return Refused(
        error.code(),
        status.message,
        info.reason,
        [violation.field for violation in bad.field_violations] if bad else [],
        retry.retry_delay.seconds if retry else None,
    )
