"""PoseDub's model server: talking faces from a portrait, speech and head pose."""

__version__ = "0.1.0"
