"""Losses at values that can be worked out by hand."""

import math

import pytest
import torch

from model_server.training import losses
from model_server.training.discriminator import Discriminator


def test_unknown_labels_take_no_part() -> None:
    prediction = torch.tensor([1.0, 5.0], requires_grad=True)
    loss = losses.known_l1(prediction, torch.tensor([3.0, torch.nan]))
    loss.backward()
    assert loss == 2 and prediction.grad is not None and prediction.grad.tolist() == [-1, 0]
    assert losses.known_l1(prediction, torch.full((2,), torch.nan)) == 0


def test_binary_cross_entropy_is_least_at_the_likelihood_of_what_is_known() -> None:
    target = torch.full((200,), math.nan)
    target[:90], target[90:100] = 1.0, 0.0
    told = {p: float(losses.known_binary_cross_entropy(torch.full((200,), p), target)) for p in (0.5, 0.8, 0.9, 0.95)}
    assert min(told, key=lambda p: told[p]) == 0.9
    assert told[0.9] == pytest.approx(-0.9 * math.log(0.9) - 0.1 * math.log(0.1), rel=1e-4)
    assert losses.known_binary_cross_entropy(torch.full((3,), 0.5), torch.full((3,), math.nan)) == 0
    assert math.isfinite(losses.known_binary_cross_entropy(torch.zeros(2), torch.tensor([1.0, math.nan])))


def test_info_nce_is_chance_for_equal_rows_and_small_for_matching_ones() -> None:
    same = torch.ones(8, 4)
    assert losses.info_nce(same, same, 0.1)[0].item() == pytest.approx(math.log(8))
    loss, accuracy = losses.info_nce(torch.eye(8), torch.eye(8), 0.1)
    assert loss < 0.01 and accuracy == 1
    assert losses.info_nce(torch.eye(8), torch.eye(8).roll(1, 0), 0.1)[1] == 0


def test_heatmaps_are_best_at_the_point() -> None:
    points = torch.tensor([[[100.0, 60.0]]])
    place = (torch.arange(56) + 0.5) * 4

    def maps(x: float, y: float) -> torch.Tensor:
        return -(((place[None, :] - x) ** 2 + (place[:, None] - y) ** 2) / 32)[None, None]

    right, wrong = (losses.heatmap_cross_entropy(maps(x, 60), points) for x in (100, 130))
    assert right < wrong
    torch.testing.assert_close(losses.soft_argmax(maps(100, 60)), points, atol=0.05, rtol=0)
    assert losses.heatmap_cross_entropy(maps(100, 60), torch.full((1, 1, 2), torch.nan)) == 0


def test_hinge_losses_have_their_fixed_points() -> None:
    scores = [torch.tensor([2.0, -2.0]).view(2, 1, 1, 1)]
    assert losses.critic_hinge(scores) == 0
    assert losses.generator_hinge(scores) == 2


def test_discriminator_judges_two_scales_and_counts_the_picture_as_a_layer() -> None:
    images = torch.rand(2, 3, 112, 112)
    scores, features = Discriminator(4)(images)
    assert len(scores) == 2 and scores[0].shape[-1] > scores[1].shape[-1]
    assert all(torch.equal(scale[0], expected) for scale, expected in zip(features[:1], [images], strict=True))
    assert losses.feature_matching([[torch.cat([images, images])]]) == 0
