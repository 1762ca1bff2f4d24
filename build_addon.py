"""Builds the Blender add-on: one installable zip per platform, with its wheels and generated stubs.

`python build_addon.py` writes `dist/posedub-<version>-<platform>.zip` for all
platforms. Wheels are downloaded once into `.cache/wheels`; afterwards no network
is needed. Equal inputs give equal bytes. `--wheelhouse FOLDER` also downloads all
that the server needs, for computers without a network.
"""

from __future__ import annotations

import argparse
import importlib.util
import re
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.tags import Tag, compatible_tags, cpython_tags, mac_platforms
from packaging.utils import canonicalize_name, parse_wheel_filename

from blender_addon.core.torch_builds import OFFERED
from blender_addon.packaging import server_parts
from blender_addon.packaging.server_parts import PartsError

ROOT = Path(__file__).resolve().parent
ADDON = ROOT / "blender_addon"
STUBS = ADDON / "client" / "stubs"
CACHE = ROOT / ".cache" / "wheels"
MANIFEST = "blender_manifest.toml"

# Newest of each; the stubs load on every protobuf from 4.25 on, see protos/backend.py.
REQUIREMENTS = {"grpcio": "1.85.1", "protobuf": "7.36.2", "typing-extensions": "4.16.0"}
VERSIONS = REQUIREMENTS | {"uv": server_parts.UV}
EXPECTED_STUBS = ("__init__.py", "dubbing_pb2.py", "media_pb2.py")
EXAMPLE = ("portrait.png", "speech.flac", "pose.mp4")
BLENDER_TAGS = {
    "3D View", "Add Curve", "Add Mesh", "Animation", "Bake", "Camera", "Compositing", "Development", "Game Engine",
    "Geometry Nodes", "Grease Pencil", "Import-Export", "Lighting", "Material", "Mesh", "Modeling", "Node", "Object",
    "Paint", "Physics", "Pipeline", "Render", "Rigging", "Scene", "Sculpt", "Sequencer", "System", "Text Editor",
    "Tracking", "UV", "User Interface",
}  # fmt: skip
PERMISSIONS = {"files", "network", "clipboard", "camera", "microphone"}


@dataclass(frozen=True)
class Platform:
    """A platform of Blender: the wheel platforms it can load, best first, and its Pythons.

    Attributes:
        of_servers: wheel platforms that a computer has on which the server runs.
    """

    name: str
    wheel_platforms: tuple[str, ...]
    pythons: tuple[str, ...]
    of_servers: tuple[str, ...]

    def tags(self, python: str, platforms: Sequence[str] = ()) -> list[Tag]:
        """Wheel tags that this Python loads, best first; on other wheel platforms where some are given."""
        version, platforms = tuple(map(int, python.split("."))), platforms or self.wheel_platforms
        return [*cpython_tags(version, platforms=platforms), *compatible_tags(version, platforms=platforms)]


PLATFORMS = {
    platform.name: platform
    for platform in (
        Platform(
            "linux-x64",
            ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64"),
            ("3.11", "3.13", "3.14"),
            (*(f"manylinux_2_{minor}_x86_64" for minor in range(35, 4, -1)), "manylinux2014_x86_64"),
        ),
        Platform("windows-x64", ("win_amd64",), ("3.11", "3.13"), ("win_amd64",)),
        Platform(
            "macos-arm64",
            tuple(mac_platforms((11, 0), "arm64")),
            ("3.11", "3.13"),
            tuple(mac_platforms((14, 0), "arm64")),
        ),
    )
}


class BuildError(Exception):
    """One sentence: what keeps the zip from being built or used."""


@dataclass(frozen=True)
class ServerParts:
    """What a zip carries for its server.

    Attributes:
        server: its wheel.
        uv: wheel of the installer.
        locks: folder of the lock files.
    """

    server: Path
    uv: Path
    locks: Path = server_parts.LOCKS

    def entries(self, platform: Platform) -> Iterator[tuple[str, bytes]]:
        """(name in the zip, content); the lock files of other platforms are left out."""
        for wheel in (self.server, self.uv):
            yield f"{server_parts.FOLDER}/{wheel.name}", wheel.read_bytes()
        for lock in [self.locks / "base.txt", *self.locks.glob(f"{platform.name}-*.txt")]:
            yield f"{server_parts.FOLDER}/locks/{lock.name}", lock.read_bytes()


def version_in(path: Path, name: str) -> str:
    """The string that a module assigns to `name`, read without importing it."""
    match = re.search(rf'^{name} = "([^"]+)"$', path.read_text(encoding="utf-8"), re.MULTILINE)
    if not match:
        raise BuildError(f"{path} sets no {name}.")
    return match[1]


def write_stubs() -> None:
    """Generate the add-on's protobuf modules from protos/; files that would not change are left alone."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            server_parts.backend().generate([folder])
        except ImportError as error:
            raise BuildError(f"{error.name} is missing; run `pip install -e .[dev]` first.") from error
        STUBS.mkdir(parents=True, exist_ok=True)
        for made in Path(folder).glob("*.py"):
            target = STUBS / made.name
            if not target.is_file() or target.read_bytes() != made.read_bytes():
                target.write_bytes(made.read_bytes())


def best_wheel(files: Iterable[Path], package: str, tags: Sequence[Tag]) -> Path | None:
    """The file of `package`, in its pinned version, with the best of `tags`."""
    ranks = {tag: rank for rank, tag in enumerate(tags)}
    fitting = []
    for file in files:
        name, version, _build, file_tags = parse_wheel_filename(file.name)
        rank = min((ranks[tag] for tag in file_tags if tag in ranks), default=None)
        if name == canonicalize_name(package) and str(version) == VERSIONS[package] and rank is not None:
            fitting.append((rank, file.name, file))
    return min(fitting)[2] if fitting else None


def wheels_for(platform: Platform, pythons: Sequence[str], cache: Path = CACHE) -> list[Path]:
    """All wheels of a zip, sorted by name, downloaded into `cache` where missing."""
    chosen = set()
    for python in pythons:
        for package in REQUIREMENTS:
            found = best_wheel(cache.glob("*.whl"), package, platform.tags(python))
            if found is None:
                download(platform, python, package, cache)
                found = best_wheel(cache.glob("*.whl"), package, platform.tags(python))
            if found is None:
                raise BuildError(f"No wheel of {package} fits Python {python} on {platform.name}.")
            chosen.add(found)
    return sorted(chosen, key=lambda path: path.name)


def download(platform: Platform, python: str, package: str, cache: Path) -> None:
    """Fetch one wheel with pip. Raises BuildError with pip's last line."""
    cache.mkdir(parents=True, exist_ok=True)
    targets = [option for tag in platform.wheel_platforms for option in ("--platform", tag)]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
    command += ["--implementation", "cp", "--python-version", python, *targets, "--dest", str(cache)]
    requirement = f"{package}=={VERSIONS[package]}"
    result = subprocess.run([*command, requirement], capture_output=True, text=True, check=False)
    if result.returncode != 0:
        lines = result.stderr.strip().splitlines() or ["pip said nothing"]
        raise BuildError(f"{requirement} for {platform.name} could not be downloaded: {lines[-1]}")


def manifest_text(platform: Platform, wheels: Sequence[Path]) -> str:
    """The manifest with its generated keys, which must stand before the first table."""
    text = (ADDON / MANIFEST).read_text(encoding="utf-8")
    head, table, rest = text.partition("\n[")
    lines = [f'platforms = ["{platform.name}"]', "wheels = ["]
    lines += [f'  "./wheels/{wheel.name}",' for wheel in wheels]
    return head + "\n".join([*lines, "]", ""]) + table + rest


def entries(platform: Platform, wheels: Sequence[Path], parts: ServerParts) -> Iterator[tuple[str, bytes]]:
    """(name in the zip, content) of everything, unsorted."""
    yield from parts.entries(platform)
    for name in EXAMPLE:
        yield f"example/{name}", (ROOT / "tests" / "demo" / "inputs" / name).read_bytes()
    yield MANIFEST, manifest_text(platform, wheels).encode()
    yield "LICENSE", (ROOT / "LICENSE").read_bytes()
    for wheel in wheels:
        yield f"wheels/{wheel.name}", wheel.read_bytes()
    for source in ADDON.rglob("*.py"):
        if source.relative_to(ADDON).parts[0] != "packaging":
            yield source.relative_to(ADDON).as_posix(), source.read_bytes()


def write_zip(path: Path, contents: Iterable[tuple[str, bytes]]) -> None:
    """A zip that depends on its contents only: sorted, without times, with plain permissions."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".part")
    with zipfile.ZipFile(temporary, "w") as archive:
        for name, data in sorted(contents):
            entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            entry.create_system, entry.external_attr = 3, 0o100644 << 16
            entry.compress_type = zipfile.ZIP_STORED if name.endswith(".whl") else zipfile.ZIP_DEFLATED
            archive.writestr(entry, data)
    temporary.replace(path)


def uv_wheel(platform: Platform, cache: Path = CACHE) -> Path:
    """The installer's wheel, downloaded into `cache` where it is missing. Raises BuildError."""
    tags = platform.tags("3.12")
    if best_wheel(cache.glob("uv-*.whl"), "uv", tags) is None:
        download(platform, "3.12", "uv", cache)
    found = best_wheel(cache.glob("uv-*.whl"), "uv", tags)
    if found is None:
        raise BuildError(f"No wheel of uv fits {platform.name}.")
    return found


def parts_for(platform: Platform, cache: Path = CACHE) -> ServerParts:
    """The server's wheel, built anew, and uv's. Raises BuildError."""
    try:
        return ServerParts(server_parts.server_wheel(cache / "server"), uv_wheel(platform, cache))
    except PartsError as error:
        raise BuildError(str(error)) from error


def build(
    platform: Platform,
    out: Path,
    pythons: Sequence[str] | None = None,
    cache: Path = CACHE,
    parts: ServerParts | None = None,
) -> Path:
    """Write and validate the zip of one platform. The stubs must be generated. Raises BuildError.

    Args:
        parts: what it carries for its server; None for what `parts_for` makes.
    """
    pythons = pythons or platform.pythons
    wheels = wheels_for(platform, pythons, cache)
    path = out / f"posedub-{version_in(ADDON / 'core' / 'version.py', 'VERSION')}-{platform.name}.zip"
    write_zip(path, entries(platform, wheels, parts or parts_for(platform, cache)))
    problems = [*validate(path, platform, pythons), *blender_problems(path)]
    if problems:
        raise BuildError(f"{path.name} is not installable: " + " ".join(problems))
    return path


def validate(path: Path, platform: Platform, pythons: Sequence[str]) -> list[str]:
    """What is wrong with a zip, one sentence each; Blender's own check misses most of it."""
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        try:
            manifest = tomllib.loads(archive.read(MANIFEST).decode())
        except (KeyError, tomllib.TOMLDecodeError) as error:
            return [f"Its manifest cannot be read: {error}."]
    return [
        *_manifest_problems(manifest, platform),
        *_version_problems(manifest),
        *_wheel_problems(manifest, names, platform, pythons),
        *_content_problems(names),
    ]


def _manifest_problems(manifest: dict[str, Any], platform: Platform) -> Iterator[str]:
    patterns = {
        "schema_version": r"1\.0\.0",
        "id": r"[a-z][a-z0-9]*(_[a-z0-9]+)*",
        "version": r"\d+\.\d+\.\d+([-+][0-9A-Za-z.-]+)?",
        "name": r"\S(.*\S)?",
        "tagline": r".{1,63}[^\W_]",
        "maintainer": r"\S(.*\S)?",
        "type": "add-on",
        "blender_version_min": r"(4\.[2-9]|[5-9]\.\d+)\.\d+",
    }
    for key, pattern in patterns.items():
        if not re.fullmatch(pattern, str(manifest.get(key, ""))):
            yield f"The manifest's {key} {manifest.get(key)!r} is not legal."
    if not manifest.get("license") or not all(item.startswith("SPDX:") for item in manifest["license"]):
        yield "The manifest's license must be a list of SPDX identifiers."
    if manifest.get("platforms") != [platform.name]:
        yield f"The manifest's platforms are not {platform.name} alone."
    if unknown := set(manifest.get("tags", ())) - BLENDER_TAGS:
        yield f"Blender knows no tags {sorted(unknown)}."
    for name, reason in manifest.get("permissions", {}).items():
        if name not in PERMISSIONS or not re.fullmatch(r".{1,63}[^.\s]", str(reason)):
            yield f"The permission {name} is unknown, or its reason is too long or ends with a dot."


def _version_problems(manifest: dict[str, Any]) -> Iterator[str]:
    versions = {
        "blender_manifest.toml": manifest.get("version"),
        "core/version.py": version_in(ADDON / "core" / "version.py", "VERSION"),
        "model_server": version_in(ROOT / "model_server" / "__init__.py", "__version__"),
    }
    if len(set(versions.values())) > 1:
        yield f"The versions disagree: {versions}."


def _wheel_problems(
    manifest: dict[str, Any], names: Sequence[str], platform: Platform, pythons: Sequence[str]
) -> Iterator[str]:
    listed = {wheel.removeprefix("./") for wheel in manifest.get("wheels", ())}
    present = {name for name in names if name.endswith(".whl") and not name.startswith(f"{server_parts.FOLDER}/")}
    for wheel in sorted(listed ^ present):
        yield f"{wheel} is {'listed but absent' if wheel in listed else 'present but not listed'}."
    files = [Path(name) for name in listed & present]
    needed = {best_wheel(files, package, platform.tags(python)) for package in REQUIREMENTS for python in pythons}
    if None in needed:
        yield f"A wheel is missing for one of the Pythons {', '.join(pythons)} on {platform.name}."
    for file in sorted(set(files) - needed):
        yield f"{file.name} is of no use on {platform.name}."


def _content_problems(names: Sequence[str]) -> Iterator[str]:
    if len(set(names)) != len(names):
        yield "Two entries have one name."
    for name in names:
        if "__pycache__" in name or name.endswith((".pyc", ".part")) or ".." in name or name.startswith("/"):
            yield f"{name} does not belong into the zip."
    for needed in ("__init__.py", *(f"client/stubs/{stub}" for stub in EXPECTED_STUBS), "server/locks/base.txt"):
        if needed not in names:
            yield f"{needed} is missing."
    for wheel in ("posedub", "uv"):
        if sum(name.startswith(f"{server_parts.FOLDER}/{wheel}-") for name in names) != 1:
            yield f"Not one wheel of {wheel} is there."


def blender_problems(path: Path) -> list[str]:
    """What Blender's own validator says; nothing where the bpy module is not installed."""
    spec = importlib.util.find_spec("bpy")
    folder = Path(spec.origin).parent if spec and spec.origin else None
    tool = next(folder.glob("*/scripts/addons_core/bl_pkg/cli/blender_ext.py"), None) if folder else None
    if tool is None:
        return []
    result = subprocess.run(
        [sys.executable, str(tool), "validate", str(path)], capture_output=True, text=True, check=False
    )
    if result.returncode == 0:
        return []
    return [f"Blender says: {' '.join((result.stdout + result.stderr).split())}."]


def wheelhouse(platforms: Sequence[Platform], folder: Path, build: str | None, python: str) -> None:
    """A folder of all that the server needs on one platform; `folder` is made. Raises BuildError and PartsError."""
    if len(platforms) != 1:
        raise BuildError("--wheelhouse needs one --platform.")
    platform = platforms[0]
    build = build or OFFERED[platform.name][0]
    if build not in OFFERED[platform.name]:
        raise BuildError(f"{platform.name} has no build {build!r}; it has {', '.join(OFFERED[platform.name])}.")
    version = version_in(ADDON / "core" / "version.py", "VERSION")
    lock = server_parts.LOCKS / f"{platform.name}-{build}.txt"
    server_parts.make_wheelhouse(folder, platform.name, build, python, version, platform.of_servers, lock)
    size = sum(wheel.stat().st_size for wheel in folder.glob("*.whl"))
    print(f"{folder}  {size / 1e6:.0f} MB, for Python {python}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(description="Build the installable zips of the Blender add-on.")
    parser.add_argument("--platform", choices=[*PLATFORMS, "all"], default="all")
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="folder of the zips")
    parser.add_argument(
        "--python", action="append", metavar="X.Y", help="bundle for this Python of Blender only; may be repeated"
    )
    parser.add_argument("--wheelhouse", type=Path, metavar="FOLDER", help="only download what the server needs, there")
    parser.add_argument("--build", help="of PyTorch, for --wheelhouse; the platform's first one by default")
    options = parser.parse_args(arguments)
    chosen = list(PLATFORMS.values()) if options.platform == "all" else [PLATFORMS[options.platform]]
    try:
        if options.wheelhouse:
            wheelhouse(chosen, options.wheelhouse, options.build, (options.python or ["3.12"])[0])
            return 0
        write_stubs()
        for platform in chosen:
            path = build(platform, options.out, options.python)
            print(f"{path}  {path.stat().st_size / 1e6:.1f} MB")
    except (BuildError, PartsError) as error:
        print(f"build_addon: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
