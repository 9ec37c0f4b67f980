"""The rules: everything that decides a result. They are part of the genesis, never a setting of a process."""

from dataclasses import dataclass, fields
from functools import lru_cache

from .hashing import digest

RULES_VERSION = 1
"""Raised when the code changes a result for the same log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What every process has to agree on. In a genesis file `config.parsec` sets them, by these names in camelCase."""

    chain_id: int = 52188
    fork: str = "prague"
    """Of Ethereum, from the first block on: ``shanghai``, ``cancun`` or ``prague``."""
    blobs: bool = False
    """Whether blob transactions (type 3) are admitted. A log has no blob market; the conformance tools set it."""
    machines: tuple[str, ...] = ("lua/1", "wasm/1")
    """The machines beside the EVM, each as name and version."""
    coinbase: bytes = bytes(20)
    """Fee recipient, 20 bytes."""
    base_fee: int = 0
    """Wei per gas, the same in every block; it is burned."""
    block_gas_limit: int = 1_000_000_000
    """What GASLIMIT answers."""
    transaction_gas_max: int = 30_000_000
    """Highest gas limit of a transaction."""
    transaction_bytes_max: int = 131_072
    """Largest signed transaction."""
    parked_ms_max: int = 60_000
    """How long a transaction waits for a missing nonce before it is rejected."""
    nonce_ahead_max: int = 10_000
    """A nonce further ahead of the account's is rejected at once."""
    strikes_single: int = 2
    """After so many exclusions in a row a partition is cut with a single transaction."""
    strikes_skip: int = 4
    """After so many that transaction is skipped."""

    def hash(self) -> bytes:
        """BLAKE2b-256 over ``name=value`` lines in alphabetical order and the version of the rules."""
        return _hash_of(self)


@lru_cache(maxsize=16)
def _hash_of(rules: Rules) -> bytes:
    """Every manifest names it, so that it is computed once."""
    lines = [f"{field.name}={getattr(rules, field.name)!r}" for field in fields(rules)]
    return digest("\n".join(sorted([*lines, f"version={RULES_VERSION}"])).encode())
