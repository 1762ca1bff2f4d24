"""Drawing lower faces into frames: pictures to tensors, the network, and pictures back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from model_server.engines.base import FrameSource
from model_server.engines.pcavs.conditioning import PUBLISHED_GAIN, Row
from model_server.errors import PoseDubError
from model_server.networks.cpu.compiler import AVAILABLE
from model_server.networks.pcavs.lower_face import (
    ANGLES,
    REFERENCES,
    LowerFace,
    LowerFaceGenerator,
    References,
    Speech,
    composed,
    pictured,
)
from model_server.networks.pcavs.model import Networks

# How far open lips are drawn at most, in the unit of `LIP_SHAPE`, and from where on they are held back softly: hardly
# any that the network learnt from open further, and of wider ones a smear is all that it can make.
_WIDEST, _HELD_BACK = 6.5, 4.0


@dataclass(frozen=True)
class InPlaceIdentity:
    """A person in a few frames, as the network keeps them; belongs to the engine that made it.

    Attributes:
        pixels: of the frames, bytes (r, side, side, 3).
    """

    references: References
    pixels: Tensor


class LowerFaces:
    """The lower-face network at work, a frame at a time, so that none depends on its neighbours' sizes."""

    def __init__(self, network: LowerFaceGenerator, device: str) -> None:
        self._network, self._device = network, device

    @staticmethod
    def of(networks: Networks, device: str) -> LowerFaces:
        """That of all networks; PoseDubError where these weights have none."""
        if networks.lower_face is None:
            raise PoseDubError("These weights cannot draw into footage in place; set the face source to portrait.")
        return LowerFaces(networks.lower_face, device)

    @torch.inference_mode()
    def identity(self, sources: Sequence[FrameSource]) -> InPlaceIdentity:
        """Whom one to four frames show."""
        shown = sources[:REFERENCES]
        pixels, angles = np.stack([one.picture for one in shown]), np.stack([one.angles for one in shown])
        turned = torch.tensor(angles[None, :, :ANGLES]).to(self._device)
        return InPlaceIdentity(self._network.references(self._images(pixels)[None], turned), torch.from_numpy(pixels))

    @torch.inference_mode()
    def draw(self, identity: InPlaceIdentity, source: FrameSource, content: Tensor, said: Row) -> NDArray[np.uint8]:
        """A lower face, RGBA (side, side, 4), of what is said, and its speech content (1, content)."""
        picture, hidden = self._images(source.picture[None]), torch.tensor(source.hidden > 0)
        asked = drawable(said.lips * np.float32(said.gain / PUBLISHED_GAIN * source.movement))
        lips = torch.tensor(asked[None]).to(self._device)
        speech = Speech(content * said.gain, lips, torch.tensor(source.angles[None, :ANGLES]).to(self._device))
        references, taken = identity.references, hidden.to(self._device).float()[None, None]
        parts = self._network.parts(picture, taken, references, speech)
        if self._device == "cpu" and AVAILABLE:
            return pictured(identity.pixels, hidden.to(torch.uint8), parts).numpy()
        return _rgba(composed(references.pictures, parts))

    def _images(self, pictures: NDArray[np.uint8]) -> Tensor:
        return torch.tensor(pictures).to(self._device).permute(0, 3, 1, 2).float() / 127.5 - 1


def drawable(lips: NDArray[np.float32]) -> NDArray[np.float32]:
    """A shape of lips (4,), see `LIP_SHAPE`, of which no part goes further than can be drawn."""
    opening = float(lips[0])
    if opening <= _HELD_BACK:
        return lips
    room = _WIDEST - _HELD_BACK
    return lips * np.float32((_HELD_BACK + room * np.tanh((opening - _HELD_BACK) / room)) / opening)


def _rgba(drawn: LowerFace) -> NDArray[np.uint8]:
    size = drawn.image.shape[2:]
    visible = F.interpolate(drawn.visible, size, mode="bilinear", align_corners=False) * 2 - 1
    picture = torch.cat([drawn.image.clamp(-1, 1), visible], 1)[0].permute(1, 2, 0)
    return (picture * 127.5 + 127.5).round().to(torch.uint8).cpu().numpy()
