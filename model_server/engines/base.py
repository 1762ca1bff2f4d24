"""What every engine offers to the pipeline. Importing this module does not import torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from model_server.engines.pose_map import PoseMap
from model_server.errors import ErrorKind, PoseDubError
from model_server.networks.presets import IMAGE_SIZE, PRESETS, PresetName

if TYPE_CHECKING:
    from torch import Tensor

    from model_server.networks.assembly import OwnCodes

WeightsKind = Literal["untrained", "trained", "imported"]
Precision = Literal["fp32", "bf16"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)


@dataclass(frozen=True)
class WeightsInfo:
    """Where weights come from and what they fit.

    Attributes:
        id: SHA-256 of the weights file; a fixed name for the built-in untrained values.
        name: what the user calls them.
        kind: with "untrained" weights nobody speaks or turns, and they must be shown as such.
        path: the safetensors file, None for built-in values.
        source: SHA-256 of what the weights were imported from, or "".
        pose_map: head angles and pose codes of the weights, None where it is not known.
    """

    id: str
    name: str
    kind: WeightsKind
    preset: PresetName
    path: Path | None = None
    source: str = ""
    pose_map: PoseMap | None = None


def check_size(size: int, weights: WeightsInfo) -> None:
    """Raise PoseDubError unless frames of `size` x `size` pixels can be drawn with `weights`."""
    if size != IMAGE_SIZE and not PRESETS[weights.preset].warps:
        raise PoseDubError(
            f"The weights {weights.name} draw {IMAGE_SIZE}x{IMAGE_SIZE} pictures only; set the picture size to "
            f"{IMAGE_SIZE} or choose lite weights.",
            ErrorKind.UNSUPPORTED,
        )


@dataclass(frozen=True)
class Identity:
    """A portrait as the generator sees it; belongs to the engine that made it.

    Attributes:
        vector: (1, identity size), on the engine's device.
        map: (1, channels, 7, 7), on the engine's device.
        pose: (12,), the portrait's own pose code.
        portrait: (1, 3, size, size) in [-1, 1], on the engine's device; frames get its size.
        own: the codes (1, ...) of what `portrait` shows, on the engine's device.
    """

    vector: Tensor
    map: Tensor
    pose: NDArray[np.float32]
    portrait: Tensor
    own: OwnCodes


class Engine(Protocol):
    """Turns portrait crops, mel windows and pose codes into frames.

    All pictures are uint8 RGB and have already lost the border that the networks do not see. Encoders look at
    (n, 224, 224, 3) with n >= 1; frames are (n, size, size, 3) with the size of the identity's portrait. A result
    depends only on its own row, never on the other rows of a call. One caller at a time.
    """

    name: str
    weights: WeightsInfo
    device: str
    precision: Precision

    @property
    def compiling(self) -> bool:
        """Whether the first call waits for code that is being made for this processor, once."""
        ...

    @property
    def batch_size(self) -> int:
        """How many frames of one call keep the device busy."""
        ...

    @property
    def first_batch(self) -> int:
        """How many frames take no longer than one, for whoever waits for the first."""
        ...

    def identity(self, crops: NDArray[np.uint8], portrait: NDArray[np.uint8] | None = None) -> Identity:
        """Identity of a portrait; several crops of one person are averaged.

        Args:
            crops: (n, 224, 224, 3).
            portrait: what the first crop shows, (size, size, 3) with the size that frames shall have; the first crop
                when None.

        Raises:
            PoseDubError: these weights cannot draw at that size.
        """
        ...

    def pose_codes(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Pose codes (n, 12) of the heads in `crops`."""
        ...

    def speech_contents(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Speech contents (n, feature size) of log-mel windows (n, 80, 20) in [0, 1].

        They are remembered, for `frames` of the same windows too.
        """
        ...

    def forget(self) -> None:
        """Begin as a new engine would: with nothing remembered."""
        ...

    def frames(
        self,
        identity: Identity,
        windows: NDArray[np.float32],
        codes: NDArray[np.float32],
        mouth_strength: float | NDArray[np.float32],
        seed: int,
    ) -> NDArray[np.uint8]:
        """Draw frames.

        Args:
            identity: of the person to draw.
            windows: log-mel windows (n, 80, 20) in [0, 1].
            codes: pose codes (n, 12).
            mouth_strength: gain of the speech content, 1.2 in the published recipe; one for all frames, or (n,).
            seed: of the generator's noise, in [0, 2^64); the same for all frames of a job.
        """
        ...

    def fingerprint(self) -> str:
        """Short text that names all that changes pictures besides the request: code, weights, arithmetic."""
        ...
