"""A run of DAE-Talker: stages in order, each resumed exactly, leaving in time."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from model_server.errors import ErrorKind, PoseDubError
from model_server.networks.dae_talker.speech_features import SpeechNetwork, reader_of
from model_server.training import checkpoint as checkpoints
from model_server.training.bank import Bank
from model_server.training.checkpoint import Checkpoint
from model_server.training.dae_talker.beginning import Beginning
from model_server.training.dae_talker.config import STAGES, DaeConfig, StageName
from model_server.training.dae_talker.data import ActorStore, landmark_codes
from model_server.training.dae_talker.models import DaeModels
from model_server.training.dae_talker.spoken_stage import SpeechStage
from model_server.training.dae_talker.stages import AutoencoderStage, FaceStage, PicturesStage, Stage
from model_server.training.dae_talker.student_stage import StudentStage, Teacher
from model_server.training.distributed import ProcessGroup
from model_server.training.losses import Losses
from model_server.training.prefetch import ahead
from model_server.training.run_log import RunLog
from model_server.training.timing import Clock, Limits, Meter, Progress

log = logging.getLogger(__name__)

_ENCODED = 32  # frames that an encoder reads at once
_UNSEEN_PAIRS = 64
_NEEDED: dict[StageName, tuple[StageName, ...]] = {
    "pictures": ("face",),
    "autoencoder": ("pictures",),
    "latents": ("autoencoder",),
    "speech2latent": ("autoencoder",),
    "student": ("face", "autoencoder"),
}


class DaeTrainer:
    """Trains the networks of one actor.

    Args:
        config: what to train, and how.
        corpora: folders of the actor's shards.
        run: folder of checkpoints, curves and samples; a run that is there goes on.
        process_group: the processes that train together.
        precision: of the networks' arithmetic; weights and losses are always float32.
        report: called now and then.
        speech: frozen network that hears; the stage speech2latent needs it, the student profits from it.
        begin: what a new run begins with.

    Raises:
        PoseDubError: no clips, or the run was made with another configuration.
    """

    def __init__(
        self,
        config: DaeConfig,
        corpora: Sequence[Path],
        run: Path,
        process_group: ProcessGroup,
        precision: Literal["fp32", "bf16"] = "fp32",
        report: Callable[[Progress], None] = lambda progress: None,
        speech: SpeechNetwork | None = None,
        begin: Beginning | None = None,
    ) -> None:
        self.config, self.run_folder, self.process_group, self.report = config, run, process_group, report
        self.store = ActorStore(corpora, "train", config.resolution)
        self.unseen = ActorStore(corpora, "val", config.resolution)
        self.reader = reader_of(speech) if speech else None
        self.models = DaeModels(config, self.reader).to(process_group.device)
        self.steps: dict[str, int] = {}
        self._autocast = precision == "bf16"
        self._resume_state: tuple[str, dict[str, Any]] = ("", {})
        self._given: set[str] = set()  # networks that came with values, by stage
        self._resume(begin)

    def train(self, stages: Sequence[StageName] | None = None, limits: Limits | None = None) -> bool:
        """Train stages in order, all by default; returns whether they are finished."""
        clock = Clock(limits or Limits(), self.config.checkpoint_seconds)
        run_log = RunLog(self.run_folder) if self.process_group.leads else None
        try:
            return all(self._train_stage(name, clock, run_log) for name in stages or self.config.stages)
        finally:
            if run_log:
                run_log.close()

    def _train_stage(self, name: StageName, clock: Clock, run_log: RunLog | None) -> bool:
        self._check_order(name)
        if name == "latents":
            return self._told(lambda: self._landmark_codes() or self._latents(clock)) is not None
        length = getattr(self.config, name).steps
        if self.steps.get(name, 0) >= length:
            return True
        stage = None if clock.over(self.process_group) else self._stage(name, clock)
        if stage is None:
            return False
        if not self.steps.get(name):
            if name not in self._given:
                stage.begin()
        elif self._resume_state[0] == name and self._resume_state[1]:
            stage.load_state(self._resume_state[1])
        meter, samples = Meter(self.config.log_every), stage.schedule.batch * self.process_group.size
        for step, batch in ahead(partial(self._sample, stage), range(self.steps.get(name, 0), length)):
            meter.add(self._step(stage, step, batch), samples)
            self.steps[name] = step + 1
            self._note(stage, step + 1, meter, run_log)
            if not clock.goes_on(step + 1 < length, self.process_group, partial(self._save, stage, clock)):
                return False
        stage.finish()
        self._save(stage, clock)
        return True

    def _check_order(self, name: StageName) -> None:
        for needed in _NEEDED.get(name, ()):
            if needed in self.config.stages and self.steps.get(needed, 0) < getattr(self.config, needed).steps:
                raise PoseDubError(f"The stage {name} needs the stage {needed} of the same run; train that first.")
        if name == "speech2latent" and self.reader is None:
            raise PoseDubError(
                "The stage speech2latent hears with a speech recogniser; give --recogniser, its weights or its run.",
                ErrorKind.UNSUPPORTED,
            )

    def _stage(self, name: StageName, clock: Clock) -> Stage | None:
        """The stage with all that it works on; None if there was no time to make that."""
        arguments = (self.models, self.store, self.unseen, self.process_group)
        if name == "face":
            return FaceStage(*arguments)
        if name == "pictures":
            return PicturesStage(*arguments)
        clean = self._clean(clock)
        if clean is None:
            return None
        if name == "autoencoder":
            given = self._landmark_codes() or (None, None)
            return AutoencoderStage(
                *arguments, clean=clean[0], unseen_clean=clean[1], codes=given[0], unseen_codes=given[1],
                reads_lips=bool(self.steps.get("face")),
            )  # fmt: skip
        latents = self._landmark_codes() or self._latents(clock)
        if latents is None:
            return None
        if name == "speech2latent":
            assert self.reader is not None
            return SpeechStage(*arguments, latents=latents[0], unseen_latents=latents[1], reader=self.reader)
        pairs = self._pairs(latents, clock)
        return pairs and StudentStage(*arguments, pairs=pairs[0], unseen_pairs=pairs[1])

    def _clean(self, clock: Clock) -> tuple[Tensor | None, Tensor | None] | None:
        """What the autoencoder draws of training and of unseen frames; None in it where that is pixels."""
        pictures = self.models.pictures
        if pictures is None:
            return None, None
        found = [self._encoded(store, pictures, pictures.encode, store.images, clock) for store in self._stores()]
        return None if any(values is None for values in found) else (found[0], found[1])

    def _landmark_codes(self) -> tuple[Tensor, Tensor] | None:
        """Landmarks of training and of unseen frames as c, where the configuration asks for them."""
        if self.config.autoencoder.codes != "landmarks":
            return None
        size = self.config.size.unet.latent
        known, unknown = (landmark_codes(store, size) for store in self._stores())
        return known, unknown if len(unknown) else known

    def _latents(self, clock: Clock) -> tuple[Tensor, Tensor] | None:
        """c of training and of unseen frames."""
        clean = self._clean(clock)
        if clean is None:
            return None
        encoder, found = self.models.autoencoder.encoder, []
        for store, given in zip(self._stores(), clean, strict=True):
            take = store.images if given is None else partial(_rows, given)
            found.append(self._encoded(store, encoder, encoder, take, clock))
        return None if any(values is None for values in found) else (found[0], found[1])  # type: ignore[return-value]

    def _pairs(self, latents: tuple[Tensor, Tensor], clock: Clock) -> Any:
        """The student's pairs, learnt from and not, unless time is over."""
        spoken = self.reader if self.steps.get("speech2latent") else None
        made = []
        for seed, count in enumerate((self.config.student.pairs, _UNSEEN_PAIRS)):
            kept_out = seed and len(self.unseen)
            store, values = (self.unseen, latents[1]) if kept_out else (self.store, latents[0])
            teacher = Teacher(self.models, self.run_folder, values, partial(_stretch, store), spoken)
            made.append(teacher.pairs(count, seed, partial(clock.over, self.process_group)))
        return None if any(pairs is None for pairs in made) else made

    def _stores(self) -> tuple[ActorStore, ActorStore]:
        return self.store, self.unseen

    @torch.no_grad()
    def _encoded(
        self,
        store: ActorStore,
        network: nn.Module,
        encode: Callable[[Tensor], Tensor],
        take: Callable[[np.ndarray], Tensor],
        clock: Clock,
    ) -> Tensor | None:
        """What a finished network says of all frames of a store, in half precision, kept clip by clip."""
        bank = Bank(self.run_folder, network)
        log.info("reading %d clips into %s", len(store.clips), bank.place)

        def read(clip: int) -> dict[str, Tensor]:
            parts = np.array_split(store.rows_of(clip), -(-store.clips[clip].frames // _ENCODED))
            values = [encode(take(rows).to(self.process_group.device)) for rows in parts]
            return {"values": torch.cat(values).half()}

        found = []
        for number, clip in enumerate(store.clips):
            if clock.over(self.process_group):
                return None
            found.append(bank.value(clip.name, partial(read, number))["values"])
        return torch.cat(found) if found else torch.zeros(0)

    def _sample(self, stage: Stage, step: int) -> Any:
        return stage.sample(np.random.default_rng(self._seed(stage.name, step, self.process_group.rank)))

    def _step(self, stage: Stage, step: int, batch: Any) -> Losses:
        """One optimiser step."""
        for learner in stage.learners.values():
            learner.task.train()
        torch.manual_seed(self._seed(stage.name, step, self.process_group.rank))
        with self._arithmetic():
            losses = stage.learn(batch, step)
        norm = stage.update(step)
        return {name: value.detach() for name, value in losses.items()} | {"gradient": norm}

    def _seed(self, stage: StageName, step: int, rank: int) -> int:
        entropy = [self.config.seed, STAGES.index(stage), step, rank]
        return int(np.random.SeedSequence(entropy).generate_state(1)[0])

    def _arithmetic(self) -> Any:
        return torch.autocast(self.process_group.device.type, torch.bfloat16) if self._autocast else nullcontext()

    @torch.no_grad()
    def _note(self, stage: Stage, step: int, meter: Meter, run_log: RunLog | None) -> None:
        """Report, curves and samples when it is time for them."""
        if run_log and meter.due(step):
            rate, losses = meter.read()
            torch.manual_seed(self.config.seed)
            with self._arithmetic():
                unseen = {f"unseen_{name}": value for name, value in stage.judge(step).items()}
            run_log.write(stage.name, step, {"samples_per_second": rate, **losses, **unseen})
            self.report(Progress(stage.name, step, stage.schedule.steps, rate, losses | unseen))
            told = ", ".join(f"{name} {value:.4g}" for name, value in unseen.items())
            log.info("%s step %d: %.1f samples/s, loss %.4f, %s", stage.name, step, rate, losses["total"], told)
        if run_log and step % self.config.grid_every == 0:
            with self._arithmetic():
                picture = stage.picture()
            if picture is not None:
                run_log.picture(stage.name, step, picture)

    def _told(self, make: Callable[[], Any]) -> Any:
        """What is made, with a line on its statistics."""
        latents = make()
        if latents is not None:
            spread = latents[0].float().std(0)
            log.info("latents of %d frames, deviation %.3g to %.3g", len(latents[0]), spread.min(), spread.max())
        return latents

    def _save(self, stage: Stage, clock: Clock) -> None:
        if self.process_group.leads:
            with clock.saving():
                state, settings = self.models.state(self.steps), asdict(self.config)
                checkpoints.save(
                    self.run_folder,
                    Checkpoint(self.config.digest(), stage.name, dict(self.steps), state, stage.state(), settings),
                )

    def _resume(self, begin: Beginning | None) -> None:
        """Take over what the run begins with, then its own last checkpoint, which may not have come to all of that."""
        own = checkpoints.to_resume(self.run_folder, self.config.digest())
        if begin and (begin.further or own is None):
            given = begin.checkpoint(self.config)
            self._given = {key.split(".")[1] for key in given.models}
            self._load(given, begin.source)
        if own:
            self._load(own, self.run_folder)

    def _load(self, found: Checkpoint, source: Path) -> None:
        self.models.load(found.models, source)
        self.steps = dict(found.steps)
        self._resume_state = found.stage, found.optimizers


def _rows(values: Tensor, rows: np.ndarray) -> Tensor:
    return values[rows].float()


def _stretch(store: ActorStore, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A random stretch of up to 10 s of sound, and the poses (frames, 3) of another."""
    frames = min(250, *(clip.frames for clip in store.clips))
    clip, other = rng.integers(len(store.clips), size=2)
    first = int(rng.integers(store.clips[clip].frames - frames + 1))
    begin = int(rng.integers(store.clips[other].frames - frames + 1))
    poses = store.angles[store.rows_of(int(other))[begin : begin + frames]]
    return store.sound(int(clip), first, frames), poses
