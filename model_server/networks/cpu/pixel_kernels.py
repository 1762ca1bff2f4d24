"""Loops over pixels between convolutions in float32, compiled by Numba.

Pictures (n, h, w, c) are contiguous, of any number of channels where nothing else is said: loops go through whole
vectors of channels, and number by number through what is left. Places (`at`, `to`) are elements of the flat array.
"""

from __future__ import annotations

import numpy as np

from model_server.networks.cpu.compiler import compiled, compiled_part
from model_server.networks.cpu.kernels import Floats
from model_server.networks.cpu.simd import LANES, larger, load, splat, store


@compiled
def normalise(x: Floats, scales: Floats, shifts: Floats, result: Floats) -> None:
    """`relu(x * scales + shifts)`.

    Args:
        scales: of each channel, and again until they fill whole vectors.
        shifts: likewise.
    """
    # Pixel by pixel, pictures of few channels would have no whole vectors; a period holds several pixels of these.
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
    """Channels (n, h, w, c1), (n, h, w, c2), (n, h, w, c3) of all parts, in order, plus (n, h, w, c1 + c2 + c3)."""
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
    """The largest of each two by two pixels: (n, h // 2, w // 2, c), channels in whole vectors.

    An odd last row or column is left out.
    """
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


@compiled
def shift(x: Floats, scales: Floats, shifts: Floats) -> None:
    """`x * scales + shifts` in place, scales and shifts (c,)."""
    flat, channels = x.reshape(-1), x.shape[3]
    vectors = channels - channels % LANES
    for at in range(0, x.size, channels):
        for c in range(0, vectors, LANES):
            store(flat, at + c, load(flat, at + c) * load(scales, c) + load(shifts, c))
        for c in range(vectors, channels):
            flat[at + c] = flat[at + c] * scales[c] + shifts[c]


@compiled
def excite(
    x: Floats, squeeze: tuple[Floats, Floats], excitation: tuple[Floats, Floats], added: Floats, result: Floats
) -> None:
    """`relu(x * gates + added)`, the gates of each picture's channels made of their averages (Hu et al. 2018).

    Args:
        squeeze: weights (channels, hidden) and bias of the first layer, which a ReLU follows.
        excitation: weights (hidden, channels) and bias of the second, which a sigmoid follows.
    """
    count, height, width, channels = x.shape
    size, flat, rest, made = height * width * channels, x.reshape(-1), added.reshape(-1), result.reshape(-1)
    vectors, zero = channels - channels % LANES, splat(0.0)
    for start in range(0, x.size, size):
        gates = _gates(_averages(flat[start : start + size], channels), squeeze, excitation)
        for at in range(start, start + size, channels):
            for c in range(0, vectors, LANES):
                store(made, at + c, larger(load(flat, at + c) * load(gates, c) + load(rest, at + c), zero))
            for c in range(vectors, channels):
                made[at + c] = max(flat[at + c] * gates[c] + rest[at + c], np.float32(0))


@compiled_part
def _averages(pixels: Floats, channels: int) -> Floats:
    """Of each channel (c,), of pixels (h * w * c,)."""
    sums, vectors = np.zeros(channels, np.float32), channels - channels % LANES
    for at in range(0, len(pixels), channels):
        for c in range(0, vectors, LANES):
            store(sums, c, load(sums, c) + load(pixels, at + c))
        for c in range(vectors, channels):
            sums[c] += pixels[at + c]
    for c in range(channels):
        sums[c] /= np.float32(len(pixels) // channels)
    return sums


@compiled_part
def _gates(averages: Floats, squeeze: tuple[Floats, Floats], excitation: tuple[Floats, Floats]) -> Floats:
    """Gates (c,) in (0, 1) of a picture's averages (c,)."""
    hidden = _layer(averages, squeeze[0], squeeze[1])
    for n in range(len(hidden)):
        hidden[n] = max(hidden[n], np.float32(0))
    gates = _layer(hidden, excitation[0], excitation[1])
    for c in range(len(gates)):
        gates[c] = np.float32(1) / (np.float32(1) + np.exp(-gates[c]))
    return gates


@compiled_part
def _layer(values: Floats, weights: Floats, bias: Floats) -> Floats:
    """`values @ weights + bias` of (inputs,), (inputs, outputs) and (outputs,): small, and summed in a fixed order."""
    made = np.empty(len(bias), np.float32)
    for n in range(len(bias)):
        made[n] = bias[n]
    for c in range(len(values)):  # outside, so that the inner loop runs along the weights in memory
        for n in range(len(bias)):
            made[n] += values[c] * weights[c, n]
    return made
