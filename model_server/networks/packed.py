"""Convolutions whose weights lie in the order in which the processor's library (oneDNN) takes them."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

_STRIDE = _DILATION = [1, 1]


class PackedConvolution:
    """A convolution without bias, of stride one.

    The library chooses the order by the pictures' size: weights are packed once for each size that comes.

    Args:
        weight: makes the weights (outputs, inputs / groups, height, width); asked once for each size.
        padding: rows and columns of zeros around a picture.
        groups: of channels; each group of outputs sees its own group of inputs.
    """

    def __init__(self, weight: Callable[[], Tensor], padding: tuple[int, int] = (0, 0), groups: int = 1) -> None:
        self._weight, self._padding, self._groups = weight, list(padding), groups
        self._known: dict[torch.Size, Callable[[Tensor], Tensor]] = {}

    def __call__(self, x: Tensor) -> Tensor:
        """Convolve pictures (n, inputs, h, w), channels last and of the weights' type, into the like."""
        if x.shape not in self._known:
            self._known[x.shape] = self._packed(x)
        return self._known[x.shape](x)

    def _packed(self, x: Tensor) -> Callable[[Tensor], Tensor]:
        weight, padding, groups = self._weight(), self._padding, self._groups
        if not available(x.dtype):
            return lambda x: F.conv2d(x, weight, padding=padding, groups=groups)
        library = torch.ops.mkldnn
        packed = library._reorder_convolution_weight(weight, padding, _STRIDE, _DILATION, groups, list(x.shape))
        return lambda x: library._convolution_pointwise(
            x, packed, None, padding, _STRIDE, _DILATION, groups, "none", [], ""
        )


def available(kind: torch.dtype) -> bool:
    """Whether the library is here, with what PyTorch's own compiler uses of it, and knows numbers of this kind."""
    library = torch.ops.mkldnn
    return (
        torch.backends.mkldnn.is_available()
        and hasattr(library, "_reorder_convolution_weight")
        and (kind == torch.float32 or library._is_mkldnn_bf16_supported())
    )
