"""A few worlds in every test run; ``make sim`` runs thousands."""

import pytest

from .__main__ import run
from .seeds import CONTRACTS_EVERY

TOYS = [seed for seed in range(60) if seed % CONTRACTS_EVERY != CONTRACTS_EVERY - 1]
CONTRACTS = [CONTRACTS_EVERY * number - 1 for number in range(1, 4)]


@pytest.mark.parametrize("seed", TOYS)
def test_a_world_of_toys(seed: int) -> None:
    """Whatever fails in it, the ledger's serial replay says the same as all machines, and everything drains."""
    _, kind, detail, counts = run(seed)
    assert kind == "", f"python -m tests.simulation --start {seed} --seeds 1: {kind}: {detail}"
    assert counts["transactions"] > 0


@pytest.mark.parametrize("seed", CONTRACTS)
def test_a_world_of_contracts(seed: int) -> None:
    """The same with signed transactions on the real machine."""
    _, kind, detail, counts = run(seed)
    assert kind == "", f"python -m tests.simulation --start {seed} --seeds 1: {kind}: {detail}"
    assert counts["transactions"] > 0


def test_the_same_seed_is_the_same_world() -> None:
    """Chance comes from the seed alone."""
    assert run(3)[3] == run(3)[3]
