"""A drawn actor who turns the head, opens the mouth as loudly as it speaks, and blinks; toy networks to learn that."""

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from model_server.corpus.actor.clips import ActorClip
from model_server.corpus.shards import Entry, Index, write_index, write_shard
from model_server.corpus.speech.clips import encoded_sound
from model_server.engines.speech_recogniser import SpeechRecogniser
from model_server.networks.dae_talker.presets import (
    AUTOENCODERS,
    SPEECH2LATENT,
    TOY_AUTOENCODER,
    TOY_RECOGNISER,
    TOY_SPEECH2LATENT,
)
from model_server.networks.speech_recogniser.recogniser import Recogniser
from model_server.training.dae_talker.config import DaeConfig, named
from model_server.training.settings import changed

FRAMES, SIDE = 50, 64


@pytest.fixture(scope="package", autouse=True)
def toy_sizes() -> Iterator[None]:
    """Names for the toys' sizes, while the tests of this folder run."""
    AUTOENCODERS["drawn"], SPEECH2LATENT["drawn"] = TOY_AUTOENCODER, TOY_SPEECH2LATENT
    yield
    del AUTOENCODERS["drawn"], SPEECH2LATENT["drawn"]


def drawn_actor(yaw: float, opening: float, lids: float) -> bytes:
    picture = Image.new("RGB", (SIDE, SIDE), (40, 70, 90))
    pen = ImageDraw.Draw(picture)
    x = 32 + yaw
    pen.ellipse((x - 18, 6, x + 18, 58), fill=(210, 160, 130))
    for eye in (-8, 8):
        height = 3 * (1 - lids) + 0.5
        pen.ellipse((x + eye - 4, 24 - height, x + eye + 4, 24 + height), fill=(20, 20, 30))
    pen.ellipse((x - 7, 44 - 6 * opening, x + 7, 46 + 6 * opening), fill=(130, 20, 30))
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=97, subsampling=0)
    return file.getvalue()


def actor_clip(name: str, seed: int, identity: str = "drawn") -> ActorClip:
    rng = np.random.default_rng(seed)
    yaw = 8 * np.sin(np.arange(FRAMES) / 6 + rng.uniform(0, 6))
    opening = np.abs(np.sin(np.arange(FRAMES) / rng.uniform(2, 4))).astype(np.float32)
    lids = (np.arange(FRAMES) % 23 < 3).astype(np.float32)
    sound = np.repeat(opening, 640) * rng.standard_normal(FRAMES * 640) * 0.1
    points = np.random.default_rng(7).uniform(20, 44, (68, 2))[None].repeat(FRAMES, 0)
    points[:, :, 0] += yaw[:, None]
    points[:, [61, 62, 63], 1], points[:, [65, 66, 67], 1] = 44 - 6 * opening[:, None], 46 + 6 * opening[:, None]
    return ActorClip(
        name, identity, "footage", tuple(map(drawn_actor, yaw, opening, lids)), encoded_sound(sound.astype(np.float32)),
        np.stack([2 * yaw, 0.3 * yaw, 0 * yaw], 1).astype(np.float32), lids, points.astype(np.float32),
    )  # fmt: skip


@pytest.fixture(scope="session")
def actor(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("actors") / "drawn")


def write_corpus(folder: Path) -> Path:
    """An actor's corpus of four short clips, the last one for validation."""
    folder.mkdir()
    clips = [actor_clip(f"clip{k}", k) for k in range(4)]
    write_shard(folder / "shard-00000.safetensors", clips)
    splits = ("train", "train", "train", "val")
    entries = [Entry(c.name, c.identity, c.source, FRAMES, "shard-00000.safetensors", s)
               for c, s in zip(clips, splits, strict=True)]  # fmt: skip
    write_index(folder, Index(tuple(entries)))
    return folder


@pytest.fixture(scope="session")
def recogniser() -> SpeechRecogniser:
    torch.manual_seed(2)
    return SpeechRecogniser(Recogniser(TOY_RECOGNISER, 0.0).eval(), tuple("abcde"), {"steps": 0})


@pytest.fixture(scope="session")
def toy() -> DaeConfig:
    """The settings of dae-cpu with toy networks and a few steps."""
    settings = {
        "autoencoder_size": "drawn", "speech2latent_size": "drawn", "face.width": 4, "pictures.critic_width": 4,
        "student.critic_width": 4, "student.width": 8, "student.pairs": 128, "student.teacher_steps": 4,
        "speech2latent.frames": 40,
        "log_every": 2, "grid_every": 2, **{f"{stage}.batch": 4 for stage in ("face", "pictures", "autoencoder")},
        "speech2latent.batch": 2, "student.batch": 8,
        **{f"{stage}.steps": 2 for stage in ("face", "pictures", "autoencoder", "speech2latent", "student")},
    }  # fmt: skip
    return changed(named("dae-cpu"), settings)
