"""What is asked of the server about a file: the pose codes of a movie, the faces of a picture."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain
from pathlib import Path

from ...core import sequences
from ...core.errors import AddonError
from ...core.events import Event, FacesFailed, PoseFailed, PoseRead, ServerInfo
from ...core.faces import FacesFound, FacesRequest
from ...core.files import sha256_of
from ...core.plan import PoseRequest, SpeechPoseRequest
from ..connection import Connection, Endpoint
from .base import Query


class FileQuery(Query):
    """Uploads a file and asks about it."""

    PHASE = ""
    """Of the progress while the server works."""
    _file: Path

    def _ask(self) -> Event:
        self._progress("connecting")
        asset, _size = sha256_of(sequences.ensure(self._file, self._cancel.check), self._cancel.check)
        with Connection(self._endpoint, self._cancel) as connection:
            info = connection.info()
            connection.upload(self._file, asset, lambda done, total: self._progress("uploading", done, total))
            self._progress(self.PHASE)
            return self._answer(connection, info, asset)

    def _answer(self, connection: Connection, info: ServerInfo, asset: str) -> Event:
        """Ask about the uploaded file, by its SHA-256."""
        raise NotImplementedError


class PoseQuery(FileQuery):
    """Pose codes of one file; ends with PoseRead or PoseFailed."""

    FAULT, PHASE = "The pose could not be read", "pose"

    def __init__(self, endpoint: Endpoint, request: PoseRequest, emit: Callable[[Event], object]) -> None:
        super().__init__(endpoint, request.uid, emit, PoseFailed)
        self._request, self._file = request, request.file

    def _answer(self, connection: Connection, info: ServerInfo, asset: str) -> PoseRead:
        request, size = self._request, info.offer(self._request.weights_id).limits.controls
        blocks = list(connection.pose(asset, request, size))
        rows = tuple(chain.from_iterable(block.rows for block in blocks))
        if len(rows) != len(request.times):
            raise AddonError(f"The server sent {len(rows)} of {len(request.times)} pose codes.", "Try again.")
        held, lids = (tuple(chain.from_iterable(getattr(block, name) for block in blocks)) for name in ("held", "lids"))
        return PoseRead(request.uid, rows, held, lids)


class SpeechPoseQuery(FileQuery):
    """Head angles that go with a sound; ends with PoseRead or PoseFailed."""

    FAULT, PHASE = "No pose could be made of the speech", "speech"

    def __init__(self, endpoint: Endpoint, request: SpeechPoseRequest, emit: Callable[[Event], object]) -> None:
        super().__init__(endpoint, request.uid, emit, PoseFailed)
        self._request, self._file = request, request.file

    def _answer(self, connection: Connection, info: ServerInfo, asset: str) -> PoseRead:
        request = self._request
        rows = tuple(chain.from_iterable(block.rows for block in connection.speech_pose(asset, request)))
        if len(rows) != request.frame_count:
            raise AddonError(f"The server sent the pose of {len(rows)} of {request.frame_count} frames.", "Try again.")
        return PoseRead(request.uid, rows, ())


class FacesQuery(FileQuery):
    """Faces of one picture; ends with FacesFound or FacesFailed."""

    FAULT, PHASE = "The faces could not be read", "faces"

    def __init__(self, endpoint: Endpoint, request: FacesRequest, emit: Callable[[Event], object]) -> None:
        super().__init__(endpoint, request.uid, emit, FacesFailed)
        self._request, self._file = request, request.file

    def _answer(self, connection: Connection, info: ServerInfo, asset: str) -> FacesFound:
        return connection.faces(self._request.uid, asset, self._request.time)
