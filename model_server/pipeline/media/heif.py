"""Photos of telephones and cameras, HEIC and AVIF, which hold tiles of a picture and how these are turned."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from model_server.pipeline.media import hdr


def read_heif(path: Path, max_pixels: int) -> Image.Image:
    """Open a photo, whole; an AVIF file states its orientation as EXIF data, a HEIC file is upright.

    Its high dynamic range is brought to SDR.

    Raises:
        Image.DecompressionBombError: more pixels, nothing is decoded.
        OSError, RuntimeError, SyntaxError, ValueError: damaged.
    """
    import pillow_heif  # only here: most dubs do without

    pillow_heif.register_heif_opener(thumbnails=False, depth_images=False, aux_images=False)
    image = Image.open(path, formats=("AVIF", "HEIF"))
    if image.width * image.height > max_pixels:
        raise Image.DecompressionBombError
    meant = image.info.get("nclx_profile", {})
    transfer = meant.get("transfer_characteristics")
    if transfer not in (hdr.PQ, hdr.HLG):
        return image
    deep = np.asarray(pillow_heif.open_heif(path, convert_hdr_to_8bit=False))
    codes = deep.astype(np.uint16) * np.uint16(257 if deep.dtype == np.uint8 else 1)
    return Image.fromarray(hdr.ToneMap(transfer, meant["color_primaries"])(np.ascontiguousarray(codes[..., :3])))
