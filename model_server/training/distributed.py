"""The processes that train together: one, or those that torchrun has started."""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel


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
    """Join the processes that torchrun started, or be alone; `device` is "cpu" or "cuda"."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    local = int(os.environ.get("LOCAL_RANK", "0"))
    place = torch.device("cuda", local) if device == "cuda" else torch.device("cpu")
    if place.type == "cuda":
        torch.cuda.set_device(place)
    if size > 1 and not dist.is_initialized():
        dist.init_process_group("nccl" if place.type == "cuda" else "gloo")
    return ProcessGroup(dist.get_rank() if size > 1 else 0, size, place)


def leave_group() -> None:
    """End the connection to the other processes, if there is one."""
    if dist.is_initialized():
        dist.destroy_process_group()
