"""A valid plan with real files."""

from fractions import Fraction

import pytest

from blender_addon.core.faces import FaceChoice
from blender_addon.core.plan import DubPlan, PortraitSource, PoseSource, SpeechSource


@pytest.fixture
def plan(tmp_path):
    for name in ("face.png", "speech.wav", "pose.mp4"):
        (tmp_path / name).write_bytes(name.encode())
    return DubPlan(
        uid="u1",
        name="Anna - Szene 1",
        folder=tmp_path / "dubs" / "v001",
        portrait=PortraitSource(tmp_path / "face.png", Fraction(1, 24), FaceChoice("auto", (0.25, 0.5))),
        speech=SpeechSource(tmp_path / "speech.wav"),
        pose=PoseSource("video", tmp_path / "pose.mp4", FaceChoice("aligned"), Fraction(7, 24), Fraction(1001, 1000)),
        fps=Fraction(24000, 1001),
        frame_count=48,
        first=0,
        end=48,
    )
