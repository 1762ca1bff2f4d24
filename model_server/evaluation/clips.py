"""What is evaluated: clips of a corpus or videos, each as true network views, mel windows and sound."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from model_server.corpus.layouts import SourceVideo
from model_server.corpus.lids import lids_of
from model_server.corpus.pictures import decode_jpeg
from model_server.corpus.shards import FPS, Clip, Corpus, windows
from model_server.corpus.speech.clips import decoded_samples
from model_server.errors import PoseDubError
from model_server.evaluation.views import Pictures, ViewStore
from model_server.features import SAMPLE_RATE, MelWindows
from model_server.pipeline.faces.alignment import network_view
from model_server.pipeline.faces.finder import FaceFinder
from model_server.pipeline.faces.portrait import portrait_views
from model_server.pipeline.faces.pose import read_pose
from model_server.pipeline.faces.pose_reading import PoseReader
from model_server.pipeline.media.containers import pictures_begin
from model_server.pipeline.media.video import Video
from model_server.pipeline.request import SIZE, FaceSelection, Portrait
from model_server.pipeline.speech.audio import SpeechFile, decode_speech

_HIDDEN_SHARE = 0.1  # of a video's frames may show no face; neighbours stand in for them

Windows = NDArray[np.float32]


class EvalClip(Protocol):
    """A true clip at 25 fps."""

    @property
    def name(self) -> str:
        """Unique name."""
        ...

    @property
    def identity(self) -> str:
        """The person."""
        ...

    @property
    def count(self) -> int:
        """Number of frames."""
        ...

    @property
    def angles(self) -> NDArray[np.float32] | None:
        """Exact yaw, pitch and roll (n, 3) of a rendered clip in degrees, else None."""
        ...

    @property
    def lids(self) -> NDArray[np.float32] | None:
        """How far the lids are closed in each frame, 0 to 1, (n,); None where that is not known."""
        ...

    def views(self, first: int, end: int) -> Pictures:
        """True network views (m, 224, 224, 3)."""
        ...

    def windows(self, indices: Sequence[int]) -> Windows:
        """Mel windows (m, 80, 20) in [0, 1] of frames, also of indices outside the clip, where it is silent."""
        ...

    def samples(self, first: int, end: int) -> NDArray[np.float32] | None:
        """Sound at 16 kHz in [-1, 1] with zeros outside the clip; None where only mel features are kept."""
        ...


class TakeSound:
    """Implements `Sound` with a take's, in whole.

    Raises:
        PoseDubError: the take keeps no sound.
    """

    def __init__(self, take: EvalClip) -> None:
        samples = take.samples(0, take.count * SAMPLE_RATE // FPS)
        if samples is None:
            raise PoseDubError(f"The clip {take.name} keeps no sound; give videos, or build its corpus again.")
        self._samples = samples

    @property
    def rms(self) -> float:
        """See `Sound.rms`."""
        return float(np.std(self._samples.astype(np.float64)))

    def read(self, first: int, count: int) -> NDArray[np.float32]:
        """See `Sound.read`."""
        return samples_at(self._samples, first, first + count)


def samples_at(samples: NDArray[np.float32], first: int, end: int) -> NDArray[np.float32]:
    """Samples `first` to `end`, zeros where there are none."""
    inside = samples[max(first, 0) : max(end, 0)]
    before = min(max(-first, 0), end - first)
    return np.pad(inside, (before, end - first - before - len(inside)))


class EvalSource(Protocol):
    """A take that is not opened yet."""

    @property
    def name(self) -> str:
        """Unique name."""
        ...

    @property
    def identity(self) -> str:
        """The person."""
        ...

    def portrait(self) -> Pictures:
        """Network view (224, 224, 3) of its first frame."""
        ...

    def open(self, folder: Path) -> EvalClip:
        """Read it, with temporary files in `folder`; PoseDubError when it cannot be used."""
        ...


class CorpusClip:
    """A corpus clip as a take; corpora of before sounds were kept have only its mel features."""

    def __init__(self, clip: Clip) -> None:
        self._clip = clip
        self.name, self.identity, self.count = clip.name, clip.identity, len(clip.jpegs)
        self.angles = clip.angles if clip.source == "synthetic" else None
        self.lids = lids_of(clip)
        self._sound = decoded_samples(clip.sound) if clip.sound else None

    def views(self, first: int, end: int) -> Pictures:
        """See `EvalClip.views`."""
        return np.stack([network_view(decode_jpeg(jpeg)) for jpeg in self._clip.jpegs[first:end]])

    def windows(self, indices: Sequence[int]) -> Windows:
        """See `EvalClip.windows`."""
        return windows(self._clip, indices)

    def samples(self, first: int, end: int) -> NDArray[np.float32] | None:
        """See `EvalClip.samples`."""
        return None if self._sound is None else samples_at(self._sound, first, end)


@dataclass(frozen=True)
class CorpusSource:
    """A clip of a corpus, by name."""

    corpus: Corpus
    name: str

    @property
    def identity(self) -> str:
        """The person."""
        return self.corpus.entry(self.name).identity

    def portrait(self) -> Pictures:
        """See `EvalSource.portrait`."""
        return self.open(Path()).views(0, 1)[0]

    def open(self, folder: Path) -> CorpusClip:
        """See `EvalSource.open`."""
        return CorpusClip(self.corpus.clip(self.name))


class VideoClip:
    """A video as a take: faces followed and aligned by the pipeline, the result kept on disk.

    Raises:
        PoseDubError: unreadable, without sound, or a tenth of its frames show no face.
    """

    angles = None

    def __init__(self, video: SourceVideo, folder: Path, max_frames: int | None = None) -> None:
        self.name, self.identity = video.name, video.identity
        count = int(Video(video.path).duration * FPS)
        self.count = min(count, max_frames or count)
        self._store = ViewStore(folder)
        self._speech = _speech(video.path, folder / f"{video.name}.f32")
        self._mel = MelWindows(self._speech, Fraction(FPS))
        self._rows = self._read(video.path)

    def _read(self, path: Path) -> NDArray[np.int64]:
        """Store the views; the number of the view on screen at each frame, (n,)."""
        times = [Fraction(2 * k + 1, 2 * FPS) for k in range(self.count)]
        if not times:
            raise PoseDubError(f"The video {path.name} is shorter than a frame; choose another.")
        # The pose reader aligns the pictures; instead of pose codes it is given each view's number.
        track = read_pose(path, FaceSelection(), times, PoseReader(self._keep), FaceFinder)
        hidden = sum(end - first for first, end in track.without_face)
        if hidden > _HIDDEN_SHARE * self.count:
            raise PoseDubError(f"{hidden} of {self.count} frames of {path.name} show no face; choose another video.")
        self.lids: NDArray[np.float32] | None = track.lids
        return track.codes[:, 0].astype(np.int64)

    def _keep(self, views: Pictures) -> NDArray[np.float32]:
        first = self._store.count
        self._store.append(views)
        return np.arange(first, self._store.count, dtype=np.float32)[:, None]

    def views(self, first: int, end: int) -> Pictures:
        """See `EvalClip.views`."""
        return np.concatenate([self._store.views(row, row + 1) for row in self._rows[first:end]])

    def windows(self, indices: Sequence[int]) -> Windows:
        """See `EvalClip.windows`."""
        return self._mel.windows(indices)

    def samples(self, first: int, end: int) -> NDArray[np.float32]:
        """See `EvalClip.samples`."""
        sound = np.zeros(end - first, np.float32)
        begin, stop = max(first, 0), min(end, self._speech.samples)
        if begin < stop:
            sound[begin - first : stop - first] = np.fromfile(
                self._speech.path, np.float32, count=stop - begin, offset=4 * begin
            )
        return sound


@dataclass(frozen=True)
class VideoSource:
    """A video file as a source of a take."""

    video: SourceVideo
    max_frames: int | None = None

    @property
    def name(self) -> str:
        """Name of the video."""
        return self.video.name

    @property
    def identity(self) -> str:
        """The person."""
        return self.video.identity

    def portrait(self) -> Pictures:
        """See `EvalSource.portrait`."""
        return portrait_of(self.video.path)

    def open(self, folder: Path) -> VideoClip:
        """See `EvalSource.open`."""
        return VideoClip(self.video, folder, self.max_frames)


def portrait_of(path: Path) -> Pictures:
    """Network view (224, 224, 3) of a picture's or a movie's first face; PoseDubError when there is none."""
    return portrait_views(path, Portrait(path.name), SIZE, FaceFinder).seen


def _speech(path: Path, out: Path) -> SpeechFile:
    """The sound from the first picture on."""
    return decode_speech(path, out, pictures_begin(path))
