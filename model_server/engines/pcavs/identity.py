"""A portrait as the generator sees it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model_server.engines.base import Relief
from model_server.engines.pose_map import PoseMap
from model_server.engines.runtime.thread_pool import ThreadPool
from model_server.head_rotation import rotation
from model_server.networks.pcavs.model import OwnCodes
from model_server.networks.pcavs.turning import TurningSurface

# Degrees of yaw, pitch and roll beyond which no head is turned from how its portrait holds it, which shows too little.
_MOST_TURN = np.array([50.0, 40.0, 60.0], np.float32)


@dataclass(frozen=True)
class Identity:
    """A portrait as the generator sees it; belongs to the engine that made it.

    Attributes:
        vector: (1, identity size), on the engine's device.
        map: (1, channels, 7, 7), on the engine's device.
        pose: (12,), the portrait's own pose code.
        portrait: (1, 3, side, side) in [-1, 1], of the size of frames and size // MARGIN more on each side; on the
            engine's device.
        own: the codes (1, ...) of what `portrait` shows, on the engine's device.
        surface: what `portrait` shows in space, where that is known.
    """

    vector: Tensor
    map: Tensor
    pose: NDArray[np.float32]
    portrait: Tensor
    own: OwnCodes
    surface: TurningSurface | None = None

    def turned(self, codes: NDArray[np.float32], pose_map: PoseMap | None, threads: ThreadPool) -> Tensor:
        """See `turned_offsets`."""
        return turned_offsets(self.surface, pose_map, self.pose, codes, threads.map)


def turned_offsets(
    surface: TurningSurface | None,
    pose_map: PoseMap | None,
    own: NDArray[np.float32],
    codes: NDArray[np.float32],
    each: Callable[[Callable[[Any], Any], Sequence[Any]], Iterable[Any]],
) -> Tensor:
    """Offsets (n, 2, 112, 112) by which a portrait turns to pose codes (n, 12); (n, 0) where they are not known.

    Args:
        surface: of the portrait; None where it is not known.
        pose_map: of the weights; None where they have none.
        own: the portrait's own pose code (12,).
        each: what maps a function over values, like `map`.
    """
    if surface is None or pose_map is None:
        return torch.zeros(len(codes), 0)
    angles = pose_map.nearest_angles(np.stack([own, *codes]))
    near = angles[0] + (angles - angles[0]).clip(-_MOST_TURN, _MOST_TURN)
    first, *wanted = (rotation(*row) for row in near.tolist())
    return torch.from_numpy(np.stack(list(each(lambda head: surface.offsets(head @ first.T), wanted))))


def held(relief: Relief | None, pose_map: PoseMap | None, pose: NDArray[np.float32]) -> NDArray[np.float32]:
    """The portrait's own pose code (12,): of the angles that its mesh shows, which is surer than what was encoded."""
    return pose if relief is None or pose_map is None else pose_map.codes(relief.angles[None])[0]


def surface_of(relief: Relief | None) -> TurningSurface | None:
    """The surface of a relief, if there is one."""
    return TurningSurface(relief.depth, relief.follows, relief.pivot, relief.reach) if relief else None
