"""Generate `service/pb` from `proto/`: `python -m service.generate` (`make proto`)."""

import re
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator
from importlib import resources
from pathlib import Path
from typing import Final

from google.protobuf.descriptor_pb2 import (
    FileDescriptorProto,
    FileDescriptorSet,
    MethodDescriptorProto,
)

ROOT: Final = Path(__file__).parent.parent
PROTO: Final = ROOT / "proto"
PB: Final = ROOT / "service" / "pb"

_IMPORT: Final = re.compile(r"^from onefold\.", re.MULTILINE)
_PACKAGES: Final = ("", "onefold", "onefold/v1")


class GenerationFailed(Exception):
    """protoc refused a file, and said why on standard error; or this module cannot say its types."""


def generate(target: Path) -> None:
    """Write the package that the protos make into `target`, which is replaced."""
    from grpc_tools import protoc

    well_known = str(resources.files("grpc_tools") / "_proto")
    files = sorted(str(path.relative_to(PROTO)) for path in PROTO.rglob("*.proto"))
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder)
        described = made / "descriptors"
        status = protoc.main(
            ["protoc", f"-I{PROTO}", f"-I{well_known}", f"--python_out={made}", f"--pyi_out={made}",
             f"--grpc_python_out={made}", f"--descriptor_set_out={described}", *files]
        )  # fmt: skip
        if status:
            raise GenerationFailed(f"protoc ended with {status}")
        for file in FileDescriptorSet.FromString(described.read_bytes()).file:
            if file.service:
                stub = made / file.name.replace(".proto", "_pb2_grpc.pyi")
                stub.write_text(grpc_stub(file))
        if target.exists():
            shutil.rmtree(target)
        for package in _PACKAGES:
            (target / package).mkdir(parents=True, exist_ok=True)
            (target / package / "__init__.py").write_text(
                '"""Generated from `proto/` by `make proto`."""\n'
            )
        for path in sorted([*made.rglob("*_pb2*.py"), *made.rglob("*_pb2*.pyi")]):
            if path.name.endswith("_pb2_grpc.py") and not path.with_suffix(".pyi").exists():
                continue  # a file without services
            text = _IMPORT.sub("from service.pb.onefold.", path.read_text())
            (target / path.relative_to(made)).write_text(text)


def grpc_stub(file: FileDescriptorProto) -> str:
    """Types of the client stubs and servicers of one file, which protoc leaves untyped."""
    needed = sorted(
        {_module(kind) for service in file.service for method in service.method
         for kind in (method.input_type, method.output_type)}
    )  # fmt: skip
    # Requests and replies stand beside their service: buf's RPC_REQUEST_STANDARD_NAME asks for it.
    module = Path(file.name).stem + "_pb2"
    if needed != [file.package]:
        raise GenerationFailed(f"{file.name}: messages of other packages: {needed}")
    streams = any(method.server_streaming for service in file.service for method in service.method)
    lines = ["from collections.abc import Iterator", ""] if streams else []
    lines += ["import grpc", "", f"from onefold.v1 import {module} as pb", ""]
    for service in file.service:
        lines += [
            f"class {service.name}Stub:",
            "    def __init__(self, channel: grpc.Channel) -> None: ...",
        ]
        lines += [f"    {line}" for line in _stub_lines(service.method)]
        lines += ["", f"class {service.name}Servicer:"]
        for method in service.method:
            request, reply = _name(method.input_type), _name(method.output_type)
            if method.server_streaming:
                reply = f"Iterator[{reply}]"
            lines += [
                f"    def {method.name}(",
                f"        self, request: {request}, context: grpc.ServicerContext, /",
                f"    ) -> {reply}: ...",
            ]
        lines += [
            "",
            f"def add_{service.name}Servicer_to_server(",
            f"    servicer: {service.name}Servicer, server: grpc.Server",
            ") -> None: ...",
            "",
        ]
    return "\n".join(lines)


def _stub_lines(methods: Iterable[MethodDescriptorProto]) -> Iterator[str]:
    for method in methods:
        if method.client_streaming:
            raise GenerationFailed(f"{method.name}: streams of requests have no types here yet")
        request, reply = _name(method.input_type), _name(method.output_type)
        kind = "UnaryStreamMultiCallable" if method.server_streaming else "UnaryUnaryMultiCallable"
        yield f"{method.name}: grpc.{kind}[{request}, {reply}]"


def _module(kind: str) -> str:
    return kind.lstrip(".").rpartition(".")[0]


def _name(kind: str) -> str:
    return "pb." + kind.rpartition(".")[2]


if __name__ == "__main__":
    generate(PB)
    sys.stdout.write(f"{PB} is generated from {PROTO}\n")
