"""People in a strip, found by the server in the background, to choose from."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import partial

import bpy
import bpy.utils.previews

from ...core import scratch
from ...core.errors import told
from ...core.events import FacesFailed, JobProgress
from ...core.faces import Face, FaceChoice, FacesFound, FacesRequest
from ..bl import sequencer
from ..bl.sequencer import StripRef
from ..sources import face_choice, media
from .server_link import Request, ServerLink

PHASES = {"connecting": "Connecting", "uploading": "Uploading", "faces": "Looking for faces"}
NOBODY = "No face was found there; move the playhead to where the person is seen from the front."


@dataclass(frozen=True)
class Search:
    """Where faces are looked for.

    Attributes:
        uid: names the search.
        scene: Blender's session uid of the scene.
        time: second of the movie.
    """

    uid: str
    scene: int
    strip: StripRef
    time: Fraction


class FaceSearch:
    """The last search for faces, and what it found; a new one takes its place.

    Attributes:
        last: where faces were looked for; None before the first time.
        faces: what was found there, largest first.
        phase: what is being done; "" when nothing is.
        problem: why it failed, a sentence; "" when it did not.
    """

    def __init__(self, link: ServerLink) -> None:
        self.last: Search | None = None
        self.faces: tuple[Face, ...] = ()
        self.phase = self.problem = ""
        self._link = link
        self._thumbnails: bpy.utils.previews.ImagePreviewCollection | None = None

    def __contains__(self, uid: str) -> bool:
        return self.last is not None and self.last.uid == uid

    @property
    def busy(self) -> bool:
        """Whether faces are being looked for."""
        return bool(self.phase)

    def start(self, scene: bpy.types.Scene, strip: bpy.types.Strip) -> None:
        """Look for faces in what the strip shows at the playhead; raises AddonError."""
        self.cancel()
        file, time = media.moment(scene, strip, scene.frame_current)
        endpoint = self._link.reach()
        self.last = Search(uuid.uuid4().hex, scene.session_uid, sequencer.tagged(strip), time)
        asked = FacesRequest(self.last.uid, file, time if strip.type == "MOVIE" else Fraction(0))
        failed = partial(self._unsent, asked.uid)
        self._link.send(asked.uid, Request(endpoint, lambda session: session.find_faces(asked), failed))
        self.phase = "Starting"

    def _unsent(self, uid: str, error: Exception) -> None:
        self.end(FacesFailed(uid, str(told("Faces could not be asked for", error))))

    def cancel(self) -> None:
        """Give up, and forget what was found."""
        if self.busy and self.last:
            self._link.cancel(self.last.uid)
        self.clear()

    def progress(self, event: JobProgress) -> None:
        """Take over how far the background thread is."""
        self.phase = PHASES.get(event.phase, event.phase)

    def end(self, event: FacesFound | FacesFailed) -> None:
        """Take over the answer; one to a search that was given up is ignored."""
        if event.uid not in self:
            return
        self.phase = ""
        if isinstance(event, FacesFailed):
            self.problem = event.message
            return
        self.faces, self.problem = event.faces, "" if event.faces else NOBODY

    def strip(self) -> bpy.types.Strip | None:
        """The strip of the last search where it lies now; None when it is gone."""
        scene = sequencer.scene_by_uid(self.last.scene) if self.last else None
        return sequencer.find(scene, self.last.strip) if scene and self.last else None

    def choice(self, strip: bpy.types.Strip, index: int) -> FaceChoice:
        """What chooses a face of the strip."""
        assert self.last is not None
        return face_choice.at_point(strip, self.faces[index].centre, self.last.time)

    def icons(self) -> Iterator[int]:
        """Icon of each face."""
        if self._thumbnails is None:
            self._thumbnails = _loaded(self.faces)
        return (preview.icon_id for preview in self._thumbnails.values())

    def clear(self) -> None:
        """Forget all, as when another file is opened."""
        self.last, self.faces = None, ()
        self.phase = self.problem = ""
        if self._thumbnails is not None:
            bpy.utils.previews.remove(self._thumbnails)
            self._thumbnails = None


def _loaded(faces: tuple[Face, ...]) -> bpy.utils.previews.ImagePreviewCollection:
    """Thumbnails as Blender's previews, which only come from files."""
    previews = bpy.utils.previews.new()
    with scratch.folder() as folder:
        for number, face in enumerate(faces):
            file = folder / f"{number}.jpg"
            file.write_bytes(face.thumbnail)
            preview = previews.load(str(number), str(file), "IMAGE")
            preview.image_size[:]  # reads the file now
    return previews
