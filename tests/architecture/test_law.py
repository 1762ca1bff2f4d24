"""The house rules, proved on the code itself."""

import ast
import re
import statistics
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("blender_addon", "model_server")
MODULES = [path for name in PACKAGES for path in sorted((ROOT / name).rglob("*.py")) if "stubs" not in path.parts]
# Higher may import lower or equal numbers only.
SERVER_LAYERS = {
    "errors": 0, "features": 0, "": 0, "synthetic": 1, "networks": 1, "engines": 2, "pipeline": 3, "jobs": 4,
    "corpus": 4, "service": 5, "training": 5, "evaluation": 6, "bench": 6, "cli": 7, "__main__": 8,
}  # fmt: skip
ADDON_LAYERS = {"core": 0, "client": 1, "host": 2, "": 3}
WIRE = {"model_server/service/messages.py", "blender_addon/client/wire.py"}


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imports(path: Path) -> set[str]:
    """Absolute dotted names of everything a module imports, wherever in the file."""
    package = list(path.relative_to(ROOT).with_suffix("").parts[:-1])
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            found.update(f"{base}.{alias.name}" for alias in node.names)
    return found


def layer(dotted: str, package: str, layers: dict[str, int]) -> int:
    part = dotted.removeprefix(package).removeprefix(".").split(".")[0]
    return layers.get(part, layers[""])


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_imports_go_only_downwards(path: Path) -> None:
    package = path.relative_to(ROOT).parts[0]
    layers = SERVER_LAYERS if package == "model_server" else ADDON_LAYERS
    own = path.relative_to(ROOT).with_suffix("").parts
    here = layer(".".join(own if own[-1] != "__init__" else own[:-1]), package, layers)
    for name in imports(path):
        other = name.split(".")[0]
        assert other not in set(PACKAGES) - {package}, f"{package} must not import {name}"
        if other == package:
            assert layer(name, package, layers) <= here, f"{relative(path)} imports upwards: {name}"


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_each_library_stays_in_its_room(path: Path) -> None:
    roots = {name.split(".")[0] for name in imports(path)}
    host = "host" in path.parts or relative(path) == "blender_addon/__init__.py"
    assert host or not roots & {"bpy", "bl_ui", "aud"}, "only blender_addon/host/ imports Blender"
    stubs = any("stubs" in name.split(".") for name in imports(path))
    assert not stubs or relative(path) in WIRE, "only the wire modules import generated stubs"
    if "core" in path.parts and "blender_addon" in path.parts:
        import sys

        assert roots <= set(sys.stdlib_module_names) | {"blender_addon"}, "core/ is standard library only"


@pytest.mark.parametrize("path", [path for path in MODULES if "training" in path.parts], ids=relative)
def test_training_needs_no_media_library(path: Path) -> None:
    assert not {name.split(".")[0] for name in imports(path)} & {"av", "cv2", "mediapipe", "librosa", "soxr"}


def test_serving_needs_no_training_code() -> None:
    for path in MODULES:
        if {"jobs", "service", "pipeline", "engines", "networks"} & set(path.parts):
            rooms = {".".join(name.split(".")[:2]) for name in imports(path)}
            assert not rooms & {"model_server.corpus", "model_server.training", "model_server.evaluation"}


def test_no_circles() -> None:
    graph = {}
    for path in MODULES:
        dotted = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        graph[dotted] = _modules(imports(path)) - {dotted}
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " -> ".join([*trail, name])
        if name not in done:
            for other in sorted(graph.get(name, ())):
                visit(other, (*trail, name))
            done.add(name)

    for name in graph:
        visit(name, ())


def _modules(names: set[str]) -> set[str]:
    """The project's module behind each imported name."""
    found = set()
    for name in names:
        if name.split(".")[0] in PACKAGES:
            parts = name.split(".")
            whole = ROOT.joinpath(*parts)
            is_module = whole.with_suffix(".py").exists() or (whole / "__init__.py").exists()
            found.add(name if is_module else ".".join(parts[:-1]))
    return found


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_files_and_functions_stay_small(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") <= 400
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno - node.lineno < 60, f"{node.name} is too long"


def test_the_median_function_is_at_most_eight_lines() -> None:
    lengths = [
        node.end_lineno - node.lineno + 1
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    assert statistics.median(lengths) <= 8


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_no_prints_outside_the_command(path: Path) -> None:
    calls = [
        node
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "print"
    ]
    assert not calls or "cli" in path.parts


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_public_names_are_documented(path: Path) -> None:
    tree = ast.parse(path.read_text())
    if tree.body:
        assert ast.get_docstring(tree), "module docstring"
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            assert ast.get_docstring(node), f"class {node.name}"


def test_one_version_everywhere() -> None:
    version = re.search(r'__version__ = "(.+)"', (ROOT / "model_server/__init__.py").read_text()).group(1)
    manifest = (ROOT / "blender_addon/blender_manifest.toml").read_text()
    assert f'version = "{version}"' in manifest
