"""High dynamic range (BT.2100 PQ and HLG) seen as standard dynamic range, and back.

Light of the display is brought to BT.709 with HDR's reference white (BT.2408: 203 cd/m2) as white: highlights are
rolled off by the EETF of BT.2390 (section 5.4.1) on the largest of a pixel's components, so that hues stay, and colours
outside BT.709 are clipped. Everything below the knee, faces among it, is what an SDR camera would have taken.
"""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]

PQ, HLG = 16, 18
"""Transfer characteristics as ISO/IEC 23091-2 numbers them."""
BT2020, DISPLAY_P3 = 9, 12
"""Colour primaries, likewise."""

# In cd/m2: the peak for which content is graded, SDR's white, and what PQ's code 1 means.
_PEAK, _WHITE, _PQ_PEAK = 1000.0, 203.0, 10000.0
_SDR_GAMMA = 2.4
_M1, _M2, _C1, _C2, _C3 = 1305 / 8192, 2523 / 32, 107 / 128, 2413 / 128, 2392 / 128
_HLG_A, _HLG_B, _HLG_C = 0.17883277, 0.28466892, 0.55991073
_HLG_GAMMA = 1.2
_LUMINANCE = np.array([0.2627, 0.6780, 0.0593])
# From linear RGB of these primaries to BT.709's (BT.2087).
_TO_BT709 = {
    BT2020: np.array([[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]]),
    DISPLAY_P3: np.array([[1.2249, -0.2247, 0.0], [-0.0420, 1.0419, 0.0], [-0.0197, -0.0786, 1.0979]]),
}
_CODES = 65536
_BAND = 16


def to_sdr(code: Floats, transfer: int, primaries: int = BT2020) -> Floats:
    """SDR colours of HDR ones.

    Args:
        code: non-linear R'G'B' in [0, 1], (..., 3).
        transfer: PQ or HLG.

    Returns:
        BT.709 R'G'B' in [0, 1] for a display gamma of 2.4.
    """
    light = _light(np.asarray(code, np.float64), transfer)
    light = light * _gain(light.max(axis=-1, keepdims=True))
    return np.clip(light @ _to_bt709(primaries).T, 0, 1) ** (1 / _SDR_GAMMA)


def to_hdr(code: Floats, transfer: int, primaries: int = BT2020) -> Floats:
    """Inverse of `to_sdr`, for colours that it did not clip."""
    light = np.asarray(code, np.float64) ** _SDR_GAMMA @ np.linalg.inv(_to_bt709(primaries)).T * _WHITE
    brightest = light.max(axis=-1, keepdims=True)
    raised = np.interp(brightest, *_roll_off()[::-1])
    return _code(light * (raised / np.maximum(brightest, 1e-9)), transfer)


def _to_bt709(primaries: int) -> Floats:
    return _TO_BT709.get(primaries, np.eye(3))


def _light(code: Floats, transfer: int) -> Floats:
    """Light of a display, in cd/m2."""
    if transfer == PQ:
        return _pq_light(code)
    scene = _hlg_scene(code)
    luminance = np.maximum(scene @ _LUMINANCE, 1e-9)[..., None]
    return _PEAK * luminance ** (_HLG_GAMMA - 1) * scene


def _code(light: Floats, transfer: int) -> Floats:
    """Inverse of `_light`."""
    light = np.maximum(light, 0)
    if transfer == PQ:
        return _pq_code(light)
    luminance = np.maximum(light @ _LUMINANCE / _PEAK, 1e-9)[..., None]
    scene = light / _PEAK * luminance ** ((1 - _HLG_GAMMA) / _HLG_GAMMA)
    low = np.sqrt(3 * scene)
    return np.clip(np.where(low <= 0.5, low, _HLG_A * np.log(np.maximum(12 * scene - _HLG_B, 1e-9)) + _HLG_C), 0, 1)


def _hlg_scene(code: Floats) -> Floats:
    return np.where(code <= 0.5, code**2 / 3, (np.exp((code - _HLG_C) / _HLG_A) + _HLG_B) / 12)


def _pq_light(code: Floats) -> Floats:
    power = np.clip(code, 0, 1) ** (1 / _M2)
    return _PQ_PEAK * (np.maximum(power - _C1, 0) / (_C2 - _C3 * power)) ** (1 / _M1)


def _pq_code(light: Floats) -> Floats:
    power = np.clip(light / _PQ_PEAK, 0, 1) ** _M1
    return ((_C1 + _C2 * power) / (1 + _C3 * power)) ** _M2


@cache
def _roll_off() -> tuple[Floats, Floats]:
    """Light of the content and the light it becomes, both ascending, in cd/m2."""
    peak = _pq_code(np.array(_PEAK))
    most = _pq_code(np.array(_WHITE)) / peak
    knee = 1.5 * most - 0.5
    given = np.linspace(0, 1, _CODES)
    t = np.clip((given - knee) / (1 - knee), 0, 1)
    hermite = (2 * t**3 - 3 * t**2 + 1) * knee + (t**3 - 2 * t**2 + t) * (1 - knee) + (-2 * t**3 + 3 * t**2) * most
    return _pq_light(given * peak), _pq_light(np.where(given < knee, given, hermite) * peak)


def _gain(light: Floats) -> Floats:
    """What light in cd/m2 is multiplied with where a pixel's brightest component has so much; SDR's white is 1."""
    light = np.maximum(light, 1e-3)
    return np.interp(light, *_roll_off()) / light / _WHITE


def dithered(code: NDArray) -> NDArray[np.uint8]:
    """R'G'B' in [0, 1] in 8 bits, (height, width, 3): as steps of HDR are seen, pixels take turns (Bayer, 1973)."""
    height, width = code.shape[:2]
    pattern = np.tile(_BAYER, (-(-height // len(_BAYER)), -(-width // len(_BAYER))))[:height, :width, None]
    return np.clip(code * np.float32(255) + pattern, 0, 255).astype(np.uint8)


def _bayer(steps: int) -> Singles:
    """Thresholds in (0, 1), (2**steps, 2**steps)."""
    ranks = np.zeros((1, 1))
    for _ in range(steps):
        ranks = np.block([[4 * ranks, 4 * ranks + 2], [4 * ranks + 3, 4 * ranks + 1]])
    return ((ranks + 0.5) / ranks.size).astype(np.float32)


_BAYER = _bayer(3)


class ToneMap:
    """`to_sdr` for whole pictures: from tables, and band by band so that all stays in the processor's cache.

    Args:
        white: what stands for R'G'B' 1 in the 16 bits of a picture.
    """

    def __init__(self, transfer: int, primaries: int = BT2020, white: int = _CODES - 1) -> None:
        codes = np.minimum(np.arange(_CODES) / white, 1)
        self._gain_of = self._pq_gain if transfer == PQ else self._hlg_gain
        self._light = (_pq_light(codes) if transfer == PQ else _hlg_scene(codes)).astype(np.float32)
        self._pq_gains = _gain(_pq_light(codes)).astype(np.float32)
        roots = np.linspace(0, 1, _CODES)
        self._gains = _gain(_PEAK * roots**2).astype(np.float32)
        self._to_bt709 = _to_bt709(primaries).astype(np.float32)
        self._encoded = np.rint(roots ** (2 / _SDR_GAMMA) * 255).astype(np.uint8)

    def __call__(self, picture: NDArray[np.uint16]) -> NDArray[np.uint8]:
        """SDR of a picture (height, width, 3), R'G'B' in 16 bits."""
        result = np.empty(picture.shape, np.uint8)
        for top in range(0, len(picture), _BAND):
            result[top : top + _BAND] = self._band(picture[top : top + _BAND])
        return result

    def _band(self, codes: NDArray[np.uint16]) -> NDArray[np.uint8]:
        light = self._light[codes]
        light *= self._gain_of(codes, light)[..., None]
        return self._encoded[_root_codes(cv2.transform(light, self._to_bt709))]

    def _pq_gain(self, codes: NDArray[np.uint16], light: Singles) -> Singles:
        return self._pq_gains[codes.max(axis=-1)]

    def _hlg_gain(self, codes: NDArray[np.uint16], scene: Singles) -> Singles:
        luminance = cv2.transform(scene, _LUMINANCE[None].astype(np.float32))
        display = np.maximum(luminance, 1e-9) ** np.float32(_HLG_GAMMA - 1)
        return display * self._gains[_root_codes(display * scene.max(axis=-1))] * np.float32(_PEAK)


def _root_codes(values: NDArray) -> NDArray[np.uint16]:
    """Indices, for values in [0, 1], into tables in which the dark ones are spread out."""
    return (np.sqrt(np.clip(values, 0, 1)) * np.float32(_CODES - 1) + np.float32(0.5)).astype(np.uint16)
