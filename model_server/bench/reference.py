"""The reference path: the published inference as one would write it down (Zhou et al., CVPR 2021, authors' release).

Float32 in the ordinary memory layout. Modulated convolutions are grouped ones with weights of each image's own, as in
StyleGAN2 (Karras et al. 2020, equations 1 to 3). Every frame runs the identity encoder, the pose encoder, the speech
encoder and twice the generator (once in the portrait's own pose, once in the driven one), and is written as a PNG
before the next begins. Only the noise differs from the release: it is the job's, so that the pictures can be compared.
"""

from __future__ import annotations

from io import BytesIO

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from model_server.bench.decoded import Decoded
from model_server.bench.figures import Stopwatch
from model_server.engines.base import MARGIN, Relief, WeightsInfo
from model_server.engines.pcavs.conditioning import GAIN
from model_server.engines.pcavs.identity import held, surface_of, turned_offsets
from model_server.engines.pcavs.untrained import untrained_state
from model_server.engines.weights_file import read_state
from model_server.features import MelWindows
from model_server.networks.layers.modulation import EPSILON, ModulatedConv
from model_server.networks.pcavs.model import Networks, OwnCodes, build
from model_server.pipeline.request import DubSpec, parameters_of

MEL, IDENTITY, POSE, SPEECH, GENERATOR, ENCODE = "mel", "identity", "pose", "speech", "generator", "encode"
STAGES = (MEL, IDENTITY, POSE, SPEECH, GENERATOR, ENCODE)


class GroupedModulatedConv(nn.Module):
    """Modulated convolution whose weights are made for each image; a group of the convolution is an image.

    Args:
        conv: whose weights are taken.
    """

    def __init__(self, conv: ModulatedConv) -> None:
        super().__init__()
        self.conv = conv

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """As `ModulatedConv.forward`."""
        count, weights = len(x), self._weights(style)
        images = x.reshape(1, -1, *x.shape[2:])
        if self.conv.upsample:
            y = F.conv_transpose2d(images, weights.transpose(1, 2).flatten(0, 1), stride=2, groups=count)
            return _blur(y.reshape(count, -1, *y.shape[2:]))
        y = F.conv2d(images, weights.flatten(0, 1), padding=weights.shape[-1] // 2, groups=count)
        return y.reshape(count, -1, *y.shape[2:])

    def _weights(self, style: Tensor) -> Tensor:
        """Modulated and demodulated weights (n, outputs, inputs, k, k)."""
        conv = self.conv
        weights = conv.scale * conv.weight * conv.modulation(style)[:, None, :, None, None]
        if not conv.demodulate:
            return weights
        return weights * torch.rsqrt(weights.square().sum((2, 3, 4), keepdim=True) + EPSILON)


class ReferencePath:
    """Makes frames one after the other and remembers nothing.

    Args:
        weights: the same as the fast path's.
        device: "cpu" or "cuda".
    """

    def __init__(self, weights: WeightsInfo, device: str) -> None:
        state = read_state(weights.path) if weights.path else untrained_state(weights.preset)
        self._networks = _grouped(build(weights.preset, state)).to(device)
        self._device, self._pose_map = device, weights.pose_map

    def run(self, media: Decoded, spec: DubSpec, count: int) -> tuple[list[bytes], Stopwatch]:
        """PNG files of the first `count` frames, and what each stage took in all."""
        watch = Stopwatch(self._device)
        windows, noise = MelWindows(media.speech, spec.fps), self._noise(spec.seed)
        with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            own = self._own_codes(media, watch)
            return [self._frame(media, spec, k, windows, noise, own, watch) for k in range(count)], watch

    def _own_codes(self, media: Decoded, watch: Stopwatch) -> OwnCodes:
        """How the portrait itself holds mouth and head: that is read once here, too."""
        with watch.stage(POSE):
            own = self._networks.own_codes(self._networks.nonidentity_encoder(self._image(media.portrait.seen)))
            pose = held(self._relief(media), self._pose_map, own.pose.cpu().numpy()[0])
            return own._replace(pose=torch.from_numpy(pose)[None].to(self._device))

    def _frame(
        self,
        media: Decoded,
        spec: DubSpec,
        index: int,
        windows: MelWindows,
        noise: list[Tensor],
        own: OwnCodes,
        watch: Stopwatch,
    ) -> bytes:
        networks = self._networks
        with watch.stage(MEL):
            window = torch.tensor(windows.windows([index]), device=self._device)[:, None]
        with watch.stage(IDENTITY):
            vector, feature_map = networks.identity_encoder(self._image(media.portrait.seen))
        with watch.stage(POSE):
            encoder = networks.nonidentity_encoder
            driven = encoder.pose_code(encoder(self._image(media.views[media.view_of[index]])))
        with watch.stage(SPEECH):
            content = networks.speech_encoder(window) * parameters_of(spec)[GAIN]
        with watch.stage(GENERATOR):
            mouth = networks.nonidentity_encoder.mouth_code(content)
            portrait, margin = self._image(media.portrait.surrounded), len(media.portrait.drawn) // MARGIN
            drawn = [
                networks.draw(
                    feature_map,
                    networks.joined_style(vector, mouth, pose, own),
                    noise,
                    portrait,
                    self._turned(media, own.pose, pose),
                    margin,
                )
                for pose in (own.pose, driven)
            ]
            picture = _picture(drawn[1])
        with watch.stage(ENCODE):
            return _default_png(picture)

    def _relief(self, media: Decoded) -> Relief | None:
        return media.portrait.relief if self._networks.preset.warps else None

    def _turned(self, media: Decoded, own: Tensor, pose: Tensor) -> Tensor | None:
        """How the portrait's relief turns: no part of the published inference, but of these weights' pictures."""
        surface = surface_of(self._relief(media))
        codes = [code.cpu().numpy() for code in (own, pose)]
        offsets = turned_offsets(surface, self._pose_map, codes[0][0], codes[1], map)
        return offsets.to(self._device) if offsets.numel() else None

    def _image(self, picture: NDArray[np.uint8]) -> Tensor:
        return torch.tensor(picture, device=self._device).permute(2, 0, 1)[None].float().contiguous() / 127.5 - 1

    def _noise(self, seed: int) -> list[Tensor]:
        """The noise maps of a job, as the engine draws them."""
        normal = np.random.default_rng(seed)
        sizes = self._networks.generator.noise_sizes
        maps = [normal.standard_normal((1, 1, size, size), dtype=np.float32) for size in sizes]
        return [torch.from_numpy(noise).to(self._device) for noise in maps]


def _grouped(networks: Networks) -> Networks:
    """Write every modulated convolution the published way."""
    parents = [(module, name, child) for module in networks.modules() for name, child in module.named_children()]
    for parent, name, child in parents:
        if isinstance(child, ModulatedConv):
            setattr(parent, name, GroupedModulatedConv(child))
    return networks


def _blur(x: Tensor) -> Tensor:
    """The [1, 3, 3, 1] filter with gain four on (n, c, h, w), each channel as a picture of its own."""
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0], device=x.device) / 4
    y = F.conv2d(x.flatten(0, 1)[:, None], torch.outer(taps, taps)[None, None], padding=1)
    return y.reshape(*x.shape[:2], *y.shape[2:])


def _picture(image: Tensor) -> NDArray[np.uint8]:
    """(1, 3, h, w) in [-1, 1] as uint8 (h, w, 3)."""
    return (image[0] * 127.5 + 127.5).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()


def _default_png(picture: NDArray[np.uint8]) -> bytes:
    file = BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    return file.getvalue()
