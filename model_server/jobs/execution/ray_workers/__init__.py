"""Frames made by Ray actors on many processors, graphics cards and computers."""
