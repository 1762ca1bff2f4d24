"""Pose from speech over gRPC: an actor's weights tell it, for dubs with other weights, too."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest
from numpy.typing import NDArray

from model_server.engines.dae_talker.untrained import write_untrained
from model_server.engines.weights import describe
from model_server.files import file_digest
from model_server.service import rpc
from model_server.service.messages import dubbing, media
from model_server.service.remote import Address, RemoteServer
from tests.pipeline.conftest import INPUTS
from tests.servers import ServerProcess

SOUND, FRAMES = INPUTS / "speech.flac", 70


def asked(weights: str = "", frames: int = FRAMES, rate: int = 24, seed: int = 0) -> dubbing.PoseFromSpeechRequest:
    return dubbing.PoseFromSpeechRequest(
        speech=media.Speech(asset_id=file_digest(SOUND)),
        frame_rate=media.Rational(numerator=rate, denominator=1),
        frame_count=frames,
        weights_id=weights,
        seed=seed,
    )


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory, untrained_weights: Path) -> Iterator[ServerProcess]:
    """A server of PC-AVS weights and an actor."""
    folder = tmp_path_factory.mktemp("both")
    actor = write_untrained(folder / "actor.safetensors")
    options = ["--weights", str(untrained_weights), "--weights", str(actor)]
    with ServerProcess(folder / "data", options) as server, RemoteServer(Address(server.address)) as remote:
        remote.add(file_digest(SOUND), SOUND)
        yield server


def angles(server: ServerProcess, request: dubbing.PoseFromSpeechRequest) -> NDArray[np.float64]:
    with grpc.insecure_channel(server.address) as channel:
        blocks = list(rpc.Stub(channel).PoseFromSpeech(request))
    return np.reshape([value for block in blocks for value in block.angles], (-1, 3))


def test_an_actor_tells_the_pose_of_any_dub(both: ServerProcess, untrained_weights: Path) -> None:
    found = angles(both, asked(describe(untrained_weights).id))
    assert found.shape == (FRAMES, 3) and (found.std(0) > 0).all() and np.abs(found).max() <= 15
    np.testing.assert_array_equal(found, angles(both, asked()))
    np.testing.assert_array_equal(found[:30], angles(both, asked(frames=30)))


def test_seeds_move_the_head_otherwise(both: ServerProcess) -> None:
    one, same, other = (angles(both, asked(seed=seed)) for seed in (4, 4, 5))
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [({"frames": 0}, "ask for 1 to"), ({"rate": 500}, "frame rate 500 is outside"), ({"weights": "x"}, "no weights")],
)
def test_what_makes_no_sense_is_a_sentence(both: ServerProcess, change: dict, sentence: str) -> None:
    with pytest.raises(grpc.RpcError, match=sentence):
        angles(both, asked(**change))


def test_a_server_without_an_actor_says_so(untrained_weights: Path, tmp_path: Path) -> None:
    sound = file_digest(SOUND)
    with ServerProcess(tmp_path, ["--weights", str(untrained_weights)]) as server:
        with RemoteServer(Address(server.address)) as remote:
            remote.add(sound, SOUND)
        match = "None of the server's weights tell head movement from speech; start it"
        with pytest.raises(grpc.RpcError, match=match):
            angles(server, asked())
