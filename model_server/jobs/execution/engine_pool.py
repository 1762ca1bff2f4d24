"""Engines by weights and precision, loaded when first needed."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

from model_server.engines.base import Engine, WeightsInfo
from model_server.engines.device import check_precision, resolve_device
from model_server.engines.weights import load_checked_engine
from model_server.errors import ErrorKind, PoseDubError
from model_server.pipeline.request import Precision

KEPT = 2


class EnginePool:
    """The weights a server offers and the engines loaded from them.

    The last two engines stay loaded: one for the job at work, one for a
    question asked beside it.

    Args:
        weights: what is offered; the first is the default.
        device: one of `engines.device.DEVICES`.
        precision: what "auto" in a request means here.
        choices: file in which what was measured on this computer is kept.

    Attributes:
        device: kind of this computer's device, which answers questions.
        choices: the file.
        drawing_device: of the device that draws dubs, the same unless others draw them.
        notices: what had to be given up because the device does not draw what a processor draws, in sentences.
    """

    def __init__(
        self,
        weights: Sequence[WeightsInfo],
        device: str = "auto",
        precision: Precision = "auto",
        choices: Path | None = None,
    ) -> None:
        self.weights = tuple(weights)
        self.device = self.drawing_device = resolve_device(device)
        check_precision(precision, self.device)
        self._precision = precision
        self.choices = choices
        self._loaded: OrderedDict[tuple[str, Precision], Engine] = OrderedDict()
        self._measured: dict[str, Precision] = {}
        self.notices: tuple[str, ...] = ()
        self._lock = threading.Lock()

    def info(self, weights_id: str = "") -> WeightsInfo:
        """Weights by id, the default for ""; PoseDubError when they are not offered."""
        for offered in self.weights:
            if weights_id in ("", offered.id):
                return offered
        names = ", ".join(offered.name for offered in self.weights)
        raise PoseDubError(
            f"The server has no weights {weights_id[:12]!r}; it offers {names}: choose one of these.",
            ErrorKind.NOT_FOUND,
        )

    def engine(self, weights_id: str = "", precision: Precision = "auto") -> Engine:
        """The engine for these weights."""
        info = self.info(weights_id)
        with self._lock:
            key = (info.id, self._decided(info, self.precision(precision)))
            if key not in self._loaded:
                key = self._load(info, key[1])
            self._loaded.move_to_end(key)
            return self._loaded[key]

    def _decided(self, info: WeightsInfo, precision: Precision) -> Precision:
        """What "auto" was found to mean for these weights, so that it is measured once."""
        return self._measured.get(info.id, precision) if precision == "auto" else precision

    def _load(self, info: WeightsInfo, precision: Precision) -> tuple[str, Precision]:
        while len(self._loaded) >= KEPT:
            self._loaded.popitem(last=False)
        found = load_checked_engine(info, self.device, precision, self.choices)
        if found.notice and found.notice not in self.notices:
            self.notices += (found.notice,)
        if precision == "auto":
            self._measured[info.id] = precision = found.engine.precision
        self._loaded[info.id, precision] = found.engine
        return info.id, precision

    def precision(self, asked: Precision) -> Precision:
        """What a request's precision means on this server; PoseDubError when it makes no sense here."""
        check_precision(asked, self.drawing_device)
        return self._precision if asked == "auto" else asked
