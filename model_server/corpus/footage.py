"""Clips from footage: 25 fps by presentation time, faces followed and aligned as the pipeline does, sound, labels.

A video is cut into stretches of at most `max_frames`; of each stretch the longest run in which one face is followed
without a jump becomes a clip. Landmarks and head angles are the mesh's estimates.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import groupby
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model_server import scratch
from model_server.corpus.build import Made, Plan, Shares
from model_server.corpus.labels import lip_opening
from model_server.corpus.layouts import SourceVideo
from model_server.corpus.mesh import MeshFace, MeshReader
from model_server.corpus.pictures import encode_jpeg
from model_server.corpus.shards import FPS, Clip, Dropped, Entry
from model_server.corpus.sound import clip_mel
from model_server.corpus.speech.clips import encoded_sound
from model_server.errors import PoseDubError
from model_server.pipeline.faces.alignment import clip_transforms, warp
from model_server.pipeline.faces.finder import FaceFinder, FoundFace, choose
from model_server.pipeline.media.containers import open_media, pictures_begin
from model_server.pipeline.media.video import Footage, Video
from model_server.pipeline.speech.audio import SAMPLE_RATE, SpeechFile, decode_speech

VIDEOS_PER_UNIT = 8
_SILENT_RMS = 1e-4
_JUMP = 0.5  # of the face's width between two frames is another face
UNSEEN_SHARE = 0.1  # of a clip's crops may lack a mesh; neighbours lend them theirs


@dataclass(frozen=True)
class Settings:
    """What a corpus of footage depends on, beside the videos.

    Attributes:
        max_frames: longer videos are cut into several clips.
        min_frames: shorter clips are dropped.
        min_face: narrower faces are dropped, pixels.
    """

    max_frames: int = 250
    min_frames: int = 25
    min_face: int = 60


class Unfit(Exception):
    """Why a stretch gives no clip."""


@dataclass(frozen=True)
class VideoMaker:
    """Makes the clips of a few videos, the unit of work."""

    settings: Settings

    def __call__(self, videos: Sequence[SourceVideo]) -> Made:
        """Clips of these videos; whatever gives none is listed with its reason."""
        clips: list[Clip] = []
        dropped: list[Dropped] = []
        for video in videos:
            try:
                self._add(video, clips, dropped)
            except PoseDubError as error:
                dropped.append(Dropped(video.name, error.message))
            except Unfit as reason:
                dropped.append(Dropped(video.name, str(reason)))
        return clips, dropped

    def _add(self, video: SourceVideo, clips: list[Clip], dropped: list[Dropped]) -> None:
        """Add the clips of one video, stretch by stretch."""
        with scratch.folder() as folder:
            footage = Video(video.path)
            speech = speech_of(video.path, folder)
            frames = frames_at_25(footage)
            for part, first in enumerate(range(0, len(frames), self.settings.max_frames)):
                name = f"{video.name}.{part}" if len(frames) > self.settings.max_frames else video.name
                try:
                    stretch = frames[first : first + self.settings.max_frames]
                    clips.append(_clip(video, name, footage, stretch, first, speech, self.settings))
                except Unfit as reason:
                    dropped.append(Dropped(name, str(reason)))


def plan(videos: Sequence[SourceVideo], settings: Settings, shares: Shares) -> Plan:
    """Plan of a corpus of footage, split by identity, or by video when all show one person."""
    people = {video.identity for video in videos}
    by_video = len(people) == 1
    splits = shares.assign([video.name for video in videos] if by_video else people)

    def split(entry: Entry) -> str:
        return splits[entry.name.split(".")[0] if by_video else entry.identity]

    units = [tuple(videos[k : k + VIDEOS_PER_UNIT]) for k in range(0, len(videos), VIDEOS_PER_UNIT)]
    names = [video.name for video in videos]
    recorded = {"generator": "footage", **asdict(settings), "shares": asdict(shares), "videos": names}
    return Plan(units, VideoMaker(settings), split, recorded)


def speech_of(path: Path, folder: Path) -> SpeechFile:
    """The sound from the first picture on."""
    with open_media(path) as container:
        if not container.streams.audio:
            raise Unfit("without sound")
    speech = decode_speech(path, folder / "speech", pictures_begin(path))
    if speech.rms < _SILENT_RMS:
        raise Unfit("silent")
    return speech


def frames_at_25(footage: Video) -> list[int]:
    """Index of the frame on screen in the middle of each 25th of a second."""
    count = int(footage.duration * FPS)
    return [footage.index_at(Fraction(2 * k + 1, 2 * FPS)) for k in range(count)]


def _clip(
    video: SourceVideo,
    name: str,
    footage: Footage,
    frames: list[int],
    offset: int,
    speech: SpeechFile,
    settings: Settings,
) -> Clip:
    """The clip of a stretch whose first frame is frame `offset` of the video at 25 fps."""
    first, faces = _longest_run(_follow(footage, frames))
    if not faces:
        raise Unfit("no face")
    if len(faces) < settings.min_frames:
        raise Unfit(f"face shown for less than {settings.min_frames} frames")
    if np.mean([_width(face) for face in faces]) < settings.min_face:
        raise Unfit(f"face narrower than {settings.min_face} pixels")
    crops = list(_crops(footage, frames[first : first + len(faces)], faces))
    landmarks, angles = _mesh_labels(crops)
    samples = samples_of(speech, offset + first, len(faces) + FPS)
    return Clip(
        name=name,
        identity=video.identity,
        source=video.source,
        jpegs=tuple(encode_jpeg(crop) for crop in crops),
        mel=clip_mel(samples, len(faces), speech.rms),
        angles=angles,
        landmarks=landmarks,
        opening=lip_opening(landmarks),
        sound=encoded_sound(samples),
    )


def _follow(footage: Footage, frames: list[int]) -> list[FoundFace | None]:
    """The face of each frame, the largest one first and then the same."""
    faces: list[FoundFace | None] = []
    last: FoundFace | None = None
    for _, picture in footage.iter_frames(frames):
        size = (picture.shape[1], picture.shape[0])
        face = finder().follow(picture, last) if last else choose(finder().find(picture), None, size)
        faces.append(face)
        last = face or last
    return faces


def _longest_run(faces: Sequence[FoundFace | None]) -> tuple[int, list[FoundFace]]:
    """First index and faces of the longest run without a gap or a jump."""
    run = np.zeros(len(faces), int)
    for k in range(1, len(faces)):
        run[k] = run[k - 1] + (not _together(faces[k - 1], faces[k]))
    runs = [list(group) for _, group in groupby(range(len(faces)), key=lambda k: run[k])]
    longest = max((group for group in runs if faces[group[0]]), key=len, default=[])
    return (longest[0] if longest else 0), [face for k in longest if (face := faces[k])]


def _together(one: FoundFace | None, other: FoundFace | None) -> bool:
    if one is None or other is None:
        return False
    moved = np.hypot(other.center[0] - one.center[0], other.center[1] - one.center[1])
    return bool(moved < _JUMP * _width(one))


def _width(face: FoundFace) -> float:
    return face.box[2] - face.box[0]


def _crops(footage: Footage, frames: list[int], faces: Sequence[FoundFace]) -> Iterator[NDArray[np.uint8]]:
    transforms = clip_transforms(np.stack([face.points for face in faces]))
    for (_, picture), matrix in zip(footage.iter_frames(frames), transforms, strict=True):
        yield warp(picture, matrix)


def _mesh_labels(crops: Sequence[NDArray[np.uint8]]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Landmarks (n, 68, 2) and angles (n, 3) of crops; the nearest frame stands in for one without a mesh."""
    found = [(k, face) for k, crop in enumerate(crops) if (face := mesh_reader().read(crop))]
    if len(found) < (1 - UNSEEN_SHARE) * len(crops):
        raise Unfit("no landmarks in more than a tenth of the frames")
    shown = np.array([k for k, _ in found])
    nearest: list[MeshFace] = [found[int(np.abs(shown - k).argmin())][1] for k in range(len(crops))]
    return np.stack([face.landmarks for face in nearest]), np.stack([face.angles for face in nearest])


def samples_of(speech: SpeechFile, first: int, frames: int) -> NDArray[np.float32]:
    """Sound of `frames` frames from frame `first` of the video on, as far as it goes."""
    per_frame = SAMPLE_RATE // FPS
    count = max(min(frames * per_frame, speech.samples - first * per_frame), 0)
    return (
        np.fromfile(speech.path, np.float32, count=count, offset=4 * first * per_frame)
        if count
        else np.zeros(0, np.float32)
    )


@lru_cache(maxsize=1)
def finder() -> FaceFinder:
    return FaceFinder()


@lru_cache(maxsize=1)
def mesh_reader() -> MeshReader:
    return MeshReader()
