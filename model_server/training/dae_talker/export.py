"""A finished run as an actor's weights file, with what was measured on the corpus."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
from torch import nn

from model_server.corpus.shards import Corpus
from model_server.engines.base import WeightsInfo
from model_server.engines.dae_talker.actor_file import built_in_recogniser, write_actor
from model_server.engines.dae_talker.actor_networks import ActorNetworks
from model_server.engines.dae_talker.weights import Actor
from model_server.engines.weights_file import describe
from model_server.errors import ErrorKind, PoseDubError
from model_server.files import file_digest
from model_server.networks.dae_talker.speech_features import SpeechNetwork, reader_of
from model_server.training import checkpoint as checkpoints
from model_server.training.checkpoint import Checkpoint
from model_server.training.dae_talker.config import PRESETS, DaeConfig
from model_server.training.dae_talker.data import ActorStore
from model_server.training.dae_talker.models import DaeModels
from model_server.training.dae_talker.rescale import lips_rescale, nods_rescale, pose_rescale
from model_server.training.settings import changed, flat

_PERCENTILES = (1, 99)


def export_actor(
    run: Path,
    corpora: Sequence[Path],
    speech: SpeechNetwork | None,
    out: Path,
    name: str,
    student_only: bool = False,
    licence: Sequence[str] = (),
    built_in: bool = False,
) -> WeightsInfo:
    """Write an actor's weights file.

    Args:
        run: of the training.
        corpora: that it was trained on: they tell which poses can be drawn, and how much predicted ones shrink.
        speech: what the run hears with.
        out: the file.
        name: of the actor.
        student_only: leave the diffusion autoencoder out, for a small file that draws in one step.
        licence: lines on what it was trained with and under which terms.
        built_in: for the package: its own speech recogniser is left out of the file.

    Raises:
        PoseDubError: the run lacks a stage, or has networks of other sizes than its preset's now, or no corpus was
            given; or the file is for the package but hears with another recogniser.
    """
    path, found = _last(run)
    config = changed(PRESETS["dae-cpu"], dict(flat(found.settings)))
    if not corpora or speech is None:
        lacking = "--recogniser, which it hears with" if corpora else "--corpus, the actor's"
        raise PoseDubError(f"An actor's weights need {lacking}; give it to posedub checkpoint export.")
    _check(found, config, student_only)
    models = DaeModels(config, reader_of(speech))
    models.load(found.models, run)
    if not config.speech2latent.pose_adaptor:
        cast(nn.Linear, models.speech2latent.pose_projection[0]).weight.data.zero_()  # no pose was ever learnt
    networks = ActorNetworks(
        speech=speech,
        speech2latent=models.speech2latent,
        start_noise=models.start,
        autoencoder=models.autoencoder,
        student=models.student if _finished(found, config, "student") else None,
        pictures=models.pictures,
    )
    recogniser = built_in_recogniser(speech) if built_in else ""
    if built_in and not recogniser:
        raise PoseDubError(
            f"{run} hears with another speech recogniser than the package's; only an actor that hears with that one "
            "can be built in.",
            ErrorKind.UNSUPPORTED,
        )
    actor = replace(_actor(name, found, networks, corpora), licence=tuple(licence), recogniser=recogniser)
    networks = replace(networks, autoencoder=None) if student_only else networks
    write_actor(out, networks, actor, config.name, source=file_digest(path))
    return describe(out)


def _actor(name: str, found: Checkpoint, networks: ActorNetworks, corpora: Sequence[Path]) -> Actor:
    """What is told of an actor; lips and nods of its speech2latent go as far as in the footage afterwards."""
    store, unseen = (ActorStore(corpora, split, networks.resolution) for split in ("train", "val"))
    low, high = (tuple(row) for row in np.percentile(store.angles, _PERCENTILES, axis=0).tolist())
    facts = {
        "config": found.settings,
        "steps": found.steps,
        "corpora": [folder.name for folder in corpora],
        "minutes": round(len(store) / 25 / 60, 1),
        "footage": sorted({str(Corpus.open(folder).index.settings.get("generator", "")) for folder in corpora}),
    }
    nods = nods_rescale(networks.speech2latent, networks.speech, unseen)
    facts["nods_rescale"] = [round(factor, 3) for factor in nods]
    rescale = pose_rescale(networks.speech2latent, networks.speech, unseen)
    if found.settings["autoencoder"]["codes"] == "encoder" and len(unseen):
        facts["lips_rescale"] = round(lips_rescale(networks, store, unseen), 3)
    return Actor(name, low, high, rescale, facts=facts)  # type: ignore[arg-type]


def _check(found: Checkpoint, config: DaeConfig, student_only: bool) -> None:
    needed = ["autoencoder", "speech2latent", *(["pictures"] if config.size.pictures else [])]
    needed += ["student"] if student_only else []
    for stage in needed:
        if not found.steps.get(stage):
            raise PoseDubError(
                f"The run has not begun the stage {stage}; train it with posedub train --stage {stage}.",
                ErrorKind.NOT_FOUND,
            )


def _finished(found: Checkpoint, config: DaeConfig, stage: str) -> bool:
    return found.steps.get(stage, 0) >= getattr(config, stage).steps > 0


def _last(run: Path) -> tuple[Path, Checkpoint]:
    path = checkpoints.latest(run)
    if path is None:
        raise PoseDubError(f"There is no checkpoint in {run}; train first.", ErrorKind.NOT_FOUND)
    return path, checkpoints.load(path)
