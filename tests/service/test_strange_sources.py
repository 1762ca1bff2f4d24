"""Sources that the server cannot read, asked about without saying what they are for."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest

from model_server.files import file_digest
from model_server.service import rpc
from model_server.service.remote import RemoteServer
from model_server.service.stubs import dubbing_pb2 as dubbing
from model_server.service.stubs import media_pb2 as media
from tests.servers import ServerProcess


def test_a_question_about_it_names_no_hash(server: ServerProcess, remote: RemoteServer, tmp_path: Path) -> None:
    path = tmp_path / "face.xcf"
    path.write_bytes(b"gimp xcf v011\0" + bytes(range(256)) * 9)
    asset = file_digest(path)
    remote.add(asset, path)
    with grpc.insecure_channel(server.address) as channel:
        stub = rpc.Stub(channel)
        pose = dubbing.ExtractPoseRequest(asset_id=asset, times=[media.Rational(numerator=0, denominator=1)])
        for ask in (
            lambda: stub.AnalyzeFaces(dubbing.AnalyzeFacesRequest(asset_id=asset)),
            lambda: list(stub.ExtractPose(pose)),
        ):
            with pytest.raises(grpc.RpcError) as caught:
                ask()
            sentence = caught.value.details()
            assert sentence.startswith("The file of this source is neither a picture nor a movie")
            assert asset not in sentence
