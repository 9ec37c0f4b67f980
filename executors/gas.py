"""What contracts of machines beside the EVM pay, in gas, and what they are held to. The numbers are part of the rules.

State costs what it costs in the EVM, so that no machine is the cheap way around the others; a contract's own entries
may be longer than a slot, and pay for each word of 32 bytes.

References
----------
EIP-2929 and EIP-2200 (state), yellow paper, appendix G (logs, hashes, code).
"""

from typing import Final

READ_COLD: Final = 2_100
"""The first access to an entry in a transaction."""
READ_WARM: Final = 100
"""Every other one."""
READ_WORD: Final = 20
"""Reading, for each word of the value beyond the first."""
WRITE_NEW: Final = 20_000
"""A value where there was none, besides the access; an entry that the transaction has set before pays the access."""
WRITE: Final = 5_000
"""Another value, or none, in the place of one, likewise."""
WRITE_WORD: Final = 2_000
"""Writing, for each word of the value beyond the first."""
ADD: Final = 5_000
"""Adding without reading: it isn't known then whether there is a value."""
LOG: Final = 375
"""An event."""
LOG_TOPIC: Final = 375
"""Each topic of it."""
LOG_BYTE: Final = 8
"""Each byte of its data."""
ACCOUNT_COLD: Final = 2_600
"""The first look at an account, or the first call to it, in a transaction."""
ACCOUNT_WARM: Final = 100
"""Every other one."""
CALL_VALUE: Final = 9_000
"""A call that moves wei; the called one may use 2,300 of it."""
NEW_ACCOUNT: Final = 25_000
"""Moving wei to an account that is empty."""
HASH: Final = 30
"""A hash."""
HASH_WORD: Final = 6
"""Each word that is hashed."""
VERIFY: Final = {"secp256k1": 3_000, "ed25519": 3_000, "bip340": 3_000}
"""Checking a signature."""
VERIFY_WORD: Final = 12
"""Each word of what is signed beyond the first."""
MESSAGE: Final = 10_000
"""Entering a machine: it makes an environment for each message."""
COMPILE_BYTE: Final = 20
"""Each byte of code that is deployed, as it comes."""
CODE_BYTE: Final = 200
"""Each byte of code that is deployed, as it is stored."""

KEY_BYTES_MAX: Final = 128
"""Bytes of a key; it has one at least."""
VALUE_BYTES_MAX: Final = 65_536
"""Bytes of a value."""
CODE_BYTES_MAX: Final = 131_072
"""Bytes of code as it is stored."""
DEPTH_MAX: Final = 32
"""Messages of machines beside the EVM, nested in one another; messages of all machines are limited as in the EVM."""


def words(size: int) -> int:
    """Words of 32 bytes that so many bytes take."""
    return (size + 31) >> 5


def further_words(size: int) -> int:
    """Words beyond the first."""
    return max(0, words(size) - 1)
