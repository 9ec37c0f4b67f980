"""Which world belongs to a seed."""

from typing import Final

from .contracts import Contracts
from .world import World

CONTRACTS_EVERY: Final = 10
"""Every so many seeds a world runs real transactions on the real machine."""


def world_of(seed: int) -> World:
    """The world of a seed, not yet run."""
    return World(seed, Contracts) if seed % CONTRACTS_EVERY == CONTRACTS_EVERY - 1 else World(seed)
