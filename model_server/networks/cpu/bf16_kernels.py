"""The loops around convolutions in half precision, compiled by Numba.

Pictures (h, w, c) are contiguous, c a multiple of `LANES`: `Halves` hold bfloat16. Sums are float32. Places (`at`,
`to`) are elements of the flat array.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from model_server.networks.cpu.compiler import compiled, compiled_part
from model_server.networks.cpu.kernels import Finish, Floats
from model_server.networks.cpu.simd import LANES, larger, load, splat, store, total

Halves = NDArray[np.int16]

_LINES = 4  # rows that the smoothing filter sees at once: its taps in one direction


@compiled
def scale(x: Halves | Floats, scales: Floats, result: Halves) -> None:
    """Each channel times its scale (c,)."""
    channels = x.shape[2]
    for at in range(0, x.size, channels):
        for c in range(0, channels, LANES):
            store(result, at + c, load(x, at + c) * load(scales, c))


@compiled
def normalise(x: Halves | Floats, scales: Floats, shifts: Floats, result: Halves) -> None:
    """`relu(x * scales + shifts)`, scales and shifts (c,)."""
    channels, zero = x.shape[2], splat(0.0)
    for at in range(0, x.size, channels):
        for c in range(0, channels, LANES):
            store(result, at + c, larger(load(x, at + c) * load(scales, c) + load(shifts, c), zero))


@compiled
def join(parts: tuple[Halves, Halves, Halves], added: Halves | Floats, result: Floats) -> None:
    """Channels (h, w, c1), (h, w, c2), (h, w, c3) of all parts, in order, plus (h, w, c1 + c2 + c3)."""
    channels = result.shape[2]
    for pixel in range(result.size // channels):
        to = pixel * channels
        for part in parts:
            width = part.shape[2]
            for c in range(0, width, LANES):
                store(result, to + c, load(part, pixel * width + c) + load(added, to + c))
            to += width


@compiled
def finish(made: Halves, ending: Finish, result: Halves) -> None:
    """A convolution's results, finished: times gains (c,), plus bias (c,), plus noise (h, w), a leaky ReLU."""
    gains, bias, noise, slope = ending
    channels, slopes, flat_noise = made.shape[2], splat(slope), noise.reshape(-1)
    for pixel in range(len(flat_noise)):
        at, raised = pixel * channels, splat(flat_noise[pixel])
        for c in range(0, channels, LANES):
            value = load(made, at + c) * load(gains, c) + (load(bias, c) + raised)
            store(result, at + c, larger(value, value * slopes))


@compiled
def smooth(parts: tuple[Halves, Halves, Halves, Halves], ending: Finish, result: Halves) -> None:
    """A transposed convolution of stride two, smoothed by the [1, 3, 3, 1] filter and finished.

    Args:
        parts: its pixels in even rows and columns (h + 1, w + 1), even rows and odd columns (h + 1, w), odd rows and
            even columns (h, w + 1), odd rows and columns (h, w).
        result: (2h, 2w).
    """
    # Smoothed across, then down: a row sees the line before it, its own and the next two. Each turn makes line
    # `row + 2`, in place of one that is no longer seen, so the first rows only make lines.
    gains, bias, noise, slope = ending
    height, width, channels = result.shape
    lines = np.zeros((_LINES, width * channels), np.float32)
    for row in range(-2, height):
        if row + 2 <= height:
            even, odd = (parts[2], parts[3]) if row % 2 else (parts[0], parts[1])
            _smooth_across(even, odd, (row + 2) // 2, lines[(row + 2) % _LINES])
        else:
            lines[(row + 2) % _LINES] = 0
        if row >= 0:
            _smooth_down(lines, row, (gains, bias, noise[row], slope), result[row])


@compiled_part
def _smooth_across(even: Halves, odd: Halves, row: int, line: Floats) -> None:
    """One row of the enlarged picture, four times as large as it should be."""
    width, channels, three = odd.shape[1], odd.shape[2], splat(3.0)
    for x in range(width):
        evens, odds = (row * (width + 1) + x) * channels, (row * width + x) * channels
        to = 2 * x * channels
        for c in range(0, channels, LANES):
            first, third = load(even, evens + c), load(even, evens + channels + c)
            second = load(odd, odds + c)
            before = load(odd, odds - channels + c) if x else splat(0.0)
            after = load(odd, odds + channels + c) if x + 1 < width else splat(0.0)
            store(line, to + c, (first + second) * three + (before + third))
            store(line, to + channels + c, (second + third) * three + (first + after))


@compiled_part
def _smooth_down(lines: Floats, row: int, ending: Finish, result: Halves) -> None:
    """One finished row, of the line before it, its own and the next two."""
    gains, bias, noise, slope = ending
    width, channels, size = result.shape[0], result.shape[1], lines.shape[1]
    starts = [(row + n) % _LINES * size for n in (3, 0, 1, 2)]
    before, own, after, last = starts[0], starts[1], starts[2], starts[3]
    # The filter keeps brightness as [1, 3, 3, 1] / 4 in each direction.
    three, sixteenth, slopes = splat(3.0), splat(1 / 16), splat(slope)
    for x in range(width):
        at, raised = x * channels, splat(noise[x])
        for c in range(0, channels, LANES):
            place = at + c
            outer = load(lines, before + place) + load(lines, last + place)
            value = (load(lines, own + place) + load(lines, after + place)) * three + outer
            value = value * (load(gains, c) * sixteenth) + (load(bias, c) + raised)
            store(result, place, larger(value, value * slopes))


@compiled
def to_rgb(x: Halves, weights: Floats, bias: Floats, result: Floats) -> None:
    """Each pixel's product with weights (3, channels), plus bias (3,): float32 (h, w, 3)."""
    channels, flat = x.shape[2], result.reshape(-1)
    for pixel in range(len(flat) // 3):
        at = pixel * channels
        red, green, blue = splat(0.0), splat(0.0), splat(0.0)
        for c in range(0, channels, LANES):
            value = load(x, at + c)
            red = red + value * load(weights, c)
            green = green + value * load(weights, channels + c)
            blue = blue + value * load(weights, 2 * channels + c)
        for n, colour in enumerate((red, green, blue)):
            flat[3 * pixel + n] = total(colour) + bias[n]
