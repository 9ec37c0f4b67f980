"""The adapter of py-evm: all that is used of it is imported here, under the names of this project.

What is taken are the functions behind the instructions of the Prague fork, their gas, its precompiled contracts and the
tree of errors. They are duck-typed, and get `frame.Frame` where they expect py-evm's computation. Frames, calls,
accounts, storage and the loop are ours: the ones of py-evm read more of the state than the rules need, which would be
conflicts here.
"""

import os
import sys
from collections.abc import Callable
from typing import Any, Final

# Before the first import of eth_hash: where pycryptodome is installed too, the automatic choice takes it, and it hashes
# six times slower than pysha3.
os.environ.setdefault("ETH_HASH_BACKEND", "pysha3")

_RECURSION_LIMIT: Final = 6_500
"""Five Python frames for each of 1,024 nested messages, and what is below them."""

from eth.exceptions import (  # noqa: E402
    ContractCreationCollision,
    FullStack,
    InsufficientStack,
    InvalidInstruction,
    InvalidJumpDestination,
    OutOfBoundsRead,
    OutOfGas,
    ReservedBytesInCode,
    Revert,
    VMError,
    WriteProtection,
)
from eth.precompiles.bls12_381.constants import G1_MSM_DISCOUNTS as G1_DISCOUNTS  # noqa: E402
from eth.precompiles.bls12_381.constants import G2_MSM_DISCOUNTS as G2_DISCOUNTS  # noqa: E402
from eth.precompiles.identity import identity  # noqa: E402
from eth.precompiles.ripemd160 import ripemd160  # noqa: E402
from eth.precompiles.sha256 import sha256  # noqa: E402
from eth.vm.forks.prague.opcodes import PRAGUE_OPCODES  # noqa: E402

# A dependency raises the limit to 100,000 at import, here or wherever it was imported before. With that, nested JSON
# overflows the stack of C and kills the process instead of raising RecursionError.
sys.setrecursionlimit(_RECURSION_LIMIT)

Instruction = Callable[[Any], Any]
"""Gets the frame."""

PRECOMPILES: Final[dict[int, Instruction]] = {0x02: sha256, 0x03: ripemd160, 0x04: identity}
"""By the last byte of their address."""


def instruction(opcode: int) -> tuple[int, Instruction]:
    """Fixed gas of an instruction, and the function that does the rest of it.

    Raises
    ------
    KeyError
        If no fork has such an instruction.
    """
    entry: Any = PRAGUE_OPCODES[opcode]
    return entry.gas_cost, entry.logic_fn


__all__ = [
    "G1_DISCOUNTS",
    "G2_DISCOUNTS",
    "PRECOMPILES",
    "ContractCreationCollision",
    "FullStack",
    "Instruction",
    "InsufficientStack",
    "InvalidInstruction",
    "InvalidJumpDestination",
    "OutOfBoundsRead",
    "OutOfGas",
    "ReservedBytesInCode",
    "Revert",
    "VMError",
    "WriteProtection",
    "instruction",
]
