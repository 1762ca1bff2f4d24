"""What the lower-face stage sees: runs of frames cut out, other mouths and things in front of them, and references."""

from __future__ import annotations

import io
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from model_server.errors import PoseDubError
from model_server.networks.pcavs.lower_face import REFERENCES
from model_server.networks.pcavs.presets import IMAGE_SIZE
from model_server.networks.sync_network import FRAMES, LEFT, MOUTH_SIDE, SIDE, TOP
from model_server.pipeline.faces.lower_face import EYES, HeadPlace, lower_masks
from model_server.pipeline.faces.lower_face import SIDE as CROP_SPANS
from model_server.synthetic.occluders import occluder
from model_server.training.pcavs.data import ClipStore, ClipTensors, Frames
from model_server.training.pcavs.lip_shape import lip_shapes
from model_server.training.pcavs.samplers import MIRROR_SHARE

# iBUG points: outer corners of the eyes, base of the nose, lips.
_LEFT_EYE, _RIGHT_EYE, _NOSE, _LIPS = 36, 45, 33, slice(48, 68)
FEATHER = 0.2  # of a dub that asks for nothing else
_LIP_MARGIN = 0.12
# References are that far from the frames of a run, so that none of them is one of these.
_APART = 3
_TRIES = 200
_COMPRESSED = 0.3  # part of the runs


@dataclass(frozen=True)
class LowerFaces:
    """Runs of `FRAMES` frames of c clips in a row, n = FRAMES * c, and c sets of r references; s is the side.

    Attributes:
        target: true lower faces, (n, 3, s, s) in [-1, 1].
        source: the same frames with other mouths where these are known, else the same, (n, 3, s, s).
        references: (c, r, 3, s, s), and `reference_angles`, their yaw and pitch (c, r, 2), degrees.
        hidden, taken: see `lower_masks`, (n, 1, s, s).
        lips: where they are, (n, 1, s, s).
        windows: log-mel windows (m, 1, 80, 20) of all frames of these clips.
        content: their speech contents (m, feature); (m, 0) where they are to be read of the windows.
        shapes: of the lips in them, (m, 4), see `lip_shapes`.
        heard: (m,) bool, false where a clip has no sound.
        rows: of the n frames among these m.
        angles: yaw and pitch (n, 2), degrees.
        covers: what lies over the face, RGBA (n, 4, s, s) in [0, 1], mostly nothing.
        mouth_places: where the sync network's pictures lie in the lower faces, (n, 48, 48, 2) in [-1, 1].
    """

    target: Tensor
    source: Tensor
    references: Tensor
    reference_angles: Tensor
    hidden: Tensor
    taken: Tensor
    lips: Tensor
    windows: Tensor
    content: Tensor
    shapes: Tensor
    heard: Tensor
    rows: Tensor
    angles: Tensor
    covers: Tensor
    mouth_places: Tensor

    def covered(self, pictures: Tensor) -> Tensor:
        """Pictures (n, 3, s, s) with what lies over them."""
        colour, alpha = self.covers.split([3, 1], 1)
        return torch.lerp(pictures, colour * 2 - 1, alpha)


def sample_lower_faces(
    store: ClipStore, count: int, side: int, cover_share: float, rng: np.random.Generator, only_cover: bool = False
) -> LowerFaces:
    """Runs of `count` random clips.

    Args:
        side: of the pictures.
        cover_share: part of the runs that something covers.
        only_cover: that part of the frames is covered, each by another thing, and there are two references at most.

    Raises:
        PoseDubError: hardly any clip has landmarks and head angles.
    """
    references = int(rng.integers(1, 3 if only_cover else REFERENCES + 1))
    cover = _things if only_cover else _covers
    clips = (_usable_clip(store, rng) for _ in range(count))
    parts = [_run(clip, references, side, cover(side, cover_share, rng), rng) for clip in clips]
    names = list(LowerFaces.__dataclass_fields__)
    joined = LowerFaces(*(torch.cat([getattr(part, name) for part in parts]) for name in names))
    before = np.cumsum([0, *(len(part.windows) for part in parts[:-1])])
    return replace(joined, rows=torch.cat([part.rows + int(first) for part, first in zip(parts, before, strict=True)]))


def _usable_clip(store: ClipStore, rng: np.random.Generator) -> ClipTensors:
    for _ in range(_TRIES):
        clip = store[int(rng.integers(0, len(store)))]
        speaks = bool(clip.clip.others) or not clip.labels.silent.any()  # else its mouth may never move
        if speaks and len(clip) >= FRAMES + 2 * _APART and torch.isfinite(clip.labels.landmarks).all():
            return clip
    raise PoseDubError(
        f"The lower face is learnt from clips with landmarks of {FRAMES + 2 * _APART} frames and more; build such a "
        "corpus."
    )


def _run(clip: ClipTensors, references: int, side: int, covers: Tensor, rng: np.random.Generator) -> LowerFaces:
    first = int(rng.integers(0, len(clip) - FRAMES + 1))
    run = range(first, first + FRAMES)
    others = _reference_frames(clip, run, references, rng)
    mirror = torch.full((FRAMES + len(others),), bool(rng.random() < MIRROR_SHARE), device=clip.device)
    frames = clip.frames([*run, *others])
    swapped = replace(frames, images=torch.cat([clip.other_mouths(run, rng), frames.images[FRAMES:]]))
    frames, swapped = frames.mirrored(mirror), swapped.mirrored(mirror)
    places = [_place(frames, row) for row in range(len(frames))]
    crops = np.stack([place.crop(side) for place in places])
    cut = _look(
        _cut(torch.cat([frames.images, swapped.images[:FRAMES]]), np.concatenate([crops, crops[:FRAMES]]), side), rng
    )
    masks = [lower_masks(side, place.outline() @ crop[:, :2].T + crop[:, 2], FEATHER * EYES * side / CROP_SPANS)
             for place, crop in zip(places[:FRAMES], crops, strict=False)]  # fmt: skip
    taken, hidden = (torch.from_numpy(np.stack(part))[:, None] for part in zip(*masks, strict=True))
    return LowerFaces(
        target=cut[:FRAMES],
        source=cut[-FRAMES:],
        references=cut[None, FRAMES:-FRAMES],
        reference_angles=frames.angles[None, FRAMES:, :2],
        hidden=hidden,
        taken=taken,
        lips=torch.stack([_lip_mask(frames, row, crops[row], side) for row in range(FRAMES)]),
        windows=clip.labels.windows,
        content=clip.labels.content,
        shapes=torch.from_numpy(lip_shapes(clip.labels.landmarks.numpy(), clip.labels.angles.numpy())),
        heard=~clip.labels.silent.any().expand(len(clip)),
        rows=torch.arange(first, first + FRAMES),
        angles=frames.angles[:FRAMES, :2],
        covers=covers,
        mouth_places=torch.stack([_mouth_places(crop, side) for crop in crops[:FRAMES]]),
    )


def _reference_frames(clip: ClipTensors, run: range, count: int, rng: np.random.Generator) -> list[int]:
    """Frames away from the run, from the most closed to the most open mouth among a few."""
    away = [k for k in range(len(clip)) if not run.start - _APART < k < run.stop + _APART]
    drawn = rng.choice(away, min(3 * count, len(away)), replace=False)
    ranked = sorted(drawn.tolist(), key=lambda k: float(clip.labels.opening[k]))
    chosen = [ranked[k] for k in np.linspace(0, len(ranked) - 1, count).round().astype(int)]
    return [int(k) for k in rng.permutation(chosen)]


def _place(frames: Frames, row: int) -> HeadPlace:
    marks, angles = frames.landmarks[row].numpy(), frames.angles[row].numpy()
    return HeadPlace.of(marks[_NOSE].astype(np.float64), marks[[_LEFT_EYE, _RIGHT_EYE]], angles)


def _cut(views: Tensor, crops: NDArray[np.float64], side: int) -> Tensor:
    """Lower faces (n, 3, side, side) of network views (n, 3, 224, 224) by transforms (n, 2, 3) to them."""
    back = np.linalg.inv(crops[:, :, :2])
    y, x = np.mgrid[:side, :side].reshape(2, -1).astype(np.float64)
    places = np.einsum("nij,njk->nik", back, np.stack([x, y])[None] - crops[:, :, 2:])
    grid = torch.from_numpy(((places + 0.5) * (2 / IMAGE_SIZE) - 1).astype(np.float32))
    grid = grid.permute(0, 2, 1).unflatten(1, (side, side)).to(views.device)
    return F.grid_sample(views, grid, padding_mode="border", align_corners=False)


def _mouth_places(crop: NDArray[np.float64], side: int) -> Tensor:
    """Places (48, 48, 2) of a sync picture's pixels in the lower face, in [-1, 1]."""
    steps = (np.arange(MOUTH_SIDE) + 0.5) * (SIDE / MOUTH_SIDE) - 0.5
    x, y = np.meshgrid(LEFT + steps, TOP + steps)
    places = np.stack([x, y], axis=-1) @ crop[:, :2].T + crop[:, 2]
    return torch.from_numpy(((places + 0.5) * (2 / side) - 1).astype(np.float32))


def _lip_mask(frames: Frames, row: int, crop: NDArray[np.float64], side: int) -> Tensor:
    lips = frames.landmarks[row, _LIPS].numpy() @ crop[:, :2].T + crop[:, 2]
    (left, top), (right, bottom) = lips.min(axis=0) - _LIP_MARGIN * side, lips.max(axis=0) + _LIP_MARGIN * side
    y, x = np.mgrid[:side, :side]
    return torch.from_numpy(((x > left) & (x < right) & (y > top) & (y < bottom)).astype(np.float32))[None]


def _covers(side: int, share: float, rng: np.random.Generator) -> Tensor:
    """What lies over the frames of a run, moving on a little from frame to frame."""
    covers = torch.zeros(FRAMES, 4, side, side)
    if rng.random() < share:
        thing, step = occluder(rng, side), rng.normal(0, 1.5, 2)
        for frame in range(FRAMES):
            x, y = np.rint(step * (frame - FRAMES // 2)).astype(int)
            covers[frame] = torch.from_numpy(np.roll(thing, (y, x), (0, 1))).permute(2, 0, 1)
    return covers


def _things(side: int, share: float, rng: np.random.Generator) -> Tensor:
    """What lies over frames, another thing over each."""
    covers = torch.zeros(FRAMES, 4, side, side)
    for frame in np.flatnonzero(rng.random(FRAMES) < share):
        covers[frame] = torch.from_numpy(occluder(rng, side)).permute(2, 0, 1)
    return covers


def _look(pictures: Tensor, rng: np.random.Generator) -> Tensor:
    """One camera and one light for all pictures of a run: colours, softness, noise and compression."""
    gain = torch.tensor(rng.uniform(0.6, 1.35) * rng.uniform(0.88, 1.12, 3), dtype=torch.float32).view(1, 3, 1, 1)
    lifted = (pictures + 1) * gain.to(pictures) - 1
    if rng.random() < 0.3:
        size = int(pictures.shape[-1] * rng.uniform(0.5, 0.9))
        small = F.interpolate(lifted, (size, size), mode="bilinear", align_corners=False, antialias=True)
        lifted = F.interpolate(small, pictures.shape[2:], mode="bilinear", align_corners=False)
    noise = torch.from_numpy(rng.standard_normal(tuple(pictures.shape), np.float32)).to(pictures)
    seen = (lifted + rng.uniform(0, 0.02) * noise).clamp(-1, 1)
    return _compressed(seen, int(rng.integers(25, 75))) if rng.random() < _COMPRESSED else seen


def _compressed(pictures: Tensor, quality: int) -> Tensor:
    """Pictures (n, 3, s, s) after JPEG, whose blocks those of movies resemble."""
    pixels = ((pictures + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    files = [io.BytesIO() for _ in pixels]
    for picture, file in zip(pixels, files, strict=True):
        Image.fromarray(picture).save(file, "JPEG", quality=quality)
    read = np.stack([np.asarray(Image.open(file)) for file in files])
    return torch.from_numpy(read).permute(0, 3, 1, 2).to(pictures) / 127.5 - 1
