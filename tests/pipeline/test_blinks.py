"""Eyes close where keys, a pose movie or chance say so, with weights that know lids, and with no others."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from model_server.engines.base import WeightsInfo
from model_server.engines.pcavs.weights import untrained
from model_server.engines.registry import traits
from model_server.engines.runtime.value_cache import ValueCache
from model_server.engines.shipped import shipped_weights
from model_server.engines.weights import load_engine
from model_server.engines.weights_file import describe
from model_server.jobs.execution.engine_pool import EnginePool
from model_server.jobs.queries import Queries
from model_server.jobs.store import Store
from model_server.pipeline.analysis import Context, analyse
from model_server.pipeline.faces.lids import automatic, closure, open_ratio
from model_server.pipeline.media.encode import decode_png
from model_server.pipeline.render import Rendering
from model_server.pipeline.request import (
    DubRequest,
    DubSpec,
    FaceSelection,
    FootageSource,
    Output,
    Portrait,
    PoseFixed,
    PoseVideo,
    Speech,
)
from model_server.service.wire.spec import spec_message, spec_of
from tests.pipeline.test_render import FILES, Kept

SPEC = DubSpec(Portrait("portrait.png"), Speech("speech.flac"), PoseFixed(), Fraction(25), 6, blinking="off")


@pytest.fixture(scope="module")
def knowing(lid_weights: Path) -> WeightsInfo:
    """Weights that can close eyes."""
    return describe(lid_weights)


def contexts(weights: WeightsInfo) -> Context:
    return Context(load_engine(weights, "cpu", "fp32"), FILES.__getitem__, Kept())


def keys(spec: DubSpec, context: Context) -> list[str]:
    rendering = Rendering(analyse(DubRequest(spec), context), context)
    return [frame.key for frame in rendering.wanted(range(spec.frame_count))]


def test_only_weights_that_know_lids_heed_them(knowing: WeightsInfo) -> None:
    shipped = shipped_weights()
    assert shipped is not None
    assert {"blink", "blinking"} <= set(traits(knowing).parameters)
    if "blink" not in traits(shipped).parameters:
        context = contexts(shipped)
        assert keys(SPEC, context) == keys(replace(SPEC, blink=(1.0,), blinking="on"), context)


def test_a_keyed_blink_changes_its_own_frames_alone(knowing: WeightsInfo) -> None:
    context = contexts(knowing)
    keyed = replace(SPEC, blink=(0.0, 0.0, 0.5, 1.0, 0.0, 0.0))
    plain, changed = keys(SPEC, context), keys(keyed, context)
    assert [a != b for a, b in zip(plain, changed, strict=True)] == [False, False, True, True, False, False]
    frames = list(Rendering(analyse(DubRequest(keyed), context), context).frames(range(6)))
    still = list(Rendering(analyse(DubRequest(SPEC), context), context).frames(range(6)))
    pictures = [[decode_png(frame.png or b"") for frame in some[2:4]] for some in (frames, still)]
    assert all(np.abs(a.astype(int) - b).max() > 10 for a, b in zip(*pictures, strict=True))


def test_portraits_blink_by_themselves_and_footage_does_not(knowing: WeightsInfo) -> None:
    context, long = contexts(knowing), replace(SPEC, frame_count=100, blinking="auto")
    lids = analyse(DubRequest(long, 0, 100), context).lids
    assert lids is not None and lids.max() > 0.9 and (lids == 0).mean() > 0.6
    into = FootageSource("pose.mp4")
    assert not replace(long, output=Output("overlay", into)).blinks
    assert replace(long, output=Output("overlay", into), blinking="on").blinks
    assert not replace(long, pose=PoseVideo("pose.mp4")).blinks and not replace(long, blinking="off").blinks
    assert long.blinks and not replace(long, blink=(0.0, 1.0) * 50).blinks


def test_a_pose_movies_lids_are_followed(knowing: WeightsInfo, monkeypatch: pytest.MonkeyPatch) -> None:
    context = contexts(knowing)
    followed = analyse(DubRequest(replace(SPEC, pose=PoseVideo("pose.mp4"))), context).lids
    assert followed is not None and followed.shape == (6,) and followed.min() >= 0 and followed.max() <= 1
    again = analyse(DubRequest(replace(SPEC, pose=PoseVideo("pose.mp4"), blink=(0.75,))), context).lids
    np.testing.assert_array_equal(again, np.maximum(followed, 0.75))


def test_blinks_come_every_two_to_four_seconds_whatever_frames_are_asked_for() -> None:
    lids = automatic(7, range(25 * 60), 25.0)
    starts = np.flatnonzero((lids[1:] > 0) & (lids[:-1] == 0)) / 25
    assert len(starts) > 12 and np.diff(starts).min() > 1.9 and np.diff(starts).max() < 4.1
    np.testing.assert_array_equal(automatic(7, range(300, 420), 25.0), lids[300:420])
    assert not np.array_equal(automatic(8, range(25 * 60), 25.0), lids)


def test_closures_are_told_by_the_eyes_height() -> None:
    ratios = np.array([0.3, 0.31, 0.3, 0.29, 0.21, 0.2, np.nan, 0.3])
    closed = closure(ratios, open_ratio(ratios))
    assert (closed[[0, 1, 2, 6, 7]] == 0).all() and (closed[[4, 5]] > 0.85).all()


def test_requests_carry_blinks_and_older_ones_have_none() -> None:
    spec = replace(SPEC, blink=(0.0, 0.25, 0.5, 1.0, 0.0, 0.0), blinking="on")
    assert spec_of(spec_message(spec)) == spec
    request = DubRequest(spec)
    assert DubRequest.from_json(request.to_json()) == request
    older = json.loads(request.to_json())
    del older["spec"]["blink"], older["spec"]["blinking"]
    assert DubRequest.from_json(json.dumps(older)).spec.blink == (0.0,)
    for wrong in ((0.0, 1.0), (1.5,)):
        with pytest.raises(Exception, match="blink"):
            replace(spec, blink=wrong).validate()


def test_whoever_asks_for_a_pose_is_told_the_lids_where_weights_heed_them(knowing: WeightsInfo, tmp_path: Path) -> None:
    store = Store(tmp_path / "data")
    asset = store.blobs.put(FILES["pose.mp4"].read_bytes())
    for weights, count in ((knowing, 5), (untrained(), 0)):
        queries = Queries(store, EnginePool([weights], "cpu", "fp32"), ValueCache())
        track = queries.pose(asset, FaceSelection(), [Fraction(k, 25) for k in range(5)], "")
        assert len(track.codes) == 5 and len(track.lids) == count
