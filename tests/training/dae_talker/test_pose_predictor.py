"""The pose predictor hears nods that go with speech among movement that does not."""

from __future__ import annotations

import numpy as np
import torch

from model_server.networks.dae_talker.speech2latent import PosePredictor
from model_server.training.dae_talker.config import named
from model_server.training.dae_talker.tasks import PoseTask
from model_server.training.learner import Learner
from tests.training.dae_talker.test_actor_training import ALONE

FEATURES, LENGTH = 20, 200


def spoken(rng: np.random.Generator, clips: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Features (n, frames, 20), poses (n, frames, 3), and the nods (n, frames) that stress lets expect.

    Stress is heard in some of the features; the head nods at half of the stressed frames, and sways.
    """
    stress = (rng.random((clips, LENGTH)) < 0.05).astype(np.float32)
    nodded = stress * (rng.random((clips, LENGTH)) < 0.5)
    bump = np.hanning(7)
    nods, expected = (np.apply_along_axis(np.convolve, 1, at, bump, "same") for at in (nodded, stress))
    sway = np.cumsum(rng.standard_normal((clips, LENGTH, 3)), axis=1) * 0.1
    features = rng.standard_normal((clips, LENGTH, FEATURES))
    features[..., 3:9] += 3 * stress[..., None]
    poses = sway + np.stack([0 * nods, -nods, 0 * nods], 2)
    return *(torch.from_numpy(x.astype(np.float32)) for x in (features, poses)), torch.from_numpy(expected)


def test_nods_are_learnt_from_minutes_and_not_by_heart() -> None:
    weights, rng = named("dae-cpu").speech2latent, np.random.default_rng(0)
    torch.manual_seed(0)
    predictor = PosePredictor(FEATURES, 3)
    learner = Learner(PoseTask(predictor, weights), 2e-3, (0.9, 0.999), ALONE, weight_decay=weights.pose_decay)
    features, poses, _ = spoken(rng, 40)
    poses = poses / poses.std()
    for step in range(300):
        rows = torch.arange(8) + 8 * (step % 5)
        learner.shared(features[rows], poses[rows])[0].backward()
        learner.update(1.0)
    unheard, _, expected = spoken(rng, 20)
    with torch.no_grad():
        told = predictor.eval()(unheard, torch.ones(unheard.shape[:2], dtype=torch.bool))
    assert np.corrcoef(-told[..., 1].flatten(), expected.flatten())[0, 1] > 0.8
    assert told[..., 0].std() < 0.3 * told[..., 1].std()  # nothing is made of the rest
