"""What studios deploy: a container, a cluster, a job type; read by parsers, ours for words that are ours."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

from model_server.cli.main import parser
from tests.limits import HANGS

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "model_server" / "deploy"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
node = pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")


def pinned(extra: str | None, package: str) -> str:
    """The version that the project pins."""
    wanted = PROJECT["optional-dependencies"][extra] if extra else PROJECT["dependencies"]
    return next(line.partition("==")[2] for line in wanted if line.startswith(f"{package}=="))


def documents() -> list[dict[str, Any]]:
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
    return list(yaml.safe_load_all((DEPLOY / "kuberay.yaml").read_text()))


def test_the_cluster_runs_what_the_project_pins_and_the_front_s_options_are_the_command_s() -> None:
    cluster, front, _, service = documents()
    assert (cluster["kind"], cluster["spec"]["rayVersion"]) == ("RayCluster", pinned("cluster", "ray"))
    worker = cluster["spec"]["workerGroupSpecs"][0]
    resources = json.loads(json.loads(worker["rayStartParams"]["resources"]))
    assert resources == {"posedub_worker": int(worker["rayStartParams"]["num-gpus"])}
    # Without probes of their own pods get the operator's, which ask a dashboard that is switched off.
    for group in (cluster["spec"]["headGroupSpec"], worker):
        (ray,) = group["template"]["spec"]["containers"]
        assert {"tcpSocket", "exec"} & ray["readinessProbe"].keys() and ray["livenessProbe"] == ray["readinessProbe"]
    (container,) = front["spec"]["template"]["spec"]["containers"]
    command, *words = container["args"]
    options = parser().parse_args(words)
    assert command == "posedub" and options.run.__module__ == "model_server.cli.serve"
    assert options.ray == "posedub-head-svc:6379" and options.metrics == "0.0.0.0:9100"
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"grpc": options.port, "metrics": 9100} and service["spec"]["ports"][0]["port"] == options.port
    mounts = {mount["name"] for mount in container["volumeMounts"]}
    assert mounts == {volume["name"] for volume in front["spec"]["template"]["spec"]["volumes"]}


def test_the_container_installs_the_pinned_torch_and_both_extras() -> None:
    text = (DEPLOY / "Dockerfile").read_text()
    lines = re.sub(r"\\\n", " ", re.sub(r"^#.*\n", "", text, flags=re.M)).splitlines()
    instructions = [line.split(maxsplit=1) for line in lines if line.strip()]
    known = "FROM RUN ARG WORKDIR COPY USER ENV EXPOSE ENTRYPOINT CMD"
    assert {name for name, _ in instructions} <= {*known.split()}
    assert instructions[0][0] == "FROM" and f"torch=={pinned(None, 'torch')}" in text
    extras = re.search(r"'\.\[([\w,]+)\]'", text)[1].split(",")
    assert set(extras) == {"cluster", "studio"} <= PROJECT["optional-dependencies"].keys()
    assert [json.loads(words) for name, words in instructions if name in ("ENTRYPOINT", "CMD")]


def compiled(**settings: object) -> dict[str, Any]:
    script, harness = DEPLOY / "flamenco" / "posedub_dub.js", Path(__file__).with_name("compile_job.js")
    words = ["node", harness, script, json.dumps(settings)]
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, timeout=HANGS)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@node
def test_flamenco_s_tasks_are_commands_of_ours_that_cover_all_frames() -> None:
    given = {"audio": "/s/v o.wav", "into": "/s/plate.mov", "out": "/s/out/dub.mp4", "tls_ca": "/s/ca.pem"}
    job = compiled(**given, frames="10-259", chunk_size=100, options="--mouth-only 1 --seed 3", fps="24000/1001")
    *parts, whole = job["tasks"]
    assert {task["type"] for task in job["tasks"]} == {"misc"}
    assert whole["dependencies"] == [task["name"] for task in parts]
    made = []
    for task in job["tasks"]:
        (command,) = task["commands"]
        assert command["name"] == "exec" and command["parameters"]["exe"] == "posedub"
        made.append(parser().parse_args(command["parameters"]["args"]))
    assert [one.range for one in made] == [(10, 110), (110, 210), (210, 260), (10, 260)]
    assert [str(one.out) for one in made] == [
        "/s/out/dub-parts/10-109", "/s/out/dub-parts/110-209", "/s/out/dub-parts/210-259", "/s/out/dub.mp4"
    ]  # fmt: skip
    assert {(str(one.audio), str(one.into), one.seed, one.mouth_only, one.server) for one in made} == {
        ("/s/v o.wav", "/s/plate.mov", 3, 1.0, "127.0.0.1:50761")
    }


@node
def test_flamenco_s_settings_are_of_kinds_that_it_has() -> None:
    settings = compiled(audio="a.wav", out="o", frames="7")["type"]["settings"]
    assert {one["type"] for one in settings} <= {"string", "int32", "float", "bool"}
    assert all(one["description"] and re.fullmatch(r"[a-z_]+", one["key"]) for one in settings)
    assert {one["subtype"] for one in settings if "subtype" in one} <= {"file_path", "dir_path"}
