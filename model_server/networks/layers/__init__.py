"""Layers that networks of any engine may share."""
