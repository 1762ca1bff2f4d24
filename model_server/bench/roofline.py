"""What the device can do at best, and how much of that the generator reaches."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from model_server.bench.figures import FRAME_RATE, Row, Spread, Stopwatch, figure
from model_server.engines.base import Precision
from model_server.engines.pcavs.conditioning import PUBLISHED_GAIN
from model_server.engines.pcavs.engine import Identity, PcavsEngine
from model_server.networks.pcavs.model import Networks
from model_server.networks.pcavs.presets import IMAGE_SIZE, MEL_BANDS, MEL_BINS, PRESETS

MATRIX_SIZES = {"cpu": (512, 1024, 2048, 4096), "cuda": (4096, 8192, 16384)}
BATCHES = {"cpu": (1, 2, 4, 8), "cuda": (1, 4, 16, 32, 64, 128, 256)}
TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
SECONDS = 0.5
FEWEST = 3


def matrix_ceiling(device: str, precision: Precision, sizes: Sequence[int] = ()) -> float:
    """Operations per second of square matrix multiplications, the fastest of several sizes.

    Args:
        device: "cpu" or "cuda".
        precision: of both factors; float32 stays float32 inside.
        sizes: sides of the matrices; the device's default when empty.
    """
    return max(_multiplications(device, precision, side) for side in sizes or MATRIX_SIZES[device])


def _multiplications(device: str, precision: Precision, side: int) -> float:
    a, b = (torch.randn(side, side, device=device, dtype=TYPES[precision]) for _ in range(2))
    out = torch.empty_like(a)
    return 2 * side**3 / min(_durations(lambda: torch.mm(a, b, out=out), device))


def _durations(work: Callable[[], object], device: str) -> list[float]:
    """Seconds of each call after a first one, for half a second or three calls."""
    work()
    found: list[float] = []
    while sum(found) < SECONDS or len(found) < FEWEST:
        watch = Stopwatch(device)
        with watch.stage("work"):
            work()
        found.append(watch.seconds["work"])
    return found


def generator_operations(preset: str) -> int:
    """Multiplications and additions of the generator for one frame of 224x224, counted in its plain form."""
    widths = PRESETS[preset]
    with FakeTensorMode(), FlopCounterMode(display=False) as counter:
        networks = Networks(preset).eval()
        noise = [torch.zeros(1, 1, size, size) for size in networks.generator.noise_sizes]
        feature_map, style = torch.zeros(1, widths.generator[0], 7, 7), torch.zeros(1, widths.style_size)
        networks.draw(feature_map, style, noise, torch.zeros(1, 3, IMAGE_SIZE, IMAGE_SIZE))
    return counter.get_total_flops()


def reached(engine: PcavsEngine, repeats: int, say: Callable[[str], None], batches: Sequence[int] = ()) -> list[Row]:
    """Rows on the ceiling, the generator's work, and its speed and share at several batch sizes.

    The generator's time is that of the engine's drawing call when it knows the speech contents: it includes the style
    vector and the pictures' way to the host.
    """
    group = engine.weights.preset
    say(f"{group}: matrix multiplications")
    ceiling, operations = matrix_ceiling(engine.device, engine.precision), generator_operations(group)
    rows = [
        figure(group, f"matrix ceiling, {engine.precision}", "TFLOP/s", ceiling / 1e12),
        figure(group, "generator's work", "GFLOP/frame", operations / 1e9),
    ]
    identity = _some_identity(engine)
    for batch in batches or BATCHES[engine.device]:
        say(f"{group}: generator, batch of {batch}")
        rates = [batch / _drawing_seconds(engine, identity, batch) for _ in range(repeats + 1)][1:]
        share = [100 * rate * operations / ceiling for rate in rates]
        rows.append(figure(group, f"generator, batch of {batch}", FRAME_RATE, *rates))
        rows.append(Row(group, f"share of the ceiling, batch of {batch}", "%", Spread(tuple(share))))
    return rows


def _some_identity(engine: PcavsEngine) -> Identity:
    random = np.random.default_rng(0)
    return engine.identity(random.integers(0, 256, (1, IMAGE_SIZE, IMAGE_SIZE, 3), np.uint8))


def _drawing_seconds(engine: PcavsEngine, identity: Identity, batch: int) -> float:
    random = np.random.default_rng(0)
    windows = random.random((batch, MEL_BANDS, MEL_BINS), np.float32)
    codes = random.standard_normal((batch, PRESETS[engine.weights.preset].pose), np.float32)
    engine.speech_contents(windows)
    watch = Stopwatch(engine.device)
    with watch.stage("drawing"):
        engine.frames(identity, windows, codes, PUBLISHED_GAIN, 0)
    return watch.seconds["drawing"]
