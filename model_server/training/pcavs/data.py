"""Clips from shards as tensors: network views and labels, decoded when asked for or held ready on the GPU.

A label that is not known is NaN, so clips with and without labels mix in one batch.
"""

from __future__ import annotations

import io
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from model_server.corpus.lids import lids_of
from model_server.corpus.shards import CELL, OTHERS_TOP, Clip, Corpus, windows
from model_server.engines.pcavs.identity import surface_of
from model_server.errors import ErrorKind, PoseDubError
from model_server.features import VIEW_LEFT, VIEW_SIDE
from model_server.head_rotation import rotation
from model_server.networks.pcavs.nonidentity_encoder import LANDMARKS
from model_server.networks.pcavs.presets import IMAGE_SIZE
from model_server.networks.pcavs.turning import TURNED_SIZE, TurningSurface
from model_server.pipeline.faces.relief import relief_of
from model_server.training.face_network import VISEMES
from model_server.training.pcavs.teaching_voices import TeachingVoices, VoiceWindows

VIEW_CELLS = VIEW_SIDE // CELL
FLOW_SIZE = 56
UNKNOWN = -100
# iBUG points whose places a mirror swaps.
_MIRRORED = [
    *range(16, -1, -1), *range(26, 16, -1), *range(27, 31), *range(35, 30, -1), 45, 44, 43, 42, 47, 46, 39, 38, 37, 36,
    41, 40, *range(54, 47, -1), *range(59, 54, -1), *range(64, 59, -1), 67, 66, 65,
]  # fmt: skip
_DECODERS = 8
_SURFACES = 2  # of a clip that are remembered; each takes 0.2 MB
# Near frames lend each other their mouths: so many frames away, points of eyes and nose within some pixels, degrees of
# the head, and openings that differ. Rows over which one gives way to the other.
_NEAR, _MOVED, _TURNED, _OPENED, _SEAM = 12, 1.5, 1.5, 0.03, 12
_HELD = [27, 30, 33, 36, 39, 42, 45]


@dataclass(frozen=True)
class Frames:
    """A batch of frames.

    Attributes:
        images: network views (n, 3, 224, 224) in [-1, 1].
        windows: log-mel windows (n, 1, 80, 20) in [0, 1]; zeros where `silent`.
        silent: (n,) bool, frames without any sound, as photographs are.
        identity: (n,) class of the person, -100 for somebody not trained on.
        angles: (n, 3) yaw, pitch, roll in degrees.
        landmarks: (n, 68, 2) in view pixels.
        visemes: (n, 17) weights.
        opening: (n,) lip opening over inter-ocular distance.
        lids: (n,) closure of the lids, 0 open to 1.
        seen, blind: (n, feature) non-identity features of the frames as they are, and of augmented ones with other
            mouths; (n, 0) where the trunk is to read the images itself.
        content: (n, feature) speech contents; (n, 0) where the speech encoder is to read the windows itself.
    """

    images: Tensor
    windows: Tensor
    silent: Tensor
    identity: Tensor
    angles: Tensor
    landmarks: Tensor
    visemes: Tensor
    opening: Tensor
    lids: Tensor
    seen: Tensor
    blind: Tensor
    content: Tensor

    def __len__(self) -> int:
        return len(self.images)

    def mirrored(self, rows: Tensor) -> Frames:
        """The batch with the frames of `rows` (n,) bool seen in a mirror."""
        angles = self.angles * self.angles.new_tensor([-1.0, 1.0, -1.0])
        points = self.landmarks[:, _MIRRORED]
        points = torch.stack([IMAGE_SIZE - points[..., 0], points[..., 1]], -1)
        return replace(
            self,
            images=_chosen(rows, self.images.flip(3), self.images),
            angles=_chosen(rows, angles, self.angles),
            landmarks=_chosen(rows, points, self.landmarks),
        )


@dataclass(frozen=True)
class Pairs:
    """Portraits, target frames of the same clips, and where the targets' surface lies in the portraits.

    Attributes:
        portrait: p frames.
        target: n frames, n / p in a row of each portrait.
        flow: (n, 2, 56, 56) offsets x, y in halves of the picture; NaN where the portrait hides the point.
        visible: (n, 1, 56, 56) how much of a cell the portrait shows, 0 to 1; NaN without exact correspondences.
        turned: (n, 2, 112, 112) offsets by which the portrait's relief turns its head; NaN where that is not known.
    """

    portrait: Frames
    target: Frames
    flow: Tensor
    visible: Tensor
    turned: Tensor

    @property
    def each(self) -> int:
        """Targets of one portrait."""
        return len(self.target) // len(self.portrait)

    def mirrored(self, rows: Tensor) -> Pairs:
        """The batch with portraits of `rows` (p,) bool, and their targets, seen in a mirror."""
        targets = rows.repeat_interleave(self.each)
        flow, turned = (_chosen(targets, _mirrored(offsets), offsets) for offsets in (self.flow, self.turned))
        visible = _chosen(targets, self.visible.flip(3), self.visible)
        return Pairs(self.portrait.mirrored(rows), self.target.mirrored(targets), flow, visible, turned)


@dataclass(frozen=True)
class Chunks:
    """What the speech stage sees: frames in order, as many of each clip, and windows of other voices, if any."""

    frames: Frames
    voices: VoiceWindows | None = None


@dataclass(frozen=True)
class ClipTensors:
    """One clip; see `Clip` for the labels. `views` (n, 3, 192, 192) uint8 is None until decoded."""

    clip: Clip
    labels: Frames
    device: torch.device
    views: Tensor | None = None
    surfaces: dict[int, TurningSurface | None] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.clip.jpegs)

    def frames(self, indices: Sequence[int]) -> Frames:
        """Some frames as a batch."""
        rows = torch.tensor(indices, device=self.device)
        views = decoded(self.clip, indices).to(self.device) if self.views is None else self.views[rows]
        return replace(self.read(indices), images=view_images(views))

    def read(self, indices: Sequence[int]) -> Frames:
        """As `frames`, without the images (n, 0)."""
        rows = torch.tensor(indices, device=self.device)
        return Frames(*(getattr(self.labels, field.name)[rows] for field in fields(Frames)))

    def other_mouths(self, indices: Sequence[int], rng: np.random.Generator) -> Tensor:
        """Network views (n, 3, 224, 224) of frames with other mouths.

        These are rendered ones, or where there are none those of near frames, if the head was held alike.
        """
        each = len(self.clip.others) // len(self.clip.jpegs)
        crops = [np.asarray(_opened(self.clip.jpegs[n])).copy() for n in indices]
        for n, crop in zip(indices, crops, strict=True):
            if each:
                crop[OTHERS_TOP:] = np.asarray(_opened(self.clip.others[n * each + int(rng.integers(each))]))
            elif (near := self._near(n, rng)) != n:
                lower = np.asarray(_opened(self.clip.jpegs[near]))
                share = np.clip((np.arange(len(crop)) - OTHERS_TOP) / _SEAM, 0, 1)[:, None, None]
                crop[:] = np.round(crop * (1 - share) + lower * share)
        views = np.stack(crops)[:, :VIEW_SIDE, VIEW_LEFT : VIEW_LEFT + VIEW_SIDE]
        return view_images(torch.from_numpy(views).permute(0, 3, 1, 2).to(self.device))

    def _near(self, index: int, rng: np.random.Generator) -> int:
        """A frame near this one in which the head is held alike and the mouth is not; this one if there is none."""
        marks, angles, opening = self.clip.landmarks, self.clip.angles, self.clip.opening
        if marks is None or angles is None or opening is None:
            return index
        near = np.arange(max(index - _NEAR, 0), min(index + _NEAR + 1, len(self)))
        moved = np.linalg.norm(marks[near][:, _HELD] - marks[index, _HELD], axis=2).max(axis=1)
        turned = np.abs(angles[near] - angles[index]).max(axis=1)
        fit = near[(moved < _MOVED) & (turned < _TURNED) & (np.abs(opening[near] - opening[index]) > _OPENED)]
        return int(rng.choice(fit)) if len(fit) else index

    def sources(self) -> NDArray[np.int16]:
        """Frames that `flow` can lead to; none without exact correspondences."""
        return np.zeros(0, np.int16) if self.clip.flow_sources is None else self.clip.flow_sources

    def flow(self, target: int, source: int) -> Tensor:
        """Offsets (2, 56, 56) from frame `target` to frame `source`, NaN where hidden or not known."""
        known = np.flatnonzero(self.sources() == source)
        if not len(known) or self.clip.flow is None or self.clip.visible is None:
            return torch.full((2, FLOW_SIZE, FLOW_SIZE), torch.nan, device=self.device)
        places = torch.from_numpy(self.clip.flow[target, known[0]]).to(self.device)
        return view_flow(places, torch.from_numpy(self.clip.visible[target, known[0]]).to(self.device))

    def turned(self, target: int, source: int) -> Tensor:
        """Offsets (2, 112, 112) by which the relief of frame `source` turns as frame `target` is; NaN if not known."""
        surface, angles = self._surface(source), self.clip.angles
        if surface is None or angles is None or not np.isfinite(angles[[target, source]]).all():
            return torch.full((2, TURNED_SIZE, TURNED_SIZE), torch.nan, device=self.device)
        to, back = (rotation(*map(float, angles[n])) for n in (target, source))
        return torch.from_numpy(surface.offsets(to @ back.T)).to(self.device)

    def _surface(self, source: int) -> TurningSurface | None:
        if source in self.surfaces:
            return self.surfaces[source]
        view = view_images(decoded(self.clip, [source]))[0].permute(1, 2, 0)
        surface = surface_of(relief_of((view * 127.5 + 127.5).round().to(torch.uint8).numpy()))
        if len(self.surfaces) >= _SURFACES:
            self.surfaces.clear()
        self.surfaces[source] = surface
        return surface

    def visible(self, target: int, source: int) -> Tensor:
        """How much frame `source` shows of frame `target`, (1, 56, 56) from 0 to 1, NaN where it is not known."""
        known = np.flatnonzero(self.sources() == source)
        if not len(known) or self.clip.visible is None or self.clip.flow is None:
            return torch.full((1, FLOW_SIZE, FLOW_SIZE), torch.nan, device=self.device)
        places = torch.from_numpy(self.clip.flow[target, known[0]]).to(self.device)
        return view_visible(places, torch.from_numpy(self.clip.visible[target, known[0]]).to(self.device))


class ClipStore:
    """Clips of one split of several corpora.

    Args:
        folders: corpora.
        split: "train", "val" or "test".
        device: where batches are made.
        cached: clips kept in memory when streaming. On a GPU all clips are decoded once and stay there.

    Attributes:
        voices: other voices, which the speech stage listens to beside the clips.

    Raises:
        PoseDubError: a corpus cannot be read, or the split is empty.
    """

    voices: TeachingVoices | None = None

    def __init__(self, folders: Sequence[Path], split: str, device: torch.device, cached: int) -> None:
        corpora = [Corpus.open(folder) for folder in folders]
        people = [(c.folder.name, c.entry(name).identity) for c in corpora for name in c.names("train")]
        self.classes = {person: n for n, person in enumerate(sorted(set(people)))}
        self.clips = [(corpus, name) for corpus in corpora for name in corpus.names(split)]
        self.device = device
        self._resident = device.type == "cuda"
        self._room = len(self.clips) if self._resident else cached
        self._cache: OrderedDict[int, ClipTensors] = OrderedDict()
        self._banks: dict[str, Mapping[int, Tensor]] = {}
        self._lock = threading.Lock()
        if not self.clips and split == "train":
            listed = ", ".join(str(folder) for folder in folders)
            raise PoseDubError(f"There are no training clips in {listed}; build the corpus first.", ErrorKind.NOT_FOUND)

    def __len__(self) -> int:
        return len(self.clips)

    def load(self) -> None:
        """Decode everything now where all is kept, so that the first steps are not slow."""
        if self._resident:
            with ThreadPoolExecutor(_DECODERS) as pool:
                self._cache.update(enumerate(pool.map(self._read, range(len(self)))))

    @property
    def banked(self) -> bool:
        """Whether frames come with what frozen encoders said of them."""
        return bool(self._banks)

    def attach(self, **banks: Mapping[int, Tensor]) -> None:
        """Give all frames what encoders said of them.

        Args:
            banks: for `seen`, `blind` or `content` of `Frames`, values (frames, feature) by the clip's index.
        """
        with self._lock:
            self._banks |= banks
            for index, clip in self._cache.items():
                self._cache[index] = replace(clip, labels=self._with_banks(index, clip.labels))

    def _with_banks(self, index: int, labels: Frames) -> Frames:
        return replace(labels, **{name: bank[index] for name, bank in self._banks.items()})

    def __getitem__(self, index: int) -> ClipTensors:
        with self._lock:
            if index not in self._cache:
                self._cache[index] = self._read(index)
                if len(self._cache) > self._room:
                    self._cache.popitem(last=False)
            self._cache.move_to_end(index)
            return self._cache[index]

    def _read(self, index: int) -> ClipTensors:
        corpus, name = self.clips[index]
        clip = corpus.clip(name)
        identity = self.classes.get((corpus.folder.name, clip.identity), UNKNOWN)
        views = decoded(clip, range(len(clip.jpegs))).to(self.device) if self._resident else None
        labels = self._with_banks(index, _labels(clip, identity, self.device))
        return ClipTensors(clip, labels, self.device, views)


def decoded(clip: Clip, indices: Sequence[int]) -> Tensor:
    """Network views (n, 3, 192, 192) uint8 of some frames, before they are enlarged."""
    box = (VIEW_LEFT, 0, VIEW_LEFT + VIEW_SIDE, VIEW_SIDE)
    views = [np.asarray(_opened(clip.jpegs[n]).crop(box)) for n in indices]
    return torch.from_numpy(np.stack(views)).permute(0, 3, 1, 2)


def _opened(jpeg: bytes) -> Image.Image:
    return Image.open(io.BytesIO(jpeg)).convert("RGB")


def view_images(views: Tensor) -> Tensor:
    """Views (n, 3, 192, 192) uint8 as the networks want them, (n, 3, 224, 224) in [-1, 1]."""
    size = (IMAGE_SIZE, IMAGE_SIZE)
    return F.interpolate(views.float() / 127.5 - 1, size, mode="bilinear", align_corners=False)


def view_flow(places: Tensor, visible: Tensor) -> Tensor:
    """Offsets (2, 56, 56) in halves of the view, NaN where hidden, from places (56, 56, 2) in crop pixels."""
    left = VIEW_LEFT // CELL
    region = slice(0, VIEW_CELLS), slice(left, left + VIEW_CELLS)
    centres = (torch.arange(VIEW_CELLS, device=places.device) + 0.5) * (2 / VIEW_CELLS)
    x = (places[region][..., 0].float() - VIEW_LEFT) * (2 / VIEW_SIDE) - centres
    y = places[region][..., 1].float() * (2 / VIEW_SIDE) - centres[:, None]
    flow = torch.where(visible[region], torch.stack([x, y]), torch.nan)
    # A NaN among the four neighbours makes a NaN: a point is known only when all around it is.
    return F.interpolate(flow[None], (FLOW_SIZE, FLOW_SIZE), mode="bilinear", align_corners=False)[0]


def view_visible(places: Tensor, visible: Tensor) -> Tensor:
    """How much (1, 56, 56) of the view's cells is visible, by places (56, 56, 2) and cells (56, 56) bool of the crop.

    NaN where the place lies beyond the view: its border's pixels go on there, which is mostly right.
    """
    left = VIEW_LEFT // CELL
    region = slice(0, VIEW_CELLS), slice(left, left + VIEW_CELLS)
    x, y = (places[region].float() - places.new_tensor([VIEW_LEFT, 0]).float()).unbind(-1)
    inside = (x >= 0) & (y >= 0) & (x < VIEW_SIDE) & (y < VIEW_SIDE)
    shown = torch.where(inside, visible[region].float(), torch.nan)[None, None]
    return F.interpolate(shown, (FLOW_SIZE, FLOW_SIZE), mode="bilinear", align_corners=False)[0]


def joined(parts: Sequence[Frames]) -> Frames:
    """Batches end to end."""
    return Frames(*(torch.cat([getattr(part, field.name) for part in parts]) for field in fields(Frames)))


def _labels(clip: Clip, identity: int, device: torch.device) -> Frames:
    """All labels of a clip, without its pictures."""
    n = len(clip.jpegs)

    def tensor(values: NDArray | None, *shape: int) -> Tensor:
        known = np.full((n, *shape), np.nan, np.float32) if values is None else np.asarray(values, np.float32)
        return torch.from_numpy(known).to(device)

    points = tensor(clip.landmarks, LANDMARKS, 2)
    nothing = torch.zeros(n, 0, device=device)
    heard = tensor(windows(clip, range(n)), 80, 20)[:, None]
    return Frames(
        images=nothing,
        windows=torch.nan_to_num(heard),
        silent=heard.isnan().flatten(1).any(1),
        identity=torch.full((n,), identity, device=device),
        angles=tensor(clip.angles, 3),
        landmarks=(points - points.new_tensor([VIEW_LEFT, 0])) * (IMAGE_SIZE / VIEW_SIDE),
        visemes=tensor(clip.visemes, VISEMES),
        opening=tensor(clip.opening),
        lids=tensor(lids_of(clip)),
        seen=nothing,
        blind=nothing,
        content=nothing,
    )


def _mirrored(offsets: Tensor) -> Tensor:
    return offsets.flip(3) * offsets.new_tensor([-1.0, 1.0]).view(1, 2, 1, 1)


def _chosen(rows: Tensor, yes: Tensor, no: Tensor) -> Tensor:
    return torch.where(rows.view(-1, *([1] * (no.ndim - 1))), yes, no)
