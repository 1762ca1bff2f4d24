"""Convolutions whose weights lie in the order in which the processor's library (oneDNN) takes them."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

_DILATION = [1, 1]  # of rows and columns: taps lie beside each other


class PackedConvolution:
    """A convolution of any kind of numbers.

    The library chooses the order by the pictures' size: weights are packed once for each size that comes.

    Args:
        weight: makes the weights (outputs, inputs / groups, height, width); asked once for each size.
        bias: (outputs,), or None.
        padding: rows and columns of zeros around a picture.
        stride: of rows and columns.
        groups: of channels; each group of outputs sees its own group of inputs.
        relu: whether results go through a ReLU.
    """

    def __init__(
        self,
        weight: Callable[[], Tensor],
        bias: Tensor | None = None,
        padding: tuple[int, int] = (0, 0),
        stride: tuple[int, int] = (1, 1),
        groups: int = 1,
        relu: bool = False,
    ) -> None:
        self._weight, self._bias, self._relu = weight, bias, relu
        self._padding, self._stride, self._groups = list(padding), list(stride), groups
        self._known: dict[torch.Size, Callable[[Tensor], Tensor]] = {}

    def __call__(self, x: Tensor) -> Tensor:
        """Convolve pictures (n, inputs, h, w), channels last and of the weights' type, into the like."""
        if x.shape not in self._known:
            self._known[x.shape] = self._packed(x)
        return self._known[x.shape](x)

    def _packed(self, x: Tensor) -> Callable[[Tensor], Tensor]:
        weight, bias = self._weight(), self._bias
        if not available(x.dtype):
            return lambda x: self._plain(x, weight)
        library, how = torch.ops.mkldnn, (self._padding, self._stride, _DILATION, self._groups)
        packed = library._reorder_convolution_weight(weight, *how, list(x.shape))
        ending = "relu" if self._relu else "none"
        return lambda x: library._convolution_pointwise(x, packed, bias, *how, ending, [], "")

    def _plain(self, x: Tensor, weight: Tensor) -> Tensor:
        made = F.conv2d(x, weight, self._bias, self._stride, self._padding, groups=self._groups)
        return F.relu_(made) if self._relu else made


def available(kind: torch.dtype) -> bool:
    """Whether the library is here, with what PyTorch's own compiler uses of it, and knows numbers of this kind."""
    library = torch.ops.mkldnn
    return (
        torch.backends.mkldnn.is_available()
        and hasattr(library, "_reorder_convolution_weight")
        and (kind == torch.float32 or library._is_mkldnn_bf16_supported())
    )
