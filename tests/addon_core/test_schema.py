"""The one table of a dub's parameters, and what is made from it or stands beside it."""

from dataclasses import fields, replace

import pytest

from blender_addon.client import wire
from blender_addon.core import schema
from blender_addon.core.plan import DubPlan
from blender_addon.core.schema import NETWORK, PARAMETERS, DubSettings
from model_server.pipeline import parameters, request


def test_defaults_are_allowed_and_listed():
    for one in PARAMETERS.values():
        assert one.title and one.text and not one.text.endswith(".")
        assert not one.choices or one.default in [choice.value for choice in one.choices], one.name
        assert isinstance(one.default, str) or one.problem(one.default) == "", one.name
    assert set(schema.IN_SETTINGS) <= set(PARAMETERS)


@pytest.mark.parametrize("name", PARAMETERS)
def test_what_is_stored_is_read_as_it_was_meant(name):
    one = PARAMETERS[name]
    for value in [one.default, *(choice.value for choice in one.choices)]:
        assert one.read(one.stored(value)) == value and type(one.read(one.stored(value))) is type(value)


def test_numbers_of_32_bits_are_read_as_they_were_meant():
    assert PARAMETERS["mouth_strength"].read(0.699999988079071) == 0.7


def test_plan_and_message_have_the_networks_parameters(plan):
    changed = replace(plan, mouth_strength=0.5, size=320, seed=7, precision="fp32", pose_reading="angles")
    request = wire.submit_request(changed, {"portrait": "a", "speech": "b", "pose": "c"})
    spec = request.spec
    assert set(NETWORK) <= {field.name for field in fields(DubPlan)}
    assert set(NETWORK) <= set(spec.DESCRIPTOR.fields_by_name)
    readings = spec.DESCRIPTOR.fields_by_name["pose_reading"].enum_type
    assert spec.pose_reading == readings.values_by_name["POSE_READING_ANGLES"].number
    number = spec.DESCRIPTOR.fields_by_name["precision"].enum_type.values_by_name["PRECISION_FP32"].number
    assert (spec.mouth_strength, spec.size, spec.seed, spec.precision) == (0.5, 320, 7, number)


def test_plans_of_older_manifests_are_read(plan):
    older = plan.to_json()
    del older["limits"]
    assert DubPlan.from_json(older) == plan
    assert older["mouth_strength"] == 1.2  # where it always was
    del older["pose_reading"]
    assert DubPlan.from_json(older) == replace(plan, pose_reading="encoder")  # what it was made with


def test_frames_made_anew_keep_the_size_of_their_take():
    settings = DubSettings(size=448, seed=3)
    anew = schema.chosen_anew(settings)
    assert "size" not in anew and (anew["seed"], anew["mouth_strength"]) == (3, 1.2)
    assert schema.chosen(settings)["size"] == 448


def test_the_servers_table_agrees():
    theirs = {one.name: one for cls in (request.DubSpec, request.Output) for one in parameters.parameters(cls)}
    assert [name for name, one in theirs.items() if not _agrees(PARAMETERS.get(name), one)] == []


def _agrees(ours, theirs):
    """Whether default and range are the same; a choice or a bound of Blender's may be narrower."""
    if ours is None or ours.default != theirs.default or type(ours.default) is not type(theirs.default):
        return False
    numbers = [choice.value for choice in ours.choices] or [ours.low, ours.high]
    kept = [number for number in numbers if number is not None]
    if ours.choices:
        return all(theirs.low <= number <= theirs.high for number in kept)
    return all(number in (theirs.low, theirs.high) for number in kept)
