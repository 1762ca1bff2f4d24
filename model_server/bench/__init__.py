"""Measurements of speed: a direct implementation of the published inference beside what the server runs."""
