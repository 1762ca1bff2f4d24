"""How lips are shaped by speech of any length, in constant memory: windows, each heard with what counts around it."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from functools import partial
from hashlib import blake2b

import numpy as np
import torch
from numpy.typing import NDArray

from model_server.engines.runtime.even_rows import ROWS_PER_SECOND, Floats, between, row_place, rows_around
from model_server.engines.runtime.thread_pool import ThreadPool
from model_server.engines.runtime.value_cache import ValueCache
from model_server.engines.shipped import shipped_recogniser
from model_server.engines.speech_recogniser import load_recogniser
from model_server.errors import ErrorKind, PoseDubError
from model_server.features import SAMPLE_RATE, Sound, gain_of
from model_server.files import file_digest
from model_server.networks.pcavs.lip_shape import DIGEST, LIP_SHAPE, REACH, LipShapeNetwork, heard_rows
from model_server.networks.speech_recogniser.log_mel import log_mel
from model_server.networks.speech_recogniser.recogniser import Recogniser

_ROW = SAMPLE_RATE // ROWS_PER_SECOND  # samples
# Windows lie on a fixed grid, so a shape is the same whatever range is asked for.
WINDOW = 10 * ROWS_PER_SECOND
# That many windows are remembered, 4 kB each, so that estimates, previews and dubs of films of hours share them.
WINDOWS_KEPT = 4096
# Shapes are told in such steps, far below what can be seen: what is heard far away moves their last bits only.
_STEP = 1 / 64

Turn = Callable[[Callable[[], Floats]], Floats]


class LipReader:
    """Tells shapes of lips from sound.

    Args:
        network: in evaluation mode.
        recogniser: that it was fitted to.
        threads: that work.
        turn: does work when the device's turn has come.
    """

    def __init__(self, network: LipShapeNetwork, recogniser: Recogniser, threads: ThreadPool, turn: Turn) -> None:
        self._network, self._recogniser, self._threads, self._turn = network, recogniser, threads, turn
        self._windows = ValueCache(WINDOWS_KEPT)
        steps = recogniser.size.context
        self._context = REACH + -(-steps // 2)  # rows

    @staticmethod
    def of(network: LipShapeNetwork, device: str, threads: ThreadPool, turn: Turn) -> LipReader:
        """One with the package's recogniser.

        Raises:
            PoseDubError: it is missing, or another one than the network was fitted to.
        """
        path = shipped_recogniser()
        if path is None or not torch.equal(network.hears.cpu(), recogniser_mark(file_digest(path))):
            raise PoseDubError(
                "These weights tell lips with the speech recogniser of another version of PoseDub; use the weights of "
                "this version, or fit them again with posedub weights lips.",
                ErrorKind.UNSUPPORTED,
            )
        return LipReader(network, load_recogniser(path).network.to(device), threads, turn)

    def shapes(self, speech: Sound, fps: Fraction, frames: range) -> Floats:
        """Shapes (n, 4) of the lips in a dub's frames, see `LIP_SHAPE`."""
        if not frames:
            return np.zeros((0, LIP_SHAPE), np.float32)
        places = [row_place(frame, fps) for frame in frames]
        run = rows_around(places)
        windows = range(run.start // WINDOW, (run.stop - 1) // WINDOW + 1)
        rows = np.concatenate([self._window(speech, number) for number in windows])
        told = np.stack([between(rows, place - windows.start * WINDOW) for place in places])
        return np.rint(told / _STEP).astype(np.float32) * np.float32(_STEP)

    def _window(self, speech: Sound, number: int) -> Floats:
        run = range(number * WINDOW, (number + 1) * WINDOW)
        first = max(0, run.start - self._context)
        count = (run.stop + self._context - first) * _ROW
        samples = np.ascontiguousarray(speech.read(first * _ROW, count) * gain_of(speech.rms), np.float32)
        inside = slice(run.start - first, run.stop - first)
        key = blake2b(samples.tobytes() + f"{inside.start}".encode(), digest_size=16).digest()
        told = partial(self._threads.run, partial(self._told, samples, inside))
        return self._windows.get(key, lambda: self._turn(told))

    @torch.inference_mode()
    def _told(self, samples: NDArray[np.float32], inside: slice) -> Floats:
        rows = heard_rows(self._recogniser(log_mel(torch.from_numpy(samples)[None]).to(self._network.mean.device)))
        return self._network(rows)[0, inside].float().cpu().numpy().copy()


def recogniser_mark(digest: str) -> torch.Tensor:
    """What tells a recogniser from others, (8,): the first bytes of its file's SHA-256."""
    return torch.tensor(list(bytes.fromhex(digest)[:DIGEST]), dtype=torch.float32)
