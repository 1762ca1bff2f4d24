"""Dubs into footage by picture size: frame rate and memory of a server for short and long clips; time by stage."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from model_server import scratch
from model_server.bench.figures import FRAME_RATE, Row, Stopwatch, figure
from model_server.bench.inputs import FPS, Inputs, with_speech_of
from model_server.bench.server import MemoryWatch, running_server
from model_server.bench.serving import with_file
from model_server.engines.base import WeightsInfo
from model_server.files import file_digest
from model_server.pipeline.compositing.canvas import FootageCanvas, look_through
from model_server.pipeline.faces.finder import FaceFinder
from model_server.pipeline.faces.tracking import track_face
from model_server.pipeline.media.encode import encode_png
from model_server.pipeline.media.images import load_image
from model_server.pipeline.media.playback import Playback
from model_server.pipeline.media.video import open_footage
from model_server.pipeline.request import DubRequest, FootageSource, Output, OutputMode, PoseFixed

Picture = NDArray[np.uint8]
Size = tuple[int, int]

MODES: tuple[OutputMode, ...] = ("overlay", "full_frame")
LONGER = 4
STAGE_FRAMES = 50
DECODE, FOLLOW, COMPOSE, ENCODE = "decode", "decode, follow the face", "place the face", "encode"
_GRAINS, _GRAIN = 8, 4


@dataclass(frozen=True)
class IntoPlan:
    """What is dubbed into footage.

    Attributes:
        sizes: width and height of the footage, even.
        seconds: of the short clip; the long one has `LONGER` times that.
        modes: of the output, each measured for itself.
    """

    inputs: Inputs
    weights: WeightsInfo
    device: str
    precision: str
    sizes: Sequence[Size]
    seconds: float
    modes: Sequence[OutputMode] = MODES


def into_rows(plan: IntoPlan, say: Callable[[str], None]) -> list[Row]:
    """All rows of one set of weights."""
    rows: list[Row] = []
    for size in plan.sizes:
        with scratch.folder() as folder:
            rows += _Bench(plan, size, folder, say).rows()
    return rows


class _Bench:
    """Measurements at one picture size, each dub on a server of its own whose files go with it."""

    def __init__(self, plan: IntoPlan, size: Size, folder: Path, say: Callable[[str], None]) -> None:
        self._plan = plan
        self._group = f"{plan.weights.preset}, into {size[0]}x{size[1]}"
        self._folder = folder
        self._weights = with_file(plan.weights, folder)
        self._say = say
        long = LONGER * plan.seconds
        self._inputs = with_speech_of(plan.inputs, long, folder)
        say(f"{self._group}: footage of {long:g} s")
        self._film = write_film(folder / "footage.mp4", load_image(plan.inputs.portrait), size, round(long * FPS))

    def rows(self) -> list[Row]:
        """Server's figures of each output, then the stages."""
        return [row for mode in self._plan.modes for row in self._served(mode)] + list(self._stages())

    def _served(self, mode: OutputMode) -> Iterator[Row]:
        peaks = []
        for seconds in (self._plan.seconds, LONGER * self._plan.seconds):
            name = f"{mode}, {seconds:g} s"
            self._say(f"{self._group}: {name}")
            rate, peak = self._dub(self._request(mode, seconds))
            peaks.append(peak)
            yield figure(self._group, f"{name}, through gRPC", FRAME_RATE, rate)
            yield figure(self._group, f"{name}, server's memory", "MiB", peak)
        yield figure(self._group, f"{mode}, memory growth for {LONGER} times the length", "MiB", peaks[1] - peaks[0])

    def _dub(self, request: DubRequest) -> tuple[float, float]:
        """Frames per second of a warm server, face search and all, and its peak memory in MiB."""
        plan = self._plan
        options = ["--weights", str(self._weights.path), "--device", plan.device, "--precision", plan.precision]
        with (
            tempfile.TemporaryDirectory(dir=self._folder) as data,
            running_server(Path(data) / "data", options) as server,
        ):
            for asset, path in {**self._inputs.files(), file_digest(self._film): self._film}.items():
                server.client.add(asset, path)
            server.dub(replace(self._inputs.request(1.0), end=1))
            with MemoryWatch(server) as memory:
                course = server.dub(request)
        return len(course.frames) / course.end, memory.peak

    def _request(self, mode: OutputMode, seconds: float) -> DubRequest:
        request = self._inputs.request(seconds)
        footage = FootageSource(file_digest(self._film), start=1 / (2 * FPS))
        return replace(request, spec=replace(request.spec, pose=PoseFixed(), output=Output(mode, footage)))

    def _stages(self) -> Iterator[Row]:
        """What each step takes for the first frames when nothing else runs beside it."""
        self._say(f"{self._group}: stages")
        for mode in self._plan.modes:
            watch = self._watched(mode)
            for stage, seconds in watch.seconds.items():
                yield figure(self._group, f"{mode}, {stage}", "ms/frame", 1000 * seconds / STAGE_FRAMES)

    def _watched(self, mode: OutputMode) -> Stopwatch:
        watch, finder, footage = Stopwatch("cpu"), FaceFinder(), open_footage(self._film)
        finder.find(footage.frame_at(Fraction(0)))
        output = self._request(mode, self._plan.seconds).spec.output
        times = [(k + Fraction(1, 2)) / FPS for k in range(STAGE_FRAMES)]
        with watch.stage(FOLLOW):
            assert output.footage is not None
            face = output.footage.face
            track = look_through(footage, times, face, track_face, lambda: finder, lambda done, total: None)
            canvas = FootageCanvas(output, footage, times, 224, track)
        with watch.stage(DECODE):
            playback = Playback(footage)
            for frame in canvas.frames:
                playback.picture(int(frame))
        view = np.full((224, 224, 3), 128, np.uint8)
        with watch.stage(COMPOSE):
            pictures = (canvas.picture(k, view) for k in range(STAGE_FRAMES))
            for picture in pictures:
                with watch.stage(ENCODE):
                    encode_png(picture)
        watch.seconds[COMPOSE] -= watch.seconds[ENCODE] + (watch.seconds[DECODE] if mode == "full_frame" else 0)
        return watch


def write_film(path: Path, head: Picture, size: Size, frames: int) -> Path:
    """H.264 footage at 25 fps: the head, half as high as the picture, sways before a plain wall under film grain."""
    width, height = size
    y, x = np.mgrid[:height, :width]
    wall = np.stack([x * 200 // width, y * 200 // height, np.full_like(x, 90)], axis=-1).astype(np.uint8)
    random = np.random.default_rng(0)
    grains = [random.integers(-_GRAIN, _GRAIN + 1, wall.shape, np.int8) for _ in range(_GRAINS)]
    with av.open(str(path), "w") as movie:
        track = movie.add_stream("libx264", rate=FPS, options={"crf": "18", "preset": "ultrafast"})
        track.width, track.height, track.pix_fmt = width, height, "yuv420p"
        for k in range(frames):
            picture = np.clip(_with_head(wall, head, k).astype(np.int16) + grains[k % _GRAINS], 0, 255)
            movie.mux(track.encode(av.VideoFrame.from_ndarray(picture.astype(np.uint8), format="rgb24")))
        movie.mux(track.encode(None))
    return path


def _with_head(wall: Picture, head: Picture, k: int) -> Picture:
    height, width = wall.shape[:2]
    scale = 0.5 * height / len(head)
    left = 0.5 * (width - scale * head.shape[1]) + 0.05 * width * np.sin(k / 15)
    matrix = np.array([[scale, 0, left], [0, scale, height * (0.25 + 0.02 * np.sin(k / 11))]])
    canvas = wall.copy()
    cv2.warpAffine(head, matrix, (width, height), canvas, borderMode=cv2.BORDER_TRANSPARENT)
    return canvas
