"""Playback decodes in a process of its own, which ends with the playback."""

from __future__ import annotations

import gc
import sys
from pathlib import Path

import psutil
import pytest

from model_server.pipeline.media.playback import Playback
from model_server.pipeline.media.sandboxed import open_footage
from tests.limits import HANGS
from tests.pipeline.makers import counter_picture, read_counter, write_movie
from tests.readers import readers


@pytest.mark.skipif(sys.platform != "linux", reason="files are read in processes of their own on Linux")
def test_its_process_ends_with_it(tmp_path: Path) -> None:
    """Without waiting for the garbage collector, which may come much later."""
    movie = write_movie(tmp_path / "movie.mp4", map(counter_picture, range(8)))
    gc.disable()
    try:
        before = readers()
        playback = Playback(open_footage(movie))
        assert read_counter(playback.picture(3)) == 3
        reading = readers() - before
        assert reading
        del playback
        assert not psutil.wait_procs(reading, HANGS)[1]
    finally:
        gc.enable()
