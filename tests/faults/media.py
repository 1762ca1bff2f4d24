"""Media that somebody changed byte by byte, read in the processes that read media."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image

from model_server.errors import PoseDubError
from model_server.pipeline.media import sandboxed as pictures
from model_server.pipeline.speech import sandboxed as sounds
from model_server.sandbox import client
from tests.conftest import drawn_head, speechlike, write_movie
from tests.faults.lab import Lab, case, one_sentence
from tests.pipeline.makers import write_sound

Read = Callable[[Path], object]


@case(2000)
def media_fuzz(lab: Lab, count: int) -> str:
    """So many mutated wav, mp3, mp4, mkv, png, jpg, webp: each is read or one sentence; the decoder may die, not we."""
    sources = list(_sources(lab.folder))
    read, sentences, died = 0, 0, 0
    for number in range(count):
        source, reader = sources[number % len(sources)]
        path = lab.folder / f"mutated{source.suffix}"
        path.write_bytes(_mutated(lab, source.read_bytes()))
        try:
            reader(path)
            read += 1
        except PoseDubError as error:
            one_sentence(error.message)
            assert "mutated" in error.message, error.message
            sentences += 1
            died += "ends the program" in error.message
    client._server.stop()
    return f"{read} were read, {sentences} were a sentence, of them {died} ended the decoder's process"


def _sources(folder: Path) -> list[tuple[Path, Read]]:
    heads = [drawn_head(np.sin(k), 96) for k in range(12)]
    made: list[tuple[Path, Read]] = []
    for name, codec in (("a.wav", "pcm_s16le"), ("a.mp3", "libmp3lame")):
        made.append((write_sound(folder / name, speechlike(0.5).astype(np.float32), 22050, codec, "mono"), _hear))
    write_movie(folder / "a.mp4", heads, Fraction(25))
    _remuxed(folder / "a.mp4", folder / "a.mkv")
    made += [(folder / "a.mp4", _see), (folder / "a.mkv", _see)]
    for name in ("a.png", "a.jpg", "a.webp"):
        Image.fromarray(heads[0]).save(folder / name)
        made.append((folder / name, _look))
    return made


def _remuxed(source: Path, target: Path) -> None:
    with av.open(str(source)) as reading, av.open(str(target), "w") as writing:
        stream = writing.add_stream_from_template(reading.streams.video[0])
        for packet in reading.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                writing.mux(packet)


def _hear(path: Path) -> None:
    sounds.temporary_speech(path)


def _see(path: Path) -> None:
    footage = pictures.open_footage(path)
    for _ in footage.iter_frames(range(min(len(footage.times), 30))):
        pass


def _look(path: Path) -> None:
    pictures.picture_at(path, Fraction(0))


def _mutated(lab: Lab, content: bytes) -> bytes:
    """Bytes changed, most of them where formats keep their structure; parts cut out, doubled or cut off."""
    data = bytearray(content)
    for _ in range(lab.random.choice([1, 2, 5, 20])):
        at = lab.random.randrange(min(len(data), lab.random.choice([64, 600, len(data)])) or 1)
        how = lab.random.randrange(5)
        if how <= 1:
            data[at] = lab.random.choice([0, 1, 0x7F, 0x80, 0xFF, lab.random.randrange(256)])
        elif how == 2:
            data[at : at + 4] = lab.random.choice([b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff"])
        elif how == 3:
            del data[at : at + lab.random.randrange(1, 64)]
        else:
            data[at:at] = data[at : at + lab.random.randrange(1, 64)]
        if not data:
            break
    return bytes(data[: lab.random.choice([len(data), len(data), len(data) // 2])])
