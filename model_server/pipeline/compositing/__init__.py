"""Drawn faces laid back over footage."""
