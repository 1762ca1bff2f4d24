"""Convolutions on processors: fast forms of plain layers, each measured against its plain form by a test."""
