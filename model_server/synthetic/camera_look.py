"""What a camera and a codec make of pictures: colour cast, contrast, softness, noise, sharpening, JPEG and H.264.

One draw serves all pictures of a clip, as one camera does. Strengths are those of webcams, telephones and broadcasts.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

Picture = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.floating]

FPS = 25


@dataclass(frozen=True)
class CameraLook:
    """One camera.

    Attributes:
        gains: (3,) colour cast.
        gamma: of the contrast curve.
        vignette: darkening of the corners, 0 to 1.
        reduction: the picture's true sharpness as part of its side; 1 for all of it.
        blur: standard deviation of a blur, pixels.
        motion: length (x, y) of a blur by movement, pixels.
        sharpening: strength of an unsharp mask.
        noise, colour_noise: standard deviations of 255.
        jpeg: quality; 0 for none.
        h264: constant rate factor; 0 for none.
        seed: of the noise.
    """

    gains: Floats
    gamma: float
    vignette: float
    reduction: float
    blur: float
    motion: tuple[float, float]
    sharpening: float
    noise: float
    colour_noise: float
    jpeg: int
    h264: int
    seed: int

    def of(self, pictures: Sequence[Picture]) -> list[Picture]:
        """Pictures (h, w, 3) of a clip as this camera would have stored them."""
        seen = [self._seen(picture, k) for k, picture in enumerate(pictures)]
        if self.h264:
            return _through_h264(seen, self.h264)
        return [_through_jpeg(picture, self.jpeg) for picture in seen] if self.jpeg else seen

    def _seen(self, picture: Picture, number: int) -> Picture:
        height, width = picture.shape[:2]
        light: Any = (picture.astype(np.float32) / 255) ** self.gamma * self.gains.astype(np.float32)
        light *= 1 - self.vignette * _from_centre(height, width)[..., None]
        if self.reduction < 1:
            small = (max(int(width * self.reduction), 8), max(int(height * self.reduction), 8))
            light = cv2.resize(cv2.resize(light, small, interpolation=cv2.INTER_AREA), (width, height))
        if self.blur:
            light = cv2.GaussianBlur(light, (0, 0), self.blur)
        if any(self.motion):
            light = cv2.filter2D(light, -1, _streak(*self.motion))
        if self.sharpening:
            light += self.sharpening * (light - cv2.GaussianBlur(light, (0, 0), 1.2))
        rng = np.random.default_rng([self.seed, number])
        grey = rng.standard_normal((height, width, 1), np.float32) * self.noise
        colour = rng.standard_normal((height, width, 3), np.float32) * self.colour_noise
        return np.clip(light * 255 + grey + colour + 0.5, 0, 255).astype(np.uint8)


def random_camera(rng: np.random.Generator) -> CameraLook:
    """Some camera; most clips are compressed, two thirds of them by H.264."""
    soft, codec = rng.random(), rng.random()
    return CameraLook(
        gains=rng.uniform(0.85, 1.12) * rng.normal(1.0, 0.06, 3).clip(0.8, 1.25),
        gamma=float(rng.uniform(0.8, 1.3)),
        vignette=float(rng.uniform(0.0, 0.35)) if rng.random() < 0.4 else 0.0,
        reduction=float(rng.uniform(0.35, 0.9)) if soft < 0.45 else 1.0,
        blur=float(rng.uniform(0.4, 1.6)) if 0.45 <= soft < 0.7 else 0.0,
        motion=tuple(rng.normal(0.0, 2.0, 2).tolist()) if rng.random() < 0.15 else (0.0, 0.0),  # type: ignore[arg-type]
        sharpening=float(rng.uniform(0.2, 1.0)) if rng.random() < 0.4 else 0.0,
        noise=float(rng.uniform(0.0, 6.0)),
        colour_noise=float(rng.uniform(0.0, 3.0)),
        jpeg=int(rng.integers(35, 90)) if codec < 0.3 else 0,
        h264=int(rng.integers(20, 36)) if codec >= 0.4 else 0,
        seed=int(rng.integers(2**31)),
    )


def _through_jpeg(picture: Picture, quality: int) -> Picture:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file).convert("RGB"))


def _through_h264(pictures: Sequence[Picture], rate: int) -> list[Picture]:
    """The same pictures after an H.264 movie of this constant rate factor; their sides are even."""
    height, width = pictures[0].shape[:2]
    encoder = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
    encoder.time_base, encoder.framerate = Fraction(1, FPS), Fraction(FPS)
    # One thread, so that the same clip gives the same bytes.
    encoder.options = {"crf": str(rate), "preset": "veryfast", "threads": "1"}
    decoder = av.CodecContext.create("h264", "r")
    packets = []
    for number, picture in enumerate(pictures):
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
        frame.pts = number
        packets += encoder.encode(frame)
    frames = [frame for packet in (*packets, *encoder.encode(None)) for frame in decoder.decode(packet)]
    frames += decoder.decode(None)
    return [np.asarray(frame.to_ndarray(format="rgb24"), np.uint8) for frame in frames]


def _from_centre(height: int, width: int) -> Floats:
    """Squared distance from the middle (height, width), 1 in the corners."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    return ((x / (width - 1) - 0.5) ** 2 + (y / (height - 1) - 0.5) ** 2) * 2


def _streak(x: float, y: float) -> Floats:
    """A kernel that smears along (x, y) pixels."""
    reach = int(np.ceil(max(abs(x), abs(y)))) + 1
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1), np.float32)
    for t in np.linspace(-0.5, 0.5, 4 * reach + 1):
        kernel[round(reach + t * y), round(reach + t * x)] += 1
    return kernel / kernel.sum()
