"""What keeps a GPU busy: drawings recorded as CUDA graphs, copies beside them, batches that its memory holds."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from model_server.engines.base import MARGIN, Precision
from model_server.engines.pcavs.precision import drawing
from model_server.networks.pcavs.model import Networks
from model_server.networks.pcavs.presets import IMAGE_SIZE, MAP_SIZE
from model_server.networks.pcavs.turning import TURNED_SIZE

# More pictures at once are no faster, and somebody who waits for one waits longer.
MOST_PICTURES = 64
MOST_RECORDED = 4
_TRIED, _WARM_UPS = 2, 3
Draw = Callable[..., Tensor]
log = logging.getLogger(__name__)


class RecordedDrawing:
    """A drawing of unchanging shapes as a CUDA graph: one launch instead of some hundreds.

    Args:
        draw: of tensors on the GPU; it may depend on nothing else that changes.
        examples: of these tensors, with their shapes.
    """

    def __init__(self, draw: Draw, examples: Sequence[Tensor]) -> None:
        self._inputs = [example.clone() for example in examples]
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):  # libraries choose their ways and take their memory before they are recorded
            for _ in range(_WARM_UPS):
                draw(*self._inputs)
        torch.cuda.current_stream().wait_stream(aside)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph, capture_error_mode="thread_local"):
            self._pictures = draw(*self._inputs)

    def __call__(self, *inputs: Tensor) -> Tensor:
        """Draw; the pictures last until the next call."""
        for known, given in zip(self._inputs, inputs, strict=True):
            known.copy_(given)
        self._graph.replay()
        return self._pictures


class Drawings:
    """A drawing, recorded for each set of shapes it is asked for; drawn plainly where it cannot be recorded.

    Each recording holds memory of its own, so that the least used one goes where there are many picture sizes.
    """

    def __init__(self, draw: Draw) -> None:
        self._draw = draw
        self._known: OrderedDict[tuple[torch.Size, ...], Draw] = OrderedDict()

    def __call__(self, *inputs: Tensor) -> Tensor:
        """Draw; the pictures last until the next call."""
        shapes = tuple(tensor.shape for tensor in inputs)
        if shapes not in self._known:
            while len(self._known) >= MOST_RECORDED:
                self._known.popitem(last=False)
            self._known[shapes] = self._recorded(inputs)
        self._known.move_to_end(shapes)
        return self._known[shapes](*inputs)

    def _recorded(self, inputs: Sequence[Tensor]) -> Draw:
        try:
            return RecordedDrawing(self._draw, inputs)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as problem:
            log.warning("drawing goes on without a CUDA graph, which cannot be recorded here: %s", problem)
            return self._draw


class HostCopies:
    """Pictures on their way to the host while the next ones are drawn."""

    def __init__(self) -> None:
        self._aside = torch.cuda.Stream()

    def begin(self, pictures: Tensor) -> Tensor:
        """Where the pictures will be on the host once `finish` has returned."""
        kept = pictures.clone()
        self._aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._aside):
            host = torch.empty(kept.shape, dtype=kept.dtype, pin_memory=True)
            host.copy_(kept, non_blocking=True)
            kept.record_stream(self._aside)
        return host

    def finish(self) -> None:
        """Wait for all copies that were begun."""
        self._aside.synchronize()


class PlainCopies:
    """The same where nothing is known of copies beside drawing."""

    def begin(self, pictures: Tensor) -> Tensor:
        """The pictures on the host."""
        return pictures.cpu()

    def finish(self) -> None:
        """There is nothing to wait for."""


class NoCopies:
    """The same for pictures that are on the host already."""

    def begin(self, pictures: Tensor) -> Tensor:
        """The pictures themselves."""
        return pictures

    def finish(self) -> None:
        """There is nothing to wait for."""


def copies_from(device: str) -> HostCopies | PlainCopies | NoCopies:
    """How pictures come to the host from a device."""
    if device == "cuda":
        return HostCopies()
    return NoCopies() if device == "cpu" else PlainCopies()


def fitting_pictures(networks: Networks, precision: Precision) -> int:
    """How many pictures to draw at once: measured on a small drawing, by the memory that is free now."""
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    widths = networks.preset
    with torch.inference_mode(), drawing("cuda", precision):
        noise = [torch.zeros(1, 1, size, size, device="cuda") for size in networks.generator.noise_sizes]
        feature_map = torch.zeros(_TRIED, widths.generator[0], MAP_SIZE, MAP_SIZE, device="cuda")
        style = torch.zeros(_TRIED, widths.style_size, device="cuda")
        margin = IMAGE_SIZE // MARGIN
        side, turned = IMAGE_SIZE + 2 * margin, torch.zeros(_TRIED, 2, TURNED_SIZE, TURNED_SIZE, device="cuda")
        networks.draw(feature_map, style, noise, torch.zeros(1, 3, side, side, device="cuda"), turned, margin)
    each = (torch.cuda.max_memory_allocated() - before) // _TRIED
    return pictures_at_once(torch.cuda.mem_get_info()[0], each)


def pictures_at_once(free: int, each: int) -> int:
    """A power of two from 1 to `MOST_PICTURES`: pictures of `each` bytes that half of the `free` bytes hold."""
    count = MOST_PICTURES
    while count > 1 and count * each > free // 2:
        count //= 2
    return count
