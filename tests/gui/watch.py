"""What all GUI runs do outside of Blender: build the zip, start Blender with a script, photograph what it asks for."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

import build_addon
from tests.gui.place import SCREEN, Blender, Display, GuiError

INSIDE = Path(__file__).parent / "inside"
PAUSE = 0.05
MINUTES = 20


def zip_of(given: Path | None, work: Path) -> Path:
    """The add-on's zip: the given one, or a new one in `work`. Raises GuiError."""
    if given is None:
        print("Building the add-on", flush=True)
        build_addon.write_stubs()
        return build_addon.build(build_addon.PLATFORMS["linux-x64"], work)
    if not given.is_file():
        raise GuiError(f"The zip {given} is missing; `python build_addon.py` builds it.")
    return given


@dataclass
class Watch:
    """A Blender on a display, which a script of `inside/` drives.

    Attributes:
        out: receives numbered screenshots and Blender's log.
        actions: what the script may ask for by name, beside pictures.
    """

    blender: Blender
    display: Display
    out: Path
    actions: Mapping[str, Callable[[], object]] = field(default_factory=dict)

    def follow(self, script: str, job: Mapping[str, object]) -> dict:
        """Run the script to its end; its result. `job` is what it needs to know. Raises GuiError."""
        command = self._started(script, job)
        with (
            (self.out / "blender.log").open("wb") as log,
            subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL) as process,
        ):
            for said in _messages(process, self._work / "progress.jsonl"):
                if "step" in said:
                    print(said["step"], flush=True)
                elif "ask" in said:
                    self._answer(said["ask"])
                elif "error" in said:
                    self._photograph("failed")
                    (self.out / "report.json").write_text(json.dumps(said["during"], indent=2))
                    process.kill()
                    raise GuiError(f"{said['error']} The last screenshot and blender.log in {self.out} show more.")
                else:
                    return said["done"]
        raise GuiError(f"Blender ended early; its log is {self.out / 'blender.log'}.")

    @property
    def _work(self) -> Path:
        return self.blender.work

    def _started(self, script: str, job: Mapping[str, object]) -> list[str]:
        """Lay out what the script needs; how Blender is started."""
        for old in self.out.glob("[0-9][0-9]-*.png"):
            old.unlink()
        shutil.copytree(INSIDE, self._work / "inside")
        (self._work / "answers").mkdir()
        places = {"answers": str(self._work / "answers"), "progress": str(self._work / "progress.jsonl")}
        (self._work / "job.json").write_text(json.dumps({**job, **places}), encoding="utf-8")
        width, height = map(str, SCREEN)
        window = ["--gpu-backend", "opengl", "--window-geometry", "0", "0", width, height, "--enable-event-simulate"]
        run = ["--python", str(self._work / "inside" / script), "--", str(self._work / "job.json")]
        return self.blender.command(*window, *run, display=self.display.name)

    def _answer(self, asked: str) -> None:
        """Do what the script asks for, which waits for a file of that name."""
        if asked in self.actions:
            self.actions[asked]()
        else:
            self._photograph(asked)
        (self._work / "answers" / asked).touch()

    def _photograph(self, name: str) -> None:
        """A palette is enough for a user interface."""
        number = len(list(self.out.glob("[0-9][0-9]-*.png"))) + 1
        small = self.display.grab().quantize(256, dither=Image.Dither.NONE)
        small.save(self.out / f"{number:02}-{name}.png", optimize=True)


def _messages(process: subprocess.Popen, progress: Path) -> Iterator[dict]:
    """The lines of JSON that the script writes, until Blender has ended."""
    progress.touch()
    deadline = time.monotonic() + MINUTES * 60
    with progress.open(encoding="utf-8") as lines:
        while True:
            running = process.poll() is None
            for line in lines:
                yield json.loads(line)
            if not running:
                return
            if time.monotonic() > deadline:
                process.kill()
                raise GuiError(f"Blender did not come to an end within {MINUTES} minutes.")
            time.sleep(PAUSE)
