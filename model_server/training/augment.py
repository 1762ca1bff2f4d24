"""The target augmentation that defines the non-identity space: it changes looks, never expression (PC-AVS, 3.2).

Geometry is one homography per draw, so that landmarks can follow; everything runs on whole batches.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from model_server.features import CROP_SIDE as IMAGE_SIZE

GAIN_RANGE = (0.3, 1.6)
PERSPECTIVE, STRETCH, CROP, SHIFT = 0.12, 0.12, 0.15, 0.04
TAPS = 9


@dataclass(frozen=True)
class Augmentation:
    """Draws of the augmentation, one per row.

    Attributes:
        homography: (n, 3, 3) from places in the result to places in the original, both in [-1, 1].
        gain: (n, 3) factors of the channels, for values in [0, 1].
        sharpness: (n,) from -1, blurred, to 1, sharpened.
        sigma: (n,) of the blur, pixels.
    """

    homography: Tensor
    gain: Tensor
    sharpness: Tensor
    sigma: Tensor

    def repeated(self, times: int) -> Augmentation:
        """Each draw `times` times in a row: one draw for all frames of a clip."""
        parts = (self.homography, self.gain, self.sharpness, self.sigma)
        return Augmentation(*(part.repeat_interleave(times, 0) for part in parts))

    def images(self, images: Tensor) -> Tensor:
        """Augment (n, 3, h, w) in [-1, 1]; borders are reflected."""
        moved = F.grid_sample(images, self._places(images), padding_mode="reflection", align_corners=False)
        detail = moved - gaussian_blur(moved, self.sigma)
        coloured = (moved + self.sharpness.view(-1, 1, 1, 1) * detail + 1) * self.gain[:, :, None, None] - 1
        return coloured.clamp(-1, 1)

    def points(self, points: Tensor) -> Tensor:
        """Where points (n, k, 2) in view pixels lie in the augmented picture."""
        places = points * (2 / IMAGE_SIZE) - 1
        moved = _projected(torch.linalg.inv(self.homography), places)
        return (moved + 1) * (IMAGE_SIZE / 2)

    def _places(self, images: Tensor) -> Tensor:
        height, width = images.shape[2:]
        y, x = ((torch.arange(size, device=images.device) * 2 + 1) / size - 1 for size in (height, width))
        plane = torch.stack([x.expand(height, width), y[:, None].expand(height, width)], -1).view(1, -1, 2)
        return _projected(self.homography, plane.expand(len(images), -1, -1)).view(-1, height, width, 2)


def draw(count: int, strength: float, device: torch.device | str = "cpu") -> Augmentation:
    """Random draws; `strength` 1 is the published range, 0 changes nothing. Uses torch's own random state."""

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return torch.empty(count, *shape, device=device).uniform_(low, high)

    zoom = 1 - strength * uniform(0, CROP)
    stretch = 1 + strength * uniform(-STRETCH, STRETCH, 2)
    shift = strength * uniform(-SHIFT, SHIFT, 2)
    homography = torch.zeros(count, 3, 3, device=device)
    homography[:, 0, 0], homography[:, 1, 1] = zoom * stretch[:, 0], zoom * stretch[:, 1]
    homography[:, :2, 2] = shift
    homography[:, 2, 0] = strength * uniform(-PERSPECTIVE, PERSPECTIVE)
    homography[:, 2, 2] = 1
    sharpness, sigma = strength * uniform(-1, 1), uniform(0.6, 2.5)
    return Augmentation(homography, _channel_gain(count, strength, device), sharpness, sigma)


def gaussian_blur(images: Tensor, sigma: Tensor) -> Tensor:
    """Blur each of (n, c, h, w) by its own sigma (n,), in pixels, with nine taps."""
    n, c, h, w = images.shape
    offsets = torch.arange(TAPS, device=images.device) - TAPS // 2
    taps = torch.exp(-0.5 * (offsets / sigma[:, None]).square())
    taps = (taps / taps.sum(1, keepdim=True)).repeat_interleave(c, 0)
    x = F.pad(images, (TAPS // 2,) * 4, mode="reflect").view(1, n * c, h + TAPS - 1, w + TAPS - 1)
    x = F.conv2d(x, taps[:, None, None, :], groups=n * c)
    return F.conv2d(x, taps[:, None, :, None], groups=n * c).view(n, c, h, w)


def mouth_boxes(landmarks: Tensor) -> Tensor:
    """Boxes (n, 4) left, top, right, bottom in view pixels around the mouth and chin.

    The crop keeps the mouth in its place, so a fixed box serves where landmarks (n, 68, 2) are NaN.
    """
    jaw, nose = landmarks[:, 4:13], landmarks[:, 33]
    left, right = jaw[..., 0].amin(1) - 4, jaw[..., 0].amax(1) + 4
    boxes = torch.stack([left, nose[:, 1] + 3, right, jaw[..., 1].amax(1) + 8], 1)
    fixed = boxes.new_tensor([58.0, 116.0, 166.0, 204.0])
    return torch.where(torch.isfinite(boxes).all(1, keepdim=True), boxes, fixed)


def lip_boxes(landmarks: Tensor) -> Tensor:
    """As `mouth_boxes`, around the lips alone."""
    lips = landmarks[:, 48:]
    low, high = lips.amin(1), lips.amax(1)
    margin = 0.25 * (high[:, :1] - low[:, :1]) + 2
    boxes = torch.cat([low - margin, high + margin], 1)
    fixed = boxes.new_tensor([76.0, 116.0, 148.0, 170.0])
    return torch.where(torch.isfinite(boxes).all(1, keepdim=True), boxes, fixed)


def eye_boxes(landmarks: Tensor) -> tuple[Tensor, Tensor]:
    """As `mouth_boxes`, around the right eye of the person and around the left one."""
    boxes = []
    for eye, fixed in ((slice(36, 42), [56.0, 66.0, 104.0, 102.0]), (slice(42, 48), [120.0, 66.0, 168.0, 102.0])):
        low, high = landmarks[:, eye].amin(1), landmarks[:, eye].amax(1)
        width = high[:, :1] - low[:, :1]
        centre, half = (low + high) / 2, torch.cat([0.7 * width, 0.55 * width], 1) + 2
        box = torch.cat([centre - half, centre + half], 1)
        boxes.append(torch.where(torch.isfinite(box).all(1, keepdim=True), box, box.new_tensor(fixed)))
    return boxes[0], boxes[1]


def box_mask(boxes: Tensor, size: int) -> Tensor:
    """Masks (n, 1, size, size) of 0 and 1 for boxes in view pixels."""
    centres = (torch.arange(size, device=boxes.device) + 0.5) * (IMAGE_SIZE / size)
    across = (centres >= boxes[:, :1]) & (centres < boxes[:, 2:3])
    down = (centres >= boxes[:, 1:2]) & (centres < boxes[:, 3:4])
    return (down[:, :, None] & across[:, None, :])[:, None].float()


def other_mouths(images: Tensor, boxes: Tensor) -> Tensor:
    """Replace what shows how the mouth is shaped: by the mouth of the next row, or by noise.

    A pose code made from the result cannot tell the mouth, and learns to ignore the one it sees.
    """
    n, _, height, width = images.shape
    donors, donor_boxes = images.roll(1, 0), boxes.roll(1, 0)
    scale = (donor_boxes[:, 2:] - donor_boxes[:, :2]) / (boxes[:, 2:] - boxes[:, :2]).clamp(min=1)
    centre, donor_centre = ((b[:, :2] + b[:, 2:]) / IMAGE_SIZE - 1 for b in (boxes, donor_boxes))
    affine = torch.zeros(n, 2, 3, device=images.device)
    affine[:, 0, 0], affine[:, 1, 1] = scale[:, 0], scale[:, 1]
    affine[:, :, 2] = donor_centre - scale * centre
    grid = F.affine_grid(affine, [n, 3, height, width], align_corners=False)
    pasted = F.grid_sample(donors, grid, padding_mode="reflection", align_corners=False)
    level = images.mean((2, 3), keepdim=True)
    noise = (level + 0.3 * torch.randn_like(images)).clamp(-1, 1)
    paste = (torch.rand(n, 1, 1, 1, device=images.device) < (0.6 if n > 1 else 0.0)).float()
    return torch.lerp(images, torch.lerp(noise, pasted, paste), box_mask(boxes, height))


def _channel_gain(count: int, strength: float, device: torch.device | str) -> Tensor:
    """One factor for a random range of the three channels, one for the rest."""
    ends = torch.randint(0, 4, (count, 2), device=device).sort(1).values
    channel = torch.arange(3, device=device)
    inside = (channel >= ends[:, :1]) & (channel < ends[:, 1:])
    factor = torch.empty(count, 1, device=device).uniform_(*GAIN_RANGE)
    return torch.where(inside, 1 + strength * (factor - 1), 1.0)


def _projected(homography: Tensor, places: Tensor) -> Tensor:
    """Apply (n, 3, 3) to (n, k, 2)."""
    x = torch.cat([places, torch.ones_like(places[..., :1])], -1) @ homography.transpose(1, 2)
    return x[..., :2] / x[..., 2:]
