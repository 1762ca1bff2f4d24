"""The add-on's version; `build_addon.py` checks that manifest and server carry the same."""

VERSION = "0.1.0"
