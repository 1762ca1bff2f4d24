"""What is asked of the server about a file: the pose codes of a movie, the faces of a picture."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain

from ..core.errors import AddonError
from ..core.events import Event, FacesFailed, PoseFailed, PoseRead
from ..core.faces import FacesFound, FacesRequest
from ..core.plan import PoseRequest
from .connection import Connection, Endpoint
from .question import Question


def pose_question(endpoint: Endpoint, request: PoseRequest, emit: Callable[[Event], object]) -> Question:
    """Pose codes of one file; ends with PoseRead or PoseFailed."""

    def answer(connection: Connection, asset: str) -> PoseRead:
        blocks = list(connection.pose(asset, request.face, request.times, request.weights_id))
        rows = tuple(chain.from_iterable(block.rows for block in blocks))
        if len(rows) != len(request.times):
            raise AddonError(f"The server sent {len(rows)} of {len(request.times)} pose codes.", "Try again.")
        return PoseRead(request.uid, rows, tuple(chain.from_iterable(block.held for block in blocks)))

    return Question(endpoint, request.uid, request.file, emit, answer, PoseFailed, "pose")


def faces_question(endpoint: Endpoint, request: FacesRequest, emit: Callable[[Event], object]) -> Question:
    """Faces of one picture; ends with FacesFound or FacesFailed."""

    def answer(connection: Connection, asset: str) -> FacesFound:
        return connection.faces(request.uid, asset, request.time)

    return Question(endpoint, request.uid, request.file, emit, answer, FacesFailed, "faces")
