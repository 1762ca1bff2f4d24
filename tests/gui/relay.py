"""The server's command for a Blender in a chroot, where it is not installed: asked there, carried out here."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

POSEDUB = [sys.executable, "-m", "model_server"]
# The add-on asks for one thing alone: `mark --record FILE`, where FILE is seen in the chroot only.
ASK = """#!/bin/sh
asked=$(mktemp -d "$(dirname "$0")/asked.XXXXXX")
cp "$3" "$asked/part"
mv "$asked/part" "$asked/record.json"
while [ ! -e "$asked/code" ]; do sleep 0.1; done
cat "$asked/said" >&2
exit "$(cat "$asked/code")"
"""
PAUSE = 0.1


class Relay:
    """A program in a folder that the chroot sees at the same path; what it is asked is done until the block ends."""

    def __init__(self, folder: Path) -> None:
        self.program = folder / "posedub"
        self.program.write_text(ASK)
        self.program.chmod(0o755)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="relay")

    def __enter__(self) -> Relay:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _serve(self) -> None:
        while not self._over.wait(PAUSE):
            for record in self.program.parent.glob("asked.*/record.json"):
                if not (code := record.with_name("code")).exists():
                    done = subprocess.run([*POSEDUB, "mark", "--record", str(record)], capture_output=True, text=True)
                    record.with_name("said").write_text(done.stderr)
                    part = record.with_name("part")
                    part.write_text(str(done.returncode))
                    part.replace(code)
