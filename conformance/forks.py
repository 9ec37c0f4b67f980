"""The forks by the names that test documents use, and how a block's fees follow from its parent's.

References
----------
EIP-1559 (base fee), EIP-4844 and EIP-7691 (excess blob gas).
"""

from dataclasses import dataclass
from typing import Final

from ingest.blobs import GAS_PER_BLOB
from ingest.forks import transaction_rules
from schemas.errors import ConfigurationError

_BASE_FEE_QUOTIENT: Final = 8
_ELASTICITY: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Fork:
    """What a block of a fork has that blocks of other forks haven't."""

    name: str
    """As documents write it; `rules` is the same in lower case."""
    blobs_target: int = 0
    beacon_roots: bool = False
    """Whether each block stores the root of the parent's beacon block."""
    history: bool = False
    """Whether each block stores the hash of its parent."""
    requests: bool = False
    """Whether blocks carry requests to the consensus layer."""

    @property
    def rules(self) -> str:
        """The name in the rules of a chain."""
        return self.name.lower()

    @property
    def blobs(self) -> bool:
        """Whether there are blob transactions."""
        return self.blob_gas_max > 0

    @property
    def blob_gas_max(self) -> int:
        """Blob gas of all transactions in a block, at most."""
        return transaction_rules(self.rules).blobs_max * GAS_PER_BLOB

    def excess_blob_gas(self, parent_excess: int, parent_used: int) -> int:
        """What a block takes over from its parent."""
        return max(0, parent_excess + parent_used - self.blobs_target * GAS_PER_BLOB)


FORKS: Final = {fork.rules: fork for fork in (
    Fork(name="Shanghai"),
    Fork(name="Cancun", blobs_target=3, beacon_roots=True),
    Fork(name="Prague", blobs_target=6, beacon_roots=True, history=True, requests=True))}
"""By their names in the rules."""


def known_fork(name: str) -> Fork | None:
    """The fork of a name in a document, in capitals or not."""
    return FORKS.get(name.lower())


def unknown_fork(name: str) -> str:
    """What to say of a fork that isn't here."""
    return f"no fork {name!r}; there are {', '.join(fork.name for fork in FORKS.values())}"


def fork_of(name: str) -> Fork:
    """The fork of a name.

    Raises
    ------
    ConfigurationError
        If it isn't here.
    """
    fork = known_fork(name)
    if fork is None:
        raise ConfigurationError(f"--state.fork: {unknown_fork(name)}")
    return fork


def next_base_fee(parent_fee: int, parent_gas_used: int, parent_gas_limit: int) -> int:
    """Wei per gas in a block, by its parent."""
    target = parent_gas_limit // _ELASTICITY
    if parent_gas_used == target or not target:
        return parent_fee
    change = parent_fee * abs(parent_gas_used - target) // target // _BASE_FEE_QUOTIENT
    return parent_fee + max(1, change) if parent_gas_used > target else parent_fee - change
