"""An engine that the project does not know goes through server and command: nothing but itself has to change."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from model_server.errors import PoseDubError
from model_server.files import file_digest
from model_server.pipeline.media.encode import decode_png
from model_server.pipeline.request import DubRequest, DubSpec, Portrait, PoseCodes, PoseFixed, PoseSpeech, Speech
from model_server.service.remote import Address, RemoteServer
from tests.cli.commands import ended, one_sentence
from tests.servers import ServerProcess
from tests.service.test_server import frames_of
from tests.toy_engine.toy_engine import REACH, write_weights

TOY = Path(__file__).parents[1] / "toy_engine"
FRAMES = 20


@pytest.fixture(scope="module")
def path_to_it() -> dict[str, str]:
    return {"PYTHONPATH": os.pathsep.join([str(TOY), str(Path(__file__).parents[2])])}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_weights(tmp_path_factory.mktemp("weights") / "toy.safetensors")


@pytest.fixture(scope="module")
def remote(
    tmp_path_factory: pytest.TempPathFactory, weights: Path, path_to_it: dict[str, str], media: Path
) -> Iterator[RemoteServer]:
    folder = tmp_path_factory.mktemp("server")
    options = ["--weights", str(weights)]
    server = ServerProcess(folder / "data", options, environment=path_to_it)
    with server, RemoteServer(Address(server.address)) as connection:
        for name in ("portrait.png", "speech.wav"):
            connection.add(file_digest(media / name), media / name)
        yield connection


def request(media: Path, **changes: object) -> DubRequest:
    speech = Speech(file_digest(media / "speech.wav"))
    return DubRequest(replace(DubSpec(None, speech, PoseSpeech(), Fraction(25), FRAMES, size=96), **changes))


def nodding(changed: range = range(0)) -> PoseCodes:
    return PoseCodes(tuple((5.0, 0.5 if k in changed else 0.0) for k in range(FRAMES)))


def test_the_handshake_says_what_it_wants(remote: RemoteServer) -> None:
    (engine,) = remote.info().engines
    traits = engine.traits
    assert (engine.name, traits.title, traits.portrait, traits.reach) == ("toy", "Toy", False, REACH)
    assert list(traits.pose_sources) == ["speech", "codes"] and list(traits.parameters) == ["seed"]
    controls = [(one.name, one.unit, one.low, one.high, one.neutral) for one in traits.pose_controls]
    assert controls == [("yaw", "degrees", -20, 20, 0), ("nod", "", 0, 1, 0)]
    assert [(one.sizes.low, one.sizes.high, one.sizes.step) for one in engine.weights] == [(64, 128, 32)]


def test_a_dub_without_portrait_and_pose(remote: RemoteServer, media: Path) -> None:
    frames = frames_of(remote, remote.submit(request(media)))
    pictures = [decode_png(frames[k]) for k in range(FRAMES)]
    assert {picture.shape for picture in pictures} == {(96, 96, 3)}
    assert np.ptp([picture[0, 0, 0] for picture in pictures]) > 10  # as loud as the speech
    assert np.ptp([picture[0, 0, 1] for picture in pictures]) > 1  # the head moves by itself


def test_any_range_gives_the_same_frames(remote: RemoteServer, media: Path) -> None:
    whole = request(media, pose=nodding(range(8, 12)), seed=3)
    part = DubRequest(whole.spec, 7, 11)
    made = frames_of(remote, remote.submit(part), 7)
    preview, approximate = remote.preview(whole.spec, 12)
    full = frames_of(remote, remote.submit(whole))
    assert made == {k: full[k] for k in range(7, 11)}
    assert (preview, approximate) == (full[12], False)


def test_a_changed_pose_reaches_as_far_as_the_engine_hears(remote: RemoteServer, media: Path) -> None:
    before, after = request(media, pose=nodding(), seed=4), request(media, pose=nodding(range(9, 10)), seed=4)
    frames_of(remote, remote.submit(before))
    ranges = [(span.first, span.end) for span in remote.estimate(after).generated]
    assert ranges == [(9 - REACH, 10 + REACH)]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"portrait": Portrait("0" * 64)}, "leave the portrait out"),
        ({"pose": PoseFixed()}, "takes no pose source fixed; choose one of speech, codes"),
        ({"pose": PoseCodes(((0.0,) * 12,) * FRAMES)}, "must be 2 finite numbers"),
        ({"size": 224}, "pictures of 64 to 128 pixels in steps of 32"),
        ({"engine": "other"}, "no engine 'other' here, only toy, dae_talker, pcavs"),
    ],
)
def test_what_it_cannot_do_is_a_sentence(remote: RemoteServer, media: Path, change: dict, sentence: str) -> None:
    with pytest.raises(PoseDubError, match=sentence):
        remote.submit(request(media, **change))


def test_the_command_dubs_with_it(media: Path, weights: Path, path_to_it: dict[str, str], tmp_path: Path) -> None:
    words = ["dub", "--audio", media / "speech.wav", "--weights", weights, "--size", 64, "--range", "0:4"]
    done = ended([*words, "--data", tmp_path / "data", "--out", tmp_path / "frames"], path_to_it)
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "frames").glob("*.png"))) == 4


def test_without_it_its_weights_are_a_sentence(media: Path, weights: Path, tmp_path: Path) -> None:
    done = ended(["dub", "--audio", media / "speech.wav", "--weights", weights, "--out", tmp_path / "frames"])
    assert "no engine 'toy' here, only dae_talker, pcavs" in one_sentence(done)
