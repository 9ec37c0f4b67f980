"""The forks of Ethereum that a chain can have, as far as transactions go: which types there are, and what bounds them.

What a fork is to running code is in `executors.evm.forks`.

References
----------
EIP-4844 (blobs), EIP-7623 (floor), EIP-7691 (more blobs), EIP-7702 (set code), EIP-7840 (blob limits by fork).
"""

from dataclasses import dataclass
from typing import Final

from schemas.errors import ConfigurationError

LEGACY, ACCESS_LIST, FEE_MARKET, BLOB, SET_CODE = 0, 1, 2, 3, 4
MACHINE: Final = 0x50
"""Our own: for a contract of a machine beside the EVM, in every fork."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TransactionRules:
    """What a fork says about transactions."""

    types: frozenset[int]
    floored: bool
    """Whether calldata sets a floor under the gas that a transaction pays for."""
    blobs_max: int = 0
    """Of a transaction, and of all in a block."""
    blob_fee_fraction: int = 0
    """How slowly the price of blob gas follows the excess of it."""


_BEFORE_BLOBS: Final = frozenset({LEGACY, ACCESS_LIST, FEE_MARKET, MACHINE})
_FORKS: Final = {
    "shanghai": TransactionRules(types=_BEFORE_BLOBS, floored=False),
    "cancun": TransactionRules(
        types=_BEFORE_BLOBS | {BLOB}, floored=False, blobs_max=6, blob_fee_fraction=3_338_477),
    "prague": TransactionRules(
        types=_BEFORE_BLOBS | {BLOB, SET_CODE}, floored=True, blobs_max=9, blob_fee_fraction=5_007_716)}


def transaction_rules(fork: str) -> TransactionRules:
    """The rules of a fork by its name.

    Raises
    ------
    ConfigurationError
        If there is no such fork.
    """
    found = _FORKS.get(fork)
    if found is None:
        raise ConfigurationError(f"no fork {fork!r}; there are {', '.join(_FORKS)}")
    return found
