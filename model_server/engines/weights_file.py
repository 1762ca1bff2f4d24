"""The weights file: one safetensors file that says in its metadata which networks it fits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, cast

from safetensors import SafetensorError, safe_open

from model_server.engines import registry
from model_server.engines.base import POSE_READINGS, PoseReading, WeightsInfo, WeightsKind
from model_server.engines.pose_map import PoseMap
from model_server.errors import ErrorKind, PoseDubError
from model_server.files import file_digest, replacing, share_as_usual

if TYPE_CHECKING:
    from torch import Tensor

FORMAT = "posedub-weights-1"
KINDS = ("untrained", "trained", "imported")
_READING = "pose_reading"  # key of the metadata


def write_weights(
    path: Path,
    state: dict[str, Tensor],
    preset: str,
    kind: WeightsKind,
    name: str,
    source: str = "",
    pose_map: PoseMap | None = None,
    pose_reading: PoseReading = "encoder",
    *,
    engine: str,
    more: Mapping[str, str] | None = None,
) -> None:
    """Write a weights file atomically.

    Args:
        path: where to; replaced if it exists.
        state: the tensors that the engine's preset wants.
        source: SHA-256 of what the weights were made from.
        pose_map: head angles and pose codes of these weights, where they are known.
        pose_reading: where pose codes are best taken from.
        engine: name of the engine they fit.
        more: what this engine's files say besides.
    """
    metadata = {"format": FORMAT, "engine": engine, "preset": preset, "kind": kind, "name": name, "source": source}
    metadata |= more or {}
    if pose_map:
        metadata |= {"pose_map": pose_map.to_json(), _READING: pose_reading}
    _write(path, state, metadata)


def keep_pose_reading(path: Path, pose_reading: PoseReading) -> WeightsInfo:
    """Write into a weights file where its pose codes are best taken from; tensors and all else stay as they are."""
    metadata = read_metadata(path)
    if "pose_map" not in metadata:
        raise PoseDubError(f"The weights {path} have no pose map; export them with a labelled corpus.")
    state = {name: value.clone() for name, value in read_tensors(path).items()}  # not mapped from what is replaced
    _write(path, state, metadata | {_READING: pose_reading})
    return describe(path)


def keep_part(path: Path, prefix: str, part: Mapping[str, Tensor]) -> WeightsInfo:
    """Write a part's tensors, whose names begin with `prefix`, into a weights file in place of those that it has."""
    state = {name: value.clone() for name, value in read_tensors(path).items() if not name.startswith(prefix)}
    _write(path, state | compacted(dict(part)), read_metadata(path))
    return describe(path)


def _write(path: Path, state: dict[str, Tensor], metadata: dict[str, str]) -> None:
    from safetensors.torch import save_file

    try:
        with replacing(path, durable=True) as part:
            save_file({key: value.detach().clone().contiguous() for key, value in state.items()}, part, metadata)
            share_as_usual(part)
    except (OSError, SafetensorError) as problem:
        raise PoseDubError(
            f"The weights could not be written to {path} ({problem}); choose another place."
        ) from problem


def compacted(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Matrices in half precision. Vectors are few, and the variances among them may leave its range."""
    return {name: value.half() if value.ndim > 1 else value for name, value in state.items()}


def check_shapes(
    path: Path, preset: str, wanted: Mapping[str, tuple[int, ...]], shapes: Mapping[str, tuple[int, ...]]
) -> None:
    """Raise PoseDubError, naming each misfit, unless a weights file's tensors are those that its networks want."""
    wrong = [
        *(f"{name} is missing" for name in wanted.keys() - shapes.keys()),
        *(f"{name} is not known" for name in shapes.keys() - wanted.keys()),
        *(
            f"{name} is {shapes[name]} instead of {wanted[name]}"
            for name in wanted.keys() & shapes.keys()
            if shapes[name] != wanted[name]
        ),
    ]
    if wrong:
        raise PoseDubError(
            f"The weights file {path} does not fit the {preset} networks: {', '.join(sorted(wrong))}; "
            "import it again, or train it on from where it is (posedub train --from).",
            ErrorKind.CORRUPT,
        )


def describe(path: Path, digest: str = "") -> WeightsInfo:
    """Read a weights file's metadata and check that its tensors fit the networks it names.

    Args:
        digest: SHA-256 of the file where that is known to be the one of a file that fits; its tensors are then not
            checked, for which some engines have to build their networks.

    Raises:
        PoseDubError: the file is missing, damaged, of another format, or does not fit.
    """
    with _opened(path) as (metadata, shapes):
        info = _info(path, metadata, digest or file_digest(path))
    if not digest:
        registry.family(info.engine).check_tensors(path, info.preset, shapes)
    return info


def read_metadata(path: Path) -> dict[str, str]:
    """All that a weights file says besides its tensors."""
    with _opened(path) as (metadata, _):
        return metadata


def tensor_names(path: Path) -> frozenset[str]:
    """Names of all tensors of a weights file."""
    with _opened(path) as (_, shapes):
        return frozenset(shapes)


def read_pose_map(path: Path) -> PoseMap | None:
    """Head angles and pose codes of the weights; None where the file does not say."""
    with _opened(path) as (metadata, _):
        return _pose_map(path, metadata)


def _pose_map(path: Path, metadata: dict[str, str]) -> PoseMap | None:
    text = metadata.get("pose_map")
    try:
        return PoseMap.from_json(text) if text else None
    except ValueError as problem:
        raise PoseDubError(
            f"The pose map of the weights file {path} is damaged ({problem}); copy it again.", ErrorKind.CORRUPT
        ) from problem


def read_state(path: Path) -> dict[str, Tensor]:
    """All tensors of a weights file, as float32."""
    return {name: value.float() for name, value in read_tensors(path).items()}


def read_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a weights file, as they are."""
    from safetensors.torch import load, load_file

    with _readable(path):
        # safetensors maps only files whose names are text.
        return load_file(path) if str(path).isprintable() else load(path.read_bytes())


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    if not path.is_file():
        raise PoseDubError(f"There is no weights file at {path}; check the path.", ErrorKind.NOT_FOUND)
    try:
        yield
    except SafetensorError as problem:
        raise PoseDubError(
            f"The weights file {path} is damaged or no safetensors file; copy or import it again.", ErrorKind.CORRUPT
        ) from problem
    except OSError as problem:
        raise PoseDubError(
            f"The weights file {path} cannot be read ({problem}); check its permissions.", ErrorKind.CORRUPT
        ) from problem


@contextmanager
def _opened(path: Path) -> Iterator[tuple[dict[str, str], dict[str, tuple[int, ...]]]]:
    with _readable(path), safe_open(path, "numpy") as file:
        names = file.keys()
        yield file.metadata() or {}, {name: tuple(file.get_slice(name).get_shape()) for name in names}


def _info(path: Path, metadata: dict[str, str], digest: str) -> WeightsInfo:
    preset, kind, engine = (metadata.get(name, "") for name in ("preset", "kind", "engine"))
    if metadata.get("format") != FORMAT or kind not in KINDS or not engine:
        raise PoseDubError(
            f"The file {path} holds no PoseDub weights of this version; make one with `posedub weights import`.",
            ErrorKind.UNSUPPORTED,
        )
    return WeightsInfo(
        id=digest,
        name=metadata.get("name") or path.stem.encode(errors="backslashreplace").decode(),
        kind=cast(WeightsKind, kind),
        preset=preset,
        path=path.resolve(),
        source=metadata.get("source", ""),
        pose_map=_pose_map(path, metadata),
        pose_reading=_pose_reading(metadata),
        engine=engine,
    )


def _pose_reading(metadata: dict[str, str]) -> PoseReading:
    """That of the file; the encoder where it says none, or one of a later version, or has no pose map for it."""
    said = metadata.get(_READING, "")
    known = said in POSE_READINGS and "pose_map" in metadata
    return cast(PoseReading, said) if known else "encoder"
