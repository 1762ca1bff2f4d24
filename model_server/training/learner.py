"""A task, its optimiser, and the processes that share its gradients."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from model_server.training.distributed import ProcessGroup

GRADIENT_NORM = 5.0
# The learning rate falls to zero over this last share of a stage.
SLOWING = 0.4


class Learner:
    """Moves the weights of a task that take gradients.

    Args:
        task: a module whose forward gives the loss first.
        rate: learning rate at full pace.
        betas: of Adam.
        process_group: the processes that train together.
        gradient_norm: to which gradients are cut.
        weight_decay: of AdamW, which without it is Adam.
    """

    def __init__(
        self,
        task: nn.Module,
        rate: float,
        betas: tuple[float, float],
        process_group: ProcessGroup,
        gradient_norm: float = GRADIENT_NORM,
        weight_decay: float = 0.0,
    ) -> None:
        self.task = task
        self.shared = process_group.shared(task)
        self.weights = [weight for weight in task.parameters() if weight.requires_grad]
        self.rate, self.gradient_norm = rate, gradient_norm
        # Fused: one pass over the weights, which on processors saves a tenth and more of a step.
        self.optimizer = torch.optim.AdamW(self.weights, rate, betas, weight_decay=weight_decay, fused=True)

    def gathering(self, last: bool) -> AbstractContextManager[None]:
        """Gradients of all but the last micro-batch stay in this process."""
        if isinstance(self.shared, DistributedDataParallel) and not last:
            return self.shared.no_sync()
        return nullcontext()

    def update(self, pace: float) -> Tensor:
        """One optimiser step at `pace` times the learning rate; returns the norm of the gradients before the cut."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate * pace
        norm = nn.utils.clip_grad_norm_(self.weights, self.gradient_norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return norm
