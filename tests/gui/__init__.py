"""A real Blender on a virtual display, worked with mouse and keyboard; see README.md. Not part of the test suite."""
