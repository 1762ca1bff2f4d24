"""Which build of PyTorch a machine takes: chosen before anything is downloaded, and open to the editor's own choice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

CPU = "cpu"
TITLES = {
    "cpu": "Processor",
    "cuda": "NVIDIA (CUDA 13.0)",
    "cuda126": "NVIDIA (CUDA 12.6, older cards and drivers)",
    "rocm": "AMD (ROCm 7.2)",
    "xpu": "Intel (XPU)",
    "mps": "Apple (Metal)",
}
"""Every build, as the editor reads it."""
OFFERED = {
    "linux-x64": ("cpu", "cuda", "cuda126", "rocm", "xpu"),
    "windows-x64": ("cpu", "cuda", "cuda126", "xpu"),
    "macos-arm64": ("mps",),
}
"""Builds that exist for a platform; the first one needs no graphics card."""

# PyTorch 2.13's builds: what a card must be able to do, and the driver's CUDA, as cuDriverGetVersion tells it.
CUDA_13_DRIVER, CUDA_12_DRIVER = 13000, 12000
CUDA_13_OLDEST = (7, 5)
CUDA_126_RANGE = (5, 0), (9, 0)
ROCM_CARDS = ("gfx908", "gfx90a", "gfx942", "gfx950", "gfx103", "gfx110", "gfx115", "gfx120")


@dataclass(frozen=True)
class NvidiaCard:
    """A graphics card that CUDA knows.

    Attributes:
        capability: of computing, (major, minor).
    """

    name: str
    capability: tuple[int, int]


@dataclass(frozen=True)
class Machine:
    """What is known of a computer before PyTorch is there.

    Attributes:
        platform: "linux-x64", "windows-x64", "macos-arm64", or another name when none of them.
        cuda: the CUDA version that the NVIDIA driver speaks, 1000 * major + 10 * minor; 0 for no driver.
        nvidia: cards that the driver tells, best first.
        rocm: names of AMD cards' instruction sets, such as "gfx1100".
    """

    platform: str
    cuda: int = 0
    nvidia: tuple[NvidiaCard, ...] = ()
    rocm: tuple[str, ...] = ()


@dataclass(frozen=True)
class Choice:
    """A build, and why: a short sentence without a full stop."""

    build: str
    reason: str


def machine_of(platform: str, told: dict[str, Any]) -> Machine:
    """The machine that a probe described; what it did not tell counts as absent."""
    cards = [NvidiaCard(str(one["name"]), (int(one["major"]), int(one["minor"]))) for one in told.get("nvidia", ())]
    cards.sort(key=lambda card: card.capability, reverse=True)
    return Machine(platform, int(told.get("cuda", 0)), tuple(cards), tuple(map(str, told.get("rocm", ()))))


def platform_name(system: str, machine: str) -> str:
    """Blender's name of a platform, from `platform.system()` and `platform.machine()`."""
    kind = "arm64" if machine.lower() in ("arm64", "aarch64") else "x64"
    return f"{ {'Darwin': 'macos'}.get(system, system.lower()) }-{kind}"


def choose(machine: Machine) -> Choice:
    """The fastest build that runs on a machine."""
    if machine.platform == "macos-arm64":
        return Choice("mps", "Apple silicon")
    offered = OFFERED.get(machine.platform, (CPU,))
    if machine.nvidia:
        return _for_nvidia(machine)
    if "rocm" in offered and any(card.startswith(ROCM_CARDS) for card in machine.rocm):
        return Choice("rocm", f"AMD {machine.rocm[0]}")
    if machine.cuda:
        return Choice(CPU, "the NVIDIA driver tells no card")
    return Choice(CPU, "no graphics card that PyTorch can use was found")


def _for_nvidia(machine: Machine) -> Choice:
    card, driver = machine.nvidia[0], f"driver for CUDA {machine.cuda // 1000}.{machine.cuda % 1000 // 10}"
    named = f"{card.name}, {driver}"
    if machine.cuda >= CUDA_13_DRIVER and card.capability >= CUDA_13_OLDEST:
        return Choice("cuda", named)
    oldest, newest = CUDA_126_RANGE
    if machine.cuda >= CUDA_12_DRIVER and oldest <= card.capability <= newest:
        return Choice("cuda126", named)
    if card.capability < oldest:
        return Choice(CPU, f"{card.name} is too old for PyTorch")
    return Choice(CPU, f"{named} is too old: update the driver to 580 or newer")
