"""The folder of a test sets its marker."""

import signal
from pathlib import Path

import pytest

pytest_plugins = ["tests.broker_fixture"]
# A shell's background jobs ignore SIGINT, and what they start inherits that: then Ctrl-C could not be tested.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

FOLDERS = ("unit", "simulation", "conformance", "integration", "e2e")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test by its folder."""
    root = Path(__file__).parent
    for item in items:
        folder = item.path.relative_to(root).parts[0]
        if folder in FOLDERS:
            item.add_marker(getattr(pytest.mark, folder))
