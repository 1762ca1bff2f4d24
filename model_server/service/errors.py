"""Domain errors as gRPC statuses, and back."""

from __future__ import annotations

import grpc

from model_server.errors import ErrorKind, PoseDubError


def status_of(error: PoseDubError) -> grpc.StatusCode:
    """The gRPC status that carries this kind of error."""
    return grpc.StatusCode[error.kind.value]


def error_of(call: grpc.RpcError) -> PoseDubError:
    """The domain error that a failed call stands for."""
    code, details = call.code(), call.details() or "The server gave no reason."
    if code is grpc.StatusCode.UNAVAILABLE and "posedub" not in details.lower():
        details = "The PoseDub server does not answer; start it with `posedub serve` and check the address."
    kind = ErrorKind(code.name) if code.name in {kind.value for kind in ErrorKind} else ErrorKind.UNAVAILABLE
    return PoseDubError(details, kind)
