"""Half precision as autocast has it on processors with bfloat16, and in a form that others can run in seconds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map

from model_server.networks.cpu import bf16

# What autocast computes in bfloat16 and the networks consist of.
PRODUCTS = (
    torch.conv1d,
    torch.conv2d,
    torch.conv_transpose2d,
    torch.nn.functional.linear,
    torch.matmul,
    torch.bmm,
)


def half_precision(wanted: bool = True) -> AbstractContextManager[Any]:
    """A region whose products are of bfloat16 numbers, with sums in float32.

    Without instructions for them each product takes a hundred times as long; there the same numbers are rounded to
    bfloat16 and multiplied in float32.
    """
    if not wanted:
        return nullcontext()
    return torch.autocast("cpu", torch.bfloat16) if bf16.native() else _Rounding()


class _Rounding(TorchFunctionMode):
    """Rounds what goes into products and what comes out of them to the numbers that bfloat16 has."""

    def __torch_function__(
        self, function: Callable[..., Any], types: Sequence[type], args: Any = (), kwargs: Any = None
    ) -> Any:
        if function not in PRODUCTS:
            return function(*args, **kwargs or {})
        return _rounded(function(*tree_map(_rounded, args), **tree_map(_rounded, kwargs or {})))


def _rounded(value: Any) -> Any:
    return value.bfloat16().float() if isinstance(value, Tensor) and value.is_floating_point() else value
