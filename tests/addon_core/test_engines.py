"""What a server's engine takes of a dub, and what that makes of the editor's settings."""

from dataclasses import replace
from math import inf

import pytest

from blender_addon.client import wire
from blender_addon.client.stubs import dubbing_pb2 as pb
from blender_addon.core.engines import USUAL, EngineTraits, Offer, PlanLimits, PoseControl, Sizes
from blender_addon.core.plan import DubPlan, PoseSource
from blender_addon.core.schema import DubSettings
from blender_addon.core.takes import identity
from model_server.engines.pcavs.weights import untrained
from model_server.service.stubs.dubbing_pb2 import GetServerInfoResponse
from model_server.service.wire import engine_messages, traits_of

TOY = EngineTraits("Toy", False, ("speech", "codes"), (PoseControl("yaw", "degrees", -20, 20), PoseControl("nod")), ())
OFFER = Offer(TOY, Sizes(64, 128, 32))


@pytest.fixture
def toy_plan(plan):
    """A plan as an engine takes it that draws one person."""
    pose = PoseSource("codes", codes=((1.0, 0.5),) * 48)
    return replace(plan, portrait=None, pose=pose, size=96, limits=OFFER.limits)


def server_info():
    traits = pb.EngineTraits(title="Toy", portrait=False, pose_sources=["speech", "codes"], parameters=["seed"])
    traits.pose_controls.add(name="yaw", unit="degrees", low=-20, high=20)
    traits.pose_controls.add(name="nod", low=-inf, high=inf, neutral=0.5)
    toy = pb.Engine(name="toy", traits=traits)
    toy.weights.add(weights_id="t", name="tiny", sizes=pb.Sizes(low=64, high=128, step=32))
    old = pb.Engine(name="old")
    old.weights.add(weights_id="o", name="older")
    return wire.server_info(pb.GetServerInfoResponse(version="1", protocol=1, engines=[toy, old]))


def test_the_handshake_tells_engines_and_sizes():
    offer = server_info().offer()
    assert offer.sizes == Sizes(64, 128, 32)
    assert (offer.engine.title, offer.engine.portrait, offer.engine.parameters) == ("Toy", False, ("seed",))
    assert offer.engine.pose_controls == (PoseControl("yaw", "degrees", -20, 20), PoseControl("nod", neutral=0.5))
    assert offer.poses == ("speech", "keyframes") and not offer.engine.implicit
    assert offer.engine.neutral == (0.0, 0.5)


def test_an_engine_that_tells_nothing_is_the_usual_one():
    assert server_info().offer("o") == USUAL
    assert server_info().offer("unknown") == USUAL
    assert USUAL.poses == ("strip", "fixed", "frontal", "keyframes") and len(USUAL.size_choices) == 4


def test_settings_are_fitted_to_what_the_engine_takes():
    settings = DubSettings(mouth_strength=2.0, seed=5, size=320, pose_kind="strip")
    assert OFFER.fitted(settings) == replace(settings, mouth_strength=1.2, seed=0, size=128, pose_kind="speech")
    assert OFFER.fitted(replace(settings, pose_kind="keyframes")).pose_kind == "keyframes"
    assert USUAL.fitted(settings) == settings


def test_whose_pixels_a_face_is_made_of_is_asked_of_weights_that_can():
    settings = DubSettings(face_source="portrait", output="overlay")
    offers = [Offer(EngineTraits(in_place=can)) for can in (True, None, False)]
    assert [offer.fitted(settings).face_source for offer in offers] == ["portrait", "portrait", "auto"]
    engines = engine_messages([untrained("lite-in-place"), untrained("full"), untrained()])
    sent = GetServerInfoResponse(engines=engines)
    told = wire.server_info(pb.GetServerInfoResponse.FromString(sent.SerializeToString()))
    assert [told.offer(weights.weights_id).engine.in_place for weights in told.weights] == [True, True, False]
    assert traits_of(sent, "").in_place == "lower_face"


def test_sizes_that_are_listed_are_left_to_the_server():
    full = Offer(sizes=Sizes(224, 224, 2))
    assert full.fitted(DubSettings(size=320)).size == 320 and full.limits == PlanLimits()


@pytest.mark.parametrize(("wanted", "drawn"), [(224, 128), (127, 96), (64, 64), (3, 64)])
def test_the_nearest_size(wanted, drawn):
    assert Sizes(64, 128, 32).nearest(wanted) == drawn and drawn in Sizes(64, 128, 32)


def test_a_plan_is_held_to_its_engine(toy_plan):
    assert toy_plan.problems() == []
    assert [role for role, _file in toy_plan.sources()] == ["speech"]
    assert DubPlan.from_json(toy_plan.to_json()) == toy_plan
    (size,) = replace(toy_plan, size=100).problems()
    assert "picture size 100 is not in steps of 32 from 64 to 128; choose another." in size
    (codes,) = replace(toy_plan, pose=PoseSource("codes", codes=((1.0,) * 12,) * 48)).problems()
    assert "must be 2 finite numbers" in codes
    assert identity(toy_plan) != identity(replace(toy_plan, size=64))


def test_a_plan_without_portrait_sends_none(toy_plan):
    spec = wire.submit_request(replace(toy_plan, pose=PoseSource("speech")), {"speech": "b"}).spec
    assert not spec.HasField("portrait") and spec.pose.WhichOneof("source") == "speech"
    spec = wire.submit_request(toy_plan, {"speech": "b"}).spec
    assert list(spec.pose.codes.values) == [1.0, 0.5] * 48
