"""Contact sheets: what went in and what came out, moment by moment."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from model_server.pipeline.faces.pose import source_frames
from model_server.pipeline.media.video import Picture, open_footage, picture_at
from model_server.pipeline.speech.audio import SAMPLE_RATE, decode_speech

CELL, COLUMNS, EDGE, WAVE, LINE = 200, 7, 12, 56, 30
INK, PAPER, FAINT = (235, 235, 235), (32, 32, 34), (120, 170, 210)


def make_sheet(
    sound: Path,
    frames: list[Path],
    fps: Fraction,
    note: str,
    out: Path,
    portrait: Path | None = None,
    pose: Path | None = None,
) -> None:
    """Write the sheet: the portrait, then per column a pose picture, the dub's frame and its stretch of sound."""
    picks = [round(place) for place in np.linspace(0, len(frames) - 1, COLUMNS)]
    times = [(index + Fraction(1, 2)) / fps for index in picks]
    poses = pose_pictures(pose, times) if pose else []
    rows, margin = 2 if poses else 1, 1 if portrait else 0
    width = EDGE + (COLUMNS + margin) * (CELL + EDGE)
    sheet = Image.new("RGB", (width, 3 * EDGE + rows * (CELL + EDGE) + WAVE + 60), PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(15)
    draw.text((EDGE, EDGE), note, INK, font)
    top = EDGE + LINE
    if portrait:
        sheet.paste(square(picture_at(portrait, Fraction(0))), (EDGE, top))
        words = "portrait\n\n" + ("above: pose source\nbelow: dub, sound" if poses else "dub, sound")
        draw.text((EDGE, top + CELL + 6), words, INK, font, spacing=4)
    low = top + (rows - 1) * (CELL + EDGE)
    lefts = [EDGE + (column + margin) * (CELL + EDGE) for column in range(COLUMNS)]
    for left, shown in zip(lefts, poses, strict=False):
        sheet.paste(square(shown), (left, top))
    for left, index, time in zip(lefts, picks, times, strict=True):
        sheet.paste(square(np.asarray(Image.open(frames[index]).convert("RGB"))), (left, low))
        draw.text((left, low + CELL + EDGE + WAVE), f"frame {index}, {float(time):.2f} s", INK, font)
    _draw_wave(draw, sound, dict(zip(lefts, times, strict=True)), low + CELL + EDGE)
    sheet.save(out)


def make_grid(
    rows: Sequence[Sequence[Picture]], note: str, captions: Sequence[str] = (), cell: int = CELL
) -> Image.Image:
    """Rows of squares under a note, and a caption under each column; width and height are even."""
    foot = EDGE + LINE + len(rows) * (cell + EDGE)
    width = EDGE + max(map(len, rows)) * (cell + EDGE)
    sheet = Image.new("RGB", (width, foot + (LINE if captions else 0)), PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(15)
    draw.text((EDGE, EDGE), note, INK, font)
    for y, row in enumerate(rows):
        for x, picture in enumerate(row):
            sheet.paste(square(picture, cell), (EDGE + x * (cell + EDGE), EDGE + LINE + y * (cell + EDGE)))
    for x, caption in enumerate(captions):
        draw.text((EDGE + x * (cell + EDGE), foot), caption, INK, font)
    return sheet


def pose_pictures(pose: Path, times: Sequence[Fraction]) -> list[Picture]:
    """What the pose source shows at these seconds of a dub, which goes back and forth in it."""
    footage = open_footage(pose)
    return [footage.frame_at(footage.times[index]) for index in source_frames(times, footage.times, footage.duration)]


def square(picture: Picture, side: int = CELL) -> Image.Image:
    """The picture's middle, `side` pixels wide and high."""
    height, width = picture.shape[:2]
    short = min(height, width)
    top, left = (height - short) // 2, (width - short) // 2
    middle = Image.fromarray(picture[top : top + short, left : left + short])
    return middle.resize((side, side), Image.Resampling.LANCZOS)


def _draw_wave(draw: ImageDraw.ImageDraw, sound: Path, middles: dict[int, Fraction], top: int) -> None:
    """A fifth of a second of sound around each time, right of each place: a frame's speech window."""
    with tempfile.TemporaryDirectory() as folder:
        decode_speech(sound, Path(folder) / "speech.f32")
        samples = np.fromfile(Path(folder) / "speech.f32", np.float32)
    peak = max(float(np.abs(samples).max()), 1e-6)
    for left, time in middles.items():
        middle = int(time * SAMPLE_RATE)
        part = np.zeros(SAMPLE_RATE // 5, np.float32)
        found = samples[max(0, middle - len(part) // 2) : middle + len(part) // 2]
        part[: len(found)] = found / peak
        columns = part.reshape(CELL, -1)
        for x, (low, high) in enumerate(zip(columns.min(1), columns.max(1), strict=True)):
            at, centre = left + x, top + WAVE // 2 - 6
            draw.line([(at, centre - high * WAVE / 2.4), (at, centre - low * WAVE / 2.4 + 1)], FAINT)
