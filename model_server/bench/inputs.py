"""What is dubbed in a measurement: the demo's inputs or the user's own, with sound of any length."""

from __future__ import annotations

import math
import wave
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

import model_server
from model_server.errors import ErrorKind, PoseDubError
from model_server.files import file_digest
from model_server.pipeline.request import (
    CropMode,
    DubRequest,
    DubSpec,
    FaceSelection,
    Portrait,
    PoseSpeech,
    PoseVideo,
    Speech,
)
from model_server.pipeline.speech.audio import SAMPLE_RATE, decode_speech, speech_duration

FPS = Fraction(25)
NOISE = 1e-3
_STARTS = 97
_BLOCK = 30 * SAMPLE_RATE
_DEMO = Path(model_server.__file__).parents[1] / "tests" / "demo" / "inputs"


class DubInputs(Protocol):
    """Media files of measured dubs."""

    @property
    def speech(self) -> Path: ...

    def files(self) -> dict[str, Path]:
        """The files by their content ids."""

    def request(self, seconds: float, seed: int = 0) -> DubRequest:
        """A dub of `seconds` at 25 fps, of a sound that is another one for each seed."""


_Spoken = TypeVar("_Spoken", bound=DubInputs)


@dataclass(frozen=True)
class Inputs:
    """Three media files of a dub.

    Attributes:
        crop: how faces are found in portrait and pose source.
    """

    portrait: Path
    speech: Path
    pose: Path
    crop: CropMode = "auto"

    def files(self) -> dict[str, Path]:
        """The files by their content ids."""
        return {file_digest(path): path for path in (self.portrait, self.speech, self.pose)}

    def request(self, seconds: float, seed: int = 0) -> DubRequest:
        """A dub of `seconds` at 25 fps.

        Dubs of different seeds begin within a tenth of a second of the sound, each elsewhere, so that a server finds
        nothing that it encoded for another one.
        """
        face = FaceSelection(self.crop)
        spec = DubSpec(
            portrait=Portrait(file_digest(self.portrait), face),
            speech=_speech(self.speech, seed),
            pose=PoseVideo(file_digest(self.pose), face, start=1 / (2 * FPS)),
            fps=FPS,
            frame_count=math.ceil(seconds * FPS),
            seed=seed,
            pose_reading="encoder",  # as published, so that both paths do the same
        )
        return DubRequest(spec)


@dataclass(frozen=True)
class ActorInputs:
    """The sound that an actor's weights speak.

    Attributes:
        size: width and height of its pictures.
        steps: in which its frames are drawn.
    """

    speech: Path
    size: int
    steps: int = 1

    def files(self) -> dict[str, Path]:
        """See `DubInputs.files`."""
        return {file_digest(self.speech): self.speech}

    def request(self, seconds: float, seed: int = 0) -> DubRequest:
        """See `Inputs.request`."""
        spec = DubSpec(
            portrait=None,
            speech=_speech(self.speech, seed),
            pose=PoseSpeech(),
            fps=FPS,
            frame_count=math.ceil(seconds * FPS),
            seed=seed,
            steps=self.steps,
            size=self.size,
        )
        return DubRequest(spec)


def _speech(path: Path, seed: int) -> Speech:
    return Speech(file_digest(path), Fraction(seed % _STARTS, 10 * _STARTS))


def demo_inputs() -> Inputs:
    """The demo's committed inputs.

    Raises:
        PoseDubError: this is an installed package, which has none.
    """
    if not _DEMO.is_dir():
        raise PoseDubError(
            "The demo's inputs are only in a checkout of PoseDub; name --portrait, --audio and --pose.",
            ErrorKind.NOT_FOUND,
        )
    return Inputs(_DEMO / "portrait.png", _DEMO / "speech.flac", _DEMO / "pose.mp4")


def with_speech_of(inputs: _Spoken, seconds: float, folder: Path) -> _Spoken:
    """The same inputs with sound of at least `seconds`: repeated in a file in `folder` if it is shorter.

    Repeated sound gets faint noise, so that no window, and with it no frame, comes twice and could be remembered.
    """
    if speech_duration(inputs.speech) >= seconds:
        return inputs
    raw = decode_speech(inputs.speech, folder / "once.f32").path
    samples = np.fromfile(raw, np.float32)
    path = folder / f"speech-{seconds:g}s.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        for block in _repeated(samples, math.ceil(seconds * SAMPLE_RATE)):
            file.writeframes((block.clip(-1, 1) * 32767).astype("<i2").tobytes())
    return replace(inputs, speech=path)  # type: ignore[type-var]


def _repeated(samples: NDArray[np.float32], count: int) -> Iterator[NDArray[np.float32]]:
    random = np.random.default_rng(0)
    for start in range(0, count, _BLOCK):
        places = np.arange(start, min(start + _BLOCK, count)) % len(samples)
        yield samples[places] + NOISE * random.standard_normal(len(places), np.float32)
