"""What an encoder gave for a row is given again for the same row."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from model_server.engines.runtime.row_cache import RowCache


class Encoder:
    """Sums and counts rows."""

    def __init__(self) -> None:
        self.seen: list[int] = []

    def __call__(self, rows: NDArray[np.float32]) -> Tensor:
        self.seen.append(len(rows))
        return torch.from_numpy(rows.sum(1))[:, None].expand(-1, 2)


def rows(*values: float) -> NDArray[np.float32]:
    return np.array([[value, 1.0] for value in values], np.float32)


def sums(*values: float) -> list[list[float]]:
    return [[value + 1, value + 1] for value in values]


def test_only_new_rows_are_encoded_and_all_come_in_order() -> None:
    encoder = Encoder()
    remembered = RowCache(encoder)
    assert remembered(rows(1, 2, 3)).tolist() == sums(1, 2, 3)
    assert remembered(rows(3, 4, 1, 5)).tolist() == sums(3, 4, 1, 5)
    assert remembered(rows(5, 2)).tolist() == sums(5, 2)
    assert encoder.seen == [3, 2]


def test_rows_used_longest_ago_are_forgotten() -> None:
    encoder = Encoder()
    remembered = RowCache(encoder, kept=2)
    remembered(rows(1, 2))
    remembered(rows(1))
    remembered(rows(3))
    assert remembered(rows(1)).tolist() == sums(1) and encoder.seen == [2, 1]
    assert remembered(rows(2)).tolist() == sums(2) and encoder.seen == [2, 1, 1]


def test_a_new_row_does_not_take_the_place_of_one_beside_it() -> None:
    remembered = RowCache(Encoder(), kept=2)
    remembered(rows(1, 2))
    assert remembered(rows(3, 1)).tolist() == sums(3, 1)
    assert remembered(rows(1, 2)).tolist() == sums(1, 2)


def test_rows_that_could_not_be_encoded_are_not_remembered() -> None:
    encoder = Encoder()
    remembered = RowCache(encoder)
    remembered._encode = lambda rows: 1 / 0  # type: ignore[assignment, return-value]
    with pytest.raises(ZeroDivisionError):
        remembered(rows(1))
    remembered._encode = encoder
    assert remembered(rows(1, 1)).tolist() == sums(1, 1)


def test_more_rows_than_are_kept_come_whole() -> None:
    assert RowCache(Encoder(), kept=2)(rows(1, 2, 3, 4)).tolist() == sums(1, 2, 3, 4)


def test_results_cannot_be_changed_from_outside() -> None:
    remembered = RowCache(Encoder())
    remembered(rows(1)).zero_()
    assert remembered(rows(1)).tolist() == sums(1)
