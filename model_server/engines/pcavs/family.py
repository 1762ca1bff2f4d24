"""PC-AVS among the engines: what it wants of a dub, its weights files, its untrained weights. Does not import torch."""

from __future__ import annotations

import multiprocessing
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from model_server.engines import weights_file
from model_server.engines.base import PRECISIONS, PoseControl, PrecisionChoice, Sizes, Traits, WeightsInfo
from model_server.engines.pcavs.conditioning import LID_PARAMETERS, PARAMETERS
from model_server.engines.pcavs.weights import untrained
from model_server.engines.runtime.precision_cache import remember, remembered
from model_server.errors import ErrorKind, PoseDubError
from model_server.files import replacing
from model_server.networks.pcavs.presets import IMAGE_SIZE, OPTIONAL_PARTS, POSE_SIZE, PRESETS, preset_with
from model_server.places import try_file
from model_server.surroundings import out_of_memory

if TYPE_CHECKING:
    from model_server.engines.pcavs.engine import PcavsEngine

__all__ = [
    "TRAITS",
    "check_tensors",
    "import_checkpoint",
    "load",
    "parameter_counts",
    "sizes",
    "traits",
    "untrained",
]

TRAITS = Traits(
    title="PC-AVS",
    portrait=True,
    pose_sources=("video", "fixed", "frontal", "codes"),
    pose_controls=tuple(PoseControl(f"code {number}") for number in range(1, POSE_SIZE + 1)),
    reach=0,
    parameters=(*PARAMETERS, "pose_reading"),
)
# Larger pictures show no more than a face of 512 pixels has.
MAX_SIZE = 512


def sizes(weights: WeightsInfo) -> Sizes:
    """See `Family.sizes`."""
    return Sizes(IMAGE_SIZE, MAX_SIZE if PRESETS[weights.preset].warps else IMAGE_SIZE)


def traits(weights: WeightsInfo) -> Traits:
    """What weights want: for drawing into footage they can do without a portrait, unless it is what they bend."""
    widths = PRESETS[weights.preset]
    lids = _closes_eyes(weights.path) if weights.path and widths.warps else False
    made = replace(TRAITS, parameters=(*TRAITS.parameters, *LID_PARAMETERS)) if lids else TRAITS
    if widths.lower_face:
        return replace(made, in_place="lower_face")
    return made if widths.warps else replace(made, in_place="view")


@lru_cache(maxsize=32)
def _closes_eyes(path: Path) -> bool:
    """Whether a weights file knows lids; a path that once held a weights file holds the same one."""
    return any(name.startswith(OPTIONAL_PARTS["lids"]) for name in weights_file.tensor_names(path))


def check_tensors(path: Path, preset: str, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """See `Family.check_tensors`."""
    if preset not in PRESETS:
        raise PoseDubError(
            f"The file {path} holds no PoseDub weights of this version; make one with `posedub weights import`.",
            ErrorKind.UNSUPPORTED,
        )
    from model_server.networks.pcavs.model import parameter_shapes

    weights_file.check_shapes(path, preset, parameter_shapes(preset_with(preset, shapes)), shapes)


def parameter_counts(weights: WeightsInfo) -> Mapping[str, int]:
    """See `Family.parameter_counts`."""
    from model_server.networks.pcavs import model

    if not weights.path:
        return model.parameter_counts(PRESETS[weights.preset])
    return model.parameter_counts(preset_with(weights.preset, weights_file.tensor_names(weights.path)))


def load(
    weights: WeightsInfo, device: str, precision: PrecisionChoice = "auto", choices: Path | None = None
) -> PcavsEngine:
    """See `Family.load`."""
    from model_server.engines.pcavs.engine import PcavsEngine, setting
    from model_server.engines.pcavs.untrained import untrained_state
    from model_server.networks.pcavs.model import build

    state = weights_file.read_state(weights.path) if weights.path else untrained_state(weights.preset)
    networks = build(weights.preset, state)
    if precision != "auto":
        return PcavsEngine(networks, weights, device, precision)
    key = setting(weights, device)
    kept = remembered(choices, key)
    engine = PcavsEngine(networks, weights, device, kept if kept in PRECISIONS else "auto")
    remember(choices, key, engine.precision)
    return engine


def import_checkpoint(source: Path, out: Path, name: str = "") -> WeightsInfo:
    """Convert the published checkpoint into one weights file.

    Args:
        source: zip or folder with `latest_net_G.pth`, `..._V.pth`, `..._E.pth` and `..._A_sync.pth`.
        out: the weights file to write.
        name: what to call the weights; the source's name by default.

    Raises:
        PoseDubError: naming every missing or misshapen entry, or what else is wrong; `out` is then untouched.
    """
    from model_server.engines.pcavs.published_checkpoint import convert

    if not source.exists():
        raise PoseDubError(f"There is no checkpoint at {source}; check the path.", ErrorKind.NOT_FOUND)
    try_file(out)
    context = multiprocessing.get_context("spawn")
    with replacing(out) as part, ProcessPoolExecutor(max_workers=1, mp_context=context) as pool:
        try:
            pool.submit(convert, source, part, name or source.stem).result()
        except Exception as problem:
            if not out_of_memory(problem):
                raise
            raise PoseDubError(
                f"Reading the checkpoint {source.name} took more memory than it may, or than there is; close other "
                "programs, or get it from its authors.",
                ErrorKind.TOO_LARGE,
            ) from problem
    return weights_file.describe(out)
