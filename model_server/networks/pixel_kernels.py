"""Loops over pixels between convolutions in float32, compiled by Numba.

Pictures (n, height, width, channels) are contiguous, of any number of channels where nothing else is said.
"""

from __future__ import annotations

from model_server.networks.compiler import compiled
from model_server.networks.kernels import Floats
from model_server.networks.lanes import LANES, larger, load, splat, store


@compiled
def normalise(x: Floats, scales: Floats, shifts: Floats, result: Floats) -> None:
    """`relu(x * scales + shifts)`.

    Args:
        scales: of each channel, and again until they fill whole vectors.
        shifts: likewise.
    """
    period, zero = len(scales), splat(0.0)
    vectors = x.size - x.size % period
    for at in range(0, vectors, period):
        for c in range(0, period, LANES):
            store(result, at + c, larger(load(x, at + c) * load(scales, c) + load(shifts, c), zero))
    flat, made = x.reshape(-1), result.reshape(-1)
    for at in range(vectors, x.size):
        made[at] = max(flat[at] * scales[at - vectors] + shifts[at - vectors], 0)


@compiled
def join(parts: tuple[Floats, Floats, Floats], added: Floats, result: Floats) -> None:
    """Channels of all parts, in order, plus what is added to them."""
    channels, first = result.shape[3], 0
    flat, rest = result.reshape(-1), added.reshape(-1)
    for part in parts:
        width, values = part.shape[3], part.reshape(-1)
        vectors = width - width % LANES
        for pixel in range(len(flat) // channels):
            at, to = pixel * width, pixel * channels + first
            for c in range(0, vectors, LANES):
                store(flat, to + c, load(values, at + c) + load(rest, to + c))
            for c in range(vectors, width):
                flat[to + c] = values[at + c] + rest[to + c]
        first += width


@compiled
def halve(x: Floats, result: Floats) -> None:
    """The largest of each two by two pixels; channels fill whole vectors, an odd last row or column is left out."""
    count, height, width, channels = result.shape
    step, size = x.shape[2] * channels, x.shape[1] * x.shape[2] * channels
    to = 0
    for picture in range(count):
        for row in range(height):
            for column in range(width):
                at = picture * size + 2 * (row * step + column * channels)
                for c in range(0, channels, LANES):
                    upper = larger(load(x, at + c), load(x, at + channels + c))
                    lower = larger(load(x, at + step + c), load(x, at + step + channels + c))
                    store(result, to + c, larger(upper, lower))
                to += channels
