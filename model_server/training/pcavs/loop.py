"""The training loop: stages in order, exact resume, and leaving in time."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from model_server.engines.base import Precision
from model_server.training import checkpoint as checkpoints
from model_server.training.checkpoint import Checkpoint
from model_server.training.distributed import ProcessGroup
from model_server.training.losses import Losses
from model_server.training.pcavs.config import STAGES, Config, StageName
from model_server.training.pcavs.data import ClipStore
from model_server.training.pcavs.feature_bank import Reader, fill, read_pictures, read_sound
from model_server.training.pcavs.lower_face_stage import LowerFaceStage
from model_server.training.pcavs.models import Models
from model_server.training.pcavs.stages import AdversarialStage, Stage, SupervisedStage
from model_server.training.pcavs.teaching_voices import Lessons, TeachingVoices
from model_server.training.pcavs.warm_start import WarmStart
from model_server.training.prefetch import ahead
from model_server.training.run_log import RunLog, grid, means
from model_server.training.timing import Clock, Limits, Meter, Progress

log = logging.getLogger(__name__)


class Trainer:
    """Trains the networks of one configuration on some corpora.

    Args:
        config: what to train, and how.
        corpora: folders of shards.
        run: folder of checkpoints, curves and samples; a run that is there goes on.
        process_group: the processes that train together.
        precision: of the networks' arithmetic; weights and optimisers are always float32.
        report: called now and then.
        warm_start: what a new run begins with.
        lessons: other voices to learn from, and who teaches.

    Raises:
        PoseDubError: no clips, or the run was made with another configuration.
    """

    def __init__(
        self,
        config: Config,
        corpora: Sequence[Path],
        run: Path,
        process_group: ProcessGroup,
        precision: Precision = "fp32",
        report: Callable[[Progress], None] = lambda progress: None,
        warm_start: WarmStart | None = None,
        lessons: Lessons | None = None,
    ) -> None:
        self.config, self.run_folder, self.process_group, self.report = config, run, process_group, report
        self.store = ClipStore(corpora, "train", process_group.device, config.cached_clips)
        self.unseen = ClipStore(corpora, "val", process_group.device, config.cached_clips // 4)
        if lessons:
            self.store.voices = TeachingVoices(lessons.corpora, "train", lessons.recogniser, process_group.device)
            self.unseen.voices = (
                TeachingVoices(lessons.corpora, "val", lessons.recogniser, process_group.device) or None
            )
        torch.manual_seed(config.seed)
        self.models = Models(config, len(self.store.classes)).to(process_group.device)
        self.steps: dict[str, int] = {}
        self._autocast = precision == "bf16"
        self._resume_state: tuple[str, dict[str, Any]] = ("", {})
        self._bank_folder = warm_start.bank_folder(run) if warm_start else run
        if warm_start and not checkpoints.latest(run):
            warm_start.give(self.models)
            self.steps = {name: getattr(config, name).steps for name in warm_start.stages}
        self._resume()

    def train(self, stages: Sequence[StageName] = STAGES, limits: Limits | None = None) -> bool:
        """Train `stages` in order; returns whether all of them are finished."""
        clock = Clock(limits or Limits(), self.config.checkpoint_seconds)
        self.store.load()
        run_log = RunLog(self.run_folder) if self.process_group.leads else None
        try:
            return all(self._train_stage(name, clock, run_log) for name in stages)
        finally:
            if run_log:
                run_log.close()

    def _train_stage(self, name: StageName, clock: Clock, run_log: RunLog | None) -> bool:
        length = getattr(self.config, name).steps
        if self.steps.get(name, 0) >= length:
            return True
        if clock.over(self.process_group):
            return False
        stage = make_stage(name, self.models, self.config, self.process_group)
        if not self._bank(name, clock):
            return False
        if self._resume_state[0] == name and self._resume_state[1]:
            stage.load_state(self._resume_state[1])
        schedule = stage.schedule
        meter, samples = Meter(self.config.log_every), schedule.batch * schedule.accumulate * self.process_group.size
        for step, batches in self._batches(stage, range(self.steps.get(name, 0), length)):
            meter.add(self._step(stage, step, batches), samples)
            self.steps[name] = step + 1
            self._note(stage, step + 1, meter, run_log)
            if not clock.goes_on(step + 1 < length, self.process_group, partial(self._save, stage, clock)):
                return False
        self._finish(stage, clock)
        return True

    def _bank(self, name: StageName, clock: Clock) -> bool:
        """Ask encoders that this stage leaves alone once for each frame; returns whether there was time for it."""
        wanted: list[tuple[nn.Module, Reader]] = []
        networks, strength = self.models.networks, self.config.augmentation
        if name in self.config.banked_pictures:
            wanted.append((networks.nonidentity_encoder.trunk, partial(read_pictures, networks, strength=strength)))
        if name in self.config.banked_sound:
            wanted.append((networks.speech_encoder, partial(read_sound, networks)))
        self.models.eval()
        return all(
            fill(store, self._bank_folder, network, read, lambda: clock.over(self.process_group))
            for store in (self.store, self.unseen)
            for network, read in wanted
        )

    def _step(self, stage: Stage, step: int, batches: Sequence[Any]) -> Losses:
        """One optimiser step of this process's micro-batches."""
        for learner in stage.learners.values():
            learner.task.train()
        for n, batch in enumerate(batches):
            torch.manual_seed(self._seed(stage, step, n))
            with self._arithmetic():
                losses = stage.learn(batch, step, n == len(batches) - 1)
        stage.update(step)
        self.models.average(self.config.ema_decay, step)
        return losses

    def _batches(self, stage: Stage, steps: Iterable[int]) -> Iterator[tuple[int, list[Any]]]:
        """The micro-batches of each step, made one step ahead."""

        def make(step: int) -> list[Any]:
            seeds = [self._seed(stage, step, n) for n in range(stage.schedule.accumulate)]
            return [stage.sample(self.store, np.random.default_rng(seed)) for seed in seeds]

        yield from ahead(make, steps)

    def _seed(self, stage: Stage, step: int, micro_batch: int) -> int:
        """The same for n processes of one micro-batch as for one process of n."""
        number = micro_batch * self.process_group.size + self.process_group.rank
        entropy = [self.config.seed, STAGES.index(stage.name), step, number]
        return int(np.random.SeedSequence(entropy).generate_state(1)[0])

    def _arithmetic(self) -> Any:
        return torch.autocast(self.process_group.device.type, torch.bfloat16) if self._autocast else nullcontext()

    def _note(self, stage: Stage, step: int, meter: Meter, run_log: RunLog | None) -> None:
        """Report, curves and samples when it is time for them."""
        if run_log and meter.due(step):
            rate, losses = meter.read()
            unseen = {f"unseen_{name}": value for name, value in self._judge(stage, step).items()}
            run_log.write(stage.name, step, {"samples_per_second": rate, **losses, **unseen})
            self.report(Progress(stage.name, step, stage.schedule.steps, rate, losses | unseen))
            log.info("%s step %d: %.1f samples/s, loss %.4f", stage.name, step, rate, losses["total"])
        if run_log and step % self.config.grid_every == 0 and (columns := self._samples(stage)):
            run_log.picture(stage.name, step, grid(columns))

    @torch.no_grad()
    def _judge(self, stage: Stage, step: int) -> dict[str, float]:
        """Losses of one batch of people not trained on, if the corpora have any."""
        if not len(self.unseen):
            return {}
        self.models.eval()
        torch.manual_seed(self.config.seed)
        with self._arithmetic():
            return means([stage.judge(stage.sample(self.unseen, np.random.default_rng(step)), step)])

    @torch.no_grad()
    def _samples(self, stage: Stage) -> list[torch.Tensor]:
        """Pictures of a few rows, the same ones each time."""
        store = self.unseen if len(self.unseen) else self.store
        batch = stage.sample(store, np.random.default_rng(0))
        torch.manual_seed(self.config.seed)
        self.models.eval()
        return stage.columns(batch)

    def _finish(self, stage: Stage, clock: Clock) -> None:
        """The next stage begins with the averaged networks."""
        self.models.networks.load_state_dict(self.models.averaged.state_dict())
        self._save(stage, clock)

    def _save(self, stage: Stage, clock: Clock) -> None:
        if self.process_group.leads:
            with clock.saving():
                checkpoints.save(self.run_folder, self._checkpoint(stage))

    def _checkpoint(self, stage: Stage) -> Checkpoint:
        settings = checkpoints.settings_of(self.config)
        return Checkpoint(
            self.config.digest(), stage.name, dict(self.steps), self.models.state_dict(), stage.state(), settings
        )

    def _resume(self) -> None:
        found = checkpoints.to_resume(self.run_folder, self.config.digest())
        if found is None:
            return
        same_people = self.models.load(found.models)
        if not same_people:
            log.warning("the corpora hold other people than before: the classifiers begin anew")
        self.steps = dict(found.steps)
        self._resume_state = found.stage, found.optimizers if same_people else {}


def make_stage(name: StageName, models: Models, config: Config, process_group: ProcessGroup) -> Stage:
    """The stage of this name."""
    if name == "generator":
        return AdversarialStage(models, config, process_group)
    if name == "lower_face":
        return LowerFaceStage(models, config, process_group)
    return SupervisedStage(name, models, config, process_group)
