"""Eyes that open and close: a value beside the pose code, for the frame and for the portrait. The paper has none.

0 is an eye as open as the person holds it, 1 a closed one.
"""

from __future__ import annotations

from torch import Tensor, nn

from model_server.networks.pcavs.motion_fields import MotionFields
from model_server.networks.pcavs.presets import LIDS

LID_FIELDS, LID_SIZE = 8, 56
_HIDDEN = 64


class LidHead(nn.Module):
    """What closing lids move, and what they change of what is painted; changes nothing until it is trained.

    Args:
        pose: size of the pose codes, the frame's and the portrait's together.
        codes: size of all codes that the generator's layers read.
    """

    def __init__(self, pose: int, codes: int) -> None:
        super().__init__()
        self.move_head = MotionFields(LIDS + pose, LID_FIELDS, LID_SIZE)
        self.hidden = nn.Linear(LIDS, _HIDDEN)
        self.style_head = nn.Linear(_HIDDEN, codes)
        nn.init.zeros_(self.style_head.weight)
        nn.init.zeros_(self.style_head.bias)

    def style(self, lids: Tensor) -> Tensor:
        """What is added to the codes (n, codes) that layers read, by closures (n, 2)."""
        return self.style_head(nn.functional.leaky_relu(self.hidden(lids), 0.2))

    def flow(self, lids_and_pose: Tensor) -> Tensor:
        """Movement of the lids (n, 2, 56, 56) in the portrait's frame, in halves of the picture."""
        return self.move_head(lids_and_pose)
