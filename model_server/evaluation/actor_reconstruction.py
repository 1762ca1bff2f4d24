"""How well an actor's decoder draws unseen frames whose latents its own encoder tells: no speech is involved."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model_server.engines.dae_talker.actor_networks import ActorNetworks
from model_server.engines.dae_talker.decoding import noise_of, rendered
from model_server.errors import PoseDubError
from model_server.evaluation.actor_movement import Figure
from model_server.networks.dae_talker.diffusion import start_noise
from model_server.training.dae_talker.losses import psnr

FRAMES = 24
_INVERTED, _INVERTED_STEPS = 3, 100  # frames and steps of the way to noise and back
_TEACHER_STEPS = 20
_OTHER_SEED = 99

_DRAWN = "PSNR in dB of unseen frames that are drawn of their own latents, in so many steps; 1 is the student."
_CEILING = "PSNR of the same frames through the autoencoder of pictures alone: no decoder in its latents gets farther."
_SWAPPED = f"PSNR in {_TEACHER_STEPS} steps of frames against what the next one's latent draws: low where c tells."
_STUDENT = f"PSNR between what the student and the sampler in {_TEACHER_STEPS} steps draw of the same latents."
_NOISE = f"PSNR in {_TEACHER_STEPS} steps between pictures that start from the actor's noise and from another one."
_INVERSION = f"PSNR of frames that are turned into noise and drawn of it again, in {_INVERTED_STEPS} steps each."


@torch.inference_mode()
def reconstruction(networks: ActorNetworks, pictures: NDArray[np.uint8], steps: Sequence[int]) -> list[Figure]:
    """Figures of an actor's decoder.

    Args:
        networks: of the actor, in evaluation mode on a processor.
        pictures: frames (n, size, size, 3) that it was not trained on; at least two.
        steps: in which they are drawn.

    Raises:
        PoseDubError: the weights hold the student alone, which has no encoder.
    """
    if networks.autoencoder is None:
        raise PoseDubError("These weights hold no encoder of pictures; export the actor without --student-only.")
    real = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1
    clean = networks.pictures.encode(real) if networks.pictures else real
    latents = networks.autoencoder.encoder(clean)

    def drawn(count: int, c: Tensor = latents, start: Tensor = networks.start_noise) -> Tensor:
        return rendered(networks, c, count, start.expand(len(c), -1, -1, -1)).clamp(-1, 1)

    counts = [count for count in steps if count > 1 or networks.student]
    known = {count: drawn(count) for count in {*counts, _TEACHER_STEPS, *([1] if networks.student else [])}}
    teacher = known[_TEACHER_STEPS]
    figures = [
        Figure("reconstruction", {f"{count} steps": float(psnr(known[count], real)) for count in counts}, _DRAWN),
        Figure("swapped", {"other latent": float(psnr(drawn(_TEACHER_STEPS, latents.roll(1, 0)), real))}, _SWAPPED),
        Figure(
            "noise", {"other noise": float(psnr(drawn(_TEACHER_STEPS, start=_other_noise(networks)), teacher))}, _NOISE
        ),
        Figure("inversion", {"made": _inverted(networks, real[:_INVERTED], drawn, latents)}, _INVERSION),
    ]
    if networks.pictures:
        figures.append(Figure("pictures", {"made": float(psnr(networks.pictures.decode(clean), real))}, _CEILING))
    if networks.student:
        figures.append(Figure("student", {"made": float(psnr(known[1], teacher))}, _STUDENT))
    return figures


def _other_noise(networks: ActorNetworks) -> Tensor:
    return start_noise(networks.drawn.shape, _OTHER_SEED)


def _inverted(networks: ActorNetworks, real: Tensor, drawn: Callable[..., Tensor], latents: Tensor) -> float:
    starts = [noise_of(networks, one[None]) for one in real]
    again = [drawn(_INVERTED_STEPS, c[None], start) for c, start in zip(latents, starts, strict=False)]
    return float(psnr(torch.cat(again), real))
