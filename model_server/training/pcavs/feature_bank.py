"""What frozen encoders say of every frame, made once and kept beside the run.

The encoders cost several times as much as drawing a frame. Where they learn no more, asking them once for each frame
instead of once for each step is what makes training on two cores possible.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from model_server.networks.pcavs.model import Networks
from model_server.training import augment
from model_server.training.bank import Bank
from model_server.training.pcavs.data import ClipStore, ClipTensors, Frames

log = logging.getLogger(__name__)

# A pose source keeps its place in the crop, so its augmentation may move little.
POSE_AUGMENTATION = 0.35
_BATCH = 16

Reader = Callable[[ClipTensors], dict[str, Tensor]]


@torch.no_grad()
def read_pictures(networks: Networks, clip: ClipTensors, strength: float) -> dict[str, Tensor]:
    """`seen` and `blind` of `Frames` for all frames of a clip. Chance comes from torch's random state.

    The mouths that frames get for `blind` are those of other moments of the same clip.
    """
    order = torch.randperm(len(clip))
    seen, blind = [], []
    for rows in order.split(_BATCH):
        frames = clip.frames(rows.tolist())
        both = networks.nonidentity_encoder(torch.cat([frames.images, blinded(frames, strength)]))
        seen.append(both[: len(rows)])
        blind.append(both[len(rows) :])
    back = order.argsort().to(clip.device)
    return {"seen": torch.cat(seen)[back].half(), "blind": torch.cat(blind)[back].half()}


@torch.no_grad()
def read_sound(networks: Networks, clip: ClipTensors) -> dict[str, Tensor]:
    """`content` of `Frames` for all frames of a clip."""
    return {"content": networks.speech_encoder(clip.read(range(len(clip))).windows).half()}


def blinded(frames: Frames, strength: float) -> Tensor:
    """Images with other mouths, moved and coloured a little: what a pose code may be made of."""
    other = augment.other_mouths(frames.images, augment.mouth_boxes(frames.landmarks))
    return augment.draw(len(frames), strength * POSE_AUGMENTATION, frames.images.device).images(other)


def fill(store: ClipStore, folder: Path, network: nn.Module, read: Reader, over: Callable[[], bool]) -> bool:
    """Attach to a store what `read` says of each clip, from files of an earlier call where there are any.

    Args:
        store: gets the banks.
        folder: of the run.
        network: what reads; other weights of it make another bank.
        read: values (frames, feature) by field of `Frames`.
        over: whether it is time to leave.

    Returns:
        Whether the bank is full; if not, the next call goes on.
    """
    bank = Bank(folder, network)
    values: dict[str, dict[int, Tensor]] = {}
    log.info("reading %d clips into %s", len(store), bank.place)
    for index, (corpus, name) in enumerate(store.clips):
        if over():
            return False
        torch.manual_seed(index)
        found = bank.value(f"{corpus.folder.name}-{name}", partial(read, store[index]))
        for kind, value in found.items():
            values.setdefault(kind, {})[index] = value.to(store.device, torch.float32)
    store.attach(**values)
    return True
