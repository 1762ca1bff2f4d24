"""`make demo`: a portrait speaks on Blender's timeline, from the built zip to the rendered edit."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

from tqdm import tqdm

import build_addon
from model_server.cli import progress
from model_server.errors import PoseDubError
from model_server.pipeline.media.containers import probe
from model_server.pipeline.speech.audio import speech_duration
from tests.demo.sheet import make_sheet
from tests.servers import ServerProcess

HERE = Path(__file__).parent
INPUTS = HERE / "inputs"
FPS = 24
PYTHON = "{}.{}".format(*sys.version_info)
PLATFORM_NAMES = {"Linux": "linux-x64", "Windows": "windows-x64", "Darwin": "macos-arm64"}
NOTE = "PoseDub demo, {fps} fps, {count} frames. {weights}"
UNTRAINED = "Weights: lite, UNTRAINED. The path is real from end to end; the portrait does not speak or turn yet."
TRAINED = "Weights: {name} ({kind})."
ENGINES = {"pc-avs": "pcavs", "dae-talker": "dae_talker"}
ROLES = {"pc-avs": ("portrait", "audio", "pose"), "dae-talker": ("audio",)}
"""What each engine's demo is made of."""


def main() -> int:
    """Run the demo; 0, or 1 with one sentence."""
    options = _options()
    out = options.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    try:
        for name in ROLES[options.engine]:
            probe(getattr(options, name))
        speech_duration(options.audio)
        shape = "{desc:42} {percentage:3.0f}%|{bar:30}| {elapsed}"
        with tqdm(total=100, bar_format=shape, file=progress.stream()) as bar:
            result = _run(options, out, bar)
    except (PoseDubError, build_addon.BuildError) as problem:
        print(f"demo: {problem}", file=sys.stderr)
        return 1
    print(
        f"Done: {len(result['frames'])} frames on the timeline. Look at {_shown(out / 'dub.mp4')},"
        f" {_shown(out / 'contact_sheet.png')} and {_shown(out / 'dub.blend')};"
        f" the frames are in {_shown(Path(result['frames'][0]).parent)}."
    )
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("demo"))
    parser.add_argument("--engine", choices=tuple(ENGINES), default="pc-avs")
    parser.add_argument("--portrait", type=Path, default=INPUTS / "portrait.png")
    parser.add_argument("--audio", type=Path, default=INPUTS / "speech.flac")
    parser.add_argument("--pose", type=Path, default=INPUTS / "pose.mp4")
    return parser.parse_args()


def _run(options: argparse.Namespace, out: Path, bar: tqdm) -> dict:
    _advance(bar, "building the add-on", 2)
    build_addon.write_stubs()
    zip_file = build_addon.build(build_addon.PLATFORMS[PLATFORM_NAMES[platform.system()]], out, [PYTHON])
    _advance(bar, "starting the model server", 10)
    with tempfile.TemporaryDirectory() as scratch, ServerProcess(out / "server") as server:
        _advance(bar, "starting Blender", 15)
        job = Path(scratch) / "job.json"
        job.write_text(json.dumps(_job(options, out, zip_file, server)))
        result = _edit(job, Path(scratch), out, bar)
    _advance(bar, "drawing the contact sheet", 97)
    weights = result["weights"]
    words = (UNTRAINED if weights["kind"] == "untrained" else TRAINED).format(**weights)
    note = NOTE.format(fps=FPS, count=len(result["frames"]), weights=words)
    frames = list(map(Path, result["frames"]))
    sheet = out / "contact_sheet.png"
    given = {name: getattr(options, name) for name in ROLES[options.engine] if name != "audio"}
    make_sheet(options.audio, frames, Fraction(FPS), note, sheet, **given)
    _advance(bar, "done", 100)
    return result


def _job(options: argparse.Namespace, out: Path, zip_file: Path, server: ServerProcess) -> dict[str, str]:
    roles = ROLES[options.engine]
    files = {name: str(getattr(options, name).resolve()) for name in roles}
    kinds = {f"{name}_kind": probe(getattr(options, name)).kind for name in roles if name != "audio"}
    engine = {"engine": ENGINES[options.engine]}
    made = {"zip": zip_file, "server": server.address, "blend": out / "dub.blend", "movie": out / "dub.mp4"}
    return files | kinds | engine | {name: str(value) for name, value in made.items()}


def _edit(job: Path, scratch: Path, out: Path, bar: tqdm) -> dict:
    """Run Blender's half and follow it; its last word."""
    log = out / "blender.log"
    command = [sys.executable, str(HERE / "edit.py"), str(job)]
    environment = os.environ | {"BLENDER_USER_RESOURCES": str(scratch / "blender"), "PYTHONPATH": ""}
    with log.open("wb") as talk, subprocess.Popen(command, stdout=-1, stderr=talk, env=environment) as process:
        last: dict = {}
        for last in _messages(process):
            if "share" in last:
                start, end = {"frames": (40, 90), "render": (91, 97)}.get(last["phase"], (20, 40))
                _advance(bar, last["text"], start + (end - start) * last["share"])
    if not last.get("done"):
        raise PoseDubError(last.get("error") or f"Blender stopped early; its log is {log}.")
    return last


def _messages(process: subprocess.Popen) -> Iterator[dict]:
    for line in process.stdout or ():
        yield json.loads(line)


def _advance(bar: tqdm, text: str, percent: float) -> None:
    bar.set_description(text, refresh=False)
    bar.n = max(bar.n, percent)
    bar.refresh()


def _shown(path: Path) -> str:
    return os.path.relpath(path)


if __name__ == "__main__":
    sys.exit(main())
