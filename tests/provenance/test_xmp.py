"""What a frame's file says of itself."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from model_server.pipeline.media.encode import decode_png, encode_png
from model_server.provenance.record import COMPOSED, MADE, DubRecord
from model_server.provenance.xmp import FrameMark, frame_mark, marking, read_mark

PICTURE = np.random.default_rng(1).integers(0, 256, (40, 50, 3), np.uint8)
WEIGHTS = {"id": "ab" * 32, "name": 'Weights "& <others>"', "kind": "trained", "preset": "lite"}


def dub(composed: bool = False) -> DubRecord:
    return DubRecord("job7", WEIGHTS, (), composed=composed)


def marked(mark: FrameMark) -> bytes:
    return marking(mark)(encode_png(PICTURE))


def test_a_mark_is_read_as_it_was_written() -> None:
    mark = frame_mark(dub())
    assert read_mark(marked(mark)) == mark
    assert (mark.weights, mark.job, mark.by_posedub) == (WEIGHTS["name"], "job7", True)


def test_what_networks_drew_into_a_recording_is_called_that() -> None:
    assert frame_mark(dub()).digital_source_type == MADE
    assert frame_mark(dub(composed=True)).digital_source_type == COMPOSED


def test_pixels_stay_and_files_grow_by_less_than_two_kilobytes() -> None:
    plain, png = encode_png(PICTURE), marked(frame_mark(dub()))
    np.testing.assert_array_equal(decode_png(png), PICTURE)
    assert 0 < len(png) - len(plain) < 2000


def test_others_read_the_packet() -> None:
    """Pillow checks the chunk's checksum and knows where XMP belongs."""
    with Image.open(io.BytesIO(marked(frame_mark(dub())))) as picture:
        picture.load()
        packet = picture.info["XML:com.adobe.xmp"]
    assert f'Iptc4xmpExt:DigitalSourceType="{MADE}"' in packet


def test_files_that_say_nothing_or_lie_about_their_length() -> None:
    plain, png = encode_png(PICTURE), marked(frame_mark(dub()))
    assert read_mark(plain) is None and read_mark(b"GIF89a") is None and read_mark(b"") is None
    for length in range(0, len(png) - len(plain) + 40, 7):
        read_mark(png[:length])


def test_packets_with_entities_are_left_alone() -> None:
    """They can grow to gigabytes when they are read."""
    png = marked(frame_mark(dub()))
    assert read_mark(png.replace(b"<x:xmpmeta", b"<!DOCTYPE ")) is None
