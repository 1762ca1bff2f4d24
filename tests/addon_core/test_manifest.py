"""The record beside the frames."""

import json
from dataclasses import replace

import pytest

from blender_addon.core.errors import AddonError
from blender_addon.core.events import JobWarning
from blender_addon.core.manifest import FILE_NAME, Manifest, SourceFile, read_manifest
from blender_addon.core.weights import WeightsInfo


@pytest.fixture
def manifest(plan):
    plan.folder.mkdir(parents=True)
    return Manifest(
        plan,
        "job-1",
        (SourceFile("portrait", str(plan.portrait.file), "ab" * 32, 8),),
        WeightsInfo("cd" * 32, "default", "untrained", "lite"),
        "0.1.0",
        warnings=(JobWarning("u1", 3, 9, "no_face", "No face."),),
    )


def test_round_trip(manifest):
    manifest.write()
    assert read_manifest(manifest.plan.folder) == manifest


def test_readable_by_people(manifest):
    manifest.write()
    data = json.loads((manifest.plan.folder / FILE_NAME).read_text(encoding="utf-8"))
    assert data["plan"]["fps"] == "24000/1001"
    assert data["weights"]["kind"] == "untrained"
    assert data["state"] == "running"


def test_folder_that_moved_is_the_one_read(manifest, tmp_path):
    manifest.write()
    moved = manifest.plan.folder.rename(tmp_path / "elsewhere")
    assert read_manifest(moved).plan.folder == moved


def test_repeated_warning_is_kept_once(manifest):
    assert manifest.warned(manifest.warnings[0]) is manifest
    assert len(manifest.warned(replace(manifest.warnings[0], first=4)).warnings) == 2


@pytest.mark.parametrize(
    "text", ["", "[]", "null", "{}", "\x00\xff", '{"format": 99, "state": "done"}', '{"format": 1, "state": "odd"}']
)
def test_damaged_manifest_is_one_sentence(tmp_path, text):
    (tmp_path / FILE_NAME).write_text(text, encoding="latin-1")
    with pytest.raises(AddonError, match="damaged or of another version"):
        read_manifest(tmp_path)


@pytest.mark.parametrize("key", ["plan", "job_id", "sources", "weights", "warnings"])
def test_manifest_with_a_missing_part(manifest, key):
    data = manifest.to_json()
    del data[key]
    (manifest.plan.folder / FILE_NAME).write_text(json.dumps(data))
    with pytest.raises(AddonError, match="damaged"):
        read_manifest(manifest.plan.folder)


def test_absent_manifest(tmp_path):
    with pytest.raises(AddonError, match="cannot be read"):
        read_manifest(tmp_path)
