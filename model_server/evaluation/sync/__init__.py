"""Judges of whether lips and sound belong together."""
