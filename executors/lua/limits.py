"""Gas and limits of the Lua machine. The numbers are part of the rules: who changes one raises the machine's version.

Everything that a contract does is counted before it is done, by what the contract does and not by what the process
happens to allocate, so that the same message ends in the same way everywhere.
"""

from typing import Final

INSTRUCTIONS_STEP: Final = 1_000
"""Instructions of the virtual machine are counted, and paid in advance, in steps of so many; each costs 1 gas. Counting
itself takes some 20 of a step."""
LOAD_BYTES_PER_GAS: Final = 4
"""Of source that a message loads."""
ALLOCATED_BYTES_PER_GAS: Final = 8
"""Of strings, tables, functions and numbers that are made; the prelude lists their sizes."""
ABI_WORD: Final = 10
"""Gas for each word of 32 bytes that is encoded or decoded."""
SIGNATURE: Final = 20
"""Gas for a signature that a contract names in a call or an event, and 1 for each 4 bytes of it."""
ARITHMETIC: Final = 40
"""Gas for a product, quotient, remainder, power or text of a 256-bit number."""

SOURCE_BYTES_MAX: Final = 32_768
MEMORY_BYTES_MAX: Final = 8 * 2**20
"""So much may a message allocate, garbage included."""
STRING_BYTES_MAX: Final = 131_072
"""Longest string that a contract can make."""
DEPTH_MAX: Final = 1_000
"""Levels of calls within a contract; looked at once in a step."""
VALUES_MAX: Final = 4_096
"""Values in one call, event or result, those in arrays counted one by one."""
SIGNATURE_BYTES_MAX: Final = 1_024
LOADING_GAS: Final = 200_000
"""So much may a contract use up, at its deployment, to make the table of its functions."""
PROCESS_BYTES_MAX: Final = 128 * 2**20
"""A second fence, in the allocator. Nothing that the limits above allow comes near it."""
