"""Synthetic talking heads: a parametric head, painted, lit, moved and rendered with exact labels.

A training tool and the source of the demo's inputs; nothing that runs in a dub imports it.
"""
