"""What is done to pixels on their way into a convolution and out of it, in the same loop that moves them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from torch import Tensor

from model_server.networks.cpu import kernels

# Far below anything a normalisation takes: its ReLU makes zero of it.
_NOTHING = 1e30


@dataclass(frozen=True)
class Modulated:
    """Pixels are multiplied on the way in.

    Attributes:
        scales: (n, inputs).
    """

    scales: Tensor

    @cached_property
    def arrays(self) -> kernels.Taken:
        """Scales, shifts, and what becomes zero, of each picture."""
        scales = self.scales.numpy()
        return scales, None, np.zeros_like(scales)


@dataclass(frozen=True)
class Normalised:
    """Pixels are normalised on the way in, and go through a ReLU.

    Attributes:
        scales: (inputs,), none of them 0.
        shifts: (inputs,).
    """

    scales: Tensor
    shifts: Tensor

    @cached_property
    def arrays(self) -> kernels.Taken:
        """Scales, shifts, and what becomes zero, of all pictures."""
        scales, shifts = self.scales[None].numpy(), self.shifts[None].numpy()
        return scales, shifts, -np.sign(scales) * np.float32(_NOTHING)


@dataclass(frozen=True)
class Finish:
    """What becomes of a convolution's results: times gain, plus bias, plus noise, leaky ReLU.

    Attributes:
        gains: (n, outputs).
        bias: (outputs,).
        noise: (height, width) of the result.
        slope: of the leaky ReLU, in [0, 1].
    """

    gains: Tensor
    bias: Tensor
    noise: Tensor
    slope: float

    @cached_property
    def arrays(self) -> kernels.Finish:
        """The same, of all pictures."""
        return self.gains.numpy(), self.bias.numpy(), self.noise.numpy(), self.slope
