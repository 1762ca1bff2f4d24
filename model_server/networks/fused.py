"""What is done to pixels on their way into a convolution and out of it, in the same loop that moves them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from model_server.networks import kernels

# Far below anything a normalisation takes: its ReLU makes zero of it.
_NOTHING = 1e30


@dataclass(frozen=True)
class Modulated:
    """Pixels are multiplied on the way in.

    Attributes:
        scales: (n, inputs).
    """

    scales: Tensor

    def of(self, picture: int) -> tuple[kernels.Floats, kernels.Floats | None, kernels.Floats]:
        """Scales, shifts, and what becomes zero."""
        scales = self.scales[picture].numpy()
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

    def of(self, picture: int) -> tuple[kernels.Floats, kernels.Floats | None, kernels.Floats]:
        """Scales, shifts, and what becomes zero."""
        scales = self.scales.numpy()
        return scales, self.shifts.numpy(), -np.sign(scales) * np.float32(_NOTHING)


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

    def of(self, picture: int) -> kernels.Finish:
        """For one picture."""
        return self.gains[picture].numpy(), self.bias.numpy(), self.noise.numpy(), self.slope
