"""Frames to H.264 + AAC movies."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from math import floor
from pathlib import Path

import av

from model_server.pipeline.movies.movie_format import Drawn, MovieFormat
from model_server.pipeline.speech.soundtrack import AUDIO_RATE, soundtrack

TITLE = "PoseDub dub"
"""With which the title of every movie begins that is written here."""


def is_dub(path: Path) -> bool:
    """Whether a file is a movie that was written here."""
    try:
        with av.open(str(path)) as movie:
            return movie.metadata.get("title", "").startswith(TITLE)
    except (av.FFmpegError, OSError):
        return False


def write_movie(
    path: Path,
    pictures: Iterable[Drawn],
    fps: Fraction,
    sound: Path,
    start: Fraction,
    title: str,
    track: int = 0,
    lead: Fraction = Fraction(0),
    form: MovieFormat | None = None,
) -> None:
    """Write an MP4 of the pictures with a sound file's track beneath.

    Args:
        pictures: all alike, at `fps`.
        sound: media file; its second `start` plays with the first picture, cut at the last one's end.
        title: what follows `TITLE` in the file's title, for players to show.
        track: number of the sound track, as in `soundtrack`.
        lead: seconds of the sound that are heard before the first picture is shown, in whole frames.
        form: how the pictures are stored; by default as suits RGB pictures that are drawn.
    """
    with av.open(str(path), "w", format="mp4") as movie:
        movie.metadata["title"] = f"{TITLE}, {title}"
        picture_track = movie.add_stream("libx264", rate=fps)
        sound_track = movie.add_stream("aac", rate=AUDIO_RATE)
        count, first = 0, floor(lead * fps)
        for count, picture in enumerate(pictures, 1):
            if count == 1:
                used = form or MovieFormat.of(picture)
                used.apply(picture_track)
            frame = used.frame(picture)
            frame.pts, frame.time_base = first + count - 1, 1 / fps
            movie.mux(picture_track.encode(frame))
        movie.mux(picture_track.encode(None))
        for block in soundtrack(sound, track, start - Fraction(first) / fps, start + Fraction(count) / fps):
            movie.mux(sound_track.encode(block))
        movie.mux(sound_track.encode(None))
