"""What contracts of machines beside the EVM pay, in gas. The numbers are part of the rules.

State costs what it costs in the EVM, so that no machine is the cheap way around the others; a contract's own entries
may be longer than a slot, and pay for each word of 32 bytes.

References
----------
EIP-2929 and EIP-2200 (state), yellow paper, appendix G (logs, hashes, code).
"""

from typing import Final

READ_COLD: Final = 2_100
"""The first read of an entry in a transaction."""
READ_WARM: Final = 100
"""Every other one."""
READ_WORD: Final = 20
"""For each word of a value beyond the first."""
WRITE_NEW: Final = 20_000
"""A value where there was none."""
WRITE: Final = 5_000
"""Another value, or none, in the place of one; an entry that the transaction wrote before costs `READ_WARM`."""
WRITE_WORD: Final = 2_000
"""For each word of a value beyond the first."""
ADD: Final = 5_000
"""Adding without reading. It isn't known then whether there is a value."""
LOG: Final = 375
LOG_TOPIC: Final = 375
LOG_BYTE: Final = 8
ACCOUNT_COLD: Final = 2_600
"""The first look at an account, or the first call to it, in a transaction."""
ACCOUNT_WARM: Final = 100
CALL_VALUE: Final = 9_000
"""A call that moves wei; the called one may use 2,300 of it."""
NEW_ACCOUNT: Final = 25_000
"""Paying an account that is empty."""
HASH: Final = 30
HASH_WORD: Final = 6
VERIFY: Final = {"secp256k1": 3_000, "ed25519": 3_000, "bip340": 3_000}
VERIFY_WORD: Final = 12
"""For each word of what is signed beyond the first."""
MESSAGE: Final = 10_000
"""Entering a machine: it gets an environment of its own for each message."""
CODE_BYTE: Final = 200
"""Of code that is deployed, as it is stored."""
COMPILE_BYTE: Final = 20
"""Of code that is deployed, as it comes."""

KEY_BYTES_MAX: Final = 128
VALUE_BYTES_MAX: Final = 65_536
CODE_BYTES_MAX: Final = 131_072
DEPTH_MAX: Final = 32
"""So deep messages of machines beside the EVM may be nested in one another."""


def words(size: int) -> int:
    """Words of 32 bytes that so many bytes take."""
    return (size + 31) >> 5


def further_words(size: int) -> int:
    """Words beyond the first."""
    return max(0, words(size) - 1)
