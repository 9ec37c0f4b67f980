"""The history contract: hashes of earlier blocks in the storage of a contract, without a write per block.

On Ethereum a call of the system writes the parent's hash into the contract in every block. Here nobody writes: when
code runs on the contract's storage, which is where the genesis has the contract, its slots answer from the chain of
manifests. They are not state, so that reading them never conflicts. The chain knows the last 256 blocks; older ones
read as zero.

References
----------
EIP-2935.
"""

from typing import Final

from executors.machine import Block

HISTORY_ADDRESS: Final = bytes.fromhex("0000f90827f1c53a10cb7a02335b175320002935")
WINDOW: Final = 8_191
"""Number of slots: block n is in slot n modulo this."""


def history_slot(slot: int, block: Block) -> int:
    """What a slot of the contract holds in a block."""
    if slot >= WINDOW:
        return 0
    newest = block.number - 1
    number = newest - (newest - slot) % WINDOW
    if number < 0 or number < block.number - 256:
        return 0
    return int.from_bytes(block.ancestor(number), "big")
