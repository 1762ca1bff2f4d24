"""Frames in a folder by their index, and the manifest that says which dub each of them came from."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model_server import __version__
from model_server.errors import PoseDubError
from model_server.files import atomic_file
from model_server.jobs.model import Job
from model_server.pipeline.request import DubRequest
from model_server.pipeline.timecode import frames_text

ADVICE = "choose another --out"
_MANIFEST = "manifest.json"
_FRAME = re.compile(r"[0-9]{6,}\.png")
# Of a PNG: width, height, bits, and a colour type that is 6 where there is transparency (PNG specification, 11.2.1).
_HEADER, _HEADER_AT, _TRANSPARENT = struct.Struct(">IIBB"), 16, 6


@dataclass(frozen=True)
class PictureForm:
    """What all frames of one sequence have in common."""

    width: int
    height: int
    transparent: bool = False

    def __str__(self) -> str:
        return f"{self.width}x{self.height}{' and transparent' if self.transparent else ''}"


def check_frames(folder: Path, request: DubRequest, form: PictureForm) -> None:
    """Raise PoseDubError where frames of a request would replace files that no dub wrote, or lie among other ones.

    Args:
        form: of the request's pictures.
    """
    earlier, wanted = _Manifest.read(folder), set(range(request.first, request.end))
    foreign = sorted(_present(folder) & wanted - earlier.frames)
    if foreign:
        raise PoseDubError(
            f"The folder {folder} holds {frame_name(foreign[0])}, which no dub wrote there and this one would replace; "
            f"{ADVICE}."
        )
    staying = sorted(earlier.frames & _present(folder) - wanted) if earlier.numbers(request) else []
    theirs = _form(folder / frame_name(staying[0])) if staying else None
    if theirs and theirs != form:
        raise PoseDubError(
            f"The folder {folder} keeps {_text(set(staying))} of an earlier dub in {theirs}, and this one's would be "
            f"{form}; {ADVICE}, or dub all frames."
        )


def holds(folder: Path, job: Job) -> bool:
    """Whether a folder has all frames of a job, which wrote there last."""
    try:
        manifest = json.loads((folder / _MANIFEST).read_bytes())
        whole = (manifest["job"], manifest["state"]) == (job.id, "done")
    except (OSError, ValueError, LookupError, TypeError):
        return False
    return whole and set(range(job.request.first, job.request.end)) <= _present(folder)


class FramesFolder:
    """Frames of a job by their index, and a manifest that says whose they are.

    Frames of an earlier dub of other speech or rate have no place in the new one's numbering: they go when the new
    dub's first frame comes. Those of other settings stay, as parts of their own. Files that no dub wrote stay.

    Args:
        tell: called with one sentence on what becomes of an earlier dub's frames.
    """

    def __init__(self, folder: Path, job: Job, tell: Callable[[str], None]) -> None:
        self._folder, self._tell = folder, tell
        self._wanted = set(range(job.request.first, job.request.end))
        weights = dict(zip(("id", "name", "kind", "preset"), job.weights, strict=True))
        self._own = _Part(self._wanted, weights, json.loads(job.request.to_json()))
        self._job = job
        self._earlier: list[_Part] = []

    def write(self, frames: Iterable[tuple[int, bytes]]) -> None:
        """Write frames (index, PNG) as they come; PoseDubError when some are missing in the end."""
        written: set[int] = set()
        try:
            for index, png in frames:
                if not written:
                    self._begin()
                with atomic_file(self._folder / frame_name(index)) as file:
                    file.write(png)
                written.add(index)
            missing = self._wanted - (written & _present(self._folder))
            if missing:
                raise PoseDubError(
                    f"The folder {self._folder} lacks {_text(missing)}; the same command makes what is left."
                )
        except BaseException:
            with suppress(OSError):  # what is wrong is known already
                if written:
                    self._note("running", self._earlier_without(written) + [self._own.of(written)])
            raise
        self._note("done", self._parts())

    def _begin(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        earlier, present = _Manifest.read(self._folder), _present(self._folder)
        if earlier.numbers(self._job.request):
            self._earlier = [part.of(part.frames & present) for part in earlier.parts]
        else:
            self._remove(earlier.frames & present - self._wanted)
        self._note("running", [*self._earlier, self._own])
        others = [part for part in self._earlier_without(self._wanted) if part.settings != self._own.settings]
        if others:
            kept: set[int] = set().union(*(part.frames for part in others))
            stay = "stays" if len(kept) == 1 else "stay"
            self._tell(f"{_text(kept)} in {self._folder} {stay} from an earlier dub with other settings")

    def _remove(self, frames: set[int]) -> None:
        for index in frames:
            (self._folder / frame_name(index)).unlink(missing_ok=True)
        if frames:
            were = "was" if len(frames) == 1 else "were"
            self._tell(f"{frames_text(len(frames))} of an earlier dub {were} removed from {self._folder}")

    def _earlier_without(self, frames: set[int]) -> list[_Part]:
        """What is left of earlier dubs once these frames are replaced."""
        return [part.of(part.frames - frames) for part in self._earlier if part.frames - frames]

    def _parts(self) -> list[_Part]:
        """All parts in the end; those of the same settings are one."""
        left = self._earlier_without(self._wanted)
        alike = [part.frames for part in left if part.settings == self._own.settings]
        others = [part for part in left if part.settings != self._own.settings]
        return [*others, self._own.of(self._wanted.union(*alike))]

    def _note(self, state: str, parts: list[_Part]) -> None:
        frames = self._wanted.union(*(part.frames for part in parts))
        manifest = {
            "posedub": __version__,
            "job": self._job.id,
            "state": state,
            "weights": self._own.weights,
            "frames": _ranges(frames),
            "request": self._own.request,
            "parts": [part.to_json() for part in parts],
        }
        with atomic_file(self._folder / _MANIFEST) as file:
            file.write(json.dumps(manifest, indent=1).encode())


@dataclass(frozen=True)
class _Part:
    """Frames of one folder that one request made.

    Attributes:
        weights: their id, name, kind and preset.
        request: as its JSON says.
    """

    frames: set[int]
    weights: dict[str, str]
    request: dict[str, Any]

    def of(self, frames: set[int]) -> _Part:
        return _Part(frames, self.weights, self.request)

    @property
    def settings(self) -> tuple[object, ...]:
        """What makes two frames of one number equal."""
        return self.request["spec"], self.request.get("pose_kind"), self.weights.get("id")

    def to_json(self) -> dict[str, Any]:
        return {"frames": _ranges(self.frames), "weights": self.weights, "request": self.request}

    @staticmethod
    def from_json(data: dict[str, Any]) -> _Part:
        """Of a part, or of a whole manifest of earlier versions, which had one part and not always a list of frames."""
        request = data["request"]
        ranges = data.get("frames", [[request["first"], request["end"]]])
        return _Part({k for first, end in ranges for k in range(first, end)}, data.get("weights", {}), request)


class _Manifest:
    """What earlier dubs left in a folder."""

    def __init__(self, parts: list[_Part], frames: set[int], request: dict[str, Any] | None) -> None:
        self.parts, self.frames = parts, frames
        self._axis = _axis(request) if request else None

    def numbers(self, request: DubRequest) -> bool:
        """Whether its frames' numbers mean the same moments as a request's."""
        return self._axis == _axis(json.loads(request.to_json()))

    @staticmethod
    def read(folder: Path) -> _Manifest:
        """Of a folder; PoseDubError when something else bears that name."""
        path = folder / _MANIFEST
        if not path.exists():
            return _Manifest([], set(), None)
        try:
            data = json.loads(path.read_bytes())
            whole = _Part.from_json({**data, "request": data["posedub"] and data["request"]})
            parts = [_Part.from_json(part) for part in data["parts"]] if "parts" in data else [whole]
            return _Manifest(parts, whole.frames, whole.request)
        except (ValueError, LookupError, TypeError) as error:
            raise PoseDubError(f"{path} was not written by this command, which would replace it; {ADVICE}.") from error


def _axis(request: dict[str, Any]) -> tuple[object, ...]:
    """What decides which moment a frame's number means."""
    speech = request["spec"]["speech"]
    return request["spec"]["fps"], speech["asset"], speech["start"]


def _present(folder: Path) -> set[int]:
    """Indices of the files that are named as frames are."""
    names = [path.name for path in folder.iterdir() if _FRAME.fullmatch(path.name)]
    return {int(name[:-4]) for name in names if frame_name(int(name[:-4])) == name}


def frame_files(folder: Path) -> list[Path]:
    """The frames of a folder, in order."""
    return [folder / frame_name(index) for index in sorted(_present(folder))]


def _form(path: Path) -> PictureForm | None:
    """Of a PNG; None where it is none."""
    with path.open("rb") as file:
        header = file.read(_HEADER_AT + _HEADER.size)[_HEADER_AT:]
    if len(header) < _HEADER.size:
        return None
    width, height, _, colour = _HEADER.unpack(header)
    return PictureForm(width, height, colour == _TRANSPARENT)


def frame_name(index: int) -> str:
    """Name of a frame's file."""
    return f"{index:06}.png"


def _text(indices: set[int]) -> str:
    """Frames in a sentence: "frames 0-3, 7", or "frame 7"."""
    spans = [f"{first}-{end - 1}" if end - first > 1 else f"{first}" for first, end in _ranges(indices)]
    return f"{'frame' if len(indices) == 1 else 'frames'} {', '.join(spans)}"


def _ranges(indices: set[int]) -> list[list[int]]:
    """Whole numbers as ascending [first, end) pairs."""
    starts = sorted(k for k in indices if k - 1 not in indices)
    ends = sorted(k + 1 for k in indices if k + 1 not in indices)
    return [list(pair) for pair in zip(starts, ends, strict=True)]
