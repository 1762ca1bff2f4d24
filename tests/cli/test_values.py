"""Values of options that make no sense are refused in one line."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from model_server.cli.main import main, parser

DUB = ["dub", "--portrait", "face.png", "--audio", "voice.wav", "--out", "frames"]


RATES = {"1": 1, "25": 25, "240": 240, "24000/1001": Fraction(24000, 1001), "12.5": Fraction(25, 2),
         "29.97": Fraction(30000, 1001)}  # fmt: skip
NO_RATES = ["1e3", "1e999999999", "nan", "inf", "1/0", "25/0", "fast", "", "25fps", "\u0662\u0665"]


@pytest.mark.parametrize(("text", "rate"), RATES.items())
def test_frame_rates(text: str, rate: Fraction) -> None:
    assert parser().parse_args([*DUB, "--fps", text]).fps == rate


@pytest.mark.parametrize("text", ["0", "-25", "0.5", "241", "0/5", "999999999"])
def test_absurd_frame_rates(text: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    words = ["dub", "--portrait", "x", "--audio", "y", "--out", str(tmp_path / "frames"), f"--fps={text}"]
    assert main(words) == 1 and not any(tmp_path.iterdir())
    said = capsys.readouterr().err
    assert said == f"posedub: The frame rate {Fraction(text)} is outside 1 to 240; choose one within.\n"


@pytest.mark.parametrize("text", NO_RATES)
def test_no_frame_rates(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parser().parse_args([*DUB, f"--fps={text}"])
    said = capsys.readouterr().err
    assert caught.value.code == 2 and said.count("\n") == 1
    assert "is no frame rate; write for example 25 or 24000/1001" in said


@pytest.mark.parametrize(
    "words",
    [
        "dub --mouth-strength nan", "dub --size 1e3", "dub --seed 1.5",
        "dub --feather nan", "dub --mouth-only inf", "dub --face nan,0.5", "dub --face 0.5", "dub --face 2,0",
        "dub --face-time 1/0", "dub --face-time nan", "dub --range 1:\u00b2", "serve --port 65536", "serve --port x",
        "bench --repeats 0", "bench --seconds nan", "corpus footage x --out y --workers 0", "train --max-minutes nan",
    ],
)  # fmt: skip
def test_other_values(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    command, *rest = words.split()
    with pytest.raises(SystemExit) as caught:
        parser().parse_args([*(DUB if command == "dub" else [command]), *rest])
    said = capsys.readouterr().err
    option = next(word for word in rest if word.startswith("--") and word != "--out")
    assert caught.value.code == 2 and said.count("\n") == 1 and (option in said or rest[-2] in said)


@pytest.mark.parametrize("words", [["--range", "-5:2"], ["--range", "2"], ["--range"]])
def test_how_a_range_is_written(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parser().parse_args([*DUB, *words])
    assert caught.value.code == 2 and "FIRST:END" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--out", "--portrait", "--audio", "--into", "--data", "--weights", "--token-file"])
def test_no_path_is_empty(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parser().parse_args([*DUB, option, ""])
    said = capsys.readouterr().err
    assert caught.value.code == 2 and said.count("\n") == 1 and f"{option}: its value is empty" in said


@pytest.mark.parametrize(
    ("words", "part"),
    [
        ("--mouth-only 1", "--mouth-only needs --into"),
        ("--feather 0.1 --face-time 1", "--face-time, --feather needs --into"),
        ("--no-keep-where-absent", "--keep-where-absent needs --into"),
        ("--pose p.mp4 --pose-mode fixed", "give --pose or --pose-mode"),
    ],
)
def test_options_that_do_not_go_together(words: str, part: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([*DUB, *words.split()])
    said = capsys.readouterr().err
    assert caught.value.code == 2 and said.count("\n") == 1
    assert said.startswith("posedub dub: ") and part in said and said.endswith("; see posedub dub --help.\n")
