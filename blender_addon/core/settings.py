"""What the preferences let the editor choose, and where takes lie."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .address import PORT

HOST = "127.0.0.1"
TAKES = "//dubs"
"""Folder of the takes of a saved .blend file, as Blender writes paths beside it."""


@dataclass(frozen=True)
class ServerSettings:
    """How the model server is reached.

    Attributes:
        mode: "local" starts and stops a server on this machine, "address" uses one that runs.
        executable: the local server's command, "" to look for it.
        port: of the local server, on loopback.
        data_dir: the local server's store, "" for the add-on's own folder.
        actor: weights file that the local server offers beside its own, "" for none.
        address, token, tls_ca: as in `client.connection.Endpoint`, for "address".
    """

    mode: Literal["local", "address"] = "local"
    executable: str = ""
    port: int = PORT
    data_dir: str = ""
    actor: str = ""
    address: str = f"{HOST}:{PORT}"
    token: str = ""
    tls_ca: str = ""

    @property
    def target(self) -> str:
        """Address to connect to, "host:port"."""
        return f"{HOST}:{self.port}" if self.mode == "local" else self.address
