"""ICC profiles of wide colour spaces, and values in them, both computed from the primaries."""

from __future__ import annotations

import struct
from typing import NamedTuple

import numpy as np

# Bradford adaptation from D65 to the profiles' D50, and linear sRGB to XYZ of D65.
_TO_D50 = np.array(
    [[1.0479298, 0.0229469, -0.0501923], [0.0296278, 0.9904345, -0.0170738], [-0.0092430, 0.0150552, 0.7518743]]
)
_WHITE = np.array([0.3127 / 0.3290, 1, (1 - 0.3127 - 0.3290) / 0.3290])
_D50 = (0.9642, 1.0, 0.8249)


class Space(NamedTuple):
    """Chromaticities of red, green and blue, and an exponent; the white is D65."""

    primaries: tuple[tuple[float, float], ...]
    gamma: float


SRGB = ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06))
DISPLAY_P3 = Space(((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)), 2.2)
ADOBE_RGB = Space(((0.64, 0.33), (0.21, 0.71), (0.15, 0.06)), 2.19921875)
SPACES = (DISPLAY_P3, ADOBE_RGB)


def values(space: Space, srgb: tuple[int, int, int]) -> tuple[int, ...]:
    """The 8-bit values that mean an sRGB colour."""
    encoded = np.array(srgb) / 255
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    there = np.linalg.solve(_to_xyz(space.primaries), _to_xyz(SRGB) @ linear)
    return tuple(np.rint(255 * np.clip(there, 0, 1) ** (1 / space.gamma)).astype(int).tolist())


def profile(space: Space) -> bytes:
    """A matrix profile of version 2.1."""
    columns = (_TO_D50 @ _to_xyz(space.primaries)).T
    curve = struct.pack(">4sIIH", b"curv", 0, 1, round(space.gamma * 256))
    tags = {
        b"desc": b"desc" + bytes(4) + struct.pack(">I", 5) + b"wide\0" + bytes(78),
        b"cprt": b"text" + bytes(4) + b"none\0",
        b"wtpt": _xyz(_D50),
        **{name: _xyz(column) for name, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), columns, strict=True)},
        **dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve),
    }
    table, body, start = b"", b"", 132 + 12 * len(tags)
    for name, content in tags.items():
        table += struct.pack(">4sII", name, start + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    head = struct.pack(">I4sI4s4s4s", start + len(body), bytes(4), 0x02100000, b"mntr", b"RGB ", b"XYZ ")
    head += bytes(12) + b"acsp" + bytes(28) + struct.pack(">3i", *(round(65536 * part) for part in _D50)) + bytes(48)
    return head + struct.pack(">I", len(tags)) + table + body


def _to_xyz(primaries: tuple[tuple[float, float], ...]) -> np.ndarray:
    columns = np.array([(x / y, 1, (1 - x - y) / y) for x, y in primaries]).T
    return columns * np.linalg.solve(columns, _WHITE)


def _xyz(values: object) -> bytes:
    return b"XYZ " + bytes(4) + struct.pack(">3i", *(round(65536 * float(part)) for part in np.array(values)))
