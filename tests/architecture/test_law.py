"""The house rules, proved on the code itself, and each on code that breaks it."""

from __future__ import annotations

import ast
import re
import statistics
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

import pytest

from tests.architecture import law

ROOT = Path(__file__).resolve().parents[2]
SOURCES = {
    PurePosixPath(path.relative_to(ROOT).as_posix()): path.read_text()
    for package in law.PACKAGES
    for path in sorted((ROOT / package).rglob("*.py"))
    if "stubs" not in path.parts
}
Rule = Callable[[PurePosixPath, str], Iterator[str]]


@pytest.mark.parametrize("rule", law.RULES, ids=lambda rule: rule.__name__)
def test_the_code_keeps_the_rule(rule: Rule) -> None:
    assert [broken for path, source in SOURCES.items() for broken in rule(path, source)] == []


def test_no_circles() -> None:
    assert list(law.circles(SOURCES)) == []


PLANTED = [
    (law.upward_imports, "model_server/networks/cpu/x.py", "from model_server.pipeline.request import DubSpec"),
    (law.upward_imports, "model_server/pipeline/media/x.py", "from model_server.pipeline.analysis import analyse"),
    (law.upward_imports, "model_server/engines/x.py", "def f():\n    from model_server.pipeline import request"),
    (law.upward_imports, "model_server/jobs/x.py", "import model_server.service.wire"),
    (law.upward_imports, "model_server/jobs/x.py", "from blender_addon.core import plan"),
    (law.upward_imports, "blender_addon/core/x.py", "from ..client import wire"),
    (law.upward_imports, "blender_addon/client/x.py", "from ..host import bl"),
    (law.upward_imports, "blender_addon/host/sources/x.py", "from ..tasks import runtime"),
    (law.upward_imports, "blender_addon/host/panels/x.py", "from ..operators import base"),
    (law.foreign_libraries, "blender_addon/client/x.py", "import bpy"),
    (law.foreign_libraries, "blender_addon/core/x.py", "import numpy"),
    (law.foreign_libraries, "model_server/jobs/x.py", "from model_server.service.stubs import dubbing_pb2"),
    (law.foreign_libraries, "model_server/training/x.py", "import av"),
    (law.training_code_in_serving, "model_server/pipeline/x.py", "from model_server.corpus.shards import Clip"),
    (
        law.decoders_outside_the_sandbox,
        "model_server/cli/x.py",
        "def f():\n    from model_server.pipeline.media.containers import probe",
    ),
    (law.decoders_outside_the_sandbox, "model_server/jobs/x.py", "from model_server.pipeline.media.video import Video"),
    (law.engines_known, "model_server/pipeline/x.py", "from model_server.engines.pcavs.engine import PcavsEngine"),
    (law.engines_known, "model_server/service/x.py", "NAME = 'pcavs'"),
    (law.sizes, "model_server/x.py", "x = 1\n" * 401),
    (law.sizes, "model_server/x.py", "def f():\n" + "    x = 1\n" * 60),
    (law.prints, "model_server/jobs/x.py", "print('x')"),
    (law.missing_docstrings, "model_server/jobs/x.py", "x = 1"),
    (law.missing_docstrings, "model_server/jobs/x.py", "'''Text.'''\nclass X:\n    pass"),
]


@pytest.mark.parametrize(("rule", "path", "source"), PLANTED, ids=lambda value: getattr(value, "__name__", ""))
def test_a_planted_violation_is_found(rule: Rule, path: str, source: str) -> None:
    assert list(rule(PurePosixPath(path), source))


def test_a_planted_circle_is_found() -> None:
    one, two = PurePosixPath("model_server/one.py"), PurePosixPath("model_server/two.py")
    circle = {one: "from model_server.two import x", two: "def f():\n    from model_server import one"}
    assert list(law.circles(circle)) == ["model_server.one -> model_server.two -> model_server.one"]


def test_the_median_function_is_at_most_eight_lines() -> None:
    lengths = [
        law.length(node)
        for source in SOURCES.values()
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    assert statistics.median(lengths) <= 8


def test_one_version_everywhere() -> None:
    version = re.search(r'__version__ = "(.+)"', (ROOT / "model_server/__init__.py").read_text()).group(1)
    manifest = (ROOT / "blender_addon/blender_manifest.toml").read_text()
    assert f'version = "{version}"' in manifest


def test_the_architectures_places_exist() -> None:
    """ARCHITECTURE.md fits on two pages, the README leads to it, and what it names is there."""
    text = (ROOT / "ARCHITECTURE.md").read_text()
    assert "ARCHITECTURE.md" in (ROOT / "README.md").read_text()
    assert len(text.split()) <= 1100
    named = [name for name in re.findall(r"`([\w./{},]+)`", text) if "/" in name]
    assert len(named) > 30
    for name in named:
        for path in _spread(name):
            assert any((base / path).exists() for base in (ROOT, ROOT / "model_server", ROOT / "blender_addon")), path


def test_security_names_tests_that_exist() -> None:
    """Each promise of SECURITY.md names the code that keeps it and a test that would fail."""
    text = (ROOT / "SECURITY.md").read_text()
    assert "SECURITY.md" in (ROOT / "README.md").read_text()
    promises = re.findall(r"^\| .+ \| (`.+`) \| (`.+`) \|$", text, re.M)
    assert len(promises) >= 10
    known = ""
    for _, tests in promises:
        for name in re.findall(r"`([^`]+)`", tests):
            path, _, test = name.partition("::")
            known = path or known
            assert (ROOT / known).exists(), name
            assert not test or f"def {test}(" in (ROOT / known).read_text(), name


def _spread(name: str) -> list[str]:
    """ "a/{b,c}.py" as "a/b.py" and "a/c.py"."""
    found = re.fullmatch(r"(.*)\{(.*)\}(.*)", name)
    return [f"{found[1]}{part}{found[3]}" for part in found[2].split(",")] if found else [name]


def test_the_top_level_is_as_agreed() -> None:
    """Someone new finds a package by its name; what builds or deploys lies with what it belongs to."""
    listed = subprocess.run(["git", "ls-tree", "--name-only", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a Git checkout")
    names = {name for name in listed.stdout.splitlines() if not name.startswith(".")}
    packages = {"blender_addon", "model_server", "protos", "tests"}
    files = {"pyproject.toml", "build_addon.py", "README.md", "Makefile", "LICENSE"}
    assert names == packages | files | {"MODEL_CARD.md", "ARCHITECTURE.md", "SECURITY.md"}
