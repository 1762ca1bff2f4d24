"""The zips: complete, reproducible, and refused when something is off."""

import hashlib
import tomllib
import zipfile

import pytest

import build_addon
from blender_addon.core.version import VERSION
from blender_addon.packaging import server_parts
from blender_addon.packaging.server_parts import PartsError
from build_addon import PLATFORMS, REQUIREMENTS, BuildError, ServerParts, best_wheel, blender_problems, validate

PLATFORM_OF = {
    "linux-x64": "manylinux2014_x86_64.manylinux_2_17_x86_64",
    "windows-x64": "win_amd64",
    "macos-arm64": "macosx_11_0_universal2",
}


@pytest.fixture(scope="session", autouse=True)
def stubs():
    build_addon.write_stubs()


def build(platform, out, pythons=None, cache=None):
    """As build_addon does, with wheels for the server that are none."""
    folder = cache.parent / "server"
    folder.mkdir(exist_ok=True)
    parts = ServerParts(folder / "posedub-1-py3-none-any.whl", folder / "uv-1-py3-none-any.whl")
    for wheel in (parts.server, parts.uv):
        wheel.write_bytes(b"wheel")
    return build_addon.build(platform, out, pythons, cache, parts)


@pytest.fixture
def cache(tmp_path):
    """Wheels with real names, of all platforms, and others that must not be taken."""
    folder = tmp_path / "cache"
    folder.mkdir()
    grpcio, protobuf, typing = REQUIREMENTS.values()
    names = [f"typing_extensions-{typing}-py3-none-any.whl"]
    for tags in PLATFORM_OF.values():
        names += [f"grpcio-{grpcio}-cp{v}-cp{v}-{tags}.whl" for v in ("310", "311", "313", "314")]
        names += [f"protobuf-{protobuf}-cp310-abi3-{tags}.whl", f"protobuf-3.20.0-cp310-abi3-{tags}.whl"]
    for name in names:
        (folder / name).write_bytes(name.encode())
    return folder


@pytest.fixture
def no_network(monkeypatch):
    def refuse(platform, python, package, cache):
        raise BuildError(f"{package} would be downloaded")

    monkeypatch.setattr(build_addon, "download", refuse)


def change(path, edit):
    """Rewrite a zip: `edit` gets and returns {name: bytes}."""
    with zipfile.ZipFile(path) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    build_addon.write_zip(path, edit(contents).items())


def manifest_of(path):
    with zipfile.ZipFile(path) as archive:
        return tomllib.loads(archive.read("blender_manifest.toml").decode())


@pytest.mark.parametrize("platform", PLATFORMS.values(), ids=PLATFORMS)
def test_zip_of_each_platform(tmp_path, cache, no_network, platform):
    path = build(platform, tmp_path / "dist", cache=cache)
    assert path.name == f"posedub-{VERSION}-{platform.name}.zip"
    manifest = manifest_of(path)
    assert manifest["platforms"] == [platform.name]
    assert (manifest["id"], manifest["blender_version_min"]) == ("posedub", "4.5.0")
    assert manifest["license"] == ["SPDX:GPL-3.0-or-later"]
    assert set(manifest["permissions"]) == {"network", "files", "clipboard"}
    assert len(manifest["wheels"]) == len(platform.pythons) + 2
    assert not any("cp310-cp310" in wheel or "3.20" in wheel for wheel in manifest["wheels"])
    with zipfile.ZipFile(path) as archive:
        for wheel in manifest["wheels"]:
            assert archive.read(wheel.removeprefix("./")) == wheel.rpartition("/")[2].encode()
        names = set(archive.namelist())
    assert {"__init__.py", "core/plan.py", "client/session.py", "client/stubs/dubbing_pb2.py", "LICENSE"} <= names


def test_zip_carries_what_its_server_is_made_of(tmp_path, cache, no_network):
    with zipfile.ZipFile(build(PLATFORMS["windows-x64"], tmp_path, cache=cache)) as archive:
        names = {name for name in archive.namelist() if name.startswith(("server/", "example/"))}
    locks = {"base", "windows-x64-cpu", "windows-x64-cuda", "windows-x64-cuda126", "windows-x64-xpu"}
    wheels = {"server/posedub-1-py3-none-any.whl", "server/uv-1-py3-none-any.whl"}
    assert names == wheels | {f"server/locks/{lock}.txt" for lock in locks} | {
        f"example/{name}" for name in build_addon.EXAMPLE
    }


def test_wheels_of_the_lock_alone_make_a_wheelhouse(tmp_path):
    wheel = tmp_path / "av-1-py3-none-any.whl"
    wheel.write_bytes(b"av")
    digest = hashlib.sha256(b"av").hexdigest()
    server_parts.check_digests(tmp_path, {digest}, set())
    server_parts.check_digests(tmp_path, set(), {"av==1"})
    with pytest.raises(PartsError, match="av-1-py3-none-any.whl is not the file that the lock names"):
        server_parts.check_digests(tmp_path, {"0" * 64}, {"torch==1+cpu"})


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "needs one --platform"),
        (["--platform", "macos-arm64", "--build", "cuda"], "has no build 'cuda'; it has mps"),
    ],
)
def test_wheelhouse_is_for_one_platform_and_a_build_it_has(tmp_path, capsys, options, words):
    assert build_addon.main(["--wheelhouse", str(tmp_path / "house"), *options]) == 1
    assert words in capsys.readouterr().err


def test_linux_carries_all_three_pythons(tmp_path, cache, no_network):
    wheels = manifest_of(build(PLATFORMS["linux-x64"], tmp_path, cache=cache))["wheels"]
    assert all(any(f"-cp{python}-cp{python}-" in wheel for wheel in wheels) for python in ("311", "313", "314"))


def test_equal_inputs_give_equal_bytes(tmp_path, cache, no_network):
    first = build(PLATFORMS["linux-x64"], tmp_path / "a", cache=cache).read_bytes()
    assert build(PLATFORMS["linux-x64"], tmp_path / "b", cache=cache).read_bytes() == first


def test_one_python_only(tmp_path, cache, no_network):
    wheels = manifest_of(build(PLATFORMS["linux-x64"], tmp_path, ["3.11"], cache))["wheels"]
    assert [wheel for wheel in wheels if "grpcio" in wheel] == [wheel for wheel in wheels if "cp311" in wheel]


def test_missing_wheels_are_fetched_into_the_cache(tmp_path, cache, monkeypatch):
    hidden = next(cache.glob("grpcio-*-cp313-*win*"))
    data, asked = hidden.read_bytes(), []
    hidden.unlink()

    def fetch(platform, python, package, folder):
        asked.append((platform.name, python, package))
        (folder / hidden.name).write_bytes(data)

    monkeypatch.setattr(build_addon, "download", fetch)
    build(PLATFORMS["windows-x64"], tmp_path, cache=cache)
    assert asked == [("windows-x64", "3.13", "grpcio")]


def test_better_platform_tag_wins(tmp_path):
    grpcio = REQUIREMENTS["grpcio"]
    names = [
        f"grpcio-{grpcio}-cp311-cp311-{tag}_x86_64.whl"
        for tag in ("manylinux_2_17", "manylinux_2_28", "manylinux_2_39")
    ]
    files = [tmp_path / name for name in names]
    assert best_wheel(files, "grpcio", PLATFORMS["linux-x64"].tags("3.11")) == files[1]
    assert best_wheel(files[2:], "grpcio", PLATFORMS["linux-x64"].tags("3.11")) is None


EDITS = {
    "absent wheel": (lambda c: {k: v for k, v in c.items() if "protobuf" not in k}, "listed but absent"),
    "unlisted wheel": (lambda c: c | {"wheels/x-1-py3-none-any.whl": b""}, "not listed"),
    "bytecode": (lambda c: c | {"core/__pycache__/a.pyc": b""}, "does not belong"),
    "way out": (lambda c: c | {"../a.py": b""}, "does not belong"),
    "no stubs": (lambda c: {k: v for k, v in c.items() if "media_pb2" not in k}, "media_pb2.py is missing"),
    "no server": (lambda c: {k: v for k, v in c.items() if "server/posedub" not in k}, "one wheel of posedub"),
    "no locks": (lambda c: {k: v for k, v in c.items() if "base.txt" not in k}, "base.txt is missing"),
    "no code": (lambda c: {k: v for k, v in c.items() if k != "__init__.py"}, "__init__.py is missing"),
    "no manifest": (lambda c: {k: v for k, v in c.items() if "manifest" not in k}, "cannot be read"),
}
LINES = {
    "tagline": ('tagline = "Ends with a dot."', "tagline"),
    "blender_version_min": ('blender_version_min = "4.1.0"', "blender_version_min"),
    "id": ('id = "Pose-Dub"', "id 'Pose-Dub'"),
    "version": ('version = "9.0.0"', "versions disagree"),
    "platforms": ('platforms = ["amiga-68k"]', "platforms"),
    "license": ('license = ["GPL-3.0"]', "SPDX"),
    "tags": ('tags = ["Dubbing"]', "Dubbing"),
    "network": ('network = "Ends with a dot."', "permission network"),
}


@pytest.mark.parametrize(("edit", "words"), EDITS.values(), ids=EDITS)
def test_damaged_zip_is_refused(tmp_path, cache, no_network, edit, words):
    platform = PLATFORMS["macos-arm64"]
    path = build(platform, tmp_path, cache=cache)
    assert validate(path, platform, platform.pythons) == []
    change(path, edit)
    assert any(words in problem for problem in validate(path, platform, platform.pythons))


@pytest.mark.parametrize("key", LINES)
def test_illegal_manifest_is_refused(tmp_path, cache, no_network, key):
    line, words = LINES[key]
    platform = PLATFORMS["windows-x64"]
    path = build(platform, tmp_path, cache=cache)

    def edit(contents):
        lines = contents["blender_manifest.toml"].decode().splitlines()
        lines = [line if old.startswith(f"{key} = ") else old for old in lines]
        return contents | {"blender_manifest.toml": "\n".join(lines).encode()}

    change(path, edit)
    (problem,) = validate(path, platform, platform.pythons)
    assert words in problem


def test_wheel_of_another_platform_is_refused(tmp_path, cache, no_network):
    path = build(PLATFORMS["windows-x64"], tmp_path, cache=cache)
    problems = validate(path, PLATFORMS["macos-arm64"], ("3.11", "3.13"))
    assert any("of no use on macos-arm64" in problem for problem in problems)
    assert any("A wheel is missing" in problem for problem in problems)


def test_blenders_own_validator_agrees(tmp_path, cache, no_network):
    pytest.importorskip("bpy")
    path = build(PLATFORMS["linux-x64"], tmp_path, cache=cache)
    assert blender_problems(path) == []
    change(path, lambda c: c | {"blender_manifest.toml": c["blender_manifest.toml"].replace(b'"add-on"', b'"toaster"')})
    (problem,) = blender_problems(path)
    assert "toaster" in problem or "type" in problem


def test_failure_is_one_line_and_an_exit_code(tmp_path, capsys, no_network, monkeypatch):
    monkeypatch.setattr(build_addon.build, "__defaults__", (None, tmp_path / "empty", None))
    assert build_addon.main(["--platform", "linux-x64", "--out", str(tmp_path)]) == 1
    assert capsys.readouterr().err == "build_addon: grpcio would be downloaded\n"
    assert list(tmp_path.glob("*.zip")) == []
