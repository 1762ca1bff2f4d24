"""What runs out while a job is at work is named; the server goes on, and whoever waits hears of it."""

from __future__ import annotations

import sqlite3
from concurrent.futures.process import BrokenProcessPool
from errno import EACCES, EMFILE, ENOSPC
from fractions import Fraction
from pathlib import Path

import av
import cv2
import grpc
import numpy as np
import pytest
import torch

from model_server import surroundings
from model_server.engines.pcavs.weights import untrained
from model_server.errors import ErrorKind, PoseDubError
from model_server.files import file_digest
from model_server.jobs.execution.engine_pool import EnginePool
from model_server.jobs.execution.tally import Tally
from model_server.jobs.in_process import LocalServer
from model_server.jobs.model import Ended, JobState
from model_server.jobs.store import Store
from model_server.pipeline.request import DubRequest, DubSpec, FaceSelection, Portrait, PoseFrontal, Speech
from model_server.service.servicer import _status
from model_server.surroundings import NO_GPU_MEMORY, NO_MEMORY, explained

TOO_MUCH = 1 << 52


def raised(work: object) -> Exception:
    """What a library raises."""
    with pytest.raises(Exception) as caught:  # noqa: B017, PT011 - each has its own kind
        work()
    return caught.value


def while_reading(problem: Exception) -> PoseDubError:
    """As readers do, which take any error for damage."""
    try:
        try:
            raise problem
        except Exception as error:
            raise PoseDubError("The file is damaged.", ErrorKind.CORRUPT) from error
    except PoseDubError as error:
        return error


LACKS = {
    "Python": lambda: raised(lambda: bytearray(TOO_MUCH)),
    "NumPy": lambda: raised(lambda: np.empty(TOO_MUCH)),
    "torch": lambda: raised(lambda: torch.empty(TOO_MUCH)),
    "OpenCV": lambda: raised(lambda: cv2.resize(np.zeros((1, 1), np.uint8), (1 << 30, 1 << 30))),
    "FFmpeg": lambda: av.MemoryError(12, "Cannot allocate memory", "speech.wav"),
    "a helper process": lambda: BrokenProcessPool("A process in the process pool was terminated abruptly"),
    "threads": lambda: RuntimeError("can't start new thread"),
    "libraries": lambda: ImportError("libx.so: failed to map segment from shared object"),
    "a damaged file": lambda: while_reading(MemoryError()),
}


@pytest.mark.parametrize("who", LACKS)
def test_lack_of_memory_is_called_that(who: str) -> None:
    problem = explained(LACKS[who]())
    assert problem is not None and (problem.message, problem.kind) == (NO_MEMORY, ErrorKind.TOO_LARGE)


def test_so_is_that_of_a_graphics_card() -> None:
    error = torch.OutOfMemoryError(
        "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 4 GiB"
    )
    assert explained(error).message == NO_GPU_MEMORY


def test_other_lacks() -> None:
    def said(error: Exception) -> str:
        return explained(error).message

    assert said(OSError(ENOSPC, "No space left on device", "/data/x")).startswith("The disk of /data/x is full;")
    assert said(sqlite3.OperationalError("database or disk is full")).startswith("The disk of the data folder is full;")
    assert said(RuntimeError("I/O error: No space left on device (os error 28)")).startswith("The disk is full;")
    assert said(PermissionError(EACCES, "Permission denied", b"/data/\xff")) == (
        "/data/\\udcff cannot be used (Permission denied); check the path and its permissions."
    )
    assert "ulimit -n" in said(OSError(EMFILE, "Too many open files"))
    assert "--data" in said(sqlite3.DatabaseError("file is not a database"))
    stated = PoseDubError("The portrait has no face.")
    assert explained(stated) is stated


def test_faults_of_the_program_stay_what_they_are() -> None:
    for error in (ValueError("x"), KeyError("memory"), RuntimeError("mat1 and mat2 shapes cannot be multiplied")):
        assert explained(error) is None


def test_files_are_named_where_the_system_does_not(tmp_path: Path) -> None:
    with pytest.raises(OSError) as caught, surroundings.naming(tmp_path):
        raise OSError(ENOSPC, "No space left on device")
    assert explained(caught.value).message.startswith(f"The disk of {tmp_path} is full;")


def test_a_caller_is_told(caplog: pytest.LogCaptureFixture) -> None:
    assert _status(MemoryError(), "PreviewFrame", Tally()) == (grpc.StatusCode.RESOURCE_EXHAUSTED, NO_MEMORY)
    assert not caplog.records
    assert _status(KeyError("x"), "PreviewFrame", Tally())[0] is grpc.StatusCode.INTERNAL
    assert "PreviewFrame failed" in caplog.text and "KeyError" in caplog.text


def ask(media: Path, frames: int) -> DubRequest:
    portrait, speech = (file_digest(media / name) for name in ("portrait.png", "speech.wav"))
    portrait_of = Portrait(portrait, FaceSelection("aligned"))
    return DubRequest(DubSpec(portrait_of, Speech(speech), PoseFrontal(), Fraction(25), frames))


@pytest.fixture
def server(media: Path, tmp_path: Path) -> LocalServer:
    server = LocalServer(tmp_path / "data", EnginePool([untrained()]))
    for name in ("portrait.png", "speech.wav"):
        server.add(file_digest(media / name), media / name)
    return server


def test_a_job_without_memory_fails_with_the_sentence_and_can_be_asked_for_again(
    server: LocalServer, media: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    with server:
        monkeypatch.setattr("model_server.pipeline.render.Rendering._draw", fail)
        *_, last = server.events(server.submit(ask(media, 3)))
        assert isinstance(last, Ended)
        assert (last.job.state, last.job.error) == (JobState.FAILED, NO_GPU_MEMORY)
        monkeypatch.undo()
        *_, last = server.events(server.submit(ask(media, 3)))
        assert last.job.state is JobState.DONE


def test_a_store_that_fails_ends_the_wait(server: LocalServer, media: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its disk full, not even the failure can be noted."""

    def fail(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    with server:
        job = server.submit(ask(media, 3))
        monkeypatch.setattr(Store, "commit", fail)
        monkeypatch.setattr(Store, "finish", fail)
        with pytest.raises(sqlite3.OperationalError) as caught:
            list(server.events(job))
    assert "disk of the data folder is full" in explained(caught.value).message
