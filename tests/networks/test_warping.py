"""What the warp head promises: an untouched portrait to start from, smooth flows, any resolution."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from model_server.networks.pcavs.model import Networks
from model_server.networks.pcavs.warping import DRAWN_SIZE, FLOW_SIZE, Drawing, WarpGenerator, blend, enlarged, warp


def smooth_picture(size: int) -> Tensor:
    """(1, 3, size, size) in [-1, 1], the same scene at each size."""
    coarse = torch.rand(1, 3, 6, 6, generator=torch.Generator().manual_seed(1)) * 2 - 1
    return torch.nn.functional.interpolate(coarse, (size, size), mode="bicubic", align_corners=False).clamp(-1, 1)


@pytest.fixture
def generator() -> WarpGenerator:
    generator = Networks("lite").generator
    assert isinstance(generator, WarpGenerator)
    return generator


def draw(generator: WarpGenerator, portrait: Tensor, rows: int = 1) -> Drawing:
    torch.manual_seed(3)
    noise = [torch.randn(1, 1, size, size) for size in generator.noise_sizes]
    return generator.draw(
        torch.randn(rows, *generator.synthesis.input_shape),
        torch.randn(rows, generator.synthesis.style_size),
        noise,
        portrait,
    )


def disturb(generator: WarpGenerator) -> None:
    """Give the heads weights as training would."""
    for head in (generator.flow_head, generator.mouth_head, generator.mask_head):
        torch.nn.init.normal_(head.weight, std=0.02)
    for motion in (generator.turn_head, generator.speak_head):
        torch.nn.init.normal_(motion.fields, std=0.02)


def test_a_new_generator_leaves_the_portrait_where_it_is(generator: WarpGenerator) -> None:
    portrait = smooth_picture(224)
    drawing = draw(generator, portrait, rows=2)
    torch.testing.assert_close(drawing.warped, portrait.expand(2, -1, -1, -1), rtol=0, atol=1e-3)
    torch.testing.assert_close(drawing.mask, torch.full((2, 1, 112, 112), 0.7311), rtol=0, atol=1e-4)
    assert drawing.flow.shape == (2, 2, 56, 56) and drawing.flow.abs().max() == 0
    assert drawing.rgb.shape == (2, 3, 112, 112) and drawing.rgb.abs().max() <= 1


def test_gradients_reach_every_parameter(generator: WarpGenerator) -> None:
    disturb(generator)
    draw(generator, smooth_picture(224)).image.square().mean().backward()
    assert all(value.grad is not None and value.grad.abs().sum() > 0 for value in generator.parameters())


def test_the_same_drawing_at_each_resolution(generator: WarpGenerator) -> None:
    disturb(generator)
    with torch.inference_mode():
        small, large = (draw(generator, smooth_picture(size)) for size in (224, 448))
    assert large.image.shape == (1, 3, 448, 448)
    assert large.flow.abs().max() > 0.01
    torch.testing.assert_close(large.flow, small.flow)
    halved = torch.nn.functional.avg_pool2d(large.image, 2)
    assert (halved - small.image).abs().mean() < 0.01


def test_an_offset_points_to_where_the_portrait_is_read() -> None:
    """One half of a 64 pixel picture is 32 pixels: an offset of 0.25 reads 8 pixels further to the right."""
    portrait = torch.rand(1, 3, 64, 64)
    offsets = torch.zeros(1, 2, 64, 64)
    offsets[:, 0] = 0.25
    torch.testing.assert_close(warp(portrait, offsets)[..., :56], portrait[..., 8:], rtol=0, atol=1e-4)
    torch.testing.assert_close(warp(portrait, offsets)[..., 56:], portrait[..., -1:].expand(-1, -1, -1, 8))
    offsets = offsets.flip(1)
    torch.testing.assert_close(warp(portrait, offsets)[:, :, :56], portrait[:, :, 8:], rtol=0, atol=1e-4)


def test_mask_chooses_between_portrait_and_paint() -> None:
    portrait, paint = smooth_picture(224), torch.full((1, 3, DRAWN_SIZE, DRAWN_SIZE), 0.5)
    still = torch.zeros(1, 2, FLOW_SIZE, FLOW_SIZE), torch.zeros(1, 2, DRAWN_SIZE, DRAWN_SIZE)
    mask = torch.zeros(1, 1, DRAWN_SIZE, DRAWN_SIZE)
    mask[..., 56:] = 1
    image = blend(portrait, *still, mask, paint).image
    torch.testing.assert_close(image[..., 114:], portrait[..., 114:], rtol=0, atol=1e-3)
    torch.testing.assert_close(image[..., :110], torch.full((1, 3, 224, 110), 0.5))


def test_an_enlarged_flow_has_no_steps() -> None:
    ramp = torch.linspace(-0.3, 0.3, FLOW_SIZE).expand(1, 2, FLOW_SIZE, FLOW_SIZE)
    for size in (224, 320, 512):
        steps = enlarged(ramp, size).diff(dim=-1)
        assert steps.min() >= -1e-6 and steps.max() < 1.01 * 0.6 / 55 * 56 / size


def test_offsets_join_both_flows(generator: WarpGenerator) -> None:
    disturb(generator)
    portrait = smooth_picture(DRAWN_SIZE)
    drawing = draw(generator, portrait)
    torch.testing.assert_close(warp(portrait, drawing.offsets), drawing.warped)
    assert drawing.mouth_flow.abs().max() > 0


def test_half_precision_keeps_places_exact(generator: WarpGenerator) -> None:
    """In bfloat16 the places of pixels would be rounded to half a pixel; features may be coarse, places may not."""
    portrait = torch.rand(1, 3, 224, 224) * 2 - 1
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        still = draw(generator, portrait)
        torch.testing.assert_close(still.warped, portrait, rtol=0, atol=1e-3)
        disturb(generator)
        rough = draw(generator, portrait)
        exact = warp(portrait, enlarged(rough.offsets, 224))
    torch.testing.assert_close(rough.warped, exact, rtol=0, atol=1e-3)
    assert rough.image.dtype == torch.float32
