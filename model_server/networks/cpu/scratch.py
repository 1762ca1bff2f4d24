"""Scratch that layers use again and again."""

from __future__ import annotations

from threading import local

import torch
from torch import Tensor


class Scratch(local):
    """A thread's own memory, used again and again: fresh memory costs about as much as filling it."""

    def take(self, name: str, *shape: int, kind: torch.dtype = torch.float32) -> Tensor:
        """Scratch of that shape, with what was there before; a name is always asked for with the same kind."""
        count = torch.Size(shape).numel()
        known = vars(self).get(name)
        if known is None or known.numel() < count:
            with torch.inference_mode(False):  # of use in any mode
                known = torch.zeros(count, dtype=kind)
            setattr(self, name, known)
        return known[:count].view(shape)
