"""Blender itself, the same in all its versions: strips, curves, what is seen of a strip."""
