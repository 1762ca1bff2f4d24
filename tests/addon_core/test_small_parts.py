"""Progress text, channels, diagnostics, settings, errors, version."""

import tomllib
from pathlib import Path

import pytest

import blender_addon
from blender_addon.core.diagnostics import redact, report
from blender_addon.core.errors import AddonError
from blender_addon.core.faces import Face
from blender_addon.core.placement import Span, free_channel
from blender_addon.core.progress import ProgressMeter, duration
from blender_addon.core.settings import ServerSettings
from blender_addon.core.version import VERSION


def test_progress_text_of_a_steady_job():
    meter = ProgressMeter()
    for frame in range(313):
        meter.note(frame, frame / 41)
    assert meter.text(1480, 312 / 41) == "312/1480 - 41 fps - 0:29 left"
    assert meter.text(1480, 312 / 41 + 1.0) == "312/1480 - 41 fps - 0:28 left"


def test_progress_before_the_first_frames():
    meter = ProgressMeter()
    assert meter.text(10, 0.0) == "0/10"
    meter.note(0, 0.0)
    assert (meter.text(10, 5.0), meter.fps, meter.seconds_left(10, 5.0)) == ("0/10", None, None)


def test_one_pause_does_not_change_the_rate():
    meter = ProgressMeter()
    times = [0, 1, 2, 3, 63, 64, 65, 66]
    for frame, time in enumerate(times):
        meter.note(frame, time)
    assert meter.fps == 1.0


def test_batches_count_as_their_frames():
    meter = ProgressMeter()
    for batch in range(5):
        meter.note(8 * batch, 2.0 * batch)
    assert meter.text(64, 8.0) == "32/64 - 4.0 fps - 0:08 left"


def test_starting_over_forgets_the_rate():
    meter = ProgressMeter()
    for frame in range(5):
        meter.note(frame, float(frame))
    meter.note(0, 9.0)
    assert meter.fps is None


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00"), (0.2, "0:01"), (28, "0:28"), (61, "1:01"), (3599.5, "1:00:00"), (7384, "2:03:04")],
)
def test_duration(seconds, text):
    assert duration(seconds) == text


OCCUPIED = [Span(1, 0, 100), Span(2, 0, 50), Span(3, 100, 200), Span(4, 10, 20)]


@pytest.mark.parametrize(
    ("start", "end", "above", "locked", "channel"),
    [
        (0, 100, 0, set(), 3),
        (50, 100, 0, set(), 2),
        (50, 100, 0, {2, 3}, 4),
        (0, 101, 1, set(), 5),
        (200, 210, 5, set(), 6),
        (200, 210, 0, set(), 1),
    ],
)
def test_first_free_channel(start, end, above, locked, channel):
    assert free_channel(OCCUPIED, start, end, above, locked) == channel


def test_no_channel_left():
    with pytest.raises(AddonError, match="No channel above 126"):
        free_channel([Span(127, 0, 10)], 5, 6, 126, {128})


def test_report_hides_names_and_secrets():
    text = report(
        {"Server": {"address": "127.0.0.1:50761", "token": "hunter2", "log": "C:\\Users\\Anna Smith\\AppData\\x.log"}},
        log="authorization: Bearer abc.def\nopen /home/anna/films/a.blend\n/Users/anna/b\nerror: token mismatch",
        secrets=["hunter2", ""],
        home=Path("/data/anna"),
    )
    assert "anna" not in text.lower() and "smith" not in text.lower()
    assert "hunter2" not in text and "abc.def" not in text
    for kept in ("127.0.0.1:50761", "films/a.blend", "AppData\\x.log", "error: token mismatch"):
        assert kept in text


def test_home_folder_becomes_a_tilde():
    assert redact("in /data/anna/dubs", home=Path("/data/anna")) == "in ~/dubs"


def test_error_text_and_transience():
    error = AddonError("No server answers.", "Start it.", "UNAVAILABLE")
    assert str(error) == "No server answers. Start it."
    assert error.transient and not AddonError("x").transient


def test_target_of_both_modes():
    assert ServerSettings(port=1234).target == "127.0.0.1:1234"
    assert ServerSettings(mode="address", address="gpu:5").target == "gpu:5"


def test_centre_of_a_face():
    assert Face(0.2, 0.4, 0.4, 0.8, 1.0, (0, 0), (0, 0), (0, 0)).centre == pytest.approx((0.3, 0.6))


def test_version_is_the_manifests():
    manifest = Path(blender_addon.__file__).with_name("blender_manifest.toml")
    assert tomllib.loads(manifest.read_text())["version"] == VERSION
