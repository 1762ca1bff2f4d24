"""Durable dubbing jobs: what was asked for and every frame made survive a crash."""
