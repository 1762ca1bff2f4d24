"""Dubbing into footage over gRPC: the contract, large frames, warnings and what is made again."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from io import BytesIO
from pathlib import Path

import grpc
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from model_server.errors import PoseDubError
from model_server.files import file_digest
from model_server.jobs.model import Event, FrameMade, Warned
from model_server.pipeline.compositing.canvas import bridged
from model_server.pipeline.faces.alignment import inverse, moved, view_transform
from model_server.pipeline.faces.finder import FaceFinder
from model_server.pipeline.faces.tracking import track_face
from model_server.pipeline.media.encode import decode_png
from model_server.pipeline.media.video import open_footage
from model_server.pipeline.request import (
    DubRequest,
    DubSpec,
    FaceSelection,
    FootageSource,
    Output,
    Portrait,
    PoseFixed,
    Speech,
)
from model_server.service import rpc, wire
from model_server.service.remote import Address, RemoteServer
from model_server.service.stubs import dubbing_pb2 as dubbing
from tests.clips import CUT, FRAMES, HERO, SIZE, still_head, two_people
from tests.pipeline.conftest import INPUTS
from tests.servers import ServerProcess

FPS = Fraction(25)
CUT_OFF, GONE = 23, 24
PORTRAIT, SOUND = INPUTS / "portrait.png", INPUTS / "speech.flac"


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return two_people(tmp_path_factory.mktemp("clips"))


def into(clip: Path, frames: int = FRAMES, **settings: object) -> DubRequest:
    """The hero's portrait into a clip, with a fixed pose."""
    source = FootageSource(file_digest(clip), FaceSelection(at=HERO), start=1 / (2 * FPS))
    output = Output(**{"mode": "overlay", "footage": source, **settings})
    return DubRequest(
        DubSpec(
            portrait=Portrait(file_digest(PORTRAIT)),
            speech=Speech(file_digest(SOUND)),
            pose=PoseFixed(),
            fps=FPS,
            frame_count=frames,
            output=output,
        )
    )


def events(remote: RemoteServer, footage: Path, request: DubRequest) -> list[Event]:
    for path in (PORTRAIT, SOUND, footage):
        remote.add(file_digest(path), path)
    return list(remote.events(remote.submit(request), request.first))


def frames(made: list[Event]) -> dict[int, bytes]:
    return {event.index: event.png for event in made if isinstance(event, FrameMade)}


def test_overlays_and_warnings_come_over_the_wire(remote: RemoteServer, clip: Path) -> None:
    made = events(remote, clip, into(clip))
    pictures = {index: decode_png(png) for index, png in frames(made).items()}
    assert sorted(pictures) == list(range(FRAMES))
    assert {picture.shape for picture in pictures.values()} == {(SIZE[1], SIZE[0], 4)}
    assert all(not pictures[k].any() for k in range(GONE, FRAMES))
    told = {event.kind: event for event in made if isinstance(event, Warned)}
    assert {kind: (event.first, event.end) for kind, event in told.items()} == {
        "scene_cut": (CUT, CUT + 1), "cut_off": (CUT_OFF, GONE), "no_face": (GONE, FRAMES),
    }  # fmt: skip
    assert f"at 00:00:00:{CUT}; " in told["scene_cut"].message
    assert f"at 00:00:00:{CUT_OFF} to 00:00:00:{GONE}; 1 frame stays" in told["cut_off"].message
    assert f"at 00:00:00:{GONE} to 00:00:01:05; 6 frames stay" in told["no_face"].message


def test_only_the_chosen_one_of_two_people_is_touched_past_a_cut_and_until_gone(
    remote: RemoteServer, clip: Path
) -> None:
    made = frames(events(remote, clip, into(clip, mode="full_frame")))
    footage = dict(open_footage(clip).iter_frames(range(FRAMES)))
    touched = {k: (decode_png(png) != footage[k]).any(axis=2) for k, png in made.items()}
    half = SIZE[0] // 2
    left, right = ([k for k, part in touched.items() if part[:, side].any()] for side in (np.s_[:half], np.s_[half:]))
    assert sorted(touched) == list(range(FRAMES))
    assert left == list(range(CUT)) and right == list(range(CUT, CUT_OFF))
    assert all(0.03 < touched[k].mean() < 0.1 for k in range(CUT_OFF - 2))


def test_only_frames_whose_mouth_amount_changed_are_made_again(remote: RemoteServer, clip: Path) -> None:
    before = frames(events(remote, clip, into(clip)))
    keyed = tuple(0.5 if 4 <= k < 9 else 0.0 for k in range(FRAMES))
    after = frames(events(remote, clip, into(clip, mouth_only=keyed)))
    assert [k for k in range(FRAMES) if before[k] != after[k]] == list(range(4, 9))


def test_a_sub_range_gives_the_same_frames_as_the_whole(remote: RemoteServer, clip: Path, tmp_path: Path) -> None:
    whole = frames(events(remote, clip, into(clip, mode="full_frame")))
    part = replace(into(clip, mode="full_frame"), first=10, end=15)
    with (
        ServerProcess(tmp_path / "fresh") as server,
        RemoteServer(Address(server.address)) as fresh,
    ):
        made = frames(events(fresh, clip, part))
    assert made == {k: whole[k] for k in range(10, 15)}


def test_frames_larger_than_a_message_come_in_parts(remote: RemoteServer, tmp_path: Path) -> None:
    footage = still_head(tmp_path, (2560, 1440), 2, 1.5, noise=20)
    made = frames(events(remote, footage, into(footage, 2, mode="full_frame")))
    assert all(len(png) > 2**22 for png in made.values())
    assert {decode_png(png).shape for png in made.values()} == {(1440, 2560, 3)}


def mask_places(alpha: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Of an overlay's mask: its centroid, and where it crosses one half left, right, above and below, in pixels."""
    weights = alpha.astype(float)
    x, y = (np.average(np.arange(len(sums)), weights=sums) for sums in (weights.sum(axis=0), weights.sum(axis=1)))
    row, column = weights[round(y)], weights[:, round(x)]
    edges = []
    for line in (row, row[::-1], column, column[::-1]):
        first = int(np.argmax(line > 127.5))
        edges.append(first - (line[first] - 127.5) / (line[first] - line[first - 1]))
    return np.array([x, y, *edges])


def test_a_resting_heads_patch_rests_at_1080p(remote: RemoteServer, tmp_path: Path) -> None:
    count = 12
    footage = still_head(tmp_path, (1920, 1080), count, 1.2, noise=6)
    request = into(footage, count)
    masks = [decode_png(png)[..., 3] for _, png in sorted(frames(events(remote, footage, request)).items())]
    places = np.array([mask_places(mask) for mask in masks])
    assert np.abs(np.diff(places, axis=0)).max() < 0.25 and np.ptp(places, axis=0).max() < 0.75

    source = request.spec.output.footage
    assert source is not None
    track = bridged(track_face(open_footage(footage), range(count), source.face, FaceFinder))
    corners = np.array([[0.0, 0], [0, 224], [224, 0], [224, 224]])
    placed = np.array([moved(corners, inverse(view_transform(matrix, 224))) for matrix in track.transforms])
    assert np.linalg.norm(np.diff(placed, axis=0), axis=-1).max() < 0.25


def test_thumbnails_show_the_faces(server: ServerProcess, remote: RemoteServer, clip: Path) -> None:
    remote.add(file_digest(clip), clip)
    with grpc.insecure_channel(server.address) as channel:
        found = rpc.Stub(channel).AnalyzeFaces(dubbing.AnalyzeFacesRequest(asset_id=file_digest(clip)))
    brightness = []
    for face in found.faces:
        with Image.open(BytesIO(face.thumbnail)) as picture:
            assert picture.format == "JPEG" and picture.size == (96, 96)
            brightness.append((face.mouth.x, float(np.asarray(picture)[30:66, 30:66].mean())))
        assert abs(face.yaw) < 10
    (_, hero), (_, other) = sorted(brightness)
    assert hero > 1.2 * other


def test_a_request_without_an_output_means_the_crop() -> None:
    message = wire.request_message(into(PORTRAIT))
    message.spec.ClearField("output")
    assert wire.request_of(message).spec.output == Output()


@pytest.mark.parametrize(
    "output",
    [
        Output(),
        Output("overlay", FootageSource("a" * 64), 0.35, (0.25,), False),
        Output(
            "full_frame",
            FootageSource(
                "a" * 64, FaceSelection("auto", (0.25, 0.5), Fraction(7, 3)), Fraction(-1, 24), Fraction(1, 2)
            ),
            mouth_only=(0.0, 0.1, 1.0),
            face_source="in_place",
            presence_mark=True,
        ),
    ],
    ids=lambda output: output.mode,
)
def test_outputs_survive_the_wire_and_the_store(output: Output) -> None:
    request = into(PORTRAIT, 3)
    speech = replace(request.spec.speech, start=Fraction(1, 3), track=2)
    request = replace(request, spec=replace(request.spec, output=output, speech=speech))
    assert wire.request_of(wire.request_message(request)) == request
    assert DubRequest.from_json(request.to_json()) == request


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"footage": None}, "names no footage"),
        ({"mode": "crop"}, "takes no footage"),
        ({"footage": FootageSource("a" * 64, FaceSelection("aligned"))}, "crop to auto"),
        ({"feather": 1.5}, "feather"),
        ({"mouth_only": (0.0, 1.0)}, "mouth-only amount has 2 values"),
        ({"mouth_only": (-0.5,)}, "outside 0 to 1"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bad_outputs_get_one_sentence(remote: RemoteServer, clip: Path, change: dict, word: str) -> None:
    with pytest.raises(PoseDubError, match=word) as caught:
        remote.submit(into(clip, **change))
    assert "\n" not in caught.value.message
