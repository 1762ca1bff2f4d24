"""The path through known scores is the true one."""

import numpy as np
import pytest

from model_server.corpus.speech.align import Alignment, TimedWord
from model_server.corpus.speech.forced_alignment import STEP, align_units
from model_server.engines.speech_recogniser import HeardSpeech
from model_server.evaluation.speech_recognition import edit_distance
from model_server.synthetic.speech import Phoneme


def heard(classes: list[int], units: int = 5, doubt: float = 1e-3) -> HeardSpeech:
    """A recogniser that is sure of each step, CTC with one peak in the middle of each run."""
    steps = len(classes)
    frames = np.full((steps, 1 + units), np.log(doubt), np.float32)
    frames[np.arange(steps), classes] = np.log(1 - units * doubt)
    ctc = np.full((steps, 1 + units), np.log(doubt), np.float32)
    ctc[:, 0] = np.log(1 - units * doubt)
    nothing = np.zeros(steps, np.float32)
    return HeardSpeech(ctc, frames, nothing, nothing, nothing, np.zeros((1, steps, 2), np.float32))


def test_units_and_pauses_are_found() -> None:
    classes = [0] * 4 + [1] * 3 + [2] * 2 + [0] * 5 + [3] * 6 + [1] * 1 + [0] * 3
    spans = align_units(heard(classes), [[0, 1], [2, 0]])
    said = [(span.number, round(span.start / STEP), round(span.end / STEP)) for span in spans]
    assert said == [(-1, 0, 4), (0, 4, 7), (1, 7, 9), (-1, 9, 14), (2, 14, 20), (3, 20, 21), (-1, 21, 24)]
    assert all(span.score > 0.9 for span in spans)


def test_pauses_may_be_missing_and_units_unheard() -> None:
    spans = align_units(heard([1, 1, 1, 1, 3, 3, 3]), [[0], [1], [2]])
    assert [span.number for span in spans] == [0, 1, 2] and spans[1].score < 0.1
    assert spans[0].start == 0 and spans[-1].end == pytest.approx(7 * STEP)


def test_a_unit_said_twice_is_two() -> None:
    spans = align_units(heard([1] * 8), [[0, 0]])
    assert [span.number for span in spans if span.number >= 0] == [0, 1]


def test_borders_lie_between_steps_where_scores_cross() -> None:
    listening = heard([1] * 4 + [2] * 4)
    listening.frames[4, 1:3] = np.log([0.45, 0.54])
    spans = align_units(listening, [[0, 1]])
    assert 4 * STEP < spans[0].end < 4.5 * STEP


def test_too_much_text_is_refused() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        align_units(heard([1, 2]), [[0, 1, 2]])


def test_textgrid_has_no_gaps() -> None:
    words = (TimedWord('say "x"', 0.2, 0.5, 1.0), TimedWord("now", 0.5, 0.9, 1.0))
    lines = Alignment(1.0, words, (Phoneme("s", 0.2, 0.3, 0),)).textgrid().splitlines()
    times = [float(line.split("=")[1]) for line in lines if line.startswith("            xm")]
    first = times[: 2 * 4]
    assert first == [0, 0.2, 0.2, 0.5, 0.5, 0.9, 0.9, 1.0] and '            text = "say ""x"""' in lines


@pytest.mark.parametrize(("one", "other", "distance"), [("", "abc", 3), ("kitten", "sitting", 3), ("abc", "abc", 0)])
def test_edit_distance(one: str, other: str, distance: int) -> None:
    codes = [[ord(letter) for letter in word] for word in (one, other)]
    assert edit_distance(*codes) == edit_distance(*codes[::-1]) == distance
