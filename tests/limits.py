"""How long tests wait for what must come: far longer than slow and busy processors take; none of it is measured."""

HANGS = 900.0
"""Seconds after which a process, a thread or an event is taken for hung up."""
