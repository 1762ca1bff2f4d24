"""An old client and a new server, and the reverse."""

from __future__ import annotations

from blender_addon.client.connection import Connection, Endpoint
from blender_addon.core.errors import AddonError
from model_server.errors import PoseDubError
from model_server.service import rpc
from model_server.service.remote import Address, RemoteServer
from model_server.service.stubs import dubbing_pb2 as dubbing
from tests.faults.lab import Lab, case, one_sentence


@case()
def versions_apart(lab: Lab, count: int) -> str:
    """Another protocol on either side is one sentence; fields that a side does not know are passed over."""
    sentences = []
    for step in (1, -1):
        server = lab.server(
            program=["-m", "tests.faults.posedub"], POSEDUB_FAULT="protocol", POSEDUB_PROTOCOL=str(step)
        ).start()
        try:
            RemoteServer(Address(server.address))
        except PoseDubError as error:
            sentences.append(one_sentence(error.message))
        with Connection(Endpoint(server.address)) as connection:
            try:
                connection.info()
            except AddonError as error:
                sentences.append(one_sentence(str(error)))
        server.stop()
    assert len(sentences) == 4 and len(set(sentences)) == 4, sentences
    server = lab.server().start()
    _unknown_fields(server.address)
    server.stop()
    return " ".join(f"“{one}”" for one in sentences)


def _unknown_fields(address: str) -> None:
    """A message of a later version: what it has more is passed over."""
    import grpc

    later = dubbing.GetServerInfoRequest(client_version="9").SerializeToString() + b"\xfa\x3f\x03abc"
    with grpc.insecure_channel(address) as channel:
        answer = channel.unary_unary("/posedub.v1.DubbingService/GetServerInfo")(later)
        assert dubbing.GetServerInfoResponse.FromString(answer).protocol == 1
        assert rpc.Stub(channel).ListDubs(dubbing.ListDubsRequest(kept=["nothing"])).dubs is not None
