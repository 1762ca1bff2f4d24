"""Why a server cannot serve at an address; gRPC only says that it cannot."""

from __future__ import annotations

import errno
import socket

from model_server.service.address import ServerAddress

_REASONS = {
    errno.EADDRINUSE: "Port {port} of {host} is taken; stop the other server or choose --port.",
    errno.EACCES: "This user may not serve on port {port}; choose a --port from 1024 on.",
    errno.EADDRNOTAVAIL: "{host} is no address of this computer; serve on 127.0.0.1, or on one of its own.",
    errno.EAFNOSUPPORT: "This computer does not speak the protocol of {host}; serve on 127.0.0.1.",
}


def why_not(place: ServerAddress) -> str:
    """One sentence, found out by trying once more."""
    try:
        choices = socket.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError:
        return f"The name {place.host} is not known on this computer; serve on 127.0.0.1."
    for family, kind, protocol, _, address in choices:
        try:
            with socket.socket(family, kind, protocol) as trial:
                trial.bind(address)
        except OSError as error:
            reason = _REASONS.get(error.errno or 0, "It cannot be served on {host}, port {port}: {error}.")
            return reason.format(host=place.host, port=place.port, error=error.strerror)
    return (
        f"It cannot be served on {place.target}; check that --tls-cert and --tls-key are a certificate and its key, "
        "or choose another --port."
    )
