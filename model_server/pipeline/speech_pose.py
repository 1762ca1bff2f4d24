"""Head angles that go with speech, for whoever wants them as numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from model_server.engines.base import Engine, Performance, PoseTeller, WeightsInfo
from model_server.engines.registry import traits
from model_server.errors import ErrorKind, PoseDubError
from model_server.pipeline.media.containers import never
from model_server.pipeline.parameters import parameters
from model_server.pipeline.request import MAX_FRAMES, DubSpec, Speech, check_rate
from model_server.pipeline.speech.sandboxed import temporary_speech


@dataclass(frozen=True)
class SpeechPoseRequest:
    """Whose head movement is wanted, and for what.

    Attributes:
        frame_count: frames of the whole, > 0.
        weights: id of the dub's weights, "" for the default.
        seed: of movement that speech does not tell.
    """

    speech: Speech
    fps: Fraction
    frame_count: int
    weights: str = ""
    seed: int = 0

    def validate(self) -> None:
        """Raise PoseDubError for the first value out of range."""
        check_rate(self.fps)
        if not 0 < self.frame_count <= MAX_FRAMES:
            raise PoseDubError(f"A pose was asked for {self.frame_count} frames; ask for 1 to {MAX_FRAMES}.")


def teller_among(wanted: WeightsInfo, offered: Sequence[WeightsInfo]) -> WeightsInfo:
    """Weights that tell pose from speech: the wanted ones if these do, else the first of those on offer.

    Raises:
        PoseDubError: none of them does.
    """
    for weights in (wanted, *offered):
        if traits(weights).tells_pose:
            return weights
    raise PoseDubError(
        "None of the server's weights tell head movement from speech; start it with an actor's weights file, too "
        "(--weights).",
        ErrorKind.UNSUPPORTED,
    )


def pose_from_speech(
    engine: Engine, media: Path, request: SpeechPoseRequest, cancelled: Callable[[], bool] = never
) -> NDArray[np.float32]:
    """Yaw, pitch and roll (n, 3), degrees, of all frames.

    Args:
        engine: one that tells pose.
        media: the sound's file.
    """
    speech = temporary_speech(media, request.speech.start, cancelled, request.speech.track)
    usual = {one.name: one.default for one in parameters(DubSpec)}
    performance = Performance(speech, request.fps, 0, None, usual)
    return cast(PoseTeller, engine).angles_of(performance, range(request.frame_count), request.seed)
