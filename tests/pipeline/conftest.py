"""Faces for the tests: a rendered synthetic head, and the real clips where a developer has them."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from model_server.pipeline.faces.finder import FaceFinder
from model_server.pipeline.media.images import load_image

INPUTS = Path(__file__).parents[1] / "demo" / "inputs"


@pytest.fixture(scope="session")
def finder() -> FaceFinder:
    """One face finder for all tests; its models take a while to load."""
    return FaceFinder()


@pytest.fixture(scope="session")
def head() -> NDArray[np.uint8]:
    """Portrait of a synthetic head, (512, 512, 3)."""
    return load_image(INPUTS / "portrait.png")


@pytest.fixture(scope="session")
def real_media() -> Path:
    """Folder of real VoxCeleb-like clips named by POSEDUB_REAL_MEDIA; the project holds none."""
    folder = os.environ.get("POSEDUB_REAL_MEDIA")
    if not folder:
        pytest.skip("POSEDUB_REAL_MEDIA names no folder of real clips")
    return Path(folder)


def scene(width: int, height: int) -> NDArray[np.uint8]:
    """A smooth background without a face."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 200 // width, y * 200 // height, np.full_like(x, 90)], axis=-1).astype(np.uint8)


def paste(
    picture: NDArray[np.uint8],
    head: NDArray[np.uint8],
    middle: tuple[float, float],
    scale: float = 1,
    roll: float = 0,
) -> NDArray[np.float64]:
    """Draw `head` into `picture` with its middle at a point; returns the transform (2, 3) it was drawn with."""
    height, width = head.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), roll, scale)
    matrix[:, 2] += np.array(middle) - (width / 2, height / 2)
    size = picture.shape[1::-1]
    source = cv2.resize(head, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else head
    to_source = np.diag([source.shape[1] / width, source.shape[0] / height, 1])
    drawn = cv2.warpAffine(source, matrix @ np.linalg.inv(to_source), size)
    inside = cv2.warpAffine(np.full((height, width), 255, np.uint8), matrix, size) > 128
    picture[inside] = drawn[inside]
    return matrix


class Shelf:
    """Results in memory."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    def result(self, key: str) -> str | None:
        return key if key in self.kept else None

    def keep(self, key: str, content: bytes) -> str:
        self.kept[key] = content
        return key

    def read(self, sha: str) -> bytes:
        return self.kept[sha]
