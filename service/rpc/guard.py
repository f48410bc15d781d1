"""What stands around every call: is somebody still waiting, and how does an error look from outside."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final, Protocol, TypeAlias, TypeVar, cast

import grpc

from service.rpc.errors import CallCancelled, DeadlinePassed, ServerLeaving, meaning, refuse

_T = TypeVar("_T")

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"

AT_ONCE_MAX: Final = 1 << 20
"""Unary calls at once where nothing else limits them."""
SHORT: Final = frozenset(
    (
        "ProfileService/GetProfile",
        "RecommendationService/Recommend",
        "RecommendationService/RecommendPage",
    )
)
"""Calls of a millisecond, nearly all of it Python, which runs one thread at a time. One after the other, each
is done before the next begins; in a fight over it all take as long as the last, and a quarter more CPU."""
HANGS_S: Final = 0.05
"""A short call that takes longer holds up nobody who comes after that."""
NO_PLACE: Final = nullcontext()
CHECK_EVERY: Final = 16
"""Messages of a stream between two looks at the deadline."""


def check(context: grpc.ServicerContext) -> None:
    """Raise if nobody waits for the answer any more."""
    if not context.is_active():
        raise CallCancelled
    left = context.time_remaining()
    if left is not None and left <= 0:
        raise DeadlinePassed


class RpcMeter(Protocol):
    """Is told of every call."""

    def answered(self, method: str, code: str, seconds: float) -> None:
        """A call of `Service/Method` ended with the gRPC status of that name."""


class Unmetered:
    """`RpcMeter` that nobody reads."""

    def answered(self, method: str, code: str, seconds: float) -> None:
        """Nothing."""


class ShortCalls(ThreadPoolExecutor):
    """A thread that does short calls one by one, in the order they came, from reading to sending.

    With a second one, whose calls are read and sent while the first works, the slowest thousandth takes longer
    by half.
    """

    def __init__(self, others: ThreadPoolExecutor) -> None:
        """While a call hangs, `others` do those that come."""
        super().__init__(1, thread_name_prefix="onefold-short")
        self._others = others
        self._begun: float | None = None
        self._thread: int | None = None

    def mine(self) -> bool:
        """Whether this thread is the one that does short calls, and not one of the others."""
        return threading.get_ident() == self._thread

    def submit(self, fn: Callable[..., _T], /, *args: Any, **kwargs: Any) -> "Future[_T]":
        """As any pool."""
        begun = self._begun
        if begun is not None and time.monotonic() - begun > HANGS_S:
            return self._others.submit(fn, *args, **kwargs)
        return super().submit(self._watched, fn, *args, **kwargs)

    def _watched(self, fn: Callable[..., _T], /, *args: Any, **kwargs: Any) -> _T:
        self._begun, self._thread = time.monotonic(), threading.get_ident()
        try:
            return fn(*args, **kwargs)
        finally:
            self._begun = None


class Gate:
    """Counts the calls under way, and lets no more in when the server ends."""

    def __init__(
        self,
        meter: RpcMeter | None = None,
        at_once: int = AT_ONCE_MAX,
        short: ShortCalls | None = None,
    ) -> None:
        """`short` calls have a thread of their own: for a store that waits for nobody."""
        self._short = short
        self._meter = meter or Unmetered()
        self.slots = threading.Semaphore(at_once)
        """Of unary calls: streams have threads of their own on top."""
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._inside = 0
        self._closed = False

    def threads_of(self, method: str) -> ShortCalls | None:
        """The threads that a method has of its own, if it has."""
        return self._short if method in SHORT else None

    def place(self) -> AbstractContextManager[Any]:
        """What a unary call holds while this thread works on it: a slot, where the thread is one of many."""
        return NO_PLACE if self._short is not None and self._short.mine() else self.slots

    def enter(self) -> None:
        """A call begins; ServerLeaving if it may not."""
        with self._lock:
            if self._closed:
                raise ServerLeaving
            self._inside += 1

    def check(self) -> None:
        """Raise if nobody is let in any more: a call that may go on for long ends then."""
        with self._changed:
            if self._closed:
                raise ServerLeaving

    def leave(self, method: str, code: str, seconds: float) -> None:
        """A call that had entered ended."""
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._changed.notify_all()
        self._meter.answered(method, code, seconds)

    def close(self, timeout_s: float) -> bool:
        """Let nobody in from now on; whether all who were inside left in time."""
        with self._changed:
            self._closed = True
            return self._changed.wait_for(lambda: not self._inside, timeout_s)


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
    behavior: Callable[[Any, grpc.ServicerContext], Any], method: str, gate: Gate
) -> Callable[[Any, grpc.ServicerContext], Any]:
    """`behavior`, not begun for a caller who has gone, its errors as the table says."""

    def call(request: Any, context: grpc.ServicerContext) -> Any:
        begun, code = _enter(gate, context), "OK"
        try:
            with gate.place():
                check(context)
                return behavior(request, context)
        except Exception as error:
            code = meaning(error).code.name
            refuse(error, context)
        finally:
            gate.leave(method, code, time.perf_counter() - begun)

    if (threads := gate.threads_of(method)) is not None:
        # Where grpcio looks for threads other than the server's.
        vars(call)["experimental_thread_pool"] = threads
    return call


def streaming(
    behavior: Callable[[Any, grpc.ServicerContext], Iterator[Any]], method: str, gate: Gate
) -> Callable[[Any, grpc.ServicerContext], Iterator[Any]]:
    """The same for a stream of replies."""

    def call(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        begun, code = _enter(gate, context), "OK"
        try:
            check(context)
            for count, reply in enumerate(behavior(request, context)):
                if count % CHECK_EVERY == 0:
                    check(context)
                yield reply
        except GeneratorExit:
            code = grpc.StatusCode.CANCELLED.name
            raise
        except Exception as error:
            code = meaning(error).code.name
            refuse(error, context)
        finally:
            gate.leave(method, code, time.perf_counter() - begun)

    return call


def _enter(gate: Gate, context: grpc.ServicerContext) -> float:
    try:
        gate.enter()
    except ServerLeaving as error:
        refuse(error, context)
    return time.perf_counter()


def guarded(handler: Handler, method: str = "", gate: Gate | None = None) -> Handler:
    """A method handler with the guard around its behaviour."""
    gate = gate or Gate()
    coding = (handler.request_deserializer, handler.response_serializer)
    if handler.unary_unary is not None:
        call = unary(handler.unary_unary, method, gate)
        return grpc.unary_unary_rpc_method_handler(call, *coding)
    if handler.unary_stream is not None:
        stream = streaming(handler.unary_stream, method, gate)
        return grpc.unary_stream_rpc_method_handler(stream, *coding)
    raise NotImplementedError("Onefold has no client streams")


class GuardedServer:
    """Where generated code registers services: passes them on to a server with every method guarded."""

    def __init__(self, server: grpc.Server, gate: Gate | None = None) -> None:
        self._server = server
        self._gate = gate or Gate()

    def add_generic_rpc_handlers(self, generic_rpc_handlers: Any) -> None:
        """Nothing: `add_registered_method_handlers` is given the same methods, and is faster."""

    def add_registered_method_handlers(
        self, service_name: str, method_handlers: Mapping[str, Handler]
    ) -> None:
        """Register the methods of a service, guarded."""
        # "onefold.v1.ProfileService" and "GetProfile" are "ProfileService/GetProfile" in metrics.
        short = service_name.rpartition(".")[2]
        methods = {
            name: guarded(handler, f"{short}/{name}", self._gate)
            for name, handler in method_handlers.items()
        }
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(service_name, methods),)
        )
        self._server.add_registered_method_handlers(service_name, methods)

    def as_server(self) -> grpc.Server:
        """As generated code takes it: it calls the two methods of this class and no other."""
        return cast(grpc.Server, self)
