"""Timelines of OpenTimelineIO: shots of the clips that are marked, and the results as these clips' media.

A clip is marked by a marker named PoseDub, or by metadata "posedub", which may hold options as a list of shots does.
Its sound is the one named there, else what an audio track plays with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from math import ceil
from os.path import relpath
from pathlib import Path
from typing import Any

from model_server.cli.batch_report import FAILED, Outcome
from model_server.cli.options import is_movie
from model_server.cli.shots import Shot, option
from model_server.errors import ErrorKind, PoseDubError

KEY = "posedub"
LACKING = "Timelines need OpenTimelineIO; install it: pip install 'posedub[studio]'."
# NTSC's rates have this denominator; OpenTimelineIO keeps rates as floats.
_DENOMINATOR = 1001


class Timeline:
    """An edit whose marked clips are shots.

    Attributes:
        shots: of the marked clips, in order of their tracks.

    Raises:
        PoseDubError: the file is no timeline, or none of its clips is marked.
    """

    def __init__(self, path: Path) -> None:
        self._otio, self._path = library(), path
        try:
            self._timeline = self._otio.adapters.read_from_file(str(path))
            self._clips = [clip for clip in self._timeline.find_clips() if _marked(clip)]
        except Exception as error:  # noqa: BLE001 - the library raises errors of any kind for what it cannot read
            raise PoseDubError(f"{path} cannot be read as a timeline ({error}).", ErrorKind.CORRUPT) from error
        self._by_name = dict(zip(_names(self._clips), self._clips, strict=True))
        self.shots = [self._shot(name, clip) for name, clip in self._by_name.items()]
        if not self.shots:
            raise PoseDubError(f"{path} has no marked clip; put a marker named PoseDub on those that are to be dubbed.")

    def write(self, outcomes: Mapping[str, Outcome], path: Path) -> None:
        """The edit with the dubs that were made as their clips' media, beside what these had."""
        for name, clip in self._by_name.items():
            outcome = outcomes.get(name)
            if outcome and outcome.state != FAILED:
                clip.set_media_references({**clip.media_references(), KEY: self._media(clip, outcome, path)}, KEY)
                clip.metadata[KEY] = {**clip.metadata.get(KEY, {}), "job": outcome.job}
        self._otio.adapters.write_to_file(self._timeline, str(path))

    def _shot(self, name: str, clip: Any) -> Shot:
        where, folders = f"the clip {clip.name!r}", (self._path.parent,)
        try:
            return Shot(name, where, self._options(clip, where), folders)
        except PoseDubError as error:
            return Shot(name, where, {}, folders, error.message)

    def _options(self, clip: Any, where: str) -> dict[str, str]:
        if clip.effects:
            raise PoseDubError(f"{where} is retimed or has other effects; render it, and dub the result.")
        given = dict(option(key, value) for key, value in clip.metadata.get(KEY, {}).items() if key != "job")
        trimmed = clip.trimmed_range()
        fps = rate_of(trimmed.duration)
        placed = {"into": str(self._file(clip)), "into-start": str(_into(clip)), "fps": str(fps), "frames": ""}
        options = placed | self._sound(clip, where, given) | given
        return options | {"frames": str(ceil(_seconds(trimmed.duration) * Fraction(options["fps"])))}

    def _sound(self, clip: Any, where: str, given: Mapping[str, str]) -> dict[str, str]:
        if "audio" in given:
            return {"audio-start": "0"}
        begin, end = self._span(clip)
        for other in self._heard():
            first, last = self._span(other)
            if first < end and begin < last:
                return {"audio": str(self._file(other)), "audio-start": str(_into(other) + begin - first)}
        raise PoseDubError(f"{where} has no sound beneath it; put one on an audio track, or name it in its metadata.")

    def _heard(self) -> Iterator[Any]:
        for track in self._timeline.audio_tracks():
            yield from (clip for clip in track.find_clips() if track.enabled and clip.enabled)

    def _span(self, clip: Any) -> tuple[Fraction, Fraction]:
        """Seconds of the timeline at which a clip begins and ends."""
        placed = clip.transformed_time_range(clip.trimmed_range(), self._timeline.tracks)
        begin = _seconds(placed.start_time)
        return begin, begin + _seconds(placed.duration)

    def _file(self, clip: Any) -> Path:
        """The media of a clip: a file, or the folder of its frames."""
        reference = clip.media_reference
        url = getattr(reference, "target_url", "") or getattr(reference, "target_url_base", "")
        if not url:
            raise PoseDubError(f"The clip {clip.name!r} has no media; link it, and write the timeline again.")
        return self._path.parent / self._otio.url_utils.filepath_from_url(url)

    def _media(self, clip: Any, outcome: Outcome, path: Path) -> Any:
        """The dub, its first frame where the clip's own media is trimmed."""
        time = self._otio.opentime
        trimmed = clip.trimmed_range()
        rate = trimmed.duration.rate
        first, count = (time.RationalTime(number, rate) for number in (outcome.first, outcome.frames))
        shown = time.TimeRange(trimmed.start_time + first, count)
        made = Path(relpath(outcome.out, path.parent)).as_posix()
        if is_movie(Path(outcome.out)):
            return self._otio.schema.ExternalReference(made, shown)
        return self._otio.schema.ImageSequenceReference(
            target_url_base=f"{made}/",
            name_suffix=".png",
            start_frame=outcome.first,
            frame_step=1,
            rate=rate,
            frame_zero_padding=6,
            available_range=shown,
        )


def library() -> Any:
    """OpenTimelineIO; PoseDubError where it is not installed."""
    try:
        import opentimelineio
    except ImportError as error:
        raise PoseDubError(LACKING, ErrorKind.UNSUPPORTED) from error
    return opentimelineio


def rate_of(time: Any) -> Fraction:
    """The rate of a time, exact."""
    return Fraction(time.rate).limit_denominator(_DENOMINATOR)


def _seconds(time: Any) -> Fraction:
    return Fraction(time.value).limit_denominator(10**6) / rate_of(time)


def _into(clip: Any) -> Fraction:
    """Second of a clip's media at which the clip begins."""
    available = clip.media_reference.available_range
    begin = _seconds(clip.trimmed_range().start_time)
    return begin - (_seconds(available.start_time) if available else 0)


def _marked(clip: Any) -> bool:
    return KEY in clip.metadata or any(marker.name.lower() == KEY for marker in clip.markers)


def _names(clips: Iterable[Any]) -> list[str]:
    """A folder's name for each clip; edits may have several clips of one name."""
    names: list[str] = []
    for clip in clips:
        plain = "".join(one if one.isalnum() or one in " -_." else "_" for one in clip.name).strip(" .") or "clip"
        same = sum(name == plain or name.startswith(f"{plain}~") for name in names)
        names.append(f"{plain}~{same + 1}" if same else plain)
    return names
