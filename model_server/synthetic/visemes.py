"""Phonemes to mouth shapes: blendshape targets per viseme, blended over time as co-articulation does.

Dominance blending follows Cohen and Massaro, "Modeling coarticulation in synthetic visual speech" (1993): each phoneme
pulls the mouth towards its shape with a weight that rises before it and falls after it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from model_server.synthetic.speech import Phoneme

Floats = npt.NDArray[np.floating]

# One-sided shapes; names ending in * move both sides. Drawn by hand, then moved towards what a real speaker's lips do
# (217 aligned sentences of GRID's s1): the blend of these shapes follows how far his lips are open by
# r = 0.80 in other sentences, and six other speakers' by 0.71; as drawn by hand it did by 0.67 and 0.63.
SHAPES: dict[str, dict[str, float]] = {
    "silence": {},
    "PP": {"mouthClose": 0.04, "mouthPress*": 0.45, "mouthRollLower": 0.25, "mouthRollUpper": 0.25},
    "FF": {"jawOpen": 0.05, "mouthClose": 0.14, "mouthRollLower": 0.54, "mouthUpperUp*": 0.27},
    "TH": {"jawOpen": 0.06, "mouthClose": 0.08, "mouthUpperUp*": 0.16, "mouthLowerDown*": 0.20},
    "DD": {"jawOpen": 0.16, "mouthClose": 0.05, "mouthPucker": 0.08, "mouthUpperUp*": 0.15, "mouthLowerDown*": 0.25},
    "kk": {"jawOpen": 0.12, "mouthClose": 0.07, "mouthUpperUp*": 0.11, "mouthLowerDown*": 0.19},
    "CH": {"jawOpen": 0.13, "mouthFunnel": 0.57, "mouthUpperUp*": 0.15, "mouthLowerDown*": 0.25},
    "SS": {
        "jawOpen": 0.13, "mouthClose": 0.11, "mouthFunnel": 0.06, "mouthPucker": 0.16, "mouthStretch*": 0.19,
        "mouthUpperUp*": 0.17, "mouthLowerDown*": 0.29,
    },
    "nn": {"jawOpen": 0.17, "mouthClose": 0.13, "mouthPucker": 0.10, "mouthUpperUp*": 0.11, "mouthLowerDown*": 0.18},
    "RR": {"jawOpen": 0.03, "mouthClose": 0.12, "mouthFunnel": 0.37, "mouthPucker": 0.23},
    "aa": {"jawOpen": 0.64, "mouthClose": 0.12, "mouthPucker": 0.12, "mouthUpperUp*": 0.23, "mouthLowerDown*": 0.28},
    "E": {
        "jawOpen": 0.58, "mouthFunnel": 0.11, "mouthPucker": 0.18, "mouthStretch*": 0.16, "mouthUpperUp*": 0.29,
        "mouthLowerDown*": 0.30,
    },
    "ih": {
        "jawOpen": 0.47, "mouthFunnel": 0.12, "mouthPucker": 0.14, "mouthSmile*": 0.19, "mouthUpperUp*": 0.24,
        "mouthLowerDown*": 0.28,
    },
    "ee": {
        "jawOpen": 0.33, "mouthFunnel": 0.09, "mouthPucker": 0.13, "mouthSmile*": 0.34, "mouthStretch*": 0.09,
        "mouthUpperUp*": 0.31, "mouthLowerDown*": 0.39,
    },
    "oh": {"jawOpen": 0.38, "mouthClose": 0.09, "mouthFunnel": 0.60, "mouthPucker": 0.17},
    "ou": {
        "jawOpen": 0.10, "mouthClose": 0.13, "mouthFunnel": 0.26, "mouthPucker": 0.60, "mouthSmile*": 0.09,
        "mouthStretch*": 0.09,
    },
    "schwa": {"jawOpen": 0.25, "mouthUpperUp*": 0.12, "mouthLowerDown*": 0.18},
}  # fmt: skip
VISEMES = tuple(SHAPES)
SHORTEST = 0.06  # seconds for which a phoneme pulls with all its weight, however short it is
BEFORE, AFTER = 0.055, 0.045  # seconds outside it in which the pull falls to 1 / e
FALL = 1.3  # exponent of the fall: between an exponential (1) and a bell (2)
UNHEARD = 12.0  # of these times; beyond, the pull is as good as none, and stays a number
SILENT = 1e-3  # pull of the resting mouth, where nothing else pulls
FIRST_SHARE = 0.6  # of a diphthong's time: its first half is the longer one

_IPA = {
    "PP": "p b m", "FF": "f v", "TH": "θ ð", "DD": "t d ɾ ɫ", "kk": "k ɡ g x ç h ɦ ŋ ʔ", "CH": "tʃ dʒ ʃ ʒ",
    "SS": "s z ts", "nn": "n l ɲ ʎ", "RR": "ɹ r ʁ ɻ ɚ ɝ", "aa": "a ɑ ʌ æ ɐ aɪ aʊ", "E": "ɛ e eɪ œ ɜ",
    "ih": "ɪ ᵻ", "ee": "i iː j", "oh": "ɔ o oʊ əʊ ɒ ɔɪ ø", "ou": "u ʊ w y ʏ", "schwa": "ə əl",
}  # fmt: skip
_BY_SYMBOL = {symbol: viseme for viseme, symbols in _IPA.items() for symbol in symbols.split()}
# Second half of a diphthong, by its last letter.
_GLIDES = {"ɪ": "ih", "ʊ": "ou", "i": "ee", "u": "ou"}
# How much of the mouth a viseme takes from its neighbours: lips that must close or round win over tongues.
_FIRM = {"PP": 2.8, "FF": 2.5, "CH": 1.6, "ou": 1.5, "SS": 1.3, "silence": 0.7, "kk": 0.5, "schwa": 0.6, "nn": 0.7}


def viseme_of(symbol: str) -> str:
    """Viseme of an IPA symbol as eSpeak NG writes it, stress and length marks allowed; silence when empty."""
    plain = symbol.translate(str.maketrans("", "", "ˈˌː̩ʲ̃"))
    if not plain:
        return "silence"
    for length in range(len(plain), 0, -1):
        if plain[:length] in _BY_SYMBOL:
            return _BY_SYMBOL[plain[:length]]
    return "schwa"


def viseme_weights(phonemes: Sequence[Phoneme], frames: int, fps: float = 25.0) -> Floats:
    """Dominance of each viseme (frames, 17), rows summing to 1, columns in the order of `VISEMES`."""
    now = (np.arange(frames) + 0.5) / fps
    total = np.zeros((frames, len(VISEMES)), np.float64)
    total[:, 0] = SILENT
    for viseme, start, end in _targets(phonemes):
        centre, reach = 0.5 * (start + end), max(0.5 * (end - start), SHORTEST / 2)
        # Lips lead the sound: the pull rises over some 90 ms before and falls faster after.
        distance = now - centre
        outside = np.where(
            distance < 0, np.maximum(-distance - reach, 0) / BEFORE, np.maximum(distance - reach, 0) / AFTER
        )
        total[:, VISEMES.index(viseme)] += _FIRM.get(viseme, 1.0) * np.exp(-(np.minimum(outside, UNHEARD) ** FALL))
    return (total / total.sum(1, keepdims=True)).astype(np.float32)


def mouth_shape(weights: Floats, effort: float = 1.0) -> dict[str, float]:
    """Blendshape weights of one frame's viseme weights (17,); effort scales how far the mouth moves."""
    shape: dict[str, float] = {}
    for weight, viseme in zip(weights, VISEMES, strict=True):
        for name, value in SHAPES[viseme].items():
            for side in (name[:-1] + "_L", name[:-1] + "_R") if name.endswith("*") else (name,):
                shape[side] = shape.get(side, 0.0) + float(weight) * value * effort
    return shape


def _targets(phonemes: Sequence[Phoneme]) -> list[tuple[str, float, float]]:
    """Visemes with their spans; diphthongs become two."""
    targets = []
    for phoneme in phonemes:
        viseme, last = viseme_of(phoneme.symbol), phoneme.symbol[-1:]
        if len(phoneme.symbol.strip("ˈˌː")) > 1 and last in _GLIDES and viseme in ("aa", "E", "oh"):
            middle = phoneme.start + FIRST_SHARE * (phoneme.end - phoneme.start)
            targets += [(viseme, phoneme.start, middle), (_GLIDES[last], middle, phoneme.end)]
        else:
            targets.append((viseme, phoneme.start, phoneme.end))
    return targets
