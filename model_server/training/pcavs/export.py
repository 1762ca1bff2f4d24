"""From a run to networks that dub: averaged weights, a pose code whose zero is a frontal head, a weights file."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from model_server.engines.base import Precision, WeightsInfo
from model_server.engines.pcavs.engine import PcavsEngine
from model_server.engines.pcavs.weights import NAME, write_weights
from model_server.engines.pose_map import PoseMap
from model_server.engines.weights_file import compacted, describe, read_tensors
from model_server.errors import ErrorKind, PoseDubError
from model_server.files import file_digest, write_text
from model_server.networks.layers.modulation import EqualizedLinear
from model_server.networks.pcavs.model import COUNTER, Networks
from model_server.networks.pcavs.presets import FITTED_PARTS, LOWER_FACE, OPTIONAL_PARTS, POSE_SIZE
from model_server.training import checkpoint as checkpoints
from model_server.training.pcavs.config import Config, restored
from model_server.training.pcavs.data import ClipStore, Frames
from model_server.training.pcavs.models import build_networks, style_layers
from model_server.training.pcavs.samplers import sample_frames

Floats = NDArray[np.float64]

log = logging.getLogger(__name__)

MEASURED_FRAMES = 1200
_BATCH = 32
_AVERAGED = "averaged."
# Of optional parts, what all that they say passes through.
OUTPUTS = ("_head.weight", "_head.fields")
# What hears speech, and what is made for weights that hear so: the network for lower faces, and what is fitted to them.
_HEARING, _SHARE = "speech_encoder.", "generator.mask_head.bias"
_APART = (LOWER_FACE, *(OPTIONAL_PARTS[part] for part in FITTED_PARTS))


@dataclass(frozen=True)
class PoseFit:
    """Least-squares relation of head angles in degrees and pose codes, as learnt.

    Attributes:
        to_code: (3, pose) what a degree of yaw, pitch and roll adds to the code.
        frontal: (pose,) code of a frontal head.
        to_angles: (pose, 3) angles per unit of the code's difference from `frontal`.
        zero: (3,) angles that belong to `frontal` by that way back.
        residual: (3,) root mean square error of the way back, degrees.
    """

    to_code: Floats
    frontal: Floats
    to_angles: Floats
    zero: Floats
    residual: Floats

    def recentred(self) -> PoseMap:
        """The maps of networks whose code zero has been made frontal."""
        nothing = np.zeros_like(self.frontal)
        parts = (self.to_code, nothing, self.to_angles, self.zero, self.residual)
        return PoseMap(*(value.tolist() for value in parts))


@dataclass(frozen=True)
class Finished:
    """A run's networks, ready to use.

    Attributes:
        networks: averaged, recentred, in evaluation mode.
        config: of the run.
        steps: of each stage.
        pose: None when no clip has head angles.
    """

    networks: Networks
    config: Config
    steps: dict[str, int]
    pose: PoseFit | None


def finish(run: Path, corpora: Sequence[Path] = (), measured: int = MEASURED_FRAMES) -> Finished:
    """The networks of a run's last checkpoint.

    Args:
        run: the run's folder.
        corpora: folders with head angles, on which zero is made frontal; without them the code stays as learnt.
        measured: frames to do that on.

    Raises:
        PoseDubError: there is no checkpoint, or it cannot be read.
    """
    path = checkpoints.latest(run)
    if path is None:
        raise PoseDubError(f"There is no checkpoint in {run}; train first.", ErrorKind.NOT_FOUND)
    found = checkpoints.load(path)
    config = restored(found.settings)
    networks = build_networks(config)
    state = {key.removeprefix(_AVERAGED): value for key, value in found.models.items() if key.startswith(_AVERAGED)}
    networks.load_state_dict(state)
    networks.eval().requires_grad_(False)
    pose = fit_pose(networks, labelled_frames(corpora, measured)) if corpora else None
    if pose:
        recentre(networks, torch.from_numpy(pose.frontal).float())
    return Finished(networks, config, found.steps, pose)


def run_engine(
    run: Path, corpora: Sequence[Path] = (), device: str = "cpu", precision: Precision = "fp32"
) -> PcavsEngine:
    """An engine on a run's networks, also those of ablations, which no weights file can hold."""
    done = finish(run, corpora)
    name = f"{done.config.name}-{done.config.digest()}-{sum(done.steps.values())}"
    known, preset = done.pose.recentred() if done.pose else None, done.config.preset
    info = WeightsInfo(name, done.config.name, "trained", preset, pose_map=known, engine=NAME)
    return PcavsEngine(done.networks, info, device, precision)


def export(run: Path, corpora: Sequence[Path], out: Path, name: str, measured: int = MEASURED_FRAMES) -> WeightsInfo:
    """Write a run's networks as a weights file, and what they are in a JSON file beside it.

    Raises:
        PoseDubError: the run is an ablation, which the weights file cannot hold, or something cannot be read.
    """
    done = finish(run, corpora, measured)
    if done.config.pose_size != POSE_SIZE or done.config.modulation != "demodulated":
        raise PoseDubError(
            f"The run {run} trains the ablation {done.config.name}, which no weights file can hold; evaluate the run "
            "itself.",
            ErrorKind.UNSUPPORTED,
        )
    state = without_untrained(_stored(done.networks))
    pose_map = done.pose.recentred() if done.pose else None
    write_weights(out, compacted(state), done.config.preset, "trained", name, done.config.digest(), pose_map)
    write_text(out.with_suffix(".json"), json.dumps(_account(done, corpora), indent=1))
    return describe(out)


def _stored(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    """What a file holds of a network."""
    return {key: value for key, value in network.state_dict().items() if not key.endswith(COUNTER)}


def without_untrained(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors without optional parts whose outputs are all zero, as they begin: they were never trained."""
    idle = [
        prefix
        for prefix in OPTIONAL_PARTS.values()
        if not any(value.any() for name, value in state.items() if name.startswith(prefix) and name.endswith(OUTPUTS))
    ]
    return {name: value for name, value in state.items() if not name.startswith(tuple(idle))}


def export_onto(
    run: Path,
    corpora: Sequence[Path],
    base: Path,
    out: Path,
    name: str,
    mouth_gain: float = 1.0,
    less_paint: float = 0.0,
) -> WeightsInfo:
    """Write weights that a run went on from with what it learnt; the rest is that of the weights `base`.

    Of a run for lower faces that network alone is taken. Of any other all but what it did without: the network for
    lower faces, and what was fitted to finished weights.

    Args:
        mouth_gain: see `louder`.
        less_paint: logits added to the portrait's share of a picture: paint of a young network is softer than a
            portrait that is stretched.

    Raises:
        PoseDubError: the run changed how speech is heard, by which lower faces are drawn; or something cannot be read.
    """
    # Not checked: its lower face may be one of an older form.
    info, every = describe(base, file_digest(base)), read_tensors(base)
    done = finish(run, corpora)
    faces = done.networks.lower_face is not None
    stored = compacted(without_untrained(_stored(done.networks)))
    if any(
        not torch.equal(value, every.get(name, value[:0]))
        for name, value in stored.items()
        if name.startswith(_HEARING)
    ):
        raise PoseDubError(
            f"The run {run} changed how speech is heard, to which {base.name} is fitted; export it alone."
        )
    if not (faces or done.pose):
        raise PoseDubError("Name corpora with head angles (--corpus), or nobody knows which pose codes belong to them.")
    learnt = {name: value for name, value in stored.items() if faces == name.startswith(LOWER_FACE)}
    kept = {name: value for name, value in every.items() if faces != name.startswith(_APART)}
    pose_map = done.pose.recentred() if done.pose and not faces else info.pose_map
    preset = done.config.preset if faces else info.preset
    state = louder(kept | learnt, mouth_gain)
    if less_paint:
        state[_SHARE] = state[_SHARE] + less_paint
    write_weights(out, state, preset, "trained", name or info.name, info.id, pose_map, info.pose_reading)
    write_text(out.with_suffix(".json"), json.dumps(_account(done, corpora) | {"base": info.id}, indent=1))
    return describe(out)


def louder(state: dict[str, torch.Tensor], factor: float) -> dict[str, torch.Tensor]:
    """A weights file's tensors with speech contents `factor` times as large: lips of warped portraits open further.

    What is drawn to match many mouths at once opens them too little; this makes up for it. The gate and the network for
    lower faces, which read contents, too, are changed so that they say what they said.
    """
    if factor == 1:
        return state
    gate = OPTIONAL_PARTS["speech_gate"]
    larger = (f"{_HEARING}readout.weight", f"{_HEARING}readout.bias", f"{gate}rest")
    made = {name: value * factor if name in larger else value for name, value in state.items()}
    if f"{gate}speech_head.weight" in made:
        made[f"{gate}speech_head.weight"] = made[f"{gate}speech_head.weight"] / factor
    reads = f"{LOWER_FACE}style.0.weight"
    if reads in made:
        contents = len(made[f"{_HEARING}readout.bias"])
        made[reads] = torch.cat([made[reads][:, :contents] / factor, made[reads][:, contents:]], 1)
    return made


def fit_pose(networks: Networks, frames: Sequence[Frames]) -> PoseFit | None:
    """Relate pose codes to the known angles of frames; None when too few are known."""
    encoder = networks.nonidentity_encoder
    with torch.no_grad():
        code = np.concatenate([encoder.pose_code(encoder(part.images)).double().numpy() for part in frames])
    angles = np.concatenate([part.angles.double().numpy() for part in frames])
    known = np.isfinite(angles).all(1)
    if known.sum() < 4 * code.shape[1]:
        log.warning("too few frames with head angles: the pose code's zero stays as learnt")
        return None
    to_code, frontal = _affine(angles[known], code[known])
    to_angles, zero = _affine(code[known] - frontal, angles[known])
    error = (code[known] - frontal) @ to_angles + zero - angles[known]
    return PoseFit(to_code, frontal, to_angles, zero, np.sqrt((error**2).mean(0)))


@torch.no_grad()
def recentre(networks: Networks, frontal: torch.Tensor) -> None:
    """Subtract `frontal` (pose,) from every pose code, and have the generator add it again: no frame changes."""
    networks.nonidentity_encoder.pose_embedding.bias.sub_(frontal)
    codes = frontal.repeat(2 if networks.preset.warps else 1)
    for layer in style_layers(networks):
        weight = layer.weight[:, -len(codes) :]
        layer.bias.add_(F.linear(codes * layer.scale, weight) if isinstance(layer, EqualizedLinear) else weight @ codes)


def labelled_frames(corpora: Sequence[Path], count: int) -> list[Frames]:
    """Frames of the training split, the same ones each time, in batches."""
    store = ClipStore(corpora, "train", torch.device("cpu"), cached=16)
    rng = np.random.default_rng(0)
    return [sample_frames(store, _BATCH, rng) for _ in range(max(1, count // _BATCH))]


def _affine(inputs: Floats, outputs: Floats) -> tuple[Floats, Floats]:
    """Slope and offset of the least-squares map from rows to rows."""
    solution = np.linalg.lstsq(np.column_stack([inputs, np.ones(len(inputs))]), outputs, rcond=None)[0]
    return solution[:-1], solution[-1]


def _account(done: Finished, corpora: Sequence[Path]) -> dict[str, object]:
    return {
        "config": checkpoints.settings_of(done.config),
        "steps": done.steps,
        "corpora": [folder.name for folder in corpora],
        "pose_residual_degrees": done.pose.residual.round(2).tolist() if done.pose else None,
    }
