"""What the editor's buttons do."""

from . import dub, example, faces, pose, pose_tools, server, server_setup, sources, takes

MODULES = (sources, dub, example, takes, faces, pose, pose_tools, server, server_setup)
