"""Engines turn a portrait, mel windows and pose codes into frames; weights are their only state."""
