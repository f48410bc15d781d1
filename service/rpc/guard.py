"""What stands around every call: is somebody still waiting, and how does an error look from outside."""

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, TypeAlias, cast

import grpc

from service.rpc.errors import CallCancelled, DeadlinePassed, refuse

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"

CHECK_EVERY: Final = 16
"""Messages of a stream between two looks at the deadline."""


def check(context: grpc.ServicerContext) -> None:
    """Raise if nobody waits for the answer any more."""
    if not context.is_active():
        raise CallCancelled
    left = context.time_remaining()
    if left is not None and left <= 0:
        raise DeadlinePassed


class Deadline:
    """How long a long call may take: as long as its caller waits, and at most the server's cap."""

    def __init__(self, context: grpc.ServicerContext, cap_s: float) -> None:
        self._context = context
        self._until = time.monotonic() + cap_s

    def check(self) -> None:
        """Raise if the time is up."""
        check(self._context)
        if time.monotonic() >= self._until:
            raise DeadlinePassed


def unary(
    behavior: Callable[[Any, grpc.ServicerContext], Any],
) -> Callable[[Any, grpc.ServicerContext], Any]:
    """`behavior`, not begun for a caller who has gone, its errors as the table says."""

    def call(request: Any, context: grpc.ServicerContext) -> Any:
        try:
            check(context)
            return behavior(request, context)
        except Exception as error:
            refuse(error, context)

    return call


def streaming(
    behavior: Callable[[Any, grpc.ServicerContext], Iterator[Any]],
) -> Callable[[Any, grpc.ServicerContext], Iterator[Any]]:
    """The same for a stream of replies."""

    def call(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        try:
            check(context)
            for count, reply in enumerate(behavior(request, context)):
                if count % CHECK_EVERY == 0:
                    check(context)
                yield reply
        except Exception as error:
            refuse(error, context)

    return call


def guarded(handler: Handler) -> Handler:
    """A method handler with the guard around its behaviour."""
    coding = (handler.request_deserializer, handler.response_serializer)
    if handler.unary_unary is not None:
        return grpc.unary_unary_rpc_method_handler(unary(handler.unary_unary), *coding)
    if handler.unary_stream is not None:
        return grpc.unary_stream_rpc_method_handler(streaming(handler.unary_stream), *coding)
    raise NotImplementedError("Onefold has no client streams")


class GuardedServer:
    """Where generated code registers services: passes them on to a server with every method guarded."""

    def __init__(self, server: grpc.Server) -> None:
        self._server = server

    def add_generic_rpc_handlers(self, generic_rpc_handlers: Any) -> None:
        """Nothing: `add_registered_method_handlers` is given the same methods, and is faster."""

    def add_registered_method_handlers(
        self, service_name: str, method_handlers: Mapping[str, Handler]
    ) -> None:
        """Register the methods of a service, guarded."""
        methods = {name: guarded(handler) for name, handler in method_handlers.items()}
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(service_name, methods),)
        )
        self._server.add_registered_method_handlers(service_name, methods)

    def as_server(self) -> grpc.Server:
        """As generated code takes it: it calls the two methods of this class and no other."""
        return cast(grpc.Server, self)
