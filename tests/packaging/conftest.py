"""Marks of the packaging tests."""


def pytest_configure(config):
    config.addinivalue_line("markers", "slow: downloads packages; skipped without a network")
