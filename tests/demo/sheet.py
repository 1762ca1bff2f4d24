"""The demo's contact sheet: what went in and what came out, moment by moment."""

from __future__ import annotations

import tempfile
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from model_server.pipeline.audio import SAMPLE_RATE, decode_speech
from model_server.pipeline.video import open_footage

CELL, COLUMNS, EDGE, WAVE = 200, 7, 12, 56
INK, PAPER, FAINT = (235, 235, 235), (32, 32, 34), (120, 170, 210)


def make_sheet(
    portrait: Path, pose: Path, sound: Path, frames: list[Path], fps: Fraction, note: str, out: Path
) -> None:
    """Write the sheet: the portrait, then per column a pose picture, the dub's frame and its stretch of sound."""
    picks = [round(place) for place in np.linspace(0, len(frames) - 1, COLUMNS)]
    width, height = EDGE + (COLUMNS + 1) * (CELL + EDGE), 3 * EDGE + 2 * (CELL + EDGE) + WAVE + 60
    sheet = Image.new("RGB", (width, height), PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(15)
    draw.text((EDGE, EDGE), note, INK, font)
    top = EDGE + 30
    footage = open_footage(pose)
    sheet.paste(_square(open_footage(portrait).frame_at(Fraction(0))), (EDGE, top))
    draw.text((EDGE, top + CELL + 6), "portrait", INK, font)
    draw.text((EDGE, top + CELL + 34), "above: pose source\nbelow: dub, sound", INK, font, spacing=8)
    for column, index in enumerate(picks, 1):
        left, time = EDGE + column * (CELL + EDGE), (index + Fraction(1, 2)) / fps
        shown = footage.frame_at(min(time, max(footage.duration - Fraction(1, 100), Fraction(0))))
        sheet.paste(_square(shown), (left, top))
        sheet.paste(_square(np.asarray(Image.open(frames[index]).convert("RGB"))), (left, top + CELL + EDGE))
        draw.text((left, top + 2 * (CELL + EDGE) + WAVE), f"frame {index}, {float(time):.2f} s", INK, font)
    _draw_wave(draw, sound, picks, fps, top + 2 * (CELL + EDGE))
    sheet.save(out)


def _square(picture: NDArray[np.uint8]) -> Image.Image:
    height, width = picture.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return Image.fromarray(picture[top : top + side, left : left + side]).resize((CELL, CELL), Image.Resampling.LANCZOS)


def _draw_wave(draw: ImageDraw.ImageDraw, sound: Path, picks: list[int], fps: Fraction, top: int) -> None:
    """A fifth of a second of sound below each frame: its speech window."""
    with tempfile.TemporaryDirectory() as folder:
        decode_speech(sound, Path(folder) / "speech.f32")
        samples = np.fromfile(Path(folder) / "speech.f32", np.float32)
    peak = max(float(np.abs(samples).max()), 1e-6)
    for column, index in enumerate(picks, 1):
        middle = int((index + Fraction(1, 2)) / fps * SAMPLE_RATE)
        part = np.zeros(SAMPLE_RATE // 5, np.float32)
        found = samples[max(0, middle - len(part) // 2) : middle + len(part) // 2]
        part[: len(found)] = found / peak
        columns = part.reshape(CELL, -1)
        for x, (low, high) in enumerate(zip(columns.min(1), columns.max(1), strict=True)):
            at, centre = EDGE + column * (CELL + EDGE) + x, top + WAVE // 2 - 6
            draw.line([(at, centre - high * WAVE / 2.4), (at, centre - low * WAVE / 2.4 + 1)], FAINT)
