"""What the preferences let the editor choose, and where takes lie."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from .address import PORT

HOST = "127.0.0.1"
TAKES = "//dubs"
"""Folder of the takes of a saved .blend file, as Blender writes paths beside it."""


@dataclass(frozen=True)
class SetupSettings:
    """How the server on this computer is set up.

    Attributes:
        root: folder that it is installed in.
        build: of PyTorch, as in `core.torch_builds`; "" for the one that fits the machine.
        wheels: folder that all packages come from, "" for the network.
        proxy: URL, "" for what the system knows.
    """

    root: str
    build: str = ""
    wheels: str = ""
    proxy: str = ""


def installation_folder(system: str, environment: Mapping[str, str], home: Path) -> Path:
    """Where the server is installed when nothing else is said: the same for every Blender of this user.

    Args:
        system: as `platform.system()` names it. On Windows the path is short, since PyTorch's own paths are long.
    """
    if system == "Windows":
        return Path(environment.get("LOCALAPPDATA") or home / "AppData" / "Local") / "PoseDub" / "server"
    if system == "Darwin":
        return home / "Library" / "Application Support" / "posedub" / "blender-server"
    return Path(environment.get("XDG_DATA_HOME") or home / ".local" / "share") / "posedub" / "blender-server"


@dataclass(frozen=True)
class ServerSettings:
    """How the model server is reached.

    Attributes:
        mode: "local" starts and stops a server on this machine, "address" uses one that runs.
        executable: the local server's command, "" to look for it.
        port: of the local server, on loopback.
        data_dir: the local server's store, "" for the add-on's own folder.
        actor: weights file that the local server offers beside its own ones, "" for none.
        address, token, tls_ca, tls_cert, tls_key: as in `client.connection.Endpoint`, for "address".
    """

    mode: Literal["local", "address"] = "local"
    executable: str = ""
    port: int = PORT
    data_dir: str = ""
    actor: str = ""
    address: str = f"{HOST}:{PORT}"
    token: str = ""
    tls_ca: str = ""
    tls_cert: str = ""
    tls_key: str = ""

    @property
    def target(self) -> str:
        """Address to connect to, "host:port"."""
        return f"{HOST}:{self.port}" if self.mode == "local" else self.address
