"""A real Blender with the add-on's zip: its main thread stands still, and its server is killed, while it dubs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import build_addon
from tests import standins
from tests.faults.lab import FPS, Frames, Lab, case, same
from tests.host.conftest import Blender
from tests.host.test_dub import dub, results
from tests.servers import ServerProcess

FRAMES = 250
STALL = 15.0


@case()
def stalled_blender(lab: Lab, count: int) -> str:
    """Blender's main thread does nothing for 15 s, and then holds Python's lock for 15 s, while it dubs."""
    server = lab.paced_server(0.12).start()  # the job lasts as long as both
    with _blender(lab) as blender:
        expected = _undisturbed(lab, blender, 1)
        folder = _begin(lab, blender, server, 1)
        before = _written(folder)
        blender.stand_still(seconds=STALL)
        slept = _written(folder)
        blender.hold_the_lock(seconds=STALL)
        held = _written(folder)
        blender.finish()
        same(_frames(blender), expected)
    server.stop()
    assert 0 < before < slept < FRAMES, (before, slept)
    return f"frames written before, after 15 s without its main thread, after 15 s without its Python: {before}, \
{slept}, {held} of {FRAMES}; all byte-identical"


@case(10)
def killed_under_blender(lab: Lab, count: int) -> str:
    """kill -9 of the server while Blender dubs: Blender goes on by itself once a server is there again."""
    server, kept = lab.paced_server(0.01).start(), []
    with _blender(lab) as blender:
        for seed in range(count):
            expected = _undisturbed(lab, blender, seed)
            folder = _begin(lab, blender, server, seed)
            blender.pump_until_saved(frames=lab.random.randrange(1, FRAMES))
            server.kill()
            kept.append(_written(folder))
            server.start()
            blender.finish()
            same(_frames(blender), expected)
    server.stop()
    inside = sum(one < FRAMES for one in kept)
    assert inside >= 0.6 * count, kept
    return f"{inside} of {count} kills before the last frame was there; all frames byte-identical"


@contextmanager
def _blender(lab: Lab) -> Iterator[Blender]:
    """Blender with the built zip."""
    platform = build_addon.PLATFORMS["linux-x64"]
    build_addon.write_stubs()
    parts = standins.make(_new(lab.folder / "parts"), build_addon.uv_wheel(platform)).parts
    built = build_addon.build(platform, _new(lab.folder / "zip"), ["3.11"], parts=parts)
    blender = Blender(built, _new(lab.folder / "blender"))
    yield blender
    assert blender.end() == 0


def _new(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _undisturbed(lab: Lab, blender: Blender, seed: int) -> Frames:
    _scene(lab, blender, lab.undisturbed(), seed)
    dub(blender)
    return _frames(blender)


def _begin(lab: Lab, blender: Blender, server: ServerProcess, seed: int) -> Path:
    """A dub that has begun to come; the folder of its frames."""
    _scene(lab, blender, server, seed)
    assert blender.op(name="dub") == {"result": ["FINISHED"]}
    blender.pump_until_saved(frames=1)
    return _folder(blender)


def _scene(lab: Lab, blender: Blender, server: ServerProcess, seed: int) -> None:
    """A sound strip of so many frames, and the server to use."""
    blender.new_scene(fps=FPS)
    blender.preferences(mode="address", address=server.address)
    blender.op(name="server_check", wait=True)
    blender.add(kind="sound", file=str(lab.speech), name="speech", channel=3, start=1)
    blender.settings(seed=seed)
    blender.select(names=["speech"])


def _folder(blender: Blender) -> Path:
    (strip,) = results(blender)
    return Path(strip["directory"])


def _written(folder: Path) -> int:
    return len(list(folder.glob("*.png")))


def _frames(blender: Blender) -> Frames:
    """All frames of the one dub there is."""
    return {int(path.stem): path.read_bytes() for path in _folder(blender).glob("*.png")}
