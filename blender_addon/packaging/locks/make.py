"""Writes the lock files of the server that the add-on installs: `python blender_addon/packaging/locks/make.py`.

`base.txt` holds, for all platforms and Pythons, every package but PyTorch and the libraries that come with its
builds; `<platform>-<build>.txt` adds those. PyTorch's own index is not asked: what a build's wheel needs beside
`base.txt`, such as CUDA's libraries, it names with exact versions itself.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path

from packaging.utils import parse_wheel_filename

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT))

from blender_addon.core.torch_builds import OFFERED  # noqa: E402
from build_addon import PLATFORMS, Platform  # noqa: E402

LOCKS = Path(__file__).resolve().parent
OLDEST, USUAL = "3.11", "3.12"
OF_TORCH = re.compile(r"(torch|triton|nvidia-|cuda-)")
HEAD = "# Written by blender_addon/packaging/locks/make.py; do not edit."
MEGABYTE = 10**6
# Newer ones say that they are not for Python 3.11 and later; uv does not heed that, pip does.
CONSTRAINTS = ("backports-strenum<1.3",)
DISK_SHARE = 3.3
"""Size on the disk over the download, of `base.txt` on Linux, measured."""
# Builds that only PyTorch's own index has: what uv calls it there.
BACKENDS = {
    ("linux-x64", "cpu"): "cpu",
    ("linux-x64", "cuda126"): "cu126",
    ("linux-x64", "rocm"): "rocm7.2",
    ("linux-x64", "xpu"): "xpu",
    ("windows-x64", "cuda"): "cu130",
    ("windows-x64", "cuda126"): "cu126",
    ("windows-x64", "xpu"): "xpu",
}
# Megabytes of PyTorch with its libraries, (download, disk): measured on Linux for processors and CUDA 13, else about.
SIZES = {
    ("linux-x64", "cpu"): (191, 700),
    ("linux-x64", "cuda"): (2740, 4700),
    ("linux-x64", "cuda126"): (2900, 4900),
    ("linux-x64", "rocm"): (3600, 15000),
    ("linux-x64", "xpu"): (1900, 5500),
    ("windows-x64", "cpu"): (122, 500),
    ("windows-x64", "cuda"): (1900, 4300),
    ("windows-x64", "cuda126"): (2500, 5000),
    ("windows-x64", "xpu"): (1300, 4000),
    ("macos-arm64", "mps"): (111, 450),
}


def uv(*arguments: str, folder: Path = ROOT) -> str:
    """What uv answers; the plain index, whatever this computer is set to."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("UV_", "PIP_"))}
    command = ["uv", *arguments, "--no-config", "--quiet"]
    return subprocess.run(command, cwd=folder, env=own, check=True, stdout=subprocess.PIPE, text=True).stdout


def blocks() -> list[str]:
    """Each package with its marker and hashes, for all platforms and Pythons."""
    with tempfile.TemporaryDirectory() as name:
        constraints = Path(name) / "constraints.txt"
        constraints.write_text("\n".join(CONSTRAINTS), encoding="utf-8")
        text = uv(
            *("pip", "compile", "pyproject.toml", "--universal", "--python-version", OLDEST),
            *("--generate-hashes", "--no-header", "--no-annotate", "--no-emit-index-url"),
            *("--constraint", str(constraints)),
        )
    return re.split(r"\n(?=[a-z0-9])", text.strip())


def sizes() -> Iterator[tuple[str, Sequence[dict[str, str | int]]]]:
    """(package, its wheels with sizes)."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        needs = "\n".join(f'  "{one}",' for one in project["dependencies"])
        text = f'[project]\nname = "sizes"\nversion = "1"\nrequires-python = ">={OLDEST},<3.15"\n'
        text += f"dependencies = [\n{needs}\n]\n"
        (folder / "pyproject.toml").write_text(text, encoding="utf-8")
        uv("lock", folder=folder)
        for package in tomllib.loads((folder / "uv.lock").read_text(encoding="utf-8"))["package"]:
            yield package["name"], package.get("wheels", ())


def base_size(platform: Platform) -> float:
    """Megabytes to download of everything in base.txt."""
    ranks = {tag: rank for rank, tag in enumerate(platform.tags(USUAL, platform.of_servers))}
    chosen = {}
    for name, wheels in sizes():  # of several versions, each for some Pythons, the newest comes last
        fitting = []
        for wheel in wheels:
            tags = parse_wheel_filename(str(wheel["url"]).rpartition("/")[2])[3]
            if ranked := [ranks[tag] for tag in tags if tag in ranks]:
                fitting.append((min(ranked), int(wheel["size"])))
        if fitting and not OF_TORCH.match(name):
            chosen[name] = min(fitting)[1]
    return sum(chosen.values()) / MEGABYTE


def main() -> None:
    """Write all files."""
    packages = blocks()
    torch = next(block for block in packages if block.startswith("torch=="))
    base = [block for block in packages if not OF_TORCH.match(block)]
    (LOCKS / "base.txt").write_text("\n".join([HEAD, *base, ""]), encoding="utf-8")
    version = torch.split()[0]
    for platform, builds in OFFERED.items():
        size = base_size(PLATFORMS[platform])
        for build in builds:
            backend, (download, disk) = BACKENDS.get((platform, build), ""), SIZES[platform, build]
            own = [f"{version}+{backend}"] if backend else [torch]
            if (platform, build) == ("linux-x64", "cuda"):
                own = [block for block in packages if OF_TORCH.match(block)]
            head = [HEAD, *([f"# torch: {backend}"] if backend else []), f"# download: {round(size + download)}"]
            head.append(f"# disk: {round(DISK_SHARE * size + disk)}")
            (LOCKS / f"{platform}-{build}.txt").write_text(
                "\n".join([*head, "-r base.txt", *own, ""]), encoding="utf-8"
            )


if __name__ == "__main__":
    main()
