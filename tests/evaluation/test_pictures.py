"""SSIM, PSNR and CPBD on pictures whose figures are known."""

import cv2
import numpy as np
import pytest

from model_server.evaluation.metrics.cpbd import cpbd, edge_widths
from model_server.evaluation.metrics.psnr import LIMIT, psnr
from model_server.evaluation.metrics.ssim import ssim
from model_server.pipeline.media.video import picture_at
from tests.evaluation.conftest import INPUTS


def flat(value: int) -> np.ndarray:
    return np.full((64, 64, 3), value, np.uint8)


@pytest.fixture(scope="module")
def portrait() -> np.ndarray:
    return cv2.resize(picture_at(INPUTS / "portrait.png", 0), (256, 256), interpolation=cv2.INTER_AREA)


def test_equal_pictures(portrait: np.ndarray) -> None:
    assert ssim(portrait, portrait) == pytest.approx(1)
    assert psnr(portrait, portrait) == LIMIT


def test_ssim_of_flat_pictures_is_their_luminance_term() -> None:
    c1 = (0.01 * 255) ** 2
    expected = (2 * 100 * 150 + c1) / (100**2 + 150**2 + c1)
    assert ssim(flat(100), flat(150)) == pytest.approx(expected, abs=1e-6)


def test_ssim_of_inverted_detail_is_negative() -> None:
    detail = np.random.default_rng(0).integers(-40, 41, (64, 64, 3))
    assert ssim(np.uint8(128 + detail), np.uint8(128 - detail)) < -0.8


def test_psnr_of_one_step() -> None:
    assert psnr(flat(100), flat(101)) == pytest.approx(20 * np.log10(255))


def test_psnr_does_not_wrap_around() -> None:
    assert psnr(flat(0), flat(255)) == pytest.approx(0)


def test_edge_width_is_the_length_of_the_ramp() -> None:
    ramp = np.interp(np.arange(40), [15, 21], [20, 200]).astype(np.float32)[None].repeat(5, 0)
    gradient = np.ones_like(ramp)
    assert edge_widths(ramp, gradient)[2, 18] == 6
    assert edge_widths(ramp[:, ::-1], -gradient)[2, 21] == 6


def test_cpbd_of_a_sharp_step_is_one_and_of_a_wide_one_zero() -> None:
    step = np.zeros((128, 128, 3), np.uint8)
    step[:, 30:] = 200
    assert cpbd(step) == 1
    assert cpbd(cv2.GaussianBlur(step, (0, 0), 5)) == 0


def test_blur_lowers_cpbd(portrait: np.ndarray) -> None:
    values = [cpbd(portrait)] + [cpbd(cv2.GaussianBlur(portrait, (0, 0), sigma)) for sigma in (1, 2, 4)]
    assert values == sorted(values, reverse=True)
    assert values[0] > 2 * values[2]


def test_cpbd_of_nothing_is_not_a_number() -> None:
    assert np.isnan(cpbd(flat(90)))
