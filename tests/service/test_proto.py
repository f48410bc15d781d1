"""The protos are well kept, and the committed code is theirs."""

import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest

from service.generate import PB, ROOT, generate
from service.pb.onefold.v1 import (
    catalog_service_pb2,
    decision_service_pb2,
    identity_service_pb2,
    profile_service_pb2,
    recommendation_service_pb2,
    segment_service_pb2,
)
from service.rpc.server import SERVICES
from tests.service.conftest import TIMEOUT_S, Api
from tests.service.refusals import read

FILES = (
    catalog_service_pb2,
    decision_service_pb2,
    identity_service_pb2,
    profile_service_pb2,
    recommendation_service_pb2,
    segment_service_pb2,
)


def buf() -> str:
    beside = Path(sys.executable).with_name("buf")
    found = str(beside) if beside.exists() else shutil.which("buf")
    if found is None:
        pytest.skip("buf is not installed: pip install buf-bin")
    return found


def texts(folder: Path) -> dict[Path, str]:
    paths = [path for path in folder.rglob("*.py*") if "__pycache__" not in path.parts]
    return {path.relative_to(folder): path.read_text() for path in paths}


def test_buf_finds_nothing_to_say() -> None:
    run = subprocess.run([buf(), "lint"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (run.stdout, run.stderr, run.returncode) == ("", "", 0)


def test_the_committed_code_is_what_the_protos_make(tmp_path: Path) -> None:
    pytest.importorskip("grpc_tools", reason="grpcio-tools is not installed: make setup")
    generate(tmp_path / "pb")

    made = {
        path.relative_to(tmp_path / "pb"): path.read_text()
        for path in (tmp_path / "pb").rglob("*.py*")
    }
    kept = {
        path.relative_to(PB): path.read_text()
        for path in PB.rglob("*.py*")
        if "__pycache__" not in path.parts
    }
    assert kept.keys() == made.keys()
    assert [str(path) for path in made if made[path] != kept[path]] == [], "run `make proto`"


def test_every_service_is_served() -> None:
    named = {s.full_name for file in FILES for s in file.DESCRIPTOR.services_by_name.values()}
    assert named == set(SERVICES)


def test_every_method_is_served(api: Api) -> None:
    for file in FILES:
        for service in file.DESCRIPTOR.services_by_name.values():
            for method in service.methods:
                path = f"/{service.full_name}/{method.name}"
                call: Any = api.channel.unary_unary(path)
                if method.server_streaming:
                    call = partial(first_of, api.channel.unary_stream(path))
                code, _ = answer(call, b"")
                assert code in (grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT), method.name


def first_of(call: Any, request: bytes, timeout: float) -> bytes:
    stream = call(request, timeout=timeout)
    first: bytes = next(stream)
    stream.cancel()
    return first


def answer(call: Any, request: bytes) -> tuple[grpc.StatusCode, bytes]:
    try:
        return grpc.StatusCode.OK, call(request, timeout=TIMEOUT_S)
    except grpc.RpcError as error:
        return read(error).code, b""
