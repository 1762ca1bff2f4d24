"""Whatever the computer refuses, the command says one sentence: places, pipes, names, memory, interrupts."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model_server import scratch
from model_server.engines.shipped import DATA, FILE
from tests.cli.commands import Command, ended, one_sentence
from tests.gate import Gate
from tests.limits import HANGS

posix_only = pytest.mark.skipif(os.name == "nt", reason="signals and limits of POSIX")
BUILT_IN = DATA / FILE


@pytest.fixture
def dub(media: Path, tmp_path: Path) -> Command:
    """`posedub dub` of the drawn media, with all its files below the test's own folder."""
    options = {
        "portrait": media / "portrait.png",
        "audio": media / "speech.wav",
        "pose-mode": "frontal",
        "crop": "aligned",
        "data": tmp_path / "data",
        "out": tmp_path / "frames",
    }
    return Command("dub", options, {"TMPDIR": str(tmp_path)})


def places(file: Path, media: Path) -> dict[str, list[object]]:
    """Commands that are told to write where `file` is in the way."""
    dub = ["dub", "--portrait", media / "portrait.png", "--audio", media / "speech.wav"]
    return {
        "frames": [*dub, "--out", file],
        "frames below": [*dub, "--out", file / "deeper" / "still"],
        "movie": [*dub, "--out", file / "dub.mp4"],
        "data of a dub": [*dub, "--out", file.parent / "frames", "--data", file],
        "data of a server": ["serve", "--port", 0, "--data", file / "data"],
        "weights": ["weights", "import", media, "--out", file / "pcavs.safetensors"],
        "bench": ["bench", "--json", file / "bench.json"],
        "corpus": ["corpus", "footage", media, "--out", file],
        "sheet": ["corpus", "info", media, "--sheet", file / "sheet.png"],
        "merged corpus": ["corpus", "merge", media, "--out", file],
        "run": ["train", "--preset", "lite-cpu", "--corpus", media, "--out", file],
        "unpacked run": ["checkpoint", "unpack", media, "--out", file],
        "exported run": ["checkpoint", "export", media, "--out", file / "lite.safetensors"],
        "tables": ["evaluate", media, "--out", file / "table"],
        "judge": ["evaluate", media, "--train-judge", 1, "--judge", file / "judge.safetensors"],
    }


@pytest.mark.parametrize("what", places(Path(), Path()))
def test_a_file_in_the_way_is_named_before_the_work(what: str, media: Path, tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("keep me")
    done = ended(places(file, media)[what])
    assert one_sentence(done).startswith(f"posedub: {file} is a file, where a folder is needed; choose another")
    assert file.read_text() == "keep me" and sorted(tmp_path.iterdir()) == [file]


def test_a_movie_needs_a_name_of_its_own(dub: Command, tmp_path: Path) -> None:
    (tmp_path / "taken.mp4").mkdir()
    assert "taken.mp4 is a folder" in one_sentence(dub(out=tmp_path / "taken.mp4"))
    assert ".mp4" in one_sentence(dub(out=tmp_path / "dub.mkv"))


@pytest.fixture
def ordinary() -> list[str]:
    """What makes a command one of a user that may not write everywhere."""
    if os.geteuid():
        return []
    prefix = ["setpriv", "--reuid", "54321", "--regid", "54321", "--clear-groups"]
    prefix += ["--inh-caps", "+dac_read_search", "--ambient-caps", "+dac_read_search"]  # the tests' own Python
    if not shutil.which("setpriv") or subprocess.run([*prefix, "true"], capture_output=True).returncode:
        pytest.skip("there is no way to be an ordinary user here")
    return prefix


@posix_only
def test_folders_that_may_not_be_written_to(dub: Command, ordinary: list[str], tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir()
    (tmp_path / "own").mkdir()
    (tmp_path / "locked").chmod(0o555)
    (tmp_path / "own").chmod(0o777)
    locked, own = tmp_path / "locked", tmp_path / "own"
    dub.prefix, dub.environment["TMPDIR"] = ordinary, str(own)
    for options in (
        {"out": locked / "frames"},
        {"out": locked / "dub.mp4"},
        {"out": own / "a", "data": locked / "data"},
    ):
        assert "locked" in (said := one_sentence(dub(**options))) and "this user may not write there" in said
    dub.environment["HOME"] = str(locked)
    said = one_sentence(dub(out=own / "b", data=None))
    assert str(locked) in said and "--data" in said
    del dub.environment["HOME"]
    dub.without = ("HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME")
    if os.geteuid() == 0:  # the user made up here has no home folder
        assert "no home folder" in one_sentence(dub(out=own / "c", data=None))
        assert not list(tmp_path.rglob("~"))
    assert not any(own.iterdir())


@posix_only
def test_a_home_that_takes_nothing_is_no_hindrance_where_a_data_folder_is_given(
    dub: Command, ordinary: list[str], tmp_path: Path
) -> None:
    """Some libraries do not even load where they find no place for their caches."""
    (tmp_path / "own").mkdir()
    (tmp_path / "own").chmod(0o777)
    dub.prefix = ordinary
    dub.environment |= {"HOME": str(tmp_path / "nowhere"), "TMPDIR": str(tmp_path / "own")}
    done = dub(data=tmp_path / "own" / "data", out=tmp_path / "own" / "frames", range="0:2")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "own" / "frames" / "000001.png").is_file()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 400 kB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(disk)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no disk can be mounted here")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_is_said_before_the_work(dub: Command, small_disk: Path) -> None:
    (small_disk / "full").write_bytes(bytes(400 << 10))
    for options in ({"out": small_disk / "frames"}, {"out": small_disk / "dub.mp4"}, {"data": small_disk / "data"}):
        said = one_sentence(dub(**options))
        assert str(small_disk) in said and "is full; free some space" in said
    assert [path.name for path in small_disk.iterdir()] == ["full"]


@pytest.mark.slow
def test_a_disk_that_fills_up_keeps_what_is_finished(dub: Command, small_disk: Path) -> None:
    said = one_sentence(dub(out=small_disk / "frames"))
    assert str(small_disk / "frames") in said and "is full; free some space" in said
    names = sorted(path.name for path in (small_disk / "frames").glob("*.png"))
    assert names and names == [f"{k:06}.png" for k in range(len(names))]
    assert not list((small_disk / "frames").glob(".*"))
    shutil.rmtree(small_disk / "frames")
    (small_disk / "other").write_bytes(bytes(330 << 10))
    movie = small_disk / "dub.mp4"
    assert f"The disk of {movie} is full; free some space" in one_sentence(dub(out=movie, fps=100))
    assert [path.name for path in small_disk.iterdir()] == ["other"]


@posix_only
@pytest.mark.parametrize("mebibytes", [400, 900])
def test_too_little_memory_is_called_that(dub: Command, mebibytes: int, tmp_path: Path) -> None:
    """Where Python can say so, and where a library ends the process at once."""
    shell = f'ulimit -v {mebibytes << 10} && exec "$@"'
    dub.prefix = ["sh", "-c", shell, "sh"]
    done = dub()
    assert done.returncode not in (0, 2)
    assert "memory" in done.stderr.strip().splitlines()[-1] and "Traceback" not in done.stderr
    assert not (tmp_path / "frames").exists() or done.returncode < 0 or done.returncode > 128


@pytest.mark.slow
@posix_only
def test_an_interrupted_dub_says_so_and_goes_on_later(dub: Command, gate: Gate, tmp_path: Path) -> None:
    dub.gate = gate
    with dub.started(fps=100) as process:
        with gate.closed():
            process.wait_for("frames:")
            process.send_signal(signal.SIGINT)
        assert process.wait(HANGS) == 130
        said = process.rest()
    assert said.splitlines()[-1].startswith("posedub: interrupted;") and "Traceback" not in said
    assert not list(tmp_path.glob("posedub-*"))
    assert dub(fps=100).returncode == 0
    assert len(list((tmp_path / "frames").glob("*.png"))) == 220


@posix_only
def test_what_a_killed_dub_leaves_is_tidied_and_what_others_use_is_not(
    dub: Command, gate: Gate, tmp_path: Path
) -> None:
    dub.gate = gate
    with gate.closed(), dub.started(fps=100) as process:
        process.wait_for("frames:")
        process.kill()
        process.wait(HANGS)
        assert "most likely out of memory" in process.rest()
    (left,) = tmp_path.glob("posedub-*")
    dead = left.name.removeprefix(scratch.FOLDER).rsplit("-", 1)[0]
    parts = [tmp_path / "data" / "blobs" / "parts" / f".part-{dead}-1.png", tmp_path / "frames" / f".part-{dead}-2.png"]
    parts[1].parent.mkdir(exist_ok=True)
    mine = scratch.part_of(parts[1])
    others = [mine, parts[1].with_name(".part-not-ours"), tmp_path / "posedub-photos"]
    for path in [*parts, *others]:
        path.write_text("half")
    assert dub(range="0:2").returncode == 0
    assert not left.exists() and not any(path.exists() for path in parts)
    assert all(path.read_text() == "half" for path in others)


@posix_only
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_nobody_reads_on(unbuffered: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    for words, codes in ((["--help"], (0, 141)), (["weights", "info", BUILT_IN], (141,))):  # argparse says nothing
        done = ended(words, {"PYTHONUNBUFFERED": unbuffered}, stdout=writing)
        assert done.returncode in codes and done.stderr == ""
    os.close(writing)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_table_for_a_full_disk() -> None:
    with open("/dev/full", "w") as full:
        done = ended(["weights", "info", BUILT_IN], stdout=full)
    assert done.returncode == 1 and re.fullmatch(r"posedub: The disk is full; .*\n", done.stderr)


@posix_only
def test_without_any_terminal(dub: Command, tmp_path: Path) -> None:
    """Started without stdin, stdout and stderr, no other file may get what is meant for them."""
    dub.prefix = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh"]
    assert dub(range="0:2").returncode == 0
    assert (tmp_path / "frames" / "000001.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
@posix_only
def test_names_that_are_no_text(dub: Command, media: Path, tmp_path: Path) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xe9"))
    folder.mkdir()
    for source, name in ((media / "portrait.png", "face"), (media / "speech.wav", "voice"), (BUILT_IN, "weights")):
        shutil.copy(source, folder / f"\udcff{name}{source.suffix}")
    options = {"portrait": folder / "\udcffface.png", "audio": folder / "\udcffvoice.wav", "range": "0:2"}
    done = dub(weights=folder / "\udcffweights.safetensors", out=folder / "frames", data=folder / "data", **options)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (folder / "frames").glob("*.png")) == ["000000.png", "000001.png"]
    assert dub(out=folder / "\udcff.mp4", **options).returncode == 0 and (folder / "\udcff.mp4").is_file()
    assert "has no pictures" in one_sentence(dub(portrait=options["audio"]))
    assert "cannot be read" in one_sentence(dub(portrait=folder / "\udcff"))


def test_a_terminal_without_the_letters(tmp_path: Path) -> None:
    done = ended(["weights", "info", tmp_path / "Gesichtszüge"], {"PYTHONIOENCODING": "ascii:strict"})
    assert "Gesichtsz\\xfcge" in one_sentence(done)


def test_libraries_keep_quiet(dub: Command, tmp_path: Path) -> None:
    """Some write to stderr whatever they are told; only the progress bar is the command's own."""
    assert ended(["doctor"], dub.environment).stderr == ""
    Image.fromarray(np.random.default_rng(1).integers(0, 255, (300, 400, 3), np.uint8)).save(tmp_path / "noise.png")
    done = dub(portrait=tmp_path / "noise.png", crop=None)
    assert "no face" in one_sentence(done).lower()
    lines = re.split(r"[\r\n]+", done.stderr.strip())
    assert all(re.match(r"(\w+: +[0-9]+%\||posedub: )", line) for line in lines), lines


def test_a_folder_that_is_gone(dub: Command, tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    dub.prefix = ["sh", "-c", 'cd gone && rmdir ../gone && exec "$@"', "sh"]
    dub.folder = tmp_path
    assert "is gone" in one_sentence(dub())


def test_faults_of_the_program_itself_are_not_hidden() -> None:
    code = "import sys, model_server.cli.main as main, model_server.cli.weights as weights\n"
    code += "weights._info = lambda options: {}[1]\nsys.argv[1:] = ['weights', 'info', 'x']\nmain.main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1 and "KeyError: 1" in done.stderr


@posix_only
def test_what_is_no_file_is_not_read(dub: Command, media: Path, tmp_path: Path) -> None:
    """Pipes are read once and from the front only, and some devices never end."""
    os.mkfifo(tmp_path / "pipe")
    pipe, endless = tmp_path / "pipe", Path("/dev/zero")
    for options in ({"portrait": endless}, {"audio": pipe}, {"pose": pipe, "pose-mode": None}, {"weights": endless}):
        said = one_sentence(dub(**options))
        assert f"{pipe if pipe in options.values() else endless} is no regular file but a pipe or a device" in said
    assert "/dev/zero is no regular" in one_sentence(dub(portrait=endless, server="127.0.0.1:9"))
