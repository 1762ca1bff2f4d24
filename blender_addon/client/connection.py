"""API draft, bodies follow."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Endpoint:
    """Where a model server answers.

    Attributes:
        address: "host:port".
        token: bearer token, "" for none.
        tls_ca: file with the certificate authority to trust, "" for none; TLS is
            used when it is set, or when a token goes to another machine.
    """

    address: str = "127.0.0.1:50761"
    token: str = ""
    tls_ca: str = ""
