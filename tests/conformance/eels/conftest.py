"""The specification's engine for the tests in here; they are skipped, or fail, where it can't be made."""

import os

import pytest

from tests.conformance.eels.engine import EelsEngine, EelsUnavailable


@pytest.fixture(scope="session")
def engine() -> EelsEngine:
    """The engine, its virtual environment made if need be."""
    try:
        return EelsEngine()
    except EelsUnavailable as unavailable:
        if os.environ.get("REQUIRE_EELS") == "1":
            pytest.fail(f"REQUIRE_EELS=1, but {unavailable}")
        pytest.skip(f"the specification's environment cannot be made: {unavailable}")
