"""Makes the demo's inputs: a portrait, a pose clip of another person, a spoken sentence and more portraits to try.

All are synthetic.

Usage: python tests/demo/make_inputs.py --ict PATH/ict.npz [--out FOLDER]
Needs ICT-FaceKit's data and the optional wheel espeakng-loader.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import soundfile
from PIL import Image

from model_server.synthetic.actor import Detail, Pose, make_actor, render
from model_server.synthetic.appearance import Lighting, direction
from model_server.synthetic.head import HeadModel, load_head
from model_server.synthetic.motion import blinks, eased_path
from model_server.synthetic.rasterizer import Camera
from model_server.synthetic.speech import Voice, synthesize
from model_server.synthetic.visemes import mouth_shape, viseme_weights

FPS = 25
SENTENCE = "A good picture tells a story, but a good voice brings it to life, in every language you speak."
# The pose clip's mouth says something else, so that a dub which follows it is easily seen.
OTHER_SENTENCE = "Seven blue umbrellas were found behind the old theatre, and nobody knows who left them there."
VOICE = Voice("en-us+f2", rate=150)
PORTRAIT_LIGHT = Lighting(
    key_direction=direction(-32, 32),
    rim_direction=direction(140, 35),
    key=np.array([1.45, 1.40, 1.32], np.float32),
    rim=np.array([0.8, 0.8, 0.85], np.float32),
    sky=np.array([0.42, 0.45, 0.50], np.float32),
    ground=np.array([0.24, 0.22, 0.20], np.float32),
    exposure=1.0,
)
PORTRAIT_SEED, POSE_SEED = 44, 40
STOCK_SEEDS = (61, 62, 63, 65, 67, 68, 74, 80)
# Seconds, then yaw, pitch and roll in degrees.
POSE_KEYS = (
    (0.0, 0, 0, 0), (0.5, 0, 0, 0), (1.3, 30, 2, -3), (1.7, 30, 2, -3), (2.9, -30, 3, 4), (3.3, -30, 3, 4),
    (4.0, 0, 17, 0), (4.3, 0, 17, 0), (5.1, 0, -17, 0), (5.4, 0, -17, 0), (6.0, 0, 0, 0),
)  # fmt: skip


def portrait_camera(size: int, fill: float = 0.60) -> Camera:
    """A portrait lens 1 m from the head, whose height takes `fill` of the picture."""
    distance = 100.0
    return Camera((size, size), size * fill * distance / 24.0, distance, (size / 2, size * 0.48))


def draw_portrait(head: HeadModel, seed: int, size: int = 512) -> Image.Image:
    """A frontal still with a closed mouth."""
    detail = Detail(texture=1024, strands=14000, supersampling=4)
    actor = make_actor(head, seed, detail, lighting=PORTRAIT_LIGHT)
    scene = actor.backdrop((size * 4, size * 4)) * 2.0
    return Image.fromarray(render(actor, {}, Pose(), portrait_camera(size), scene).image)


def make_stock(head: HeadModel, folder: Path) -> None:
    """Writes portraits of several people, `01.jpg` and on."""
    folder.mkdir(exist_ok=True)
    for number, seed in enumerate(STOCK_SEEDS, 1):
        draw_portrait(head, seed).save(folder / f"{number:02}.jpg", quality=92)


def pose_frames(head: HeadModel, size: int = 320) -> Iterator[np.ndarray]:
    """Frames (size, size, 3) of a person who talks while looking left, right, up and down."""
    actor = make_actor(head, POSE_SEED, Detail(texture=512, strands=8000, supersampling=3))
    camera, scene = portrait_camera(size), actor.backdrop((size * 3, size * 3))
    keys = np.array(POSE_KEYS)
    count = int(keys[-1, 0] * FPS)
    angles = eased_path(keys[:, 1:], keys[:, 0], count, FPS)
    lids = blinks(np.random.default_rng(POSE_SEED), count, FPS)
    mouth = viseme_weights(synthesize(OTHER_SENTENCE).phonemes, count, FPS)
    for index in range(count):
        weights = mouth_shape(mouth[index]) | {"eyeBlink_L": float(lids[index]), "eyeBlink_R": float(lids[index])}
        yield render(actor, weights, Pose(*map(float, angles[index])), camera, scene, index).image


def write_video(path: Path, frames: Iterator[np.ndarray], size: int = 320) -> None:
    """Writes an H.264 clip at 25 fps."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(
            "libx264", rate=Fraction(FPS), options={"crf": "20", "preset": "slow", "threads": "1"}
        )
        stream.width = stream.height = size
        stream.pix_fmt = "yuv420p"
        for picture in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(stream.encode())


def make_speech(path: Path) -> None:
    """Writes the sentence as mono FLAC."""
    speech = synthesize(SENTENCE, VOICE)
    soundfile.write(path, speech.samples, speech.sample_rate, format="FLAC", subtype="PCM_16")


def main() -> None:
    """Reads the arguments and writes the files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ict", type=Path, required=True, help="ICT-FaceKit's ict.npz")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "inputs")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    head = load_head(arguments.ict)
    draw_portrait(head, PORTRAIT_SEED).save(arguments.out / "portrait.png", optimize=True)
    make_stock(head, arguments.out / "stock")
    write_video(arguments.out / "pose.mp4", pose_frames(head))
    make_speech(arguments.out / "speech.flac")


if __name__ == "__main__":
    main()
