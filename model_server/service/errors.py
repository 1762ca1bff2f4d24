"""Domain errors as gRPC statuses, and back."""

from __future__ import annotations

import grpc

from model_server.errors import ErrorKind, PoseDubError


def status_of(error: PoseDubError) -> grpc.StatusCode:
    """The gRPC status that carries this kind of error."""
    return grpc.StatusCode[error.kind.value]


_TLS_SIGNS = ("ssl", "tls", "certificate", "handshake")
_UNTRUSTED = (
    "No trusted connection to the server could be made; give --tls-ca the file of its certificate authority, or leave "
    "it out if the server has none."
)
_ABSENT = "The PoseDub server does not answer; start it with `posedub serve` and check the address."
_OTHER = "What answers there is no PoseDub server of this version; check the address, or update the server."
_LATE = "The PoseDub server did not answer in time; look at its log, or try again."


def error_of(call: grpc.RpcError) -> PoseDubError:
    """The domain error that a failed call stands for."""
    code, details = call.code(), call.details() or "The server gave no reason."
    kind = ErrorKind(code.name) if code.name in {kind.value for kind in ErrorKind} else ErrorKind.UNAVAILABLE
    return PoseDubError(_sentence(code, details), kind)


def _sentence(code: grpc.StatusCode, details: str) -> str:
    """What the server said, or what it means where gRPC speaks for itself."""
    if code is grpc.StatusCode.UNAVAILABLE and "posedub" not in details.lower():
        return _UNTRUSTED if any(sign in details.lower() for sign in _TLS_SIGNS) else _ABSENT
    return {grpc.StatusCode.UNIMPLEMENTED: _OTHER, grpc.StatusCode.DEADLINE_EXCEEDED: _LATE}.get(code, details)
