"""One real actor's footage: a fixed view of each video, at exactly 25 frames a second, with all silence kept.

Head angles are measured as in dubs that take them from a video, so that asked and learnt ones mean the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from model_server import scratch
from model_server.corpus.actor.clips import FPS, ActorClip, fitted_sound, read_actor_clip
from model_server.corpus.actor.statistics import AXES, movement, quiet_share
from model_server.corpus.build import Made, Plan, Shares
from model_server.corpus.footage import (
    UNSEEN_SHARE,
    VIDEOS_PER_UNIT,
    Unfit,
    finder,
    frames_at_25,
    mesh_reader,
    samples_of,
    speech_of,
)
from model_server.corpus.layouts import SourceVideo
from model_server.corpus.mesh import MeshFace
from model_server.corpus.pictures import decode_jpeg, encode_jpeg
from model_server.corpus.shards import Corpus, Dropped
from model_server.corpus.speech.clips import encoded_sound
from model_server.errors import ErrorKind, PoseDubError
from model_server.features import CROP_SIDE
from model_server.pipeline.faces.alignment import average_similarity, view_transform, warp_to
from model_server.pipeline.faces.face_reid import FaceFeature, face_feature
from model_server.pipeline.faces.finder import FoundFace
from model_server.pipeline.faces.pose_reading import measured_angles
from model_server.pipeline.faces.shots import ShotDetector
from model_server.pipeline.media.video import Video
from model_server.pipeline.speech.audio import SpeechFile

Floats = NDArray[np.floating]

_LOOK_EVERY = 5  # frames between those whose faces are looked for
_SEEN_SHARE, _OTHERS_SHARE = 0.9, 0.1  # of those: must show a face; may show a second one
_OTHER_SIZE = 0.4  # of the actor's face's width from which another face counts
_SLOWEST = 20  # frames a second
_OUTSIDE = 0.15  # part of the view that may lie outside of the picture
_LEAST_CLIP = 2 * FPS
_LEFT_EYE, _RIGHT_EYE = slice(36, 42), slice(42, 48)
_OPEN_SHARE = 80  # percentile of the lids' gap that counts as open
_SHUT = 0.5  # part of that gap that the mesh sees of shut lids
_ALIKE, _COMPARED = 1.9, 40  # distance below which faces are one person's; clips that are compared
_STRANGERS = 0.05  # part of those that may be unlike all others, as a face in mid-blink is
_FEW_MINUTES, _FEW_DEGREES, _LITTLE_SILENCE = 3.0, 6.0, 0.02


@dataclass(frozen=True)
class Settings:
    """What an actor's corpus depends on, beside the videos.

    Attributes:
        size: side of the pictures, pixels.
        max_frames: longer videos are cut into several clips, all of one view.
        min_face: narrower faces are dropped, pixels.
        min_minutes: with less footage nothing can be trained.
    """

    size: int = 128
    max_frames: int = 500
    min_face: int = 60
    min_minutes: float = 1.0


@dataclass(frozen=True)
class ActorFootageMaker:
    """Makes the clips of a few videos, the unit of work."""

    settings: Settings

    def __call__(self, videos: Sequence[SourceVideo]) -> Made:
        """Clips of these videos; whatever gives none is listed with its reason."""
        clips: list[ActorClip] = []
        dropped: list[Dropped] = []
        for video in videos:
            try:
                clips += _clips(video, self.settings)
            except PoseDubError as error:
                dropped.append(Dropped(video.name, error.message))
            except Unfit as reason:
                dropped.append(Dropped(video.name, str(reason)))
        return clips, dropped


def plan(videos: Sequence[SourceVideo], settings: Settings, shares: Shares) -> Plan:
    """Plan of an actor's corpus, split by video.

    Raises:
        PoseDubError: the folders name several people.
    """
    people = sorted({video.identity for video in videos})
    if len(people) > 1:
        told = ", ".join(people[:5]) + (", ..." if len(people) > 5 else "")
        raise PoseDubError(f"The sources show several people ({told}); give the footage of one actor.")
    splits = shares.assign(video.name for video in videos)
    units = [tuple(videos[k : k + VIDEOS_PER_UNIT]) for k in range(0, len(videos), VIDEOS_PER_UNIT)]
    names = [video.name for video in videos]
    recorded = {"generator": "actor footage", **asdict(settings), "shares": asdict(shares), "videos": names}
    return Plan(units, ActorFootageMaker(settings), lambda entry: splits[entry.name.split(".")[0]], recorded)


def check(corpus: Corpus, settings: Settings) -> list[str]:
    """Sentences about what will hardly work with an actor's corpus.

    Raises:
        PoseDubError: it cannot work at all: no clips, too little footage, or several people.
    """
    reasons = sorted({item.reason for item in corpus.index.dropped})
    minutes = sum(entry.frames for entry in corpus.entries) / FPS / 60
    if minutes < settings.min_minutes:
        why = f" (left out: {'; '.join(reasons[:3])})" if reasons else ""
        raise PoseDubError(
            f"The footage gives {minutes:.1f} minutes of one actor{why}; DAE-Talker needs at least "
            f"{settings.min_minutes:g}, better 3 to 12, with a fixed camera and light.",
            ErrorKind.UNSUPPORTED,
        )
    clips = [read_actor_clip(corpus, name) for name in corpus.names()]
    stranger = _stranger(clips)
    if stranger:
        sentence = f"The clips {clips[0].name} and {stranger} seem to show different people; give footage of one actor."
        raise PoseDubError(sentence, ErrorKind.UNSUPPORTED)
    return _advice(clips, minutes)


def _advice(clips: Sequence[ActorClip], minutes: float) -> list[str]:
    moved, lines = movement([clip.angles for clip in clips]), []
    if minutes < _FEW_MINUTES:
        lines.append(f"{minutes:.1f} minutes are little; 3 to 12 give clearer lips.")
    spans = zip(AXES, moved.highest - moved.lowest, strict=True)
    still = [name for name, span in spans if span < _FEW_DEGREES]
    if still:
        lines.append(f"The head hardly moves in {', '.join(still)}: such poses cannot be asked for later.")
    if quiet_share(clips) < _LITTLE_SILENCE:
        lines.append("There is hardly any silence: lips may not rest in pauses; add some seconds without speech.")
    return lines


def _clips(video: SourceVideo, settings: Settings) -> list[ActorClip]:
    """The clips of one video, all of one view."""
    with scratch.folder() as folder:
        footage = Video(video.path)
        if len(footage.times) < _SLOWEST * footage.duration:
            raise Unfit(f"fewer than {_SLOWEST} frames a second")
        speech, frames = speech_of(video.path, folder), frames_at_25(footage)
        view = _view(footage, frames, settings)
        made = []
        for part, first in enumerate(range(0, len(frames), settings.max_frames)):
            stretch = frames[first : first + settings.max_frames]
            if len(stretch) >= _LEAST_CLIP:
                name = f"{video.name}.{part}" if len(frames) > settings.max_frames else video.name
                made.append(_clip(video, name, footage, stretch, first, view, speech, settings))
    if not made:
        raise Unfit(f"shorter than {_LEAST_CLIP // FPS} seconds")
    return made


def _view(footage: Video, frames: Sequence[int], settings: Settings) -> Floats:
    """Transform (2, 3) to the one view of a video, in `size` pixels squared; checks that a fixed view will do."""
    shots, faces, others = ShotDetector(), [], 0
    for k, (_, picture) in enumerate(footage.iter_frames(frames)):
        shots.feed(picture)
        if k % _LOOK_EVERY == 0:
            found = finder().find(picture)
            faces.append(found[0] if found else None)
            others += sum(_width(face) > _OTHER_SIZE * _width(found[0]) for face in found[1:]) > 0
            height, width = picture.shape[:2]
    if len(shots.starts) > 1:
        raise Unfit(f"cut at {shots.starts[1] / FPS:.1f} s")
    seen = [face for face in faces if face]
    if len(seen) < max(_SEEN_SHARE * len(faces), 1):
        raise Unfit("no face" if not seen else f"no face in {len(faces) - len(seen)} of {len(faces)} frames looked at")
    if others > _OTHERS_SHARE * len(faces):
        raise Unfit("several people")
    if np.mean([_width(face) for face in seen]) < settings.min_face:
        raise Unfit(f"face narrower than {settings.min_face} pixels")
    matrix = view_transform(average_similarity(np.stack([face.points for face in seen])), settings.size)
    if _outside(matrix, settings.size, width, height) > _OUTSIDE:
        raise Unfit("face too near the picture's edge")
    return matrix


def _outside(matrix: Floats, size: int, width: int, height: int) -> float:
    """Part of the view that lies outside of the picture."""
    inside = cv2.warpAffine(np.ones((height, width), np.uint8), matrix, (size, size))
    return 1 - float(inside.mean())


def _width(face: FoundFace) -> float:
    return face.box[2] - face.box[0]


def _clip(
    video: SourceVideo,
    name: str,
    footage: Video,
    frames: Sequence[int],
    first: int,
    view: Floats,
    speech: SpeechFile,
    settings: Settings,
) -> ActorClip:
    """The clip of a stretch whose first frame is frame `first` of the video at 25 fps."""
    pictures, large, faces = [], [], []
    for picture, enlarged in _views(footage, frames, view, settings.size):
        pictures.append(encode_jpeg(picture, fine=True))
        large.append(enlarged)
        faces.append(mesh_reader().read(enlarged))
    landmarks = _landmarks(faces)
    angles = measured_angles(large, finder())
    if angles is None:
        raise Unfit("no head angles can be measured")
    return ActorClip(
        name=name,
        identity=video.identity,
        source="footage",
        jpegs=tuple(pictures),
        sound=encoded_sound(fitted_sound(samples_of(speech, first, len(frames)), len(frames))),
        angles=angles,
        lids=lid_closure(landmarks),
        landmarks=landmarks * np.float32(settings.size / CROP_SIDE),
    )


def _views(
    footage: Video, frames: Sequence[int], view: Floats, size: int
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    """The view of each frame, and the same in 224 pixels, as the face mesh wants it."""
    scale = CROP_SIDE / size
    large = view * scale
    large[:, 2] += (scale - 1) / 2  # pixel centres lie at halves on both sides
    for _, picture in footage.iter_frames(frames):
        small = warp_to(picture, view, (size, size), cv2.BORDER_REFLECT, smooth=True)
        yield small, warp_to(picture, large, (CROP_SIDE, CROP_SIDE), cv2.BORDER_REFLECT)


def _landmarks(faces: Sequence[MeshFace | None]) -> NDArray[np.float32]:
    """Landmarks (n, 68, 2); the nearest frame stands in for one without a mesh."""
    shown = np.array([k for k, face in enumerate(faces) if face])
    if len(shown) < (1 - UNSEEN_SHARE) * len(faces):
        raise Unfit("no landmarks in more than a tenth of the frames")
    nearest = [faces[shown[np.abs(shown - k).argmin()]] for k in range(len(faces))]
    return np.stack([face.landmarks for face in nearest if face])


def lid_closure(landmarks: Floats) -> NDArray[np.float32]:
    """Closure of the lids (n,), 0 to 1, of landmarks (n, 68, 2): their gap against how open they mostly are."""
    gaps = np.mean([_gap(landmarks[:, eye]) for eye in (_LEFT_EYE, _RIGHT_EYE)], axis=0)
    opened = max(float(np.percentile(gaps, _OPEN_SHARE)), 1e-6)
    return np.clip((1 - gaps / opened) / (1 - _SHUT), 0, 1).astype(np.float32)


def _gap(eye: Floats) -> Floats:
    """Gap of the lids over the eye's width (n,), of its six points (n, 6, 2)."""
    upper, lower = eye[:, 1:3], eye[:, [5, 4]]
    width = np.linalg.norm(eye[:, 0] - eye[:, 3], axis=1)
    return np.linalg.norm(upper - lower, axis=2).mean(axis=1) / np.maximum(width, 1e-6)


def _stranger(clips: Sequence[ActorClip]) -> str | None:
    """A clip that shows somebody else than the first one, through all that lie between them."""
    chosen = [clips[k] for k in np.unique(np.linspace(0, len(clips) - 1, _COMPARED).astype(int))]
    features = [(clip.name, feature) for clip in chosen if (feature := _looks(clip))]
    known, unknown = features[:1], features[1:]
    while joined := [one for one in unknown if any(one[1].distance(other[1]) < _ALIKE for other in known)]:
        known += joined
        unknown = [one for one in unknown if all(one is not other for other in joined)]
    return unknown[0][0] if len(unknown) > _STRANGERS * len(features) else None


def _looks(clip: ActorClip) -> FaceFeature | None:
    """What the face looks like in the clip's most frontal frame."""
    picture = decode_jpeg(clip.jpegs[int(np.abs(clip.angles[:, :2]).sum(axis=1).argmin())])
    large = np.asarray(cv2.resize(picture, (2 * CROP_SIDE,) * 2, interpolation=cv2.INTER_CUBIC), np.uint8)
    face = finder().filling(large)
    return face_feature(large, face) if face else None
