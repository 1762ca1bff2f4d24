"""The recogniser's run: one stage, exact resume, leaving in time."""

from __future__ import annotations

import copy
import logging
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from model_server.networks.speech_recogniser.recogniser import Recogniser
from model_server.training import checkpoint as checkpoints
from model_server.training.averaging import average
from model_server.training.checkpoint import Checkpoint
from model_server.training.distributed import ProcessGroup
from model_server.training.losses import Losses
from model_server.training.prefetch import ahead
from model_server.training.recogniser.config import STAGE, RecogniserConfig
from model_server.training.recogniser.data import Batch, VoiceStore, sample_batch
from model_server.training.recogniser.task import PhonemeTask
from model_server.training.run_log import RunLog, means
from model_server.training.timing import Clock, Limits, Meter, Progress

log = logging.getLogger(__name__)

_GRADIENT_NORM = 5.0
_SLOWING = 0.4  # the learning rate falls to zero over this last share of the run
_BETAS = (0.9, 0.98)


class RecogniserModels(nn.Module):
    """What a checkpoint holds: the recogniser that learns, and the average of its weights, which is used."""

    def __init__(self, config: RecogniserConfig) -> None:
        super().__init__()
        self.recogniser = Recogniser(config.size, config.dropout)
        self.averaged = copy.deepcopy(self.recogniser).requires_grad_(False).eval()


class RecogniserTrainer:
    """Trains a recogniser on some corpora of voices.

    Args:
        config: what to train, and how.
        corpora: folders of shards.
        run: folder of checkpoints and curves; a run that is there goes on.
        process_group: this process; the stage runs in one.
        precision: of the network's arithmetic; weights and losses are always float32.
        report: called now and then.

    Raises:
        PoseDubError: no clips, or the run was made with another configuration.
    """

    def __init__(
        self,
        config: RecogniserConfig,
        corpora: Sequence[Path],
        run: Path,
        process_group: ProcessGroup,
        precision: Literal["fp32", "bf16"] = "fp32",
        report: Callable[[Progress], None] = lambda progress: None,
    ) -> None:
        self.config, self.run_folder, self.process_group, self.report = config, run, process_group, report
        self.store = VoiceStore(corpora, "train", config.cached_hours)
        self.unseen = VoiceStore(corpora, "val", config.cached_hours / 8)
        torch.manual_seed(config.seed)
        self.models = RecogniserModels(config)
        self.task = PhonemeTask(self.models.recogniser, config)
        self.optimizer = torch.optim.AdamW(
            _groups(self.models.recogniser, config.weight_decay), config.learning_rate, _BETAS
        )
        self.step = 0
        self._bf16 = precision == "bf16"
        self._resume()

    def train(self, limits: Limits | None = None) -> bool:
        """Train on; returns whether all steps are done."""
        clock = Clock(limits or Limits(), self.config.checkpoint_seconds)
        run_log = RunLog(self.run_folder)
        meter = Meter(self.config.log_every)
        try:
            for _, batch in self._batches():
                if clock.over(self.process_group):
                    break
                meter.add(self._learn(batch), batch.seconds)
                self.step += 1
                clock.stepped()
                self._note(meter, run_log)
                if clock.checkpoint_due():
                    self._save(clock)
            if self.step:
                self._save(clock)
        finally:
            run_log.close()
        return self.step >= self.config.steps

    def _learn(self, batch: Batch) -> Losses:
        """One optimiser step."""
        self.task.train()
        torch.manual_seed(self._seed(self.step, 1))
        with self._arithmetic():
            total, losses = self.task(batch)
        total.backward()
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.learning_rate * self._pace()
        norm = nn.utils.clip_grad_norm_(self.models.recogniser.parameters(), _GRADIENT_NORM)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        average(self.models.averaged, self.models.recogniser, self.config.ema_decay, self.step)
        return {name: value.detach() for name, value in losses.items()} | {"total": total.detach(), "gradient": norm}

    def _pace(self) -> float:
        """Part of the learning rate at this step."""
        rising = min(1.0, (self.step + 1) / max(self.config.warm_up, 1))
        falling = min(1.0, (self.config.steps - self.step) / self.config.steps / _SLOWING)
        return rising * falling

    def _batches(self) -> Iterator[tuple[int, Batch]]:
        """Batches of the steps to come, each made while the one before it is learnt."""

        def make(step: int) -> Batch:
            rng = np.random.default_rng(self._seed(step, 0))
            return sample_batch(self.store, self.config.seconds, self.config.augmentation, rng)

        yield from ahead(make, range(self.step, self.config.steps))

    def _seed(self, step: int, use: int) -> int:
        return int(np.random.SeedSequence([self.config.seed, step, use]).generate_state(1)[0])

    def _arithmetic(self) -> Any:
        return torch.autocast("cpu", torch.bfloat16) if self._bf16 else nullcontext()

    def _note(self, meter: Meter, run_log: RunLog) -> None:
        """Report and curves when it is time for them."""
        if not meter.due(self.step):
            return
        rate, losses = meter.read()
        unseen = {f"unseen_{name}": value for name, value in self._judge().items()}
        run_log.write(STAGE, self.step, {"seconds_per_second": rate, **losses, **unseen})
        self.report(Progress(STAGE, self.step, self.config.steps, rate, losses | unseen))
        log.info("%s step %d: %.1f s/s, loss %.4f, %s", STAGE, self.step, rate, losses["total"], _listed(unseen))

    @torch.no_grad()
    def _judge(self) -> dict[str, float]:
        """Losses of the averaged network on one plain batch not learnt from, if the corpora have any."""
        if not len(self.unseen):
            return {}
        rng = np.random.default_rng(self.step)
        batch = sample_batch(self.unseen, self.config.seconds, 0.0, rng)
        with self._arithmetic():
            return means([PhonemeTask(self.models.averaged, self.config).eval()(batch)[1]])

    def _save(self, clock: Clock) -> None:
        with clock.saving():
            models, optimizer = self.models.state_dict(), self.optimizer.state_dict()
            steps, settings = {STAGE: self.step}, asdict(self.config)
            checkpoints.save(
                self.run_folder, Checkpoint(self.config.digest(), STAGE, steps, models, optimizer, settings)
            )

    def _resume(self) -> None:
        found = checkpoints.to_resume(self.run_folder, self.config.digest())
        if found is None:
            return
        self.models.load_state_dict(found.models)
        self.optimizer.load_state_dict(found.optimizers)
        self.step = found.steps[STAGE]


def _groups(network: nn.Module, decay: float) -> list[dict[str, Any]]:
    """Weights decay, biases and norms do not."""
    weights = [value for value in network.parameters() if value.ndim > 1]
    others = [value for value in network.parameters() if value.ndim <= 1]
    return [{"params": weights, "weight_decay": decay}, {"params": others, "weight_decay": 0.0}]


def _listed(values: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.3f}" for name, value in values.items() if math.isfinite(value))
