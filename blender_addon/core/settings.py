"""Defaults of everything the preferences and the panel let the editor choose."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .address import PORT
from .faces import CropMode
from .output import FEATHER, OutputMode
from .plan import SIZE, PoseKind, Precision

HOST = "127.0.0.1"


@dataclass(frozen=True)
class ServerSettings:
    """How the model server is reached.

    Attributes:
        mode: "local" starts and stops a server on this machine, "address" uses one that runs.
        executable: the local server's command, "" to look for it.
        port: of the local server, on loopback.
        data_dir: the local server's store, "" for the add-on's own folder.
        address, token, tls_ca: as in `client.connection.Endpoint`, for "address".
    """

    mode: Literal["local", "address"] = "local"
    executable: str = ""
    port: int = PORT
    data_dir: str = ""
    address: str = f"{HOST}:{PORT}"
    token: str = ""
    tls_ca: str = ""

    @property
    def target(self) -> str:
        """Address to connect to, "host:port"."""
        return f"{HOST}:{self.port}" if self.mode == "local" else self.address


@dataclass(frozen=True)
class DubSettings:
    """Defaults of a dub; ranges as in `core.plan.DubPlan` and `core.output.Output`."""

    audio_track: int = 0
    crop: CropMode = "auto"
    pose: PoseKind = "video"
    mouth_strength: float = 1.2
    seed: int = 0
    precision: Precision = "auto"
    size: int = SIZE
    output: OutputMode = "crop"
    mouth_only: float = 0.0
    feather: float = FEATHER
    folder: str = "//dubs"
