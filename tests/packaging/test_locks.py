"""The lock files fit the server's requirements, on every platform and Python that it runs on."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from blender_addon.core.installation import read_lock
from blender_addon.core.torch_builds import OFFERED
from blender_addon.packaging import server_parts

BUILDS = [(platform, build) for platform, builds in OFFERED.items() for build in builds]
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
NEEDS = tomllib.loads((server_parts.ROOT / "pyproject.toml").read_text())["project"]["dependencies"]


def lock_of(platform: str, build: str) -> Path:
    return server_parts.LOCKS / f"{platform}-{build}.txt"


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize(("platform", "build"), BUILDS)
def test_lock_fits_what_the_server_needs(platform: str, build: str, python: str) -> None:
    locked = dict(
        requirement.split("==") for requirement, _ in server_parts.needed(lock_of(platform, build), platform, python)
    )
    for need in map(Requirement, NEEDS):
        version = locked.get(canonicalize_name(need.name))
        assert version and need.specifier.contains(version), f"{need}: run python blender_addon/packaging/locks/make.py"


@pytest.mark.parametrize(("platform", "build"), BUILDS)
def test_lock_tells_sizes_and_where_pytorch_comes_from(platform: str, build: str) -> None:
    lock = read_lock(lock_of(platform, build))
    (torch,) = (one for one, _ in server_parts.needed(lock.file, platform, "3.12") if one.startswith("torch=="))
    assert torch.partition("+")[2] == lock.torch
    assert 200 < lock.download < lock.disk


def test_every_package_of_the_usual_index_is_known_by_its_digest() -> None:
    for lock in server_parts.LOCKS.glob("*.txt"):
        for requirement, _, digests in server_parts.requirements(lock):
            assert digests or "+" in requirement, requirement


def test_locks_name_no_place() -> None:
    assert not [lock for lock in server_parts.LOCKS.glob("*.txt") if re.search(r"https?:|--index", lock.read_text())]


def test_no_lock_is_left_over() -> None:
    names = {f"{platform}-{build}.txt" for platform, build in BUILDS}
    assert {lock.name for lock in server_parts.LOCKS.glob("*.txt")} == names | {"base.txt"}
