"""Frames of a dub as a movie with sound."""
