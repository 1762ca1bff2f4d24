"""Which arithmetic an engine uses: half precision where it is faster on this device and draws the same pictures."""

from __future__ import annotations

import logging
from collections.abc import Callable
from time import perf_counter

import torch
import torch.nn.functional as F
from torch import Tensor

from model_server.engines.base import Precision, PrecisionChoice
from model_server.engines.pcavs.conditioning import PUBLISHED_GAIN
from model_server.engines.runtime.thread_pool import ThreadPool
from model_server.networks.cpu import bf16, loops
from model_server.networks.layers.modulation import StyledConv
from model_server.networks.pcavs.model import Networks
from model_server.networks.pcavs.optimized import OptimizedStyledConv, optimize
from model_server.networks.pcavs.presets import IMAGE_SIZE, MAP_SIZE, MEL_BANDS, MEL_BINS, NonIdentityWidths

# Half precision must be that much faster, or its error buys nothing.
LEAST_GAIN = 1.3
# And its pictures that close to those of float32: relative error of values in [-1, 1], and peak signal to noise.
LARGEST_ERROR, LEAST_PSNR = 2e-2, 40.0
_ALIGNMENT = 64  # bytes, as PyTorch aligns what it allocates
_SIZE, _REPEATS, _ROWS = 28, 9, {"cpu": 1, "cuda": 16}
log = logging.getLogger(__name__)


def optimized(networks: Networks, device: str, wanted: PrecisionChoice) -> tuple[Networks, Precision]:
    """Networks ready for inference, and their precision: measured where "auto" is wanted.

    Args:
        networks: in evaluation mode, not optimized yet.
    """
    with torch.inference_mode():
        networks = _aligned(networks.to(device).to(memory_format=torch.channels_last))  # type: ignore[call-overload]
        if wanted != "auto":
            return optimize(networks), wanted
        if device == "cpu" and bf16.native():
            loops.finish()  # not beside what is measured
        gain = _gain(networks, device) if device == "cuda" or bf16.native() else 0.0
        if gain < LEAST_GAIN:
            log.info("precision: fp32, half precision does not pay on this device")
            return optimize(networks), "fp32"
        exact = _picture(networks, device, "fp32")
        networks = optimize(networks)
        error, psnr = _distance(exact, _picture(networks, device, "bf16"))
        chosen: Precision = "bf16" if error <= LARGEST_ERROR and psnr >= LEAST_PSNR else "fp32"
        log.info("precision: %s, bf16 is %.1f times as fast, its error %.4f, %.0f dB", chosen, gain, error, psnr)
        return networks, chosen


def _aligned(networks: Networks) -> Networks:
    """Values at addresses that are multiples of `_ALIGNMENT`.

    The order of a processor's sums depends on where they lie; in a weights file that is anywhere.
    """
    for values in networks.parameters():
        if values.data_ptr() % _ALIGNMENT:
            values.data = values.data.clone(memory_format=torch.preserve_format)
    return networks


def drawing(device: str, precision: Precision) -> torch.autocast:
    """The region in which a generator draws."""
    return torch.autocast(device, torch.bfloat16, enabled=precision == "bf16", cache_enabled=False)


def reading(device: str, precision: Precision, widths: NonIdentityWidths) -> torch.autocast:
    """The region in which pose is read: in half precision on processors alone, where it would else take the longest."""
    narrowest = min(widths.entry, widths.hourglass) // 4
    fits = device == "cpu" and narrowest % bf16.LANES == 0
    return torch.autocast(device, torch.bfloat16, enabled=precision == "bf16" and fits)


def _gain(networks: Networks, device: str) -> float:
    """How many times as fast a layer such as the generator has is in half precision."""
    widths, count = networks.preset, _ROWS[device]
    channels = widths.generator[2]
    layer = StyledConv(channels, channels, widths.style_size).to(device).requires_grad_(False)
    fast = OptimizedStyledConv(layer, widths.identity_size)
    x, style, noise = (torch.zeros(*shape, device=device) for shape in (
        (count, channels, _SIZE, _SIZE), (count, widths.style_size), (1, 1, _SIZE, _SIZE)))  # fmt: skip
    x = x.contiguous(memory_format=torch.channels_last)

    def run(precision: Precision) -> float:
        with drawing(device, precision):
            return _seconds(lambda: fast(x, style, noise), device)

    @torch.inference_mode()
    def both(_: int) -> tuple[float, float]:
        return run("fp32"), run("bf16")

    times = ThreadPool(1 if device == "cpu" else 0).map(both, range(_REPEATS))  # as each picture is drawn
    wide, narrow = map(min, zip(*times, strict=True))
    return wide / narrow


def _seconds(work: Callable[[], object], device: str) -> float:
    start = perf_counter()
    work()
    if device == "cuda":
        torch.cuda.synchronize()
    return perf_counter() - start


def _picture(networks: Networks, device: str, precision: Precision) -> Tensor:
    """A frame (1, 3, height, width) in [-1, 1] of made-up inputs, in which every network has a part."""
    random = torch.Generator().manual_seed(0)
    coarse = torch.rand(1, 3, MAP_SIZE, MAP_SIZE, generator=random) * 2 - 1
    portrait = F.interpolate(coarse, (IMAGE_SIZE, IMAGE_SIZE), mode="bilinear").to(device)
    window = torch.rand(1, 1, MEL_BANDS, MEL_BINS, generator=random).to(device)
    noise = [torch.randn(1, 1, size, size, generator=random).to(device) for size in networks.generator.noise_sizes]
    vector, feature_map = networks.identity_encoder(portrait)
    with reading(device, precision, networks.preset.nonidentity):
        feature = networks.nonidentity_encoder(portrait)
    own = networks.own_codes(feature.float())
    style = networks.style(vector, window, own.pose, PUBLISHED_GAIN, own)
    with drawing(device, precision):
        return networks.draw(feature_map, style, noise, portrait).float()


def _distance(exact: Tensor, rough: Tensor) -> tuple[float, float]:
    """Relative error, and peak signal to noise in dB."""
    error = rough - exact
    return float(error.norm() / exact.norm()), float(10 * torch.log10(4 / error.square().mean()))
