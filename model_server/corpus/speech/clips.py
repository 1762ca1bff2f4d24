"""A voice clip as shards keep it: sound without loss in half the space, the text's phonemes, loudness and pitch."""

from __future__ import annotations

import io
import json
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model_server.corpus.shards import FPS, Corpus
from model_server.errors import ErrorKind, PoseDubError

SAMPLE_RATE = 16000
_ARRAYS = ("units", "unit_times", "energy", "pitch")


@dataclass(frozen=True, eq=False)
class SpeechClip:
    """One utterance of mono 16 kHz sound, brought to the recogniser's reference loudness.

    Attributes:
        name: unique in the corpus.
        identity: the speaker.
        source: the collection that it is from.
        sound: FLAC file.
        seconds: length.
        facts: language, text and licence, texts.
        energy: (t,) float16 loudness in each 20 ms, see `corpus.speech.prosody`.
        pitch: (t,) float16 octaves above 150 Hz, NaN where the voice does not sound.
        units: (k,) int16 numbers of phoneme units in the order they are said; None where nobody wrote the text down.
        unit_times: (m, 3) float32 unit (-1 for a pause), start and end in seconds, where exactly known.
    """

    name: str
    identity: str
    source: str
    sound: bytes
    seconds: float
    facts: dict[str, str]
    energy: NDArray[np.float16]
    pitch: NDArray[np.float16]
    units: NDArray[np.int16] | None = None
    unit_times: NDArray[np.float32] | None = None

    @property
    def frames(self) -> int:
        """Frames of 25 in a second that the sound takes."""
        return math.ceil(self.seconds * FPS)

    def tensors(self) -> dict[str, NDArray[Any]]:
        """The clip as the tensors of a shard."""
        kept = {key: value for key in _ARRAYS if (value := getattr(self, key)) is not None}
        facts = json.dumps({"seconds": self.seconds, **self.facts}).encode()
        return kept | {"sound": np.frombuffer(self.sound, np.uint8), "facts": np.frombuffer(facts, np.uint8)}


def encoded_sound(samples: NDArray[np.float32]) -> bytes:
    """Mono 16 kHz samples in [-1, 1] as a FLAC file of 16 bits."""
    import soundfile

    file = io.BytesIO()
    soundfile.write(file, samples, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    return file.getvalue()


def decoded_sound(sound: bytes) -> NDArray[np.int16]:
    """The samples of a clip's sound."""
    import soundfile

    return np.asarray(soundfile.read(io.BytesIO(sound), dtype="int16")[0])


def decoded_samples(sound: bytes) -> NDArray[np.float32]:
    """The same in [-1, 1]."""
    return decoded_sound(sound).astype(np.float32) / 32768


def read_speech_clip(corpus: Corpus, name: str) -> SpeechClip:
    """Read one clip of a corpus of voices.

    Raises:
        PoseDubError: no clip has this name, it is no voice clip, or its shard is damaged.
    """
    entry, tensors = corpus.entry(name), corpus.tensors(name)
    try:
        facts = json.loads(tensors.pop("facts").tobytes())
        sound = tensors.pop("sound").tobytes()
        return SpeechClip(name, entry.identity, entry.source, sound, facts.pop("seconds"), facts, **tensors)
    except (KeyError, ValueError, TypeError) as error:
        path = corpus.folder / entry.shard
        raise PoseDubError(
            f"The clip {name} in {path} is no readable voice clip ({error}); build it with posedub corpus speech.",
            ErrorKind.CORRUPT,
        ) from error
