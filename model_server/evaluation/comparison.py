"""What the metrics see of a take: small numbers per frame, never pictures."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from model_server.corpus.labels import lip_opening

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Face:
    """Landmarks of the n frames of a film by the independent detector.

    Attributes:
        landmarks: (n, 68, 2) pixels of the network view, NaN where no face is found.
        angles: (n, 3) yaw, pitch, roll in degrees, NaN likewise.
    """

    landmarks: Floats
    angles: Floats

    @property
    def opening(self) -> Floats:
        """Lip opening over the distance between the eyes, (n,)."""
        return lip_opening(self.landmarks)


@dataclass(frozen=True)
class Pair:
    """Embeddings of pictures and sound of the same frames, (n, d) each; unequal lengths are cut.

    Attributes:
        seen, heard: lip opening (n,) read from the pictures, and what the sound lets expect; None where unknown.
    """

    pictures: Floats
    sound: Floats
    seen: Floats | None = None
    heard: Floats | None = None


@dataclass(frozen=True)
class Acceptance:
    """From where on a judge takes lips for those that belong to the sound.

    Attributes:
        confidence: of the offset.
        movement: lip movement over the expected one.
    """

    confidence: float
    movement: float


@dataclass(frozen=True)
class Gallery:
    """Identity vectors of portraits (N, d), the take's own one being number `own`."""

    vectors: Floats
    own: int


@dataclass(frozen=True)
class Comparison:
    """A take made by some method, beside the truth.

    Attributes:
        take: name of the take.
        made: faces of the made frames.
        true: faces of the true frames.
        driver: faces of the pose source's frames.
        pictures: per-frame figures (n,) by the key of their metric.
        cross_made, cross_driver: faces made from, and of, a pose source that speaks with another mouth.
        frontal: (k, 3) head angles of frames made from pose code 0.
        identity: identity vectors (m, d) of some made frames.
        gallery: portraits to tell them from.
        sync: embeddings of our own sync judge.
        acceptance: from where on that judge accepts a clip, None where it does not say.
        delayed: sound embeddings (n, d) of our judge when the sound comes `delay` frames later.
        delay: that number.
        syncnet: embeddings of the official SyncNet.
    """

    take: str
    made: Face
    true: Face
    driver: Face | None = None
    pictures: dict[str, Floats] = field(default_factory=dict)
    cross_made: Face | None = None
    cross_driver: Face | None = None
    frontal: Floats | None = None
    identity: Floats | None = None
    gallery: Gallery | None = None
    sync: Pair | None = None
    acceptance: Acceptance | None = None
    delayed: Floats | None = None
    delay: int = 0
    syncnet: Pair | None = None
