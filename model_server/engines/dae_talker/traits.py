"""What DAE-Talker wants of a dub, whichever actor it draws. Does not import torch."""

from __future__ import annotations

from model_server.engines.base import PoseControl, Traits
from model_server.engines.dae_talker.time_axis import REACH

# The dub's parameters that this engine heeds.
STEPS, POSE_GAIN, SHARED_NOISE, SEED = "steps", "pose_gain", "shared_noise", "seed"
# Degrees to either side that an actor's footage may hold; each actor's own range lies within.
WIDEST = {"yaw": 45.0, "pitch": 30.0, "roll": 20.0}

TRAITS = Traits(
    title="DAE-Talker",
    portrait=False,
    portrait_optional=True,
    pose_sources=("speech", "codes", "video", "fixed"),
    pose_controls=tuple(PoseControl(name, "degrees", -bound, bound) for name, bound in WIDEST.items()),
    reach=0,
    reach_seconds=REACH,
    parameters=(STEPS, POSE_GAIN, SHARED_NOISE, SEED),
)
