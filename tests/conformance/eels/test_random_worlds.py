"""The engine and the specification agree on random worlds, in every fork; a difference is found and made small."""

import os
from collections.abc import Iterator

import pytest

from executors.evm import instructions
from tests.conformance.eels.differences import compare, report, smallest
from tests.conformance.eels.engine import EelsEngine, EelsFailed, Session
from tests.conformance.random_contracts import draw_world

WORLDS = int(os.environ.get("PARSEC_EELS_WORLDS", "60"))
"""Of each fork, with ten transactions each."""


@pytest.fixture(scope="module")
def session(engine: EelsEngine) -> Iterator[Session]:
    """One runner for all."""
    with engine.session() as started:
        yield started


@pytest.mark.parametrize("fork", ["shanghai", "cancun", "prague"])
def test_random_worlds(session: Session, fork: str) -> None:
    """Status, gas, events, output, created address and the whole state; nothing is written that stays what it was."""
    for seed in range(WORLDS):
        found = compare(draw_world(seed, fork=fork), session)
        if found.differences:
            pytest.fail(report(smallest(found.world, session)))


def test_a_difference_is_found_and_made_small(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """With one refund off by one: what is left is one transaction and the store that clears a slot."""
    monkeypatch.setattr(instructions, "_CLEAR_REFUND", instructions._CLEAR_REFUND + 1)
    found = next(found for seed in range(200) if (found := compare(draw_world(seed), session)).differences)
    small = smallest(found.world, session, tries=500)
    assert small.differences
    assert len(small.world.steps) == 1
    assert len(small.world.accounts) <= 3
    words = report(small)
    assert f"world {found.world.seed}: fork prague" in words
    assert "gas_used is" in words
    assert " 55" in words


def test_a_session_says_why_it_ended(engine: EelsEngine) -> None:
    """A malformed document ends the runner, with its error in words."""
    with engine.session() as session:
        with pytest.raises(EelsFailed, match="blocks"):
            session.run({"chain_id": 1})
        with pytest.raises(EelsFailed):
            session.run({"chain_id": 1})
