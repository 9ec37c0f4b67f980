"""The forks of Ethereum that a chain can have, as far as running code goes.

What a fork is to transactions is in `ingest.forks`.

References
----------
EIP-1153, EIP-4844, EIP-5656, EIP-7516 (instructions of Cancun), EIP-6780 (SELFDESTRUCT since Cancun), EIP-2537,
EIP-2935, EIP-7702 (Prague).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from ingest.forks import TransactionRules, transaction_rules

from .library import Instruction
from .opcodes import STACK
from .precompiles import precompiles

_CANCUN: Final = frozenset({0x49, 0x4A, 0x5C, 0x5D, 0x5E})
"""BLOBHASH, BLOBBASEFEE, TLOAD, TSTORE, MCOPY."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fork:
    """What differs between forks."""

    name: str
    transactions: TransactionRules
    stack: Mapping[int, tuple[int, int]]
    """The instructions by opcode: items that each takes from the stack, and puts on it."""
    precompiles: Mapping[bytes, Instruction]
    """What runs in place of code, by address of 20 bytes."""
    destroys_created_only: bool
    """Whether SELFDESTRUCT deletes only what the same transaction created. Otherwise a contract may come back at the
    address of a deleted one, and its storage has to be another one."""
    delegations: bool
    """Whether accounts can run the code of others."""
    history: bool
    """Whether there is a contract with the hashes of earlier blocks."""


PRAGUE: Final = Fork(
    name="prague", transactions=transaction_rules("prague"), stack=STACK, precompiles=precompiles(0x11),
    destroys_created_only=True, delegations=True, history=True)

CANCUN: Final = Fork(
    name="cancun", transactions=transaction_rules("cancun"), stack=STACK, precompiles=precompiles(0x0A),
    destroys_created_only=True, delegations=False, history=False)

SHANGHAI: Final = Fork(
    name="shanghai", transactions=transaction_rules("shanghai"),
    stack={opcode: effect for opcode, effect in STACK.items() if opcode not in _CANCUN}, precompiles=precompiles(0x09),
    destroys_created_only=False, delegations=False, history=False)

_FORKS: Final = {fork.name: fork for fork in (SHANGHAI, CANCUN, PRAGUE)}


def fork_named(name: str) -> Fork:
    """The fork of a chain, by the name that its rules have.

    Raises
    ------
    ConfigurationError
        If there is no such fork.
    """
    transaction_rules(name)  # refuses other names
    return _FORKS[name]
