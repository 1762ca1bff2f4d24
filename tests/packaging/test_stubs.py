"""The generated stubs on the oldest and the newest protobuf that Blender may bring."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import build_addon

# On newer Pythons there is no protoc of that age: what it writes there fits newer protobufs only.
OLDEST = ["4.25.3"] if sys.version_info < (3, 13) else []
ROOT = Path(build_addon.__file__).parent
USE = """
import importlib, shutil, sys
from fractions import Fraction
from pathlib import Path
import google.protobuf
from google.protobuf.message_factory import GetMessageClass
assert google.protobuf.__version__ == sys.argv[1], google.protobuf.__version__
here = Path(sys.argv[2])
for copy in ("one", "two"):  # two versions of the add-on in one Blender session
    for part in ("core", "client"):
        shutil.copytree(Path(sys.argv[3]) / "blender_addon" / part, here / copy / part, dirs_exist_ok=True)
    (here / copy / "__init__.py").touch()
    wire = importlib.import_module(f"{copy}.client.wire")
    plans = importlib.import_module(f"{copy}.core.plan")
    row = tuple(float(k) for k in range(12))
    plan = plans.DubPlan("u", "n", here, plans.PortraitSource(here), plans.SpeechSource(here),
                         plans.PoseSource("codes", codes=(row,)), Fraction(24000, 1001), 1, 0, 1, seed=2**64 - 1)
    request = wire.submit_request(plan, {"portrait": "a" * 64, "speech": "b" * 64})
    again = type(request).FromString(request.SerializeToString())
    assert again == request and tuple(again.spec.pose.codes.values) == row and again.spec.seed == 2**64 - 1
    shapes = [(m.client_streaming, m.server_streaming) for m in wire.service().methods]
    assert shapes.count((True, False)) == 1 and shapes.count((False, True)) == 4 and len(shapes) == 12
    answer = GetMessageClass(wire.service().methods_by_name["WatchDub"].output_type)()
    answer.done.dub.state = 5
    answer.done.dub.weights.kind = 1
    dub = wire.watch_event("u", answer).dub
    assert (dub.state, dub.weights.kind) == ("cancelled", "untrained")
print("fits")
"""


@pytest.mark.slow
@pytest.mark.parametrize("version", [*OLDEST, build_addon.REQUIREMENTS["protobuf"]])
def test_stubs_fit_protobuf(tmp_path, version):
    build_addon.write_stubs()
    target = tmp_path / "site"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--only-binary", ":all:"]
    fetched = subprocess.run([*pip, "--target", str(target), f"protobuf=={version}"], capture_output=True, text=True)
    if fetched.returncode != 0:
        pytest.skip("protobuf could not be downloaded")
    (tmp_path / "use.py").write_text(USE)
    command = [sys.executable, "-W", "error", str(tmp_path / "use.py"), version, str(tmp_path), str(ROOT)]
    result = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(target)}, capture_output=True, text=True)
    assert result.stdout.strip() == "fits", result.stderr
