"""Generic gRPC plumbing: handlers and stubs built from the service's descriptor.

protoc's own service stubs demand a runtime at least as new as their generator
and import by absolute names, so both sides build theirs here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from model_server.service.messages import SERVICE


def _shape(method: Any) -> str:
    one = {False: "unary", True: "stream"}
    return f"{one[method.client_streaming]}_{one[method.server_streaming]}"


class Unreadable:
    """Stands for a message that is none of its kind; gRPC itself would tell its sender of Python's errors."""


def _reader(kind: Any) -> Callable[[bytes], Any]:
    def read(data: bytes) -> Any:
        try:
            return kind.FromString(data)
        except DecodeError:
            return Unreadable()

    return read


def handlers(servicer: Any) -> grpc.GenericRpcHandler:
    """Handlers for every method of the service, taken from `servicer` by name."""
    table = {
        method.name: getattr(grpc, f"{_shape(method)}_rpc_method_handler")(
            getattr(servicer, method.name),
            request_deserializer=_reader(method.input_type._concrete_class),
            response_serializer=method.output_type._concrete_class.SerializeToString,
        )
        for method in SERVICE.methods
    }
    return grpc.method_handlers_generic_handler(SERVICE.full_name, table)


class Stub:
    """Callables for every method of the service, as attributes."""

    def __init__(self, channel: grpc.Channel) -> None:
        for method in SERVICE.methods:
            call = getattr(channel, _shape(method))(
                f"/{SERVICE.full_name}/{method.name}",
                request_serializer=method.input_type._concrete_class.SerializeToString,
                response_deserializer=method.output_type._concrete_class.FromString,
            )
            setattr(self, method.name, call)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"the service has no method {name}")
