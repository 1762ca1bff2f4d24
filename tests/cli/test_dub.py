"""The `posedub` command, run as a person would."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from model_server.engines.weights import default_weights
from model_server.errors import PoseDubError
from model_server.service.auth import Security
from tests.certificates import Authority
from tests.cli.commands import posedub
from tests.conftest import speechlike, write_wav
from tests.servers import ServerProcess


@pytest.fixture
def dub(media: Path, tmp_path: Path):
    """Run `posedub dub` on the drawn media; keyword arguments replace or add options."""

    def run(out: object = "frames", check: bool = True, **changes: object) -> subprocess.CompletedProcess[str]:
        options = {
            "portrait": media / "portrait.png",
            "audio": media / "speech.wav",
            "pose": media / "pose.mp4",
            "crop": "aligned",
            "data": tmp_path / "data",
            "out": tmp_path / str(out),
        } | changes
        flags = [part for name, value in options.items() if value is not None
                 for part in (f"--{name.replace('_', '-')}", value)]  # fmt: skip
        return posedub("dub", *flags, check=check)

    return run


@pytest.mark.parametrize("rate", ["25", "24", "24000/1001", "23.976", "60"])
def test_one_frame_for_each_begun_moment_of_sound(dub, tmp_path: Path, rate: str) -> None:
    dub(fps=rate, pose=None, pose_mode="frontal")
    fps = Fraction(24000, 1001) if rate == "23.976" else Fraction(rate)
    names = sorted(path.name for path in (tmp_path / "frames").glob("*.png"))
    count = math.ceil(Fraction(round(2.2 * 22050), 22050) * fps)
    assert names == [f"{index:06}.png" for index in range(count)]
    with Image.open(tmp_path / "frames" / names[0]) as picture:
        assert picture.size == (224, 224) and picture.mode == "RGB"


def test_untrained_weights_are_named_wherever_a_result_shows(dub, untrained_weights: Path, tmp_path: Path) -> None:
    assert "untrained" in dub(weights=untrained_weights).stdout
    assert "untrained" in dub(weights=untrained_weights, out="dub.mp4").stdout
    assert json.loads((tmp_path / "frames" / "manifest.json").read_text())["weights"]["kind"] == "untrained"
    with av.open(str(tmp_path / "dub.mp4")) as movie:
        assert "untrained" in movie.metadata["title"]


def test_without_weights_the_default_ones_are_used_and_named(dub, tmp_path: Path) -> None:
    kind = default_weights().kind
    assert f"made with {kind} weights" in dub(range="0:2").stdout
    assert json.loads((tmp_path / "frames" / "manifest.json").read_text())["weights"]["kind"] == kind


def test_a_movie_has_all_frames_and_the_sound_in_step(dub, tmp_path: Path) -> None:
    dub(out="dub.mp4", fps="30000/1001")
    with av.open(str(tmp_path / "dub.mp4")) as movie:
        assert movie.streams.video[0].average_rate == Fraction(30000, 1001)
        assert movie.streams.video[0].codec.name == "h264" and movie.streams.audio[0].codec.name == "aac"
        frames = sum(1 for _ in movie.decode(video=0))
    assert frames == math.ceil(Fraction(round(2.2 * 22050), 22050) * Fraction(30000, 1001))
    with av.open(str(tmp_path / "dub.mp4")) as movie:
        sound = np.concatenate([block.to_ndarray()[0] for block in movie.decode(audio=0)])
    assert abs(len(sound) / 48000 - frames * 1001 / 30000) < 0.05
    assert np.abs(sound).max() > 0.1


def test_a_range_is_those_frames_of_the_whole(dub, tmp_path: Path) -> None:
    dub(out="whole")
    dub(out="part", range="7:11", data=tmp_path / "other")
    part = {path.name: path.read_bytes() for path in (tmp_path / "part").glob("*.png")}
    assert sorted(part) == [f"{index:06}.png" for index in range(7, 11)]
    assert all((tmp_path / "whole" / name).read_bytes() == content for name, content in part.items())


def test_mouth_strength_seed_and_pose_change_the_pictures(dub, untrained_weights: Path, tmp_path: Path) -> None:
    def picture(**changes: object) -> bytes:
        dub(range="10:11", weights=untrained_weights, **changes)
        return (tmp_path / "frames" / "000010.png").read_bytes()

    pictures = [picture(), picture(mouth_strength=0), picture(seed=5), picture(pose=None, pose_mode="fixed")]
    assert len(set(pictures)) == 4


def test_silence_is_not_opened_by_more_mouth_strength(dub, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(0, 1e-4, 22050)
    sound = write_wav(tmp_path / "late.wav", np.concatenate([noise, speechlike(0.6)]))
    for strength in (1.2, 3):
        dub(audio=sound, pose=None, pose_mode="fixed", mouth_strength=strength, range="14:36", out=str(strength))
    same = [(tmp_path / "1.2" / f"{k:06}.png").read_bytes() == (tmp_path / "3" / f"{k:06}.png").read_bytes()
            for k in range(14, 36)]  # fmt: skip
    assert all(same[:8]) and not any(same[14:])


def test_a_larger_picture_is_one_option(dub, tmp_path: Path) -> None:
    dub(size=448, range="0:2")
    with Image.open(tmp_path / "frames" / "000001.png") as picture:
        assert picture.size == (448, 448)
    assert json.loads((tmp_path / "frames" / "manifest.json").read_text())["request"]["spec"]["size"] == 448
    dub(out="large.mp4", size=448, range="0:2")
    with av.open(str(tmp_path / "large.mp4")) as movie:
        assert movie.streams.video[0].width == 448


def test_over_a_server_the_frames_are_the_same(dub, tmp_path: Path) -> None:
    dub(out="near")
    with ServerProcess(tmp_path / "server") as server:
        dub(out="far", server=server.address)
    for path in (tmp_path / "near").glob("*.png"):
        assert path.read_bytes() == (tmp_path / "far" / path.name).read_bytes()


def text_as_sound(folder: Path) -> dict:
    (folder / "notes.wav").write_text("this is no sound\n" * 100)
    return {"audio": folder / "notes.wav"}


def truncated_movie(folder: Path) -> dict:
    whole = (folder / "whole.mp4").read_bytes()
    (folder / "broken.mp4").write_bytes(whole[: len(whole) // 2])
    return {"pose": folder / "broken.mp4"}


def silence_of_no_length(folder: Path) -> dict:
    return {"audio": write_wav(folder / "empty.wav", np.zeros(0))}


def photo_without_a_face(folder: Path) -> dict:
    Image.fromarray(np.random.default_rng(1).integers(0, 255, (300, 400, 3), np.uint8)).save(folder / "noise.png")
    return {"portrait": folder / "noise.png", "crop": "auto"}


def giant_picture(folder: Path) -> dict:
    Image.new("1", (20000, 10000)).save(folder / "giant.png")
    return {"portrait": folder / "giant.png"}


def missing_file(folder: Path) -> dict:
    return {"audio": folder / "nowhere.wav"}


def unknown_weights(folder: Path) -> dict:
    (folder / "strange.safetensors").write_bytes(b"not weights" * 99)
    return {"weights": folder / "strange.safetensors"}


def concat_script(folder: Path) -> dict:
    (folder / "playlist.mp3").write_text("ffconcat version 1.0\nfile whole.mp4\n")
    return {"audio": folder / "playlist.mp3"}


def codes_range_outside(folder: Path) -> dict:
    return {"range": "50:900"}


BAD = [text_as_sound, truncated_movie, silence_of_no_length, photo_without_a_face, giant_picture, missing_file,
       unknown_weights, concat_script, codes_range_outside]  # fmt: skip


@pytest.mark.parametrize("make", BAD, ids=lambda make: make.__name__)
def test_bad_input_is_one_clear_sentence(dub, media: Path, tmp_path: Path, make) -> None:
    (tmp_path / "whole.mp4").write_bytes((media / "pose.mp4").read_bytes())
    done = dub(check=False, **make(tmp_path))
    last = done.stderr.strip().splitlines()[-1]
    assert done.returncode == 1 and last.startswith("posedub: ") and last.endswith(".")
    assert "Traceback" not in done.stderr
    assert not list((tmp_path / "frames").glob("*.png")) if (tmp_path / "frames").exists() else True


def test_bad_media_on_a_server_leave_it_serving(dub, media: Path, tmp_path: Path) -> None:
    (tmp_path / "whole.mp4").write_bytes((media / "pose.mp4").read_bytes())
    with ServerProcess(tmp_path / "server") as server:
        for make in (truncated_movie, photo_without_a_face, giant_picture):
            done = dub(check=False, server=server.address, **make(tmp_path))
            assert done.returncode == 1 and "Traceback" not in done.stderr
            said = done.stderr.strip().splitlines()[-1]
            assert "the portrait" in said or "the pose source" in said, said
        assert dub(server=server.address).returncode == 0


def test_a_server_off_the_loopback_needs_token_and_tls(tmp_path: Path) -> None:
    done = posedub("serve", "--host", "0.0.0.0", "--data", tmp_path, check=False)
    assert done.returncode == 1 and "--token-file" in done.stderr


@pytest.mark.slow
def test_a_wrong_token_is_refused_and_the_right_one_let_in(dub, tmp_path: Path) -> None:
    right, wrong = tmp_path / "right", tmp_path / "wrong"
    right.write_text("correct horse\n")
    wrong.write_text("battery staple\n")
    with ServerProcess(tmp_path / "server", ["--token-file", str(right)]) as server:
        for options, word in (({}, "none was given"), ({"token_file": wrong}, "this one is wrong")):
            refused = dub(check=False, server=server.address, **options)
            assert refused.returncode == 1 and f"wants a token and {word}" in refused.stderr.splitlines()[-1]
        assert dub(server=server.address, token_file=right, range="0:2").returncode == 0


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A self-made certificate for localhost and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    names = ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(cert)]
    subprocess.run([*command, *names], check=True, capture_output=True)
    return cert, key


@pytest.mark.slow
def test_over_tls_with_a_token(dub, tmp_path: Path, certificate: tuple[Path, Path]) -> None:
    cert, key = certificate
    token = tmp_path / "token"
    token.write_text("correct horse")
    options = ["--token-file", str(token), "--tls-cert", str(cert), "--tls-key", str(key)]
    with ServerProcess(tmp_path / "server", options) as server:
        address = f"localhost:{server.port}"
        assert dub(server=address, token_file=token, tls_ca=cert, range="0:2").returncode == 0
        assert dub(server=address, token_file=token, range="0:2", check=False).returncode == 1


@pytest.mark.slow
def test_over_mutual_tls(dub, tmp_path: Path) -> None:
    ours = Authority(tmp_path)
    (cert, key), (own, own_key) = ours.signed("server"), ours.signed("caller")
    stranger, stranger_key = Authority(tmp_path, "others").signed("stranger")
    with ServerProcess(
        tmp_path / "server", ["--tls-cert", str(cert), "--tls-key", str(key), "--tls-client-ca", str(ours.file)]
    ) as server:
        common = {"server": server.address, "tls_ca": ours.file, "range": "0:2"}
        for wrong in ({}, {"tls_cert": stranger, "tls_key": stranger_key}):
            refused = dub(check=False, **common, **wrong)
            assert refused.returncode == 1 and "--tls-cert" in refused.stderr.splitlines()[-1]
        assert dub(**common, tls_cert=own, tls_key=own_key).returncode == 0
        half = dub(check=False, **common, tls_cert=own)
        assert half.returncode == 1 and "needs its key" in half.stderr.splitlines()[-1]


def test_certificates_of_callers_stand_for_a_token(tmp_path: Path) -> None:
    ours = Authority(tmp_path)
    cert, key = ours.signed("server")
    Security.read(None, cert, key, ours.file).check_host("0.0.0.0")
    for wrong in (Security.read(None, cert, key), Security(client_ca=b"x"), Security("token")):
        with pytest.raises(PoseDubError, match="--tls-client-ca"):
            wrong.check_host("0.0.0.0")
    with pytest.raises(PoseDubError, match="need TLS"):
        Security.read(None, None, None, ours.file)
    with pytest.raises(PoseDubError, match="--tls-client-ca the authority"):
        Security.read(None, cert, key, key)


def test_no_server_says_how_to_start_one(dub) -> None:
    done = dub(check=False, server="127.0.0.1:9")
    assert done.returncode == 1 and "127.0.0.1:9 does not answer; start it with `posedub serve`" in done.stderr


def test_doctor_reports_and_is_well() -> None:
    done = posedub("doctor")
    assert f"({default_weights().preset}, {default_weights().kind})" in done.stdout
    assert "face finder works" in done.stdout and "PROBLEM" not in done.stdout


def test_help_loads_no_heavy_library() -> None:
    heavy = "{'torch', 'grpc', 'cv2', 'av'} & set(sys.modules)"
    code = f"import sys, model_server.cli.main as main; main.parser(); print({heavy})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
