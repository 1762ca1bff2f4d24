"""Where weights come from: the package, a weights file, the published checkpoint, or untrained values."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from model_server.engines.base import PRECISIONS, Engine, WeightsInfo
from model_server.engines.choices import remember, remembered
from model_server.engines.shipped import shipped_weights
from model_server.engines.weights_file import describe, write_weights
from model_server.errors import ErrorKind, PoseDubError
from model_server.networks.presets import PresetName
from model_server.places import try_file
from model_server.scratch import replacing
from model_server.surroundings import out_of_memory

__all__ = [
    "check_precision",
    "default_weights",
    "describe",
    "import_checkpoint",
    "load_engine",
    "resolve_device",
    "untrained",
    "write_weights",
]

if TYPE_CHECKING:
    from model_server.engines.precision import PrecisionChoice


def untrained(preset: PresetName = "lite") -> WeightsInfo:
    """The built-in untrained values of a preset; the same on every computer."""
    return WeightsInfo(id=f"untrained-{preset}-2", name=f"untrained {preset}", kind="untrained", preset=preset)


def load_engine(
    info: WeightsInfo, device: str = "auto", precision: PrecisionChoice = "auto", choices: Path | None = None
) -> Engine:
    """Build the engine that `info` names.

    Args:
        info: from `untrained`, `describe` or `import_checkpoint`.
        device: "cpu", "cuda", or "auto" for an NVIDIA GPU where there is one.
        precision: "auto" takes bf16 where it is faster here and draws the same pictures, by measurement.
        choices: file in which what was measured is kept.

    Raises:
        PoseDubError: the weights cannot be read, or there is no such device, or none with such a precision.
    """
    from model_server.engines.pcavs import PcavsEngine, setting
    from model_server.engines.untrained import untrained_state
    from model_server.engines.weights_file import read_state
    from model_server.networks.assembly import build

    chosen = resolve_device(device)
    check_precision(precision, chosen)
    state = read_state(info.path) if info.path else untrained_state(info.preset)
    networks = build(info.preset, state)
    if precision != "auto":
        return PcavsEngine(networks, info, chosen, precision)
    key = setting(info, chosen)
    kept = remembered(choices, key)
    engine = PcavsEngine(networks, info, chosen, kept if kept in PRECISIONS else "auto")
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
    from model_server.engines.published_checkpoint import convert

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
    return describe(out)


def default_weights() -> WeightsInfo:
    """The weights used when nobody names any: the package's trained ones, untrained ones where it has none."""
    return shipped_weights() or untrained()


def resolve_device(wanted: str) -> str:
    """Turn "auto", "cpu" or "cuda" into "cpu" or "cuda"; PoseDubError when there is no such device here."""
    import torch

    if wanted not in ("auto", "cpu", "cuda"):
        raise PoseDubError(f"The device {wanted} is not known; choose auto, cpu or cuda.")
    if wanted == "cuda" and not torch.cuda.is_available():
        raise PoseDubError("There is no usable NVIDIA GPU here; choose the device cpu or auto.", ErrorKind.UNSUPPORTED)
    return "cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu"


def check_precision(wanted: PrecisionChoice, device: str) -> None:
    """PoseDubError where "bf16" is wanted of a processor ("cpu") that has no instructions for it."""
    from model_server.networks import half

    if wanted == "bf16" and device == "cpu" and not half.native():
        raise PoseDubError(
            "This processor has no instructions for bf16 and would take about a hundred times as long; choose the "
            "precision auto or fp32.",
            ErrorKind.UNSUPPORTED,
        )
