"""JPEG 2000 pictures, decoded by FFmpeg: Pillow turns the brightest values of 16 bits black."""

from __future__ import annotations

from pathlib import Path

import av
from av.video.reformatter import ColorRange
from PIL import Image


def read_jpeg2000(path: Path, max_pixels: int) -> Image.Image:
    """Read the picture as RGBA of 8 bits.

    Raises:
        OSError, IndexError: damaged.
        Image.DecompressionBombError: more pixels, nothing is decoded.
    """
    with Image.open(path, formats=("JPEG2000",)) as header:
        if header.width * header.height > max_pixels:
            raise Image.DecompressionBombError
    decoder = av.VideoCodecContext.create("jpeg2000", "r")
    decoder.options = {"max_pixels": str(max_pixels)}
    try:
        frame = [*decoder.decode(av.Packet(path.read_bytes())), *decoder.decode(None)][0]
    except av.FFmpegError as error:
        raise OSError(str(error)) from error
    # Luma and chroma of pictures have no head room, which FFmpeg assumes where a file is silent.
    full = frame.reformat(format="rgba", src_color_range=ColorRange.JPEG, dst_color_range=ColorRange.JPEG)
    return Image.fromarray(full.to_ndarray())
