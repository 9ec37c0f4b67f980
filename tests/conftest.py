"""The folder of a test sets its marker."""

from pathlib import Path

import pytest

pytest_plugins = ["tests.broker_fixture"]
FOLDERS = ("unit", "simulation", "conformance", "integration", "e2e")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test by its folder."""
    root = Path(__file__).parent
    for item in items:
        folder = item.path.relative_to(root).parts[0]
        if folder in FOLDERS:
            item.add_marker(getattr(pytest.mark, folder))
