"""An engine in a few lines: plain fields, as red as it is loud around them, as green and blue as the head is posed.

Found by its entry point when this folder is on the path. It draws nobody's portrait, hears two frames to either side,
and moves the head by itself where no pose is given.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from model_server.engines.base import Condition, PoseControl, Sizes, Traits

REACH = 2
TRAITS = Traits(
    title="Toy",
    portrait=False,
    pose_sources=("speech", "codes"),
    pose_controls=(PoseControl("yaw", "degrees", -20, 20), PoseControl("nod", low=0, high=1)),
    reach=REACH,
    parameters=("seed",),
)


def sizes(weights):
    return Sizes(64, 128, 32)


def check_tensors(path, preset, shapes):
    assert shapes == {"tint": (3,)}, (path, shapes)


def parameter_counts(weights):
    return {"tint": 3}


def load(weights, device, precision, choices):
    return Toy(weights, device)


def write_weights(path: Path, engine: str = "toy") -> Path:
    """A weights file of this engine, or of another one that draws like it."""
    from safetensors.numpy import save_file

    metadata = {"format": "posedub-weights-1", "engine": engine, "preset": "tiny", "kind": "trained", "name": "toy"}
    save_file({"tint": np.full(3, 0.5, np.float32)}, path, metadata)
    return path


class Toy:
    batch_size, first_batch, precision, compiling = 3, 1, "fp32", False

    def __init__(self, weights, device):
        self.weights, self.device = weights, device

    def fingerprint(self):
        return f"toy {self.weights.id}"

    def identity_of(self, portrait, size):
        return size

    def conditioning(self, performance):
        return Around(performance)

    def draw(self, size, conditions, seed):
        colours = np.array([[*condition.value, seed % 256] for condition in conditions])
        fields = np.ones((len(colours), size, size, 3)) * colours[:, None, None, :3] + colours[0, 3]
        return (fields % 256).astype(np.uint8)


class Around:
    def __init__(self, performance):
        self._given = performance

    def of(self, frames):
        return [self._condition(frame) for frame in frames]

    def _condition(self, frame):
        around = np.mean([self._values(k) for k in range(frame - REACH, frame + REACH + 1)], axis=0)
        return Condition(around.tobytes(), tuple(around))

    def _values(self, frame):
        given = self._given
        samples = given.speech.read(int(frame * 16000 / given.fps), int(16000 / given.fps))
        loudness = float(np.abs(samples).mean()) * 1000
        if given.poses is None:
            return loudness, 100 + 10 * np.sin(frame), 0.0
        yaw, nod = given.poses[np.clip(frame - given.first, 0, len(given.poses) - 1)]
        return loudness, 100 + 4.0 * yaw, 200.0 * nod
