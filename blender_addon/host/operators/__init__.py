"""What the editor's buttons do."""

from . import dub, faces, pose, pose_tools, server, sources, takes

MODULES = (sources, dub, takes, faces, pose, pose_tools, server)
