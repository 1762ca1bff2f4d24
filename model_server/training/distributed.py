"""The processes that train together: one, or those that torchrun has started."""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from model_server.errors import ErrorKind, PoseDubError

_BACKENDS = {"cuda": "nccl", "xpu": "xccl"}
"""What graphics cards of one computer talk by."""


@dataclass(frozen=True)
class ProcessGroup:
    """This process's place among those that train.

    Attributes:
        rank: 0 writes checkpoints and logs.
        size: number of processes.
        device: of this process.
    """

    rank: int
    size: int
    device: torch.device

    @property
    def leads(self) -> bool:
        """Whether this process writes."""
        return self.rank == 0

    def shared(self, module: nn.Module) -> nn.Module:
        """The module, with gradients averaged over the processes."""
        return DistributedDataParallel(module) if self.size > 1 else module

    def any(self, flag: bool) -> bool:
        """Whether any process of the group says yes; all get the same answer."""
        if self.size == 1:
            return flag
        votes = torch.tensor(float(flag), device=self.device)
        dist.all_reduce(votes, dist.ReduceOp.MAX)
        return bool(votes)


def join_group(device: str) -> ProcessGroup:
    """Join the processes that torchrun started, or be alone.

    Args:
        device: "cpu", "cuda", "mps" or "xpu"; each process gets a graphics card of its own, where there are several.

    Raises:
        PoseDubError: several processes want the one Apple GPU.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    local = int(os.environ.get("LOCAL_RANK", "0"))
    if device == "mps" and size > 1:
        raise PoseDubError("Several processes cannot share an Apple GPU; start one alone.", ErrorKind.UNSUPPORTED)
    place = torch.device(device, local) if device in _BACKENDS else torch.device(device)
    if device in _BACKENDS:
        getattr(torch, device).set_device(place)
    if size > 1 and not dist.is_initialized():
        dist.init_process_group(_BACKENDS.get(device, "gloo"))
    return ProcessGroup(dist.get_rank() if size > 1 else 0, size, place)


def leave_group() -> None:
    """End the connection to the other processes, if there is one."""
    if dist.is_initialized():
        dist.destroy_process_group()
