"""Where a dub is written: tried before the work, and never over what this command did not write."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from model_server import __version__
from model_server.cli.options import is_movie
from model_server.errors import PoseDubError
from model_server.files import atomic_file
from model_server.jobs.model import Job
from model_server.pipeline.request import DubRequest
from model_server.places import folder_to_fill, try_file

MANIFEST = "manifest.json"
_FRAME = re.compile(r"[0-9]{6,}\.png")
_ADVICE = "choose another --out"


@contextmanager
def tried(out: Path) -> Iterator[None]:
    """The place of a movie or of frames, tried; a folder made for frames is gone again when it stays empty.

    Raises:
        PoseDubError: nothing can be written there.
    """
    if is_movie(out):
        try_file(out, _ADVICE)
        yield
    else:
        with folder_to_fill(out, f"{_ADVICE}, or a name that ends in .mp4"):
            yield


def check_frames(folder: Path, request: DubRequest) -> None:
    """Raise PoseDubError where frames of a request would replace files that no dub wrote."""
    foreign = sorted(_present(folder) & set(range(request.first, request.end)) - _Earlier.read(folder).frames)
    if foreign:
        raise PoseDubError(
            f"The folder {folder} holds {_name(foreign[0])}, which no dub wrote there and this one would replace; "
            f"{_ADVICE}."
        )


class FramesFolder:
    """Frames of a job by their index, and a manifest that says whose they are.

    Frames of an earlier dub of other speech or rate have no place in the new one's numbering: they go when the new
    dub's first frame comes. Files that no dub wrote stay.
    """

    def __init__(self, folder: Path, job: Job) -> None:
        self._folder, self._job = folder, job
        self._frames: set[int] = set()

    def write(self, frames: Iterable[tuple[int, bytes]]) -> None:
        """Write frames (index, PNG) as they come."""
        for index, png in frames:
            if not self._frames:
                self._begin()
            with atomic_file(self._folder / _name(index)) as file:
                file.write(png)
        if self._frames:
            self._note("done")

    def _begin(self) -> None:
        earlier, request = _Earlier.read(self._folder), self._job.request
        wanted = set(range(request.first, request.end))
        if earlier.axis != _axis(json.loads(request.to_json())):
            for index in earlier.frames - wanted:
                (self._folder / _name(index)).unlink(missing_ok=True)
            earlier.frames.clear()
        self._frames = earlier.frames | wanted
        self._note("running")

    def _note(self, state: str) -> None:
        job = self._job
        manifest = {
            "posedub": __version__,
            "job": job.id,
            "state": state,
            "weights": dict(zip(("id", "name", "kind", "preset"), job.weights, strict=True)),
            "frames": _ranges(self._frames),
            "request": json.loads(job.request.to_json()),
        }
        with atomic_file(self._folder / MANIFEST) as file:
            file.write(json.dumps(manifest, indent=1).encode())


class _Earlier:
    """What an earlier dub left in a folder: its frames, and the time axis that numbers them."""

    def __init__(self, frames: set[int], axis: object) -> None:
        self.frames, self.axis = frames, axis

    @staticmethod
    def read(folder: Path) -> _Earlier:
        """From its manifest; PoseDubError when something else bears that name."""
        path = folder / MANIFEST
        if not path.exists():
            return _Earlier(set(), None)
        try:
            manifest = json.loads(path.read_bytes())
            request = manifest["posedub"] and manifest["request"]
            ranges = manifest.get("frames", [[request["first"], request["end"]]])
            return _Earlier({k for first, end in ranges for k in range(first, end)}, _axis(request))
        except (ValueError, LookupError, TypeError) as error:
            raise PoseDubError(f"{path} was not written by this command, which would replace it; {_ADVICE}.") from error


def _axis(request: dict[str, Any]) -> tuple[object, ...]:
    """What decides which moment a frame's number means."""
    speech = request["spec"]["speech"]
    return request["spec"]["fps"], speech["asset"], speech["start"]


def _present(folder: Path) -> set[int]:
    """Indices of the files that are named as frames are."""
    names = [path.name for path in folder.iterdir() if _FRAME.fullmatch(path.name)]
    return {int(name[:-4]) for name in names if _name(int(name[:-4])) == name}


def _name(index: int) -> str:
    return f"{index:06}.png"


def _ranges(indices: set[int]) -> list[list[int]]:
    """Whole numbers as ascending [first, end) pairs."""
    starts = sorted(k for k in indices if k - 1 not in indices)
    ends = sorted(k + 1 for k in indices if k + 1 not in indices)
    return [list(pair) for pair in zip(starts, ends, strict=True)]
