"""All loops compiled ahead, by processes of their own: once for each processor, beside what else a start has to do.

Compiling takes several seconds of one core, most of them under Python's lock, and Numba compiles one loop at a time.
Other processes do it on other cores, while this one loads libraries, weights and media. A process that finds a loop not
compiled yet still compiles it itself.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path

import llvmlite.binding
import numba
import numpy as np
from filelock import FileLock

from model_server.networks.cpu import bf16_kernels, kernels, pixel_kernels, surface_kernels, toom_cook, warp_kernels
from model_server.networks.cpu.compiler import AVAILABLE, sources
from model_server.networks.cpu.simd import LANES
from model_server.networks.cpu.toom_cook import TILE

_HALF_PRECISION = {"avx512bf16", "amx-bf16"}
_NO_WINDOW = getattr(subprocess, "CREATE_NO_WINDOW", 0)  # elsewhere than on Windows there never is one


@cache
def begin() -> list[subprocess.Popen]:
    """Processes, begun by the first call, that compile what is not compiled for this processor yet."""
    folder = _folder()
    if folder is None:
        return []
    wanted = [name for name in _parts() if not _made(folder, name).exists()]
    begun = []
    for name in wanted:
        with suppress(OSError):  # no memory for another process: this one compiles
            begun.append(_process(name))
    return begun


def _process(part: str) -> subprocess.Popen:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))}
    return subprocess.Popen(
        [sys.executable, "-P", "-m", __name__, part],  # -P: not what happens to lie in the working folder
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        creationflags=_NO_WINDOW,
    )


def busy() -> bool:
    """Whether any of them is still at work."""
    return any(process.poll() is None for process in begin())


def finish() -> None:
    """Wait for them; at once where there is nothing to do."""
    for process in begin():
        process.wait()


def compile_part(name: str) -> None:
    """Compile one of the parts, unless another process does: then wait for it."""
    folder = _folder()
    if folder is None:
        return
    with FileLock(folder / f"loops-{name}.lock"):  # Numba itself would mix up what two processes keep at once
        made = _made(folder, name)
        if not made.exists():
            _parts()[name]()
            made.touch()


def _folder() -> Path | None:
    """Where Numba keeps what it compiles, None where it does not."""
    place = kernels.into_products.stats.cache_path if AVAILABLE else None  # type: ignore[attr-defined]
    if place is None:
        return None
    folder = Path(place)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return folder


def _made(folder: Path, name: str) -> Path:
    """The file that says that a part is compiled for this processor, from these sources, by this Numba."""
    files = [f"{path} {path.stat().st_mtime_ns} {path.stat().st_size}" for path in [*sources(), Path(__file__)]]
    of = [*files, numba.__version__, str(sys.implementation.cache_tag), _processor()]
    return folder / f"loops-{name}-{hashlib.sha256(chr(10).join(of).encode()).hexdigest()[:16]}"


def _processor() -> str:
    name, features = numba.config.CPU_NAME, numba.config.CPU_FEATURES  # type: ignore[attr-defined]
    return f"{name or llvmlite.binding.get_host_cpu_name()} {features or ','.join(sorted(_features()))}"


def _features() -> set[str]:
    """What the processor, or the one played by Numba's settings, can do, as LLVM calls it."""
    given = numba.config.CPU_FEATURES  # type: ignore[attr-defined]
    if given:
        return {feature[1:] for feature in given.split(",") if feature.startswith("+")}
    return {feature for feature, there in llvmlite.binding.get_host_cpu_features().items() if there}


def _parts() -> dict[str, Callable[[], None]]:
    """Parts of about the same work; parts share no loops."""
    parts = {"same": _same_size, "double": _double_size, "pixels": _pixels}
    return parts | {"half": _half_precision} if _features() & _HALF_PRECISION else parts


# Each loop is called as the networks call it, on the smallest arrays there are: that compiles it for such arrays.
_VECTOR = np.zeros(LANES, np.float32)
_EACH = _VECTOR[None]
_TILE = np.zeros((1, TILE, TILE, LANES), np.float32)
_ONE_TILE = 0, 1, 0, 1


def _products(*points: int) -> tuple[kernels.Floats, ...]:
    return tuple(np.zeros((1, count, LANES), np.float32) for count in points)


def _ending(size: int) -> kernels.Finish:
    return _EACH, _VECTOR, np.zeros((size, size), np.float32), 0.2


def _same_size() -> None:
    (products,) = _products((TILE + 2) ** 2)
    for shifts in (None, _EACH):
        kernels.into_products(_TILE, _EACH, shifts, _EACH, _ONE_TILE, products)
    for ending in (None, _ending(TILE)):
        kernels.out_of_products(products, _ONE_TILE, ending, np.empty_like(_TILE))


def _double_size() -> None:
    edge, inner = (len(pairs(TILE + 1)) for pairs in (toom_cook.edge_pairs, toom_cook.inner_pairs))
    kernels.into_half_products(_TILE, _EACH, _EACH, _ONE_TILE, *_products(edge, inner))
    made = _products(edge * kernels.EDGE_PARTS, inner * kernels.INNER_PARTS)
    lasts = np.zeros((2, 1, TILE, 3 * LANES), np.float32)
    rows = np.zeros((*kernels.unsmoothed_shape(1, 1), LANES), np.float32)
    result = np.empty((1, 2 * TILE, 2 * TILE, LANES), np.float32)
    kernels.out_of_half_products(made, _ONE_TILE, (lasts[0], lasts[1]), rows, _ending(2 * TILE), result)


def _pixels() -> None:
    joined, matrix = np.zeros((1, TILE, TILE, 3 * LANES), np.float32), np.zeros((LANES, LANES), np.float32)
    pixel_kernels.normalise(_TILE, _VECTOR, _VECTOR, np.empty_like(_TILE))
    pixel_kernels.join((_TILE, _TILE, _TILE), joined, joined)
    pixel_kernels.halve(_TILE, np.empty_like(_TILE[:, ::2, ::2]))
    pixel_kernels.shift(_TILE.copy(), _VECTOR, _VECTOR)
    pixel_kernels.excite(_TILE, (matrix, _VECTOR), (matrix, _VECTOR), _TILE, np.empty_like(_TILE))
    layers = np.zeros(TILE**2 * warp_kernels.LAYERS + LANES, np.float32)
    portrait = np.zeros((1, TILE**2 * warp_kernels.COLOURS + LANES), np.float32)
    warp_kernels.blend(layers, TILE, portrait, 0, np.empty((1, TILE, TILE, 3), np.float32))
    layers = np.zeros((warp_kernels.OF_REFERENCE + warp_kernels.OF_FACE, TILE, TILE), np.float32)
    pixels = np.zeros((1, TILE, TILE, 4), np.uint8)
    warp_kernels.lower_face(layers, pixels[..., :3].copy(), pixels[0, ..., 0].copy(), pixels[0])
    corners, away = np.zeros((3, 5), np.float32), np.zeros((1, 1), np.float32)
    surface_kernels.draw(corners, np.zeros((1, 3), np.int32), np.zeros((1, 1, 2), np.float32), away)


def _half_precision() -> None:
    picture = _TILE[0]
    halves, joined = np.zeros(picture.shape, np.int16), np.zeros((TILE, TILE, 3 * LANES), np.float32)
    for pixels in (halves, picture):
        bf16_kernels.scale(pixels, _VECTOR, np.empty_like(halves))
        bf16_kernels.normalise(pixels, _VECTOR, _VECTOR, np.empty_like(halves))
    for added in (joined.astype(np.int16), joined):
        bf16_kernels.join((halves, halves, halves), added, joined)
    gains, *rest = _ending(TILE)
    bf16_kernels.finish(halves, (gains[0], *rest), np.empty_like(halves))
    wide = np.zeros((TILE + 1, TILE + 1, LANES), np.int16)
    corners = tuple(np.ascontiguousarray(wide[: TILE + n, : TILE + k]) for n in (1, 0) for k in (1, 0))
    gains, *rest = _ending(2 * TILE)
    bf16_kernels.smooth(corners, (gains[0], *rest), np.empty((2 * TILE, 2 * TILE, LANES), np.int16))
    bf16_kernels.to_rgb(halves, np.zeros((3, LANES), np.float32), _VECTOR[:3], np.empty((TILE, TILE, 3), np.float32))


if __name__ == "__main__":
    compile_part(sys.argv[1])
