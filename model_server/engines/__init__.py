"""Engines turn speech, head poses and, where they want one, a portrait into frames; weights are their only state."""
