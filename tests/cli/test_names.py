"""File names that the console has no characters for."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.limits import HANGS


def test_a_name_that_the_console_lacks(media: Path, tmp_path: Path) -> None:
    portrait, sound = tmp_path / "Gesicht für 吹き替え.png", tmp_path / "Ärger.wav"
    portrait.write_bytes((media / "portrait.png").read_bytes())
    sound.write_bytes((media / "speech.wav").read_bytes())
    names = ["--portrait", str(portrait), "--audio", str(sound), "--out", str(tmp_path / "für 吹き替え")]
    settings = ["--crop", "aligned", "--pose-mode", "frontal", "--range", "0:1", "--data", str(tmp_path / "data")]
    done = subprocess.run(
        [sys.executable, "-m", "model_server", "dub", *names, *settings],
        capture_output=True,
        text=True,
        timeout=HANGS,
        env=os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"},
    )
    assert done.returncode == 0, done.stderr
    assert "1 frame at 25 fps in " in done.stdout and r"f\xfcr \u5439" in done.stdout
