"""Looking at the next dub before it is made: how many frames it would generate, and one of them as a picture.

The sound is cut and the server asked in background threads. What is counted follows the scene: panels say which
scene they show, and when its settings have not changed for a moment the server is asked anew.
"""

from __future__ import annotations

import time
import uuid
import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Executor, Future
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import bpy

from ...client.connection import Endpoint
from ...client.session import Session
from ...core import scratch
from ...core.errors import AddonError, told
from ...core.events import DubEstimated, FramePreviewed, PreviewEvent, PreviewFailed
from ...core.plan import DubPlan, SpeechSource
from ...core.progress import duration
from ..bl import preview_image, sequencer
from ..planning import scene_plan, scene_signature
from ..sources import audio
from .server_link import Request, ServerLink

SETTLED = 0.4
"""Seconds without a change after which the server is asked."""
PAUSE = 0.2
"""Seconds between two looks at the scene."""
KEPT = 32
UNREAD = {"portrait": "portrait", "speech": "sound", "pose": "pose source", "footage": "footage"}
RETIMED = "the sound is retimed"


@dataclass(frozen=True)
class Asked:
    """A plan whose sound is being cut, or that the server looks at.

    Attributes:
        key: what the answer depends on.
        index: of the frame to preview; None for an estimate.
    """

    plan: DubPlan
    key: Hashable
    index: int | None = None

    def send(self, session: Session) -> None:
        """Ask the server."""
        if self.index is None:
            session.estimate(self.plan)
        else:
            session.preview(self.plan, self.index)


class Previews:
    """The estimate and the preview of the open file.

    Attributes:
        speed: seconds that the last dub took for a frame; None while unknown.
        problem: why the last preview failed, a sentence; "" when it did not.
    """

    def __init__(self, link: ServerLink, cutter: Executor) -> None:
        self.speed: float | None = None
        self.problem = ""
        self.shown: FramePreviewed | None = None
        self._link = link
        self._cutter = cutter
        self._folder = scratch.make_folder()
        weakref.finalize(self, scratch.remove, self._folder)
        self._sounds: OrderedDict[Hashable, tuple[Path, Future[None]]] = OrderedDict()
        self._asked: dict[str, Asked] = {}
        self._known: OrderedDict[Hashable, DubEstimated | PreviewFailed] = OrderedDict()
        self._answer: DubEstimated | PreviewFailed | None = None
        self._total = 0
        self._scene: int | None = None
        self._signature: Hashable = None
        self._due = self._next = 0.0

    @property
    def busy(self) -> bool:
        """Whether the scene is to be looked at, or an answer is awaited."""
        looking = self._scene is not None and self._link.info is not None
        return looking or bool(self._asked)

    @property
    def previewing(self) -> bool:
        """Whether a frame is being made."""
        return any(asked.index is not None for asked in self._asked.values())

    def look(self, scene: bpy.types.Scene) -> None:
        """The scene is being shown: count its frames in a while. May be called while a panel is drawn."""
        self._link.wanted()
        self._scene = scene.session_uid

    def outdated(self) -> None:
        """Frames were made or lost since: count anew."""
        self._known.clear()
        self._signature = None

    def text(self) -> tuple[str, str]:
        """(what the next dub would take, what should be known about that), for a panel; each may be ""."""
        answer = self._answer
        if self._link.info is None:
            return "? frames to generate: no server is connected", ""
        if answer is None:
            return "Counting the frames to generate...", ""
        if isinstance(answer, PreviewFailed):
            return f"? frames to generate: {answer.message}", ""
        unread = " and ".join(UNREAD.get(role, role) for role in answer.unread)
        return self._counted(answer.count), f"Not read yet: {unread}" if unread else ""

    def _counted(self, count: int) -> str:
        if not count:
            return f"No frame to generate: all {self._total} are there"
        seconds = f", about {duration(count * self.speed)}" if self.speed else ""
        return f"{count} of {self._total} frames to generate{seconds}"

    def preview(self, scene: bpy.types.Scene) -> None:
        """Have the dub's frame at the playhead made; raises AddonError."""
        draft = scene_plan.of(self._link.read(scene), self._folder)
        index = scene.frame_current - draft.placement.start
        if not 0 <= index < draft.plan.frame_count:
            raise AddonError("The playhead is not over the sound strip.", "Move it there.")
        self.problem = ""
        self._forget(lambda asked: asked.index is not None)
        self._ask(self._link.reach(), draft, index)

    def step(self) -> bool:
        """Look at the scene if it is time to; whether anything changed."""
        now = time.monotonic()
        scene = self._scene_to_look_at(now)
        if scene is None:
            return False
        if self._noted_change(scene, now):
            return True
        return now >= self._due and self._recount(scene)

    def _scene_to_look_at(self, now: float) -> bpy.types.Scene | None:
        """The scene that panels show, every `PAUSE` seconds while a server is there to be asked."""
        scene = sequencer.scene_by_uid(self._scene) if self._scene is not None else None
        if scene is None or self._link.info is None or now < self._next:
            return None
        self._next = now + PAUSE
        return scene

    def _noted_change(self, scene: bpy.types.Scene, now: float) -> bool:
        """Whether settings changed since the last look: then the answer no longer holds, and they have to settle."""
        signature = scene_signature.signature(self._link.read(scene))
        if signature == self._signature:
            return False
        self._signature, self._due, self._answer = signature, now + SETTLED, None
        return True

    def _recount(self, scene: bpy.types.Scene) -> bool:
        """The settings have settled: ask, unless the answer is there or awaited; whether anything changed."""
        self._scene = None
        awaited = any(asked.index is None for asked in self._asked.values())
        if self._answer is not None or awaited:
            return False
        self._count(scene)
        return True

    def _count(self, scene: bpy.types.Scene) -> None:
        """Ask what a dub of the scene would take, unless that is known."""
        self._forget(lambda asked: asked.index is None)
        try:
            reading = self._link.read(scene)
            if problem := reading.problem():
                raise AddonError(problem)
            around = (one for strip in reading.sources.sounds for one in sequencer.around(strip))
            if any(map(sequencer.is_retimed, around)):  # mixing it down would hold up the editor
                raise AddonError(RETIMED)
            draft = scene_plan.of(reading, self._folder)
            self._total = draft.plan.frame_count
            self._answer = self._known.get(_key(draft, None))
            if self._answer is None:
                self._ask(self._link.current(), draft, None)
        except AddonError as error:
            self._answer = PreviewFailed("", str(error))

    def _ask(self, endpoint: Endpoint, draft: scene_plan.Draft, index: int | None) -> None:
        assert draft.sound is not None
        file, sound = self._cut(draft.sound)
        uid = uuid.uuid4().hex
        plan = replace(draft.plan, uid=uid, speech=SpeechSource(file, draft.plan.speech.start))
        asked = self._asked[uid] = Asked(plan, _key(draft, index), index)
        self._link.send(uid, Request(endpoint, asked.send, partial(self._unsent, uid), sound))

    def _unsent(self, uid: str, error: Exception) -> None:
        self.end(PreviewFailed(uid, str(told("The preview could not be asked for", error))))

    def _cut(self, mix: audio.SoundMix) -> tuple[Path, Future[None]]:
        """The sound as a file, cut before if possible."""
        key = mix, tuple(_modified(cut.file) for _offset, cut in mix.cuts)
        if key not in self._sounds or self._sounds[key][1].cancelled():
            file = self._folder / f"{uuid.uuid4().hex}.wav"
            self._sounds[key] = file, self._cutter.submit(audio.write_mix, mix, file)
        self._sounds.move_to_end(key)
        while len(self._sounds) > 2:
            self._sounds.popitem(last=False)[1][0].unlink(missing_ok=True)
        return self._sounds[key]

    def end(self, event: PreviewEvent) -> None:
        """Take over an answer; one that nobody waits for any more is ignored."""
        asked = self._asked.pop(event.uid, None)
        if asked is None:
            return
        if asked.index is None:
            assert not isinstance(event, FramePreviewed)
            self._answer = self._known[asked.key] = event
            while len(self._known) > KEPT:
                self._known.popitem(last=False)
        elif isinstance(event, FramePreviewed):
            self.shown = event
            preview_image.show(event.png, self._folder)
            self.outdated()
        elif isinstance(event, PreviewFailed):
            self.problem = event.message

    def _forget(self, which: Callable[[Asked], bool]) -> None:
        for uid in [uid for uid, asked in self._asked.items() if which(asked)]:
            del self._asked[uid]
            self._link.cancel(uid)

    def clear(self) -> None:
        """Forget all, as when another file is opened."""
        self._forget(lambda _asked: True)
        self.outdated()
        self._answer = self._scene = self.shown = None
        self.problem = ""

    def close(self) -> None:
        """The end of the add-on."""
        self.clear()
        preview_image.forget()
        scratch.remove(self._folder)


def _key(draft: scene_plan.Draft, index: int | None) -> Hashable:
    return replace(draft.plan, uid=""), draft.sound, index


def _modified(file: Path) -> int:
    return file.stat().st_mtime_ns if file.is_file() else 0
