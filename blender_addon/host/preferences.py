# mypy: disable-error-code="valid-type"
"""How the model server is reached: managed on this machine, or at an address.

No postponed annotations here: Blender reads them as values.
"""

import os
import platform
from contextlib import suppress
from pathlib import Path

import bpy

from ..client.connection import Endpoint
from ..core.errors import AddonError
from ..core.settings import ServerSettings, SetupSettings, installation_folder
from ..core.torch_builds import OFFERED, TITLES, platform_name
from . import setup_view

ADDON = __package__.rpartition(".")[0]
DEFAULTS = ServerSettings()
MODES = (
    ("local", "On This Computer", "The add-on starts and stops the server"),
    ("address", "At an Address", "A server that runs elsewhere"),
)
DEVICES = (
    ("auto", "Best for This Computer", "The graphics card if PyTorch can use it, else the processor"),
    *(
        (build, TITLES[build], f"PyTorch for {TITLES[build]}")
        for build in OFFERED.get(platform_name(platform.system(), platform.machine()), ("cpu",))
    ),
)


class PoseDubPreferences(bpy.types.AddonPreferences):
    """The add-on's preferences."""

    bl_idname = ADDON

    mode: bpy.props.EnumProperty(name="Server", items=MODES, description="Where the model server runs")
    executable: bpy.props.StringProperty(
        name="Command", subtype="FILE_PATH", description="The server's command posedub; empty: it is looked for"
    )
    port: bpy.props.IntProperty(
        name="Port", default=DEFAULTS.port, min=1024, max=65535, description="Of the server on this computer"
    )
    data_dir: bpy.props.StringProperty(
        name="Data", subtype="DIR_PATH", description="Where the server keeps its jobs; empty: the add-on's own folder"
    )
    actor: bpy.props.StringProperty(
        name="Actor",
        subtype="FILE_PATH",
        description="Weights of another actor, which the server on this computer offers beside its own; empty: none",
    )
    device: bpy.props.EnumProperty(name="Device", items=DEVICES, description="What the server is set up to draw on")
    server_root: bpy.props.StringProperty(
        name="Server Folder",
        subtype="DIR_PATH",
        description="Where the server is installed; empty: among this user's files, for all Blenders",
    )
    wheels: bpy.props.StringProperty(
        name="Folder of Wheels",
        subtype="DIR_PATH",
        description="Install the server from this folder, made by build_addon.py --wheelhouse, without a network",
    )
    proxy: bpy.props.StringProperty(
        name="Proxy", description="Of the network, such as http://proxy:3128; empty: what the system knows"
    )
    address: bpy.props.StringProperty(
        name="Address", default=DEFAULTS.address, description="Of the server: host, host:port, or a URL"
    )
    token: bpy.props.StringProperty(name="Token", subtype="PASSWORD", description="Shared secret of the server")
    tls_ca: bpy.props.StringProperty(
        name="TLS Authority", subtype="FILE_PATH", description="Certificate authority that signed the server's key"
    )
    tls_cert: bpy.props.StringProperty(
        name="TLS Certificate", subtype="FILE_PATH", description="Your own, if the server wants to know you by it"
    )
    tls_key: bpy.props.StringProperty(name="TLS Key", subtype="FILE_PATH", description="Private key of the certificate")

    cache_limit: bpy.props.IntProperty(
        name="Limit of Takes (MB)",
        default=0,
        min=0,
        soft_max=1_000_000,
        description="When the takes of a file grow beyond this, the oldest ones that no strip of it shows are deleted; "
        "0 for no limit",
    )

    mark_renders: bpy.props.BoolProperty(
        name="Mark Renders with Dubs",
        default=True,
        description="Renders that show dubs say so, signed, in a form that programs read (C2PA), and from what they "
        "were made. Without it you must mark what you publish yourself, where the law wants synthetic pictures marked",
    )

    def draw(self, context: bpy.types.Context) -> None:
        """Only what belongs to the chosen mode."""
        layout = self.layout
        layout.use_property_split = True
        layout.prop(self, "mode", expand=True)
        if self.mode == "local":
            box = layout.box()
            setup_view.draw(box, context, self)
            for name in ("server_root", "wheels", "proxy"):
                box.prop(self, name)
            setup_view.draw_files(box)
        for name in (
            ("executable", "port", "data_dir", "actor")
            if self.mode == "local"
            else ("address", "token", "tls_ca", "tls_cert", "tls_key")
        ):
            layout.prop(self, name)
        layout.prop(self, "cache_limit")
        layout.prop(self, "mark_renders")
        if notice := _notice(endpoint(self.settings())):
            layout.label(text=notice, icon="INFO")

    def setup_settings(self) -> SetupSettings:
        """How the server on this computer is set up, as plain data."""
        usual = installation_folder(platform.system(), os.environ, Path.home())
        return SetupSettings(
            root=_path(self.server_root) or str(usual),
            build="" if self.device == "auto" else self.device,
            wheels=_path(self.wheels),
            proxy=self.proxy.strip(),
        )

    def settings(self) -> ServerSettings:
        """The values as plain data."""
        return ServerSettings(
            mode=self.mode,
            executable=_path(self.executable),
            port=self.port,
            data_dir=_path(self.data_dir) or str(user_folder("server")),
            actor=_path(self.actor),
            address=self.address.strip(),
            token=self.token,
            tls_ca=_path(self.tls_ca),
            tls_cert=_path(self.tls_cert),
            tls_key=_path(self.tls_key),
        )


def _notice(endpoint: Endpoint) -> str:
    """What is in the way of the server, "" for nothing."""
    try:
        reachable = endpoint.loopback or bpy.app.online_access
    except AddonError as error:
        return str(error)
    return "" if reachable else "Other computers need System > Network > Allow Online Access"


def current() -> PoseDubPreferences:
    """The preferences as Blender keeps them."""
    return bpy.context.preferences.addons[ADDON].preferences


def settings() -> ServerSettings:
    """The current preferences as plain data."""
    return current().settings()


def setup_settings() -> SetupSettings:
    """How the server on this computer is set up, as plain data."""
    return current().setup_settings()


def cache_limit() -> int:
    """Bytes that the takes of a file may have; 0 for any number."""
    return 10**6 * current().cache_limit


def mark_renders() -> bool:
    """Whether renders that show dubs get a mark."""
    return current().mark_renders


def endpoint(settings: ServerSettings) -> Endpoint:
    """Where the client connects to."""
    if settings.mode == "local":
        return Endpoint(settings.target)
    return Endpoint(settings.target, settings.token, settings.tls_ca, settings.tls_cert, settings.tls_key)


def user_folder(name: str) -> Path:
    """A folder of the add-on in the user's files; updates leave it alone. Whoever writes there meets what is wrong."""
    with suppress(OSError):
        return Path(bpy.utils.extension_path_user(ADDON, path=name, create=True))
    return Path(bpy.utils.extension_path_user(ADDON, path=name))


def _path(text: str) -> str:
    return bpy.path.abspath(text) if text else ""


def register() -> None:
    """Make the preferences known to Blender."""
    bpy.utils.register_class(PoseDubPreferences)


def unregister() -> None:
    """Withdraw them."""
    bpy.utils.unregister_class(PoseDubPreferences)
