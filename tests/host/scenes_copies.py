"""What the tests of two copies of the add-on have Blender do; beside `scenes`, in the same process."""

import importlib

import addon_utils
import bpy
from scenes import ADDON, written_by

OTHER = "bl_ext.other.posedub"


def install_again(zip_path, folder):
    """Install and enable the add-on once more, from another repository."""
    repos = bpy.context.preferences.extensions.repos
    if "other" not in [repo.module for repo in repos]:
        made = repos.new(name="other", module="other", custom_directory=folder)
        made.use_custom_directory, made.custom_directory = True, folder
    bpy.ops.extensions.package_install_files(filepath=zip_path, repo="other", enable_on_install=True, overwrite=True)


def toggle_copy(other, enabled):
    name = OTHER if other else ADDON
    (addon_utils.enable if enabled else addon_utils.disable)(name, default_set=True)


def copy_at_work():
    """The module of the classes that Blender has, and what the other copies' preferences show."""
    notices = {}
    for name in (ADDON, OTHER):
        addon = bpy.context.preferences.addons.get(name)
        if addon and addon.preferences and "Waiting" in type(addon.preferences).__name__:
            notices[name] = written_by(type(addon.preferences).draw)
    owner = getattr(getattr(bpy.types, "POSEDUB_PT_dub", None), "__module__", "")
    return owner.rpartition(".host.")[0], notices


def settings_of_copy(other):
    """Whether the preferences of a copy are all there."""
    preferences = importlib.import_module(f"{OTHER if other else ADDON}.host.preferences")
    return preferences.settings().port
