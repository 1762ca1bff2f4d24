"""Domain errors as gRPC statuses, and back."""

from __future__ import annotations

import grpc

from model_server.errors import ErrorKind, PoseDubError
from model_server.service.address import HOW, names_port, parse


def status_of(error: PoseDubError) -> grpc.StatusCode:
    """The gRPC status that carries this kind of error."""
    return grpc.StatusCode[error.kind.value]


_TLS_SIGNS = ("ssl", "tls", "certificate", "handshake")
_UNTRUSTED = (
    "No trusted connection to the server could be made; give --tls-ca the file of its certificate authority, or leave "
    "it out if the server has none."
)
_ABSENT = "The PoseDub server at {} does not answer; start it with `posedub serve` and check the address."
_CLOSED_SIGNS = ("socket closed", "connection reset")
_CLOSED = (
    "What listens at {} closes the connection at once; it may want TLS (--tls-ca), or to know you by your certificate "
    "(--tls-cert, --tls-key)."
)
_WITHOUT_PORT = "The PoseDub server {} does not answer, and its address names no port, so that {} was asked; {}"
_OTHER = "What answers there is no PoseDub server of this version; check the address, or update the server."
_LATE = "The PoseDub server did not answer in time; look at its log, or try again."


def error_of(call: grpc.RpcError, address: str) -> PoseDubError:
    """The domain error that a failed call to a server stands for."""
    code, details = call.code(), call.details() or "The server gave no reason."
    kind = ErrorKind(code.name) if code.name in {kind.value for kind in ErrorKind} else ErrorKind.UNAVAILABLE
    return PoseDubError(_sentence(call, details, address), kind)


def is_absent(call: grpc.RpcError) -> bool:
    """Whether nothing answers, or nothing any more; a server that says that it is not available names itself."""
    details = (call.details() or "").lower()
    return call.code() is grpc.StatusCode.UNAVAILABLE and "posedub" not in details


def _sentence(call: grpc.RpcError, details: str, address: str) -> str:
    """What the server said, or what it means where gRPC speaks for itself."""
    code = call.code()
    if is_absent(call):
        if "failed to connect" in details and any(sign in details.lower() for sign in _CLOSED_SIGNS):
            return _CLOSED.format(parse(address).target)
        return _UNTRUSTED if any(sign in details.lower() for sign in _TLS_SIGNS) else _absent(address)
    return {grpc.StatusCode.UNIMPLEMENTED: _OTHER, grpc.StatusCode.DEADLINE_EXCEEDED: _LATE}.get(code, details)


def _absent(address: str) -> str:
    asked = parse(address)
    return _ABSENT.format(asked.target) if names_port(address) else _WITHOUT_PORT.format(address, asked.target, HOW)
