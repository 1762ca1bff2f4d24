"""What the editor's buttons do."""

from . import consent, dub, example, faces, pose, pose_tools, server, server_setup, sources, takes

MODULES = (sources, consent, dub, example, takes, faces, pose, pose_tools, server, server_setup)
