"""Speech gives exactly the frames asked for, padding changes none of them, and a pose that is asked for is heeded."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from model_server.networks.dae_talker.speech2latent import Speech2Latent, Speech2LatentSize, SpeechFeatures

SIZE = Speech2LatentSize(
    layers=3, features=12, prosody=2, width=32, blocks=2, heads=2, kernel=5, expansion=2, latent=16
)


@pytest.fixture
def network() -> Speech2Latent:
    torch.manual_seed(0)
    made = Speech2Latent(SIZE).eval()
    made.latent_mean.fill_(0.5)
    made.latent_deviation.fill_(2.0)
    made.pose_mean.copy_(torch.tensor([1.0, -2.0, 0.5]))
    made.pose_deviation.copy_(torch.tensor([4.0, 2.0, 1.0]))
    return made


def speech(steps: int, count: int = 1, seed: int = 1) -> SpeechFeatures:
    generator = torch.Generator().manual_seed(seed)
    return SpeechFeatures(
        torch.randn(count, 3, steps, 12, generator=generator), torch.randn(count, steps, 2, generator=generator)
    )


def cut(features: SpeechFeatures, steps: int) -> SpeechFeatures:
    return SpeechFeatures(features.layers[:, :, :steps], features.prosody[:, :steps])


@pytest.mark.parametrize(("steps", "frames"), [(2, 1), (50, 25), (49, 25), (48, 25), (51, 25), (52, 25), (501, 250)])
@torch.no_grad()
def test_frames_out_are_frames_asked_for(network: Speech2Latent, steps: int, frames: int) -> None:
    spoken = network.speak(speech(steps), frames)
    assert spoken.latent.shape == (1, frames, 16) and spoken.pose.shape == (1, frames, 3)


@torch.no_grad()
def test_steps_beyond_the_frames_change_nothing(network: Speech2Latent) -> None:
    exact, over = cut(speech(52), 50), speech(52)
    assert torch.equal(network.speak(exact, 25).latent, network.speak(over, 25).latent)


@pytest.mark.parametrize(("steps", "frames"), [(50, 20), (50, 27), (0, 0)])
def test_another_length_is_refused(network: Speech2Latent, steps: int, frames: int) -> None:
    with pytest.raises(ValueError, match="frames"):
        network.speak(speech(steps), frames)


def test_a_frame_is_heard_where_it_is(network: Speech2Latent) -> None:
    """Frame i reads steps 2 i - 1 to 2 i + 1 and no others."""
    features = speech(40)
    features.layers.requires_grad_()
    heard = network.downsampling(network._steps(features, 20).transpose(1, 2))
    heard[..., 7].sum().backward()
    assert features.layers.grad.abs().sum((0, 1, 3)).nonzero().flatten().tolist() == [13, 14, 15]


@torch.no_grad()
def test_a_pose_asked_for_replaces_the_predicted_one(network: Speech2Latent) -> None:
    features = speech(60)
    free = network.speak(features, 30)
    turned = free.pose + torch.tensor([10.0, 0.0, 0.0])
    asked = network.speak(features, 30, turned)
    assert torch.equal(asked.pose, turned)
    assert not torch.allclose(asked.latent, free.latent, atol=1e-2)
    # The predicted pose, asked for, is the same as none; the prediction itself does not depend on what is asked for.
    assert torch.allclose(network.speak(features, 30, free.pose).latent, free.latent, atol=1e-4)
    standard = (turned - network.pose_mean) / network.pose_deviation
    assert torch.equal(network(features, 30, standard).pose, network(features, 30).pose)


@torch.no_grad()
def test_units_are_the_training_datas(network: Speech2Latent) -> None:
    features = speech(20)
    inside, outside = network(features, 10), network.speak(features, 10)
    assert torch.allclose(outside.latent, inside.latent * 2 + 0.5)
    assert torch.allclose(outside.pose, inside.pose * network.pose_deviation + network.pose_mean)


def test_the_true_pose_teaches_the_projection_and_the_predictor_hears_its_own_error(network: Speech2Latent) -> None:
    features, true = speech(20), torch.randn(1, 10, 3)
    network(features, 10, true).latent.square().mean().backward()
    assert network.pose_projection[0].weight.grad.abs().max() > 0
    assert network.pose_predictor.out.weight.grad is None
    (network(features, 10, true).pose - true).square().mean().backward()
    assert network.pose_predictor.out.weight.grad.abs().max() > 0
    assert network.mixture.grad.abs().max() > 0


@pytest.mark.parametrize("reach", [None, 8])
@torch.no_grad()
def test_padding_changes_no_frame(reach: int | None) -> None:
    torch.manual_seed(0)
    network = Speech2Latent(replace(SIZE, reach=reach)).eval()
    long, short = speech(60), speech(60, seed=2)
    valid = torch.arange(30)[None] < torch.tensor([[30], [18]])
    both = SpeechFeatures(torch.cat([long.layers, short.layers]), torch.cat([long.prosody, short.prosody]))
    spoken = network(both, 30, valid=valid)
    assert torch.allclose(spoken.latent[0], network(long, 30).latent[0], atol=1e-5)
    alone = network(cut(short, 36), 18)
    assert torch.allclose(spoken.latent[1, :18], alone.latent[0], atol=1e-5)
    assert torch.allclose(spoken.pose[1, :18], alone.pose[0], atol=1e-5)


@torch.no_grad()
def test_all_speech_is_heard_or_what_is_within_reach() -> None:
    far = speech(160)
    changed = SpeechFeatures(far.layers.clone(), far.prosody)
    changed.layers[:, :, 150:] = 0
    for reach, heeded in ((None, True), (4, False)):
        torch.manual_seed(0)
        network = Speech2Latent(replace(SIZE, blocks=1, reach=reach)).eval()
        same = torch.allclose(network(far, 80).latent[:, 0], network(changed, 80).latent[:, 0], atol=1e-6)
        assert same != heeded


@torch.no_grad()
def test_a_network_without_prosody_takes_none() -> None:
    network = Speech2Latent(replace(SIZE, layers=1, prosody=0)).eval()
    assert network.speak(SpeechFeatures(torch.randn(2, 1, 20, 12), torch.empty(2, 20, 0)), 10).latent.shape[1] == 10
