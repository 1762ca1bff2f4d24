"""The target augmentation changes looks, and landmarks follow it."""

import torch

from model_server.training import augment


def blobs(points: torch.Tensor) -> torch.Tensor:
    """A white blob on black at each point (n, 1, 2) of n pictures."""
    place = torch.arange(224) + 0.5
    across = torch.exp(-0.5 * ((place - points[:, 0, :1]) / 4) ** 2)
    down = torch.exp(-0.5 * ((place - points[:, 0, 1:]) / 4) ** 2)
    return (down[:, :, None] * across[:, None, :] * 2 - 1)[:, None].repeat(1, 3, 1, 1)


def centroid(images: torch.Tensor) -> torch.Tensor:
    weight = (images[:, 0] + 1) / 2
    weight = torch.where(weight > 0.05, weight, 0)
    place = torch.arange(224) + 0.5
    total = weight.sum((1, 2))
    return torch.stack([(weight.sum(1) * place).sum(1) / total, (weight.sum(2) * place).sum(1) / total], 1)


def test_landmarks_follow_the_picture() -> None:
    torch.manual_seed(1)
    points = torch.empty(12, 1, 2).uniform_(50, 174)
    change = augment.draw(12, 1.0)
    change = augment.Augmentation(change.homography, torch.ones(12, 3), torch.zeros(12), change.sigma)
    found = centroid(change.images(blobs(points)))
    expected = change.points(points)[:, 0]
    assert (expected - points[:, 0]).abs().max() > 5
    torch.testing.assert_close(found, expected, atol=1.0, rtol=0)


def test_strength_zero_changes_nothing() -> None:
    images = torch.rand(3, 3, 224, 224) * 2 - 1
    torch.testing.assert_close(augment.draw(3, 0.0).images(images), images, atol=1e-4, rtol=0)


def test_one_draw_serves_all_frames_of_a_clip() -> None:
    image = (torch.rand(1, 3, 224, 224) * 2 - 1).expand(6, -1, -1, -1)
    changed = augment.draw(2, 1.0).repeated(3).images(image)
    assert torch.equal(changed[0], changed[2]) and torch.equal(changed[3], changed[5])
    assert not torch.equal(changed[0], changed[3])


def test_gain_scales_one_range_of_channels() -> None:
    torch.manual_seed(0)
    gain = augment.draw(200, 1.0).gain
    assert gain.min() >= 0.3 and gain.max() <= 1.6
    changed = gain != 1
    assert changed.any(0).all() and (~changed).any(0).all()
    assert not (changed[:, 0] & ~changed[:, 1] & changed[:, 2]).any(), "the range has no hole"


def test_sharpness_blurs_and_sharpens() -> None:
    torch.manual_seed(2)
    image = torch.rand(1, 3, 64, 64) - 0.5
    plain = augment.draw(1, 0.0)
    detail = []
    for sharpness in (-1.0, 0.0, 1.0):
        parts = (plain.homography, plain.gain, torch.tensor([sharpness]), torch.tensor([1.5]))
        detail.append(augment.Augmentation(*parts).images(image).std().item())
    assert detail[0] < 0.6 * detail[1] < detail[1] < detail[2]


def test_the_mouth_is_replaced_and_nothing_else() -> None:
    images = torch.rand(4, 3, 224, 224) * 2 - 1
    boxes = augment.mouth_boxes(torch.full((4, 68, 2), torch.nan))
    replaced = augment.other_mouths(images, boxes)
    inside = augment.box_mask(boxes, 224).expand(-1, 3, -1, -1).bool()
    assert torch.equal(replaced[~inside], images[~inside])
    assert (replaced[inside] != images[inside]).float().mean() > 0.95


def test_boxes_come_from_landmarks_where_there_are_any() -> None:
    points = torch.full((2, 68, 2), torch.nan)
    points[0] = torch.tensor([100.0, 120.0])
    points[0, 48:, 0] = torch.linspace(90, 120, 20)
    boxes = augment.lip_boxes(points)
    assert boxes[0, 0] < 90 and boxes[0, 2] > 120
    assert torch.isfinite(boxes).all()
