"""Pictures in the formats of film and rendering, written by OpenImageIO."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import OpenImageIO
from numpy.typing import NDArray


def colours(size: int = 64) -> NDArray[np.float32]:
    """All shades from 0 to 1, (size, size, 3)."""
    ramp = np.linspace(0, 1, size, dtype=np.float32)
    return np.stack(np.broadcast_arrays(ramp, ramp[::-1], ramp[:, None]), axis=2)


def encoded(light: NDArray[Any]) -> NDArray[Any]:
    """Scene-linear light by the transfer function of sRGB, 0 to 255."""
    light = np.clip(light.astype(np.float64), 0, 1)
    return 255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def write_still(
    path: Path,
    pixels: NDArray[np.float32],
    kind: str,
    names: tuple[str, ...] = (),
    at: tuple[int, int] = (0, 0),
    **extra: Any,
) -> Path:
    """Write (height, width, channels) values from 0 to 1 with samples of a kind; `extra` are attributes of the file."""
    write_parts(path, [(pixels, names)], kind, at, **extra)
    return path


def write_parts(
    path: Path,
    parts: list[tuple[NDArray[np.float32], tuple[str, ...]]],
    kind: str,
    at: tuple[int, int] = (0, 0),
    **extra: Any,
) -> Path:
    """The same for a file of several pictures."""
    specs = []
    for pixels, names in parts:
        height, width, channels = pixels.shape
        spec = OpenImageIO.ImageSpec(width, height, channels, kind)
        spec.channelnames = names or ("R", "G", "B", "A")[:channels] if channels > 1 else names or ("Y",)
        spec.alpha_channel = 3 if channels == 4 and not names else -1
        spec.x, spec.y = at
        for name, value in extra.items():
            spec.attribute(name.replace("__", ":"), value)
        specs.append(spec)
    output = OpenImageIO.ImageOutput.create(str(path))
    assert output.open(str(path), specs if len(specs) > 1 else specs[0]), output.geterror()
    for number, (pixels, _) in enumerate(parts):
        if number:
            assert output.open(str(path), specs[number], "AppendSubimage"), output.geterror()
        assert output.write_image(np.ascontiguousarray(pixels)), output.geterror()
    output.close()
    return path
