"""What the editor sees: the sidebar's tab, menus, the status bar.

Panels only read; what changes anything is an operator.
"""

from . import dub, jobs, menus, output, pose, presets, server, statusbar, takes

MODULES = (presets, dub, jobs, server, output, takes, pose, menus, statusbar)
"""In the order in which they are registered, which is that of the panels in the tab where none is stated."""
