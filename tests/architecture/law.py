"""The house rules as functions from a module's path and source to what breaks them."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path as Folder
from pathlib import PurePosixPath as Path

# Packages and single modules by height; the longest name that fits counts. A module may import lower or equal ones.
SERVER = {
    "": 0, "synthetic": 10,
    "networks.layers": 10, "networks.cpu": 11, "networks": 12,
    "engines": 20, "engines.pcavs": 25, "engines.dae_talker": 25,
    "pipeline.parameters": 30, "pipeline.request": 30, "pipeline.prefetch": 30, "pipeline.timecode": 30,
    "pipeline.result_cache": 30,
    "pipeline.media": 31, "pipeline.speech": 32, "pipeline.faces": 33, "pipeline.compositing": 34,
    "pipeline.movies": 35, "pipeline": 36,
    "provenance": 37,
    "jobs": 40, "jobs.execution": 41, "jobs.queries": 42, "jobs.in_process": 42,
    "corpus": 40, "corpus.actor": 41,
    "service": 50, "service.wire": 51, "service.remote": 52, "service.servicer": 52, "service.server": 53,
    "training": 50, "training.recogniser": 51, "training.pcavs": 53, "training.dae_talker": 53,
    "evaluation.views": 60, "evaluation.clips": 61, "evaluation.comparison": 61, "evaluation.metrics": 62,
    "evaluation.sync": 63, "evaluation": 64, "bench": 60, "cli": 70, "__main__": 80,
}  # fmt: skip
ADDON = {
    "core": 0,
    "client": 11, "client.stubs": 10, "client.wire": 10, "client.cancel": 10, "client.tasks": 12, "client.session": 13,
    "host.preferences": 20, "host.setup_view": 20, "host.bl": 20, "host.sources": 21, "host.copies": 21,
    "host.strips": 22, "host.planning": 23, "host.tasks": 24, "host.operators": 25, "host.panels": 25,
    "host.properties": 25, "host.handlers": 26, "host": 27, "": 30,
}  # fmt: skip
PACKAGES: dict[str, dict[str, int]] = {"model_server": SERVER, "blender_addon": ADDON}
# Packages of one height that know nothing of each other.
STRANGERS = [{"host.operators", "host.panels"}]
BLENDER = {"bpy", "bl_ui", "aud", "gpu"}
STUB_READERS = {"model_server/service/messages.py", "blender_addon/client/wire.py"}
MEDIA = {"av", "cv2", "ai_edge_litert", "librosa", "soxr"}
SERVING = ("networks", "engines", "pipeline", "provenance", "jobs", "service")
LEARNING = {"model_server.corpus", "model_server.training", "model_server.evaluation"}
# An engine's own packages, and who may know them: they themselves, and what measures or trains this one engine.
ENGINE_PACKAGES = ("engines", "networks", "training")
_ENGINES = Folder(__file__).parents[2] / "model_server" / "engines"
ENGINES = tuple(sorted(path.parent.name for path in _ENGINES.glob("*/family.py")))
KNOWING = ("bench", "evaluation", "cli", "training")
# Functions that decode a file where they are called. What clients give is decoded in the sandbox (`sandboxed` has the
# same names); beside it only the command decodes, for its own movie, and media/ and speech/ themselves.
DECODING = {
    "containers.probe", "containers.open_media", "containers.pictures_begin", "containers.read_timing",
    "video.open_footage", "video.picture_at", "video.Video", "images.load_image", "images.is_transparent",
    "stills.open_image", "audio.decode_speech", "audio.speech_duration", "sound.SoundReader",
}  # fmt: skip
DECODING_ITSELF = ("media", "speech")
OF_OWN_FRAMES = {"model_server/cli/output.py", "model_server/pipeline/movies/frames_movie.py"}
LONGEST_FILE, LONGEST_FUNCTION = 400, 60


def dotted(path: Path) -> str:
    """Name of the module in a file."""
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


def imports(path: Path, source: str) -> set[str]:
    """Absolute dotted names of everything a module imports, wherever in the file."""
    package = list(path.with_suffix("").parts[:-1])
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            found.update(f"{base}.{alias.name}" for alias in node.names)
    return found


def package(name: str) -> str:
    """The longest entry of the package's table that a dotted name lies in."""
    package, _, inside = name.partition(".")
    entries = [entry for entry in PACKAGES[package] if inside == entry or inside.startswith(f"{entry}.")]
    return max(entries, key=len, default="")


def height(name: str) -> int:
    """Of the package that a dotted name lies in."""
    return PACKAGES[name.partition(".")[0]][package(name)]


def upward_imports(path: Path, source: str) -> Iterator[str]:
    """Imports go only downwards, and never from the server to the add-on or back."""
    own = dotted(path)
    for name in imports(path, source):
        other = name.partition(".")[0]
        if other not in PACKAGES:
            continue
        if other != own.partition(".")[0]:
            yield f"{own} imports {name} of the other program"
        elif height(name) > height(own):
            yield f"{own} imports {name} above it"
        elif any({package(own), package(name)} == pair for pair in STRANGERS):
            yield f"{own} imports {name} beside it"


def foreign_libraries(path: Path, source: str) -> Iterator[str]:
    """Blender stays in host/, stubs in the wire modules, core/ is pure Python, training needs no media library."""
    names = imports(path, source)
    roots = {name.partition(".")[0] for name in names}
    if roots & BLENDER and "host" not in path.parts and path != Path("blender_addon/__init__.py"):
        yield f"{path} imports Blender outside of host/"
    if any("stubs" in name.split(".") for name in names) and path.as_posix() not in STUB_READERS:
        yield f"{path} imports generated stubs"
    if path.is_relative_to("blender_addon/core") and not roots <= {*sys.stdlib_module_names, "blender_addon"}:
        yield f"{path} needs more than the standard library"
    if path.is_relative_to("model_server/training") and roots & MEDIA:
        yield f"{path} imports a media library"


def training_code_in_serving(path: Path, source: str) -> Iterator[str]:
    """What serves dubs needs no corpus, training or evaluation."""
    if path.parts[0] == "model_server" and path.parts[1] in SERVING:
        for name in imports(path, source):
            if ".".join(name.split(".")[:2]) in LEARNING:
                yield f"{path} imports {name}"


def decoders_outside_the_sandbox(path: Path, source: str) -> Iterator[str]:
    """Files of strangers are decoded in processes that can do nothing else."""
    served = path.parts[0] == "model_server" and path.parts[1] in (*SERVING, "cli")
    if served and path.parent.name not in DECODING_ITSELF and path.as_posix() not in OF_OWN_FRAMES:
        for name in imports(path, source):
            if ".".join(name.split(".")[-2:]) in DECODING:
                yield f"{path} imports {name}"


def engines_known(path: Path, source: str) -> Iterator[str]:
    """Nobody but an engine's own packages, and tools for this engine, knows an engine's modules or its name."""
    if path.parts[0] != "model_server":
        return
    for engine in ENGINES:
        if engine in path.parts:
            continue
        packages = tuple(f"model_server.{package}.{engine}" for package in ENGINE_PACKAGES)
        for name in imports(path, source):
            if name.startswith(packages) and path.parts[1] not in KNOWING:
                yield f"{path} imports {name}"
        texts = [node.value for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant)]
        if engine in texts:
            yield f"{path} names the engine {engine!r}"


def sizes(path: Path, source: str) -> Iterator[str]:
    """Files and functions stay small."""
    if source.count("\n") > LONGEST_FILE:
        yield f"{path} has more than {LONGEST_FILE} lines"
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and length(node) > LONGEST_FUNCTION:
            yield f"{path}: {node.name} has more than {LONGEST_FUNCTION} lines"


def length(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function."""
    return (node.end_lineno or node.lineno) - node.lineno + 1


def prints(path: Path, source: str) -> Iterator[str]:
    """Only the command prints."""
    if "cli" not in path.parts:
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "print":
                yield f"{path}:{node.lineno} prints"


def missing_docstrings(path: Path, source: str) -> Iterator[str]:
    """Modules and public classes say what they are."""
    tree = ast.parse(source)
    if tree.body and not ast.get_docstring(tree):
        yield f"{path} has no docstring"
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_") and not ast.get_docstring(node):
            yield f"{path}: {node.name} has no docstring"


def circles(modules: Mapping[Path, str]) -> Iterator[str]:
    """No module needs itself, by whatever way."""
    names = {dotted(path) for path in modules}
    graph = {dotted(path): _modules(imports(path, source), names) - {dotted(path)} for path, source in modules.items()}
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> Iterator[str]:
        if name in trail:
            yield " -> ".join([*trail[trail.index(name) :], name])
        elif name not in done:
            for other in sorted(graph[name]):
                yield from visit(other, (*trail, name))
            done.add(name)

    for name in graph:
        yield from visit(name, ())


def _modules(wanted: set[str], names: set[str]) -> set[str]:
    """The project's module behind each imported name."""
    return {name if name in names else name.rpartition(".")[0] for name in wanted} & names


RULES = (
    upward_imports,
    foreign_libraries,
    training_code_in_serving,
    decoders_outside_the_sandbox,
    engines_known,
    sizes,
    prints,
    missing_docstrings,
)
