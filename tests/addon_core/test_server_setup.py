"""Which PyTorch a machine gets, how progress reads, and which sentence a fault of uv becomes."""

from __future__ import annotations

import itertools

import pytest

from blender_addon.client.gpu_probe import probe
from blender_addon.core import torch_builds, uv_output
from blender_addon.core.progress import ProgressMeter
from blender_addon.core.setup_progress import SetupProgress
from blender_addon.core.torch_builds import Machine, NvidiaCard, choose, machine_of, platform_name
from blender_addon.core.uv_output import Download, fault

MIB = 2**20
LINUX, WINDOWS = "linux-x64", "windows-x64"


def nvidia(capability: tuple[int, int], cuda: int, platform: str = LINUX) -> Machine:
    return Machine(platform, cuda, (NvidiaCard("Card", capability),))


@pytest.mark.parametrize(
    ("machine", "build", "reason"),
    [
        (Machine("macos-arm64"), "mps", "Apple silicon"),
        (Machine(LINUX), "cpu", "no graphics card"),
        (Machine(LINUX, 13000), "cpu", "tells no card"),
        (nvidia((8, 9), 13000), "cuda", "Card, driver for CUDA 13.0"),
        (nvidia((12, 0), 13010, WINDOWS), "cuda", "CUDA 13.1"),
        (nvidia((8, 6), 12040), "cuda126", "CUDA 12.4"),
        (nvidia((6, 1), 13000), "cuda126", "CUDA 13.0"),
        (nvidia((12, 0), 12080), "cpu", "update the driver to 580"),
        (nvidia((8, 6), 11040), "cpu", "update the driver"),
        (nvidia((3, 5), 13000), "cpu", "too old for PyTorch"),
        (Machine(LINUX, rocm=("gfx1100",)), "rocm", "AMD gfx1100"),
        (Machine(LINUX, rocm=("gfx803",)), "cpu", "no graphics card"),
        (Machine(WINDOWS, rocm=("gfx1100",)), "cpu", "no graphics card"),
    ],
)
def test_build_by_what_the_machine_has(machine: Machine, build: str, reason: str) -> None:
    choice = choose(machine)
    assert choice.build == build and reason in choice.reason
    assert build in torch_builds.OFFERED[machine.platform] and build in torch_builds.TITLES


def test_the_best_card_decides() -> None:
    cards = [{"name": "old", "major": 6, "minor": 1}, {"name": "new", "major": 8, "minor": 9}]
    assert "new" in choose(machine_of(LINUX, {"cuda": 13000, "nvidia": cards})).reason


@pytest.mark.parametrize(
    ("system", "machine", "name"),
    [("Linux", "x86_64", LINUX), ("Windows", "AMD64", WINDOWS), ("Darwin", "arm64", "macos-arm64")],
)
def test_names_of_platforms(system: str, machine: str, name: str) -> None:
    assert platform_name(system, machine) == name


def test_drivers_are_asked_in_another_process() -> None:
    assert "rocm" in probe()
    assert probe("/nowhere/python") == {} and probe("/bin/false") == {}
    assert "rocm" in probe(None), "a Blender that does not know its Python"


def test_progress_counts_what_has_arrived_and_what_is_on_its_way() -> None:
    download = Download()
    for line in ("Resolved 60 packages in 1s\n", "Downloading torch (100.0MiB)\n", "Downloading av (1.5GiB)\n"):
        download.note(line)
    assert (download.phase, download.done(0, 0.3)) == ("downloading", 0)
    assert download.done(100 * MIB, 0.3) == 30 * MIB
    download.note(" Downloaded torch\n")
    assert download.done(10**12, 0.3) == 100 * MIB + 1536 * MIB  # never more than there is
    download.note("Prepared 60 packages in 9s\n")
    assert download.phase == "installing"


def test_progress_as_text() -> None:
    meter, moments = ProgressMeter(), itertools.count()
    assert SetupProgress("python").text(meter, next(moments)) == "Looking for a Python"
    texts = [SetupProgress("downloading", 10e6 * k, 100e6).text(meter, next(moments)) for k in range(4)]
    assert texts[0] == "Downloading 0 of 100 MB"
    assert texts[3] == "Downloading 30 of 100 MB, 0:07 left"
    assert SetupProgress("downloading", 200e6, 100e6).share == 1


ROOT = "/home/me/posedub"
# As uv 0.13 writes it, with hosts left out.
SAID = {
    "Failed to extract archive\n  cause: failed to write to file `x`: No space left on device (os error 28)": "is full",
    "error: Failed to initialize cache\n  cause: Permission denied (os error 13)": "may not be written",
    "  cause: The file is being used by another process. (os error 32)": "antivirus",
    "error: Failed to fetch\n  cause: dns error\n  cause: failed to lookup address information": "cannot be found",
    "error: Failed to fetch: `https://a.b:80/x/`\n  cause: dns error": "The package index a.b cannot be found",
    "error: Failed to fetch\n  cause: tunnel error: failed to create underlying connection": "The proxy lets nothing",
    "error: Failed to fetch\n  cause: HTTP status client error (407 Proxy Authentication Required)": "The proxy lets",
    "  cause: invalid peer certificate: UnknownIssuer": "a certificate that this computer does not trust",
    "error: Failed to download `torch==2.13.0`\n  cause: operation timed out": "does not answer, or broke off",
    "error: Failed to download `numba==0.6`\n  cause: Hash mismatch for `numba==0.6`": "numba arrived damaged",
    "error: Failed to download `av==18`\n  cause: Bad CRC (got 9)": "av arrived damaged",
    "  cause: Because six was not found in the provided package locations and you require six": "lacks six",
    "  cause: Because av==18.1.0 has no wheels with a matching platform tag": "lacks av for this computer. Its",
    "error: No interpreter found for Python 3.12": "no Python that the server can use",
    "error: The moon is full": "could not be set up: The moon is full. Copy Log",
    "": "its installer broke off",
}


@pytest.mark.parametrize(("output", "words"), SAID.items(), ids=range(len(SAID)))
def test_fault_as_a_sentence(output: str, words: str) -> None:
    sentence = str(fault(output, ROOT))
    assert words in sentence and "{" not in sentence
    assert sentence.rstrip().endswith((".", "tells more."))


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ("OSError: [WinError 126] The specified module could not be found", "lacks Microsoft's Visual C++ runtime"),
        ("ImportError: libGL.so.1: cannot open shared object file: No such file", "This system lacks libGL.so.1"),
        ("weights  PROBLEM: The weights are torn.", "a part of it does not work: The weights are torn."),
        ("Segmentation fault", "does not run. Press Repair Server"),
    ],
)
def test_fault_of_a_first_start_as_a_sentence(output: str, words: str) -> None:
    assert words in str(uv_output.trial_fault(output))


def test_every_build_that_is_offered_has_a_name() -> None:
    assert {build for builds in torch_builds.OFFERED.values() for build in builds} == set(torch_builds.TITLES)
    assert uv_output.AGAIN.startswith("Then press Set Up Server")
