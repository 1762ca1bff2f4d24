"""Who may call: a shared token, TLS, and certificates of callers; off the loopback TLS and one of the others."""

from __future__ import annotations

import hmac
import re
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from model_server.errors import ErrorKind, PoseDubError
from model_server.service.address import ServerAddress

HEADER = "authorization"
_SENDABLE = re.compile(r"[\x20-\x7e]*")
WRONG = "The server wants a token and this one is wrong; copy it from the server's --token-file."
MISSING = "The server wants a token and none was given; copy it from the server's --token-file."


@dataclass(frozen=True)
class Security:
    """How a server is protected.

    Attributes:
        token: what callers must send, "" for none.
        tls: (certificate, key) in PEM, None for plain text.
        client_ca: who signs the certificates that callers must have (mutual TLS), in PEM; b"" when they need none.
    """

    token: str = ""
    tls: tuple[bytes, bytes] | None = None
    client_ca: bytes = b""

    @staticmethod
    def read(
        token_file: Path | None, cert: Path | None = None, key: Path | None = None, client_ca: Path | None = None
    ) -> Security:
        """From files; PoseDubError when one cannot be read or a part of TLS is missing."""
        if client_ca and not (cert and key):
            raise PoseDubError("Certificates of callers need TLS; give --tls-cert and --tls-key with --tls-client-ca.")
        token = _content(token_file).decode(errors="replace").strip() if token_file else ""
        if token_file and not token:
            raise PoseDubError(f"The token file {token_file} is empty; write a long random word into it.")
        if not _SENDABLE.fullmatch(token):
            raise PoseDubError(f"The token file {token_file} holds more than one plain word; write one into it.")
        return Security(token, own_certificate(cert, key), authority(client_ca, "--tls-client-ca"))

    def check_host(self, host: str) -> None:
        """Refuse to be reachable from other machines without TLS and a token or certificates of callers."""
        if not ServerAddress(host).loopback and not ((self.token or self.client_ca) and self.tls):
            raise PoseDubError(
                f"Serving on {host} makes this server reachable from other machines; give --tls-cert, --tls-key and "
                "--token-file or --tls-client-ca, or serve on 127.0.0.1.",
                ErrorKind.UNSUPPORTED,
            )


def authority(file: Path | None, option: str = "--tls-ca") -> bytes:
    """Certificates to trust, in PEM, b"" for none; PoseDubError when the file holds none."""
    if file is None:
        return b""
    content = _content(file)
    try:
        ssl.create_default_context(cadata=content.decode())
    except (ssl.SSLError, ValueError) as error:
        raise PoseDubError(f"{file} holds no certificate in PEM; give {option} the authority's own file.") from error
    return content


def own_certificate(cert: Path | None, key: Path | None) -> tuple[bytes, bytes] | None:
    """Certificate and key in PEM, which fit; gRPC would only say that it cannot serve. None where neither is given.

    Raises:
        PoseDubError: one is missing or cannot be read, or they do not fit.
    """
    if (cert is None) != (key is None):
        raise PoseDubError("A certificate needs its key; give both --tls-cert and --tls-key.")
    if cert is None or key is None:
        return None
    contents = _content(cert), _content(key)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert, key, password="")
    except (ssl.SSLError, ValueError, OSError) as error:
        raise PoseDubError(
            f"{cert} and {key} are no certificate and its key in PEM, or the key has a password; give a pair that fits."
        ) from error
    return contents


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise PoseDubError(f"{path} cannot be read ({error.strerror}); check the path.", ErrorKind.NOT_FOUND) from error


class TokenGate(grpc.aio.ServerInterceptor):
    """Turns callers without the token away; health checks may pass."""

    def __init__(self, token: str) -> None:
        self._expected = f"Bearer {token}".encode()

    async def intercept_service(
        self, proceed: Callable[[Any], Awaitable[Any]], details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler:
        """Hand on the real handler, or one of the same shape that refuses."""
        handler = await proceed(details)
        sent = dict(details.invocation_metadata).get(HEADER, "").encode()
        if handler is None or hmac.compare_digest(sent, self._expected) or "grpc.health" in details.method:
            return handler
        return _refusing(handler, WRONG if sent else MISSING)


def _refusing(handler: grpc.RpcMethodHandler, sentence: str) -> grpc.RpcMethodHandler:
    async def refuse(_request: Any, context: grpc.aio.ServicerContext) -> None:
        await context.abort(grpc.StatusCode.UNAUTHENTICATED, sentence)

    async def refuse_stream(_request: Any, context: grpc.aio.ServicerContext):  # type: ignore[no-untyped-def]
        await context.abort(grpc.StatusCode.UNAUTHENTICATED, sentence)
        yield  # makes this a stream

    incoming = "stream" if handler.request_streaming else "unary"
    outgoing = "stream" if handler.response_streaming else "unary"
    make = getattr(grpc, f"{incoming}_{outgoing}_rpc_method_handler")
    return make(refuse_stream if handler.response_streaming else refuse)
