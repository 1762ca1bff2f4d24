"""A corpus of drawn heads: an ellipse that turns, with a mouth that opens as loudly as it speaks."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from model_server.corpus.shards import Clip, Entry, Index, write_index, write_shard
from model_server.networks.pcavs.presets import PRESETS, IdentityWidths, NonIdentityWidths, SpeechWidths
from model_server.training.pcavs.config import Config, named
from model_server.training.settings import changed

FRAMES = 24
TINY = replace(
    PRESETS["lite"],
    identity=IdentityWidths(stem=8, groups=2, stages=(8, 8, 16, 16)),
    nonidentity=NonIdentityWidths(stem=8, entry=16, hourglass=16),
    speech=SpeechWidths(stages=(8, 8, 16, 16), attention=8),
    generator=(32, 32, 16, 16, 16),
    feature=32,
    mouth=16,
)
PRESETS["tiny"] = TINY  # type: ignore[index]


def drawn_head(skin: tuple[int, int, int], yaw: float, opening: float) -> bytes:
    picture = Image.new("RGB", (224, 224), (40, 60, 90))
    pen = ImageDraw.Draw(picture)
    x = 112 + yaw
    pen.ellipse((x - 60, 10, x + 60, 170), fill=skin)
    for eye in (-25, 25):
        pen.ellipse((x + eye - 8 + yaw / 2, 52, x + eye + 8 + yaw / 2, 66), fill=(20, 20, 30))
    pen.ellipse((x - 20 + yaw / 2, 118 - 20 * opening, x + 20 + yaw / 2, 122 + 20 * opening), fill=(120, 20, 30))
    data = io.BytesIO()
    picture.save(data, "JPEG", quality=95)
    return data.getvalue()


def drawn_clip(name: str, identity: str, seed: int, labelled: bool = True) -> Clip:
    rng = np.random.default_rng(seed)
    skin = tuple(int(c) for c in np.random.default_rng(abs(hash_of(identity))).integers(100, 240, 3))
    yaw = 20 * np.sin(np.arange(FRAMES) / 5 + rng.uniform(0, 6))
    opening = rng.uniform(0, 1, FRAMES).astype(np.float32)
    mel = np.repeat(opening, 4)[:, None] * np.linspace(1, 0.2, 80) + rng.uniform(0, 0.05, (4 * FRAMES, 80))
    jpegs = tuple(drawn_head(skin, *pair) for pair in zip(yaw, opening, strict=True))
    if not labelled:
        return Clip(name, identity, "footage", jpegs, mel.astype(np.float16))
    points = np.random.default_rng(7).uniform(60, 160, (68, 2))[None] + np.stack([yaw, 0 * yaw], 1)[:, None]
    flow = np.zeros((FRAMES, 2, 56, 56, 2), np.float16)
    centres = np.arange(56) * 4 + 2
    sources = np.array([0, 12], np.int16)
    for j, source in enumerate(sources):
        flow[:, j, :, :, 0] = centres[None, None, :] + (yaw[source] - yaw)[:, None, None]
        flow[:, j, :, :, 1] = centres[None, :, None]
    return Clip(
        name, identity, "synthetic", jpegs, mel.astype(np.float16),
        angles=np.stack([yaw, 0 * yaw, 0 * yaw], 1).astype(np.float32),
        landmarks=points.astype(np.float32),
        visemes=np.eye(17, dtype=np.float16)[(opening * 5).astype(int)],
        opening=opening,
        flow_sources=sources,
        flow=flow,
        visible=np.ones(flow.shape[:-1], bool),
    )  # fmt: skip


def hash_of(text: str) -> int:
    return int.from_bytes(text.encode(), "little") % 2**32


def write_corpus(folder: Path, labelled: bool = True) -> Path:
    folder.mkdir()
    clips = [drawn_clip(f"clip{n}", f"person{n % 3}", n, labelled) for n in range(6)]
    clips.append(drawn_clip("unseen", "stranger", 9, labelled))
    write_shard(folder / "shard-00000.safetensors", clips)
    splits = ["train"] * 6 + ["val"]
    entries = [
        Entry(c.name, c.identity, c.source, FRAMES, "shard-00000.safetensors", split)
        for c, split in zip(clips, splits, strict=True)
    ]
    write_index(folder, Index(tuple(entries)))
    return folder


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpora") / "drawn")


@pytest.fixture(scope="session")
def unlabelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpora") / "footage", labelled=False)


@pytest.fixture(scope="session")
def small(lite: Config) -> Config:
    """The same of very thin networks: everything but the widths is that of lite."""
    return changed(lite, {"preset": "tiny"})


@pytest.fixture(scope="session")
def lite() -> Config:
    """The lite networks, a few steps of tiny batches."""
    return changed(
        named("lite"),
        {
            "trunk.steps": 2, "trunk.batch": 4, "identity.steps": 2, "identity.batch": 4, "speech.steps": 2,
            "speech.batch": 2, "speech.window": 4, "speech.stride": 2, "speech.shifts": 2, "perceptual.steps": 2,
            "perceptual.batch": 4, "perceptual.width": 8, "generator.steps": 4, "generator.batch": 2,
            "generator.loss_size": 112, "generator.critic_width": 8, "generator.critic_start": 2, "log_every": 2,
            "grid_every": 2, "ema_decay": 0.9,
        },
    )  # fmt: skip
