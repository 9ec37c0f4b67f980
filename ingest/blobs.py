"""Blobs: what a transaction that carries them may look like, and what they cost.

A chain of this platform has none (`Rules.blobs`); they are here so that the rules of a fork can be checked in full.

References
----------
EIP-4844.
"""

from collections.abc import Sequence
from typing import Final

from schemas.errors import InvalidTransaction

from .forks import TransactionRules, transaction_rules

GAS_PER_BLOB: Final = 131_072
VERSION: Final = 0x01
"""First byte of the hash of a blob: a KZG commitment stands behind it."""
BASE_FEE_MIN: Final = 1
"""Wei per blob gas, what it costs where there is no demand."""


def check_blobs(hashes: Sequence[bytes], to: bytes | None, rules: TransactionRules) -> None:
    """Compare the blobs of a transaction with what its fork allows.

    Raises
    ------
    InvalidTransaction
        With the value and the limit.
    """
    if to is None:
        raise InvalidTransaction("a blob transaction cannot create a contract; it needs a recipient")
    if not hashes:
        raise InvalidTransaction("a blob transaction without blobs; it needs at least 1 blob hash")
    if len(hashes) > rules.blobs_max:
        raise InvalidTransaction(f"too many blobs in transaction: {len(hashes)}, limit {rules.blobs_max}")
    for each in hashes:
        if each[0] != VERSION:
            raise InvalidTransaction(f"blob hash 0x{each.hex()} of version {each[0]:#04x}; it has to be {VERSION:#04x}")


def blob_gas(count: int) -> int:
    """Blob gas of so many blobs."""
    return GAS_PER_BLOB * count


def blob_base_fee(excess_blob_gas: int, fork: str) -> int:
    """Wei per blob gas in a block.

    Parameters
    ----------
    excess_blob_gas
        Blob gas that was used above the target in all blocks before.
    fork
        Name of a fork that has blobs.

    Returns
    -------
    int
        ``BASE_FEE_MIN * e ** (excess / fraction)``, by its Taylor series in integers.
    """
    fraction = transaction_rules(fork).blob_fee_fraction
    index, total, term = 1, 0, BASE_FEE_MIN * fraction
    while term > 0:
        total += term
        term = term * excess_blob_gas // (fraction * index)
        index += 1
    return total // fraction
