"""What the warp head promises: an untouched portrait to start from, smooth flows, any resolution."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from model_server.networks.cpu import warp_kernels
from model_server.networks.pcavs.model import Networks
from model_server.networks.pcavs.presets import PRESETS
from model_server.networks.pcavs.visibility import area, readers
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


def draw(generator: WarpGenerator, portrait: Tensor, rows: int = 1, turned: Tensor | None = None) -> Drawing:
    torch.manual_seed(3)
    noise = [torch.randn(1, 1, size, size) for size in generator.noise_sizes]
    return generator.draw(
        torch.randn(rows, *generator.synthesis.input_shape),
        torch.randn(rows, generator.synthesis.style_size),
        noise,
        portrait,
        turned,
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


def test_what_depth_tells_takes_the_place_of_what_codes_say_of_a_turn(generator: WarpGenerator) -> None:
    portrait = smooth_picture(224)
    turned = enlarged(torch.randn(1, 2, 7, 7) * 0.05, DRAWN_SIZE)
    torch.nn.init.normal_(generator.turn_head.fields, std=0.02)
    drawing = draw(generator, portrait, turned=turned)
    torch.testing.assert_close(drawing.offsets, turned)
    torch.testing.assert_close(drawing.warped, warp(portrait, enlarged(turned, 224)))
    disturb(generator)
    unknown = draw(generator, portrait, turned=torch.full_like(turned, torch.nan))
    alone = draw(generator, portrait)
    torch.testing.assert_close(unknown.offsets, alone.offsets, rtol=0, atol=2e-3)
    assert (alone.offsets - draw(generator, portrait, turned=turned).offsets).abs().max() > 0.05


def test_an_offset_points_to_where_the_portrait_is_read() -> None:
    """One half of a 64 pixel picture is 32 pixels: an offset of 0.25 reads 8 pixels further to the right."""
    portrait = torch.rand(1, 3, 64, 64)
    offsets = torch.zeros(1, 2, 64, 64)
    offsets[:, 0] = 0.25
    torch.testing.assert_close(warp(portrait, offsets)[..., :56], portrait[..., 8:], rtol=0, atol=1e-4)
    torch.testing.assert_close(warp(portrait, offsets)[..., 56:], portrait[..., -1:].expand(-1, -1, -1, 8))
    offsets = offsets.flip(1)
    torch.testing.assert_close(warp(portrait, offsets)[:, :, :56], portrait[:, :, 8:], rtol=0, atol=1e-4)


def test_what_lies_around_a_portrait_is_fetched() -> None:
    """Of a 96 pixel picture the middle 64: an offset of 0.25 reads 8 pixels further to the right, also at its edge."""
    around = torch.rand(1, 3, 96, 96)
    offsets = torch.zeros(1, 2, 64, 64)
    torch.testing.assert_close(warp(around, offsets, 16), around[..., 16:80, 16:80], rtol=0, atol=1e-4)
    offsets[:, 0] = 0.25
    torch.testing.assert_close(warp(around, offsets, 16), around[..., 16:80, 24:88], rtol=0, atol=1e-4)


def test_at_an_edge_two_surfaces_meet_and_no_third_one() -> None:
    """Black and white with red between them; the offset leaps over the red part."""
    portrait = torch.full((1, 3, 224, 224), -1.0)
    portrait[..., 103:122] = torch.tensor([1.0, -1.0, -1.0])[:, None, None]
    portrait[..., 122:] = 1
    still = torch.zeros(1, 2, FLOW_SIZE, FLOW_SIZE)
    leap = torch.zeros(1, 2, DRAWN_SIZE, DRAWN_SIZE)
    leap[:, 0, :, 50:] = 24 / 112
    mask, paint = torch.ones(1, 1, DRAWN_SIZE, DRAWN_SIZE), torch.zeros(1, 3, DRAWN_SIZE, DRAWN_SIZE)
    shown = blend(portrait, still, leap, mask, paint).image
    red, green, _ = shown[0, :, 112]
    assert (red - green).abs().max() < 1e-4
    assert red[:98].max() == -1 and red[102:].min() == 1


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


def test_half_precision_keeps_places_exact(generator: WarpGenerator, monkeypatch: pytest.MonkeyPatch) -> None:
    """In bfloat16 the places of pixels would be rounded to half a pixel; features may be coarse, places may not."""
    monkeypatch.setattr(warp_kernels, "FOLD", torch.inf)  # the flow below is all edges
    portrait = torch.rand(1, 3, 224, 224) * 2 - 1
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        still = draw(generator, portrait)
        torch.testing.assert_close(still.warped, portrait, rtol=0, atol=1e-3)
        disturb(generator)
        rough = draw(generator, portrait)
        exact = warp(portrait, enlarged(rough.offsets, 224))
    torch.testing.assert_close(rough.warped, exact, rtol=0, atol=1e-3)
    assert rough.image.dtype == torch.float32


@pytest.fixture
def whole() -> WarpGenerator:
    """One with the optional parts."""
    generator = Networks(replace(PRESETS["lite"], visibility=True, lids=True)).generator
    assert isinstance(generator, WarpGenerator)
    return generator


def test_new_parts_change_nothing_before_they_are_trained(generator: WarpGenerator, whole: WarpGenerator) -> None:
    disturb(generator)
    missing, unknown = whole.load_state_dict(generator.state_dict(), strict=False)
    assert not unknown and all(name.startswith(("visibility.", "lids.")) for name in missing)
    style, portrait = torch.randn(2, generator.synthesis.style_size), smooth_picture(224)
    noise = [torch.randn(1, 1, size, size) for size in generator.noise_sizes]
    identity = torch.randn(2, *generator.synthesis.input_shape)
    with torch.inference_mode():
        before = generator(identity, style, noise, portrait)
        after = whole(identity, torch.cat([style, torch.rand(2, 2)], 1), noise, portrait)
    torch.testing.assert_close(after, before, rtol=0, atol=1e-5)  # sums in another order


def test_closing_lids_moves_the_eyes_alone_and_leaves_who_it_is(whole: WarpGenerator) -> None:
    assert whole.lids is not None
    eyes = torch.zeros(56, 56)
    eyes[16:26] = 1
    with torch.no_grad():
        whole.lids.move_head.fields[:, 1] = eyes * 0.1
    style = torch.randn(1, whole.synthesis.style_size).repeat(2, 1)
    style = torch.cat([style, torch.tensor([[0.0, 0.0], [1.0, 0.0]])], 1)
    noise = [torch.zeros(1, 1, size, size) for size in whole.noise_sizes]
    identity = torch.randn(1, *whole.synthesis.input_shape).repeat(2, 1, 1, 1)
    open_eyes, closed = whole.draw(identity, style, noise, smooth_picture(224)).mouth_flow
    moved = (closed - open_eyes).abs()
    assert moved[1, 36:48].min() > 1e-5 and moved[:, 60:].max() == 0 and moved[0].max() == 0


def test_a_flow_tells_what_it_hides() -> None:
    """Where two places read from one, that is known; where a flow mirrors, the area is below nothing."""
    still = torch.zeros(1, 2, FLOW_SIZE, FLOW_SIZE)
    assert area(still).abs().max() == 0 and readers(still).abs().max() == 0
    folded = still.clone()
    place = (torch.arange(28) + 0.5) * (2 / FLOW_SIZE)
    folded[:, 0, :, 28:] = -2 * place  # the right half shows the left one, mirrored
    assert (area(folded)[..., 30:-1] < -1.9).all() and (area(folded)[..., 1:26] == 0).all()
    assert (readers(folded)[:, 0, :, 1:27] == 0.25).all() and (readers(folded)[:, 0, :, 29:55] == 0.25).all()
    squeezed = still.clone()
    squeezed[:, 0, :, 28:] = -place  # a column for all of it
    assert ((area(squeezed)[..., 30:-1] + 1).abs() < 1e-5).all() and (readers(squeezed)[:, 0, :, 30:] == 1).all()


def test_what_is_hidden_is_painted(whole: WarpGenerator) -> None:
    assert whole.visibility is not None
    with torch.no_grad():
        whole.visibility.seen_head.bias.fill_(-20)
    drawing = draw_whole(whole, torch.ones(1, 3, 224, 224))
    torch.testing.assert_close(drawing.image, enlarged(drawing.rgb, 224), rtol=0, atol=1e-4)


def draw_whole(generator: WarpGenerator, portrait: Tensor) -> Drawing:
    noise = [torch.randn(1, 1, size, size) for size in generator.noise_sizes]
    style = torch.cat([torch.randn(1, generator.synthesis.style_size), torch.rand(1, 2)], 1)
    return generator.draw(torch.randn(1, *generator.synthesis.input_shape), style, noise, portrait)
