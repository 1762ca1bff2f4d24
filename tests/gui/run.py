"""`make gui`: a real Blender on a virtual display, the zip installed, the main job clicked through."""

from __future__ import annotations

import argparse
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import build_addon
from model_server.bench.inputs import demo_inputs, with_speech_of
from model_server.errors import PoseDubError
from model_server.pipeline.media.containers import probe
from tests.gui.place import Blender, Display, GuiError
from tests.gui.relay import POSEDUB, Relay
from tests.gui.watch import Watch, zip_of
from tests.servers import ServerProcess

INPUTS = Path(__file__).parents[1] / "demo" / "inputs"
STALL_LIMIT_MS = 150
LONG_SECONDS = 60.0
"""Of the speech whose dub is cancelled: no machine has made it before the click comes."""


def main() -> int:
    """Run it; 0, or 1 with one sentence."""
    options = _options()
    out = options.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(prefix="posedub-gui-") as folder, Display() as display:
            result = _run(options, Path(folder), out, display)
    except (GuiError, PoseDubError, build_addon.BuildError) as problem:
        print(f"gui: {problem}", file=sys.stderr)
        return 1
    (out / "report.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(f"Blender {result['blender']}: the main job passed; screenshots and report.json are in {options.out}.")
    print(_stalls(result["stalls"], result["load"]))
    return 0


def _stalls(figures: dict, load: float) -> str:
    """What the report says about the user interface."""
    job, pump, idle = (figures[name] for name in ("job", "pump in job", "idle"))
    verdict = "under" if job["longest_ms"] < STALL_LIMIT_MS else "OVER"
    return (
        f"Longest stall of the user interface during a job: {job['longest_ms']} ms ({job['longest_processor_ms']} ms of"
        f" the processor), {verdict} {STALL_LIMIT_MS} ms; the add-on's longest share: {pump['longest_ms']} ms"
        f" ({pump['longest_processor_ms']} ms). Without a job, redrawing: {idle['longest_ms']} ms"
        f" ({idle['longest_processor_ms']} ms). {load:.1f} processes wanted the {os.cpu_count()} processors."
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.gui.run", description=__doc__)
    parser.add_argument("--blender", default="blender", help="Blender's binary (default: blender)")
    parser.add_argument("--chroot", type=Path, help="root folder of the system that --blender is installed in")
    parser.add_argument("--out", type=Path, default=Path("gui"), help="receives screenshots, report and movie")
    parser.add_argument("--zip", type=Path, help="the add-on's zip (default: it is built)")
    parser.add_argument("--weights", type=Path, help="safetensors weights of the server (default: the built-in ones)")
    return parser.parse_args()


def _run(options: argparse.Namespace, work: Path, out: Path, display: Display) -> dict:
    blender = Blender.found(options.blender, work, options.chroot)
    blender.install(zip_of(options.zip, work))
    token = work / "token"
    token.write_text(secrets.token_hex(16), encoding="utf-8")
    served = ["--token-file", str(token)] + (["--weights", str(options.weights.resolve())] if options.weights else [])
    server = ServerProcess(work / "server", served)
    server.log = out / "server.log"
    with server, Relay(work) as relay:
        job = _job(work, server.address, token.read_text(encoding="utf-8")) | {"command": str(relay.program)}
        verify = {"verification": lambda: _verify(job["movie"], Path(job["verified"]))}
        result = Watch(blender, display, out, verify).follow("scenario.py", job)
    return result | _checked(result, Path(job["movie"]), out)


def _job(work: Path, server: str, token: str) -> dict[str, str]:
    """What the scenario needs, with all files in `work`."""
    inputs = {"audio": "speech.flac", "portrait": "portrait.png", "pose": "pose.mp4"}
    files = {role: shutil.copy(INPUTS / name, work / name) for role, name in inputs.items()}
    demo = demo_inputs()
    files["long"] = str(with_speech_of(demo, LONG_SECONDS, work).speech)
    made = {"blend": "edit.blend", "movie": "edit.mp4", "verified": "verified.txt"}
    job = {name: str(path) for name, path in files.items()} | {name: str(work / file) for name, file in made.items()}
    job |= {"server": server, "token": token}
    return job


def _verify(movie: str, answer: Path) -> None:
    """Write what the command says of the marked movie; raises GuiError where its mark does not fit."""
    done = subprocess.run([*POSEDUB, "verify", movie], capture_output=True, text=True, check=False)
    if done.returncode:
        raise GuiError(f"The mark of {movie} does not fit it: {(done.stdout or done.stderr).strip()}")
    answer.write_text(f"$ posedub verify {movie}\n{done.stdout}", encoding="utf-8")


def _checked(result: dict, movie: Path, out: Path) -> dict:
    """Compare what was made with what was asked for; raises GuiError."""
    if "Traceback" in (out / "blender.log").read_text(encoding="utf-8", errors="replace"):
        raise GuiError(f"The add-on met an error that it did not expect; {out / 'blender.log'} shows it.")
    if result["dub_strips"] != 1:
        raise GuiError(f"{result['dub_strips']} strips show the takes of one dub.")
    first, again, part = (result["versions"][name] for name in ("dub", "keyframes", "range"))
    for version in result["versions"].values():
        if version["saved"] != version["frames"]:
            raise GuiError(f"{version['folder']} holds {version['saved']} of {version['frames']} frames.")
    changed = _changed(first, again)
    (keys,) = result["keys"].values()
    keyed = sorted(map(int, keys))
    wanted = list(range(keyed[0], keyed[-1] - 1))  # strictly between the outer keys; frame 1 is dub index 0
    if changed != wanted:
        raise GuiError(f"The keys change the dub's frames {wanted[0]} to {wanted[-1]}, but {changed} changed.")
    start, end = result["range"]
    anew = _changed(again, part)
    if anew != list(range(start - 1, end)) or part["frames"] != len(anew):
        raise GuiError(f"The range {start} to {end} was to be made anew, but the dub's frames {anew} are new.")
    info = probe(movie)
    if not movie.is_file() or info.kind != "video":
        raise GuiError("The rendered movie is no video.")
    shutil.copy(movie, out / movie.name)
    new = {"changed_frames": [changed[0], changed[-1]], "range_frames": [anew[0], anew[-1]]}
    return new | {"movie": {"seconds": float(info.duration or 0)}}


def _changed(one: dict, other: dict) -> list[int]:
    """Dub indices of the frames in which two versions differ."""
    files = sorted(Path(one["folder"]).glob("*.png"))
    return [int(file.stem) for file in files if file.read_bytes() != (Path(other["folder"]) / file.name).read_bytes()]


if __name__ == "__main__":
    sys.exit(main())
