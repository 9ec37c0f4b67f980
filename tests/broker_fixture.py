"""A broker for integration tests: ``pytest_plugins = ["tests.broker_fixture"]``."""

import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from cluster.kafka import EmbeddedBroker, prepare


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningBroker:
    """What tests need to know of the broker."""

    bootstrap: str
    """``host:port``."""
    embedded: EmbeddedBroker | None
    """None where the tests were pointed at another cluster."""


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningBroker]:
    """A broker for the whole session: embedded, or the one that ``PARSEC_TEST_KAFKA=host:port`` names.

    Tests share it and tell their topics apart by `topic_prefix`; none may stop it.
    """
    if elsewhere := os.environ.get("PARSEC_TEST_KAFKA"):
        yield RunningBroker(bootstrap=elsewhere, embedded=None)
        return
    prepare()
    with EmbeddedBroker(tmp_path_factory.mktemp("kafka"), port=0) as embedded:
        yield RunningBroker(bootstrap=embedded.bootstrap, embedded=embedded)


@pytest.fixture
def topic_prefix() -> str:
    """A prefix that no other test has, for topics, groups and transactional ids."""
    return f"t{uuid.uuid4().hex[:12]}."
