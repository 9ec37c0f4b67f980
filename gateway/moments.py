"""Which state a block identifier means.

`latest`, `pending`, `safe` and `finalized` are the same: what is committed is final. The state at the newest block is
read at the newest epoch that the index has complete, so that it is still kept and a receipt that was returned can be
relied on.
"""

from dataclasses import dataclass

from ledger import BlockIndex, IndexedBlock

from .errors import UnknownBlock
from .parameters import BlockId


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """A block, and the epoch at which its state is read."""

    block: IndexedBlock
    epoch: int
    pending: bool = False
    """Whether the client asked for what comes next."""


class Moments:
    """Finds blocks by what clients call them."""

    def __init__(self, index: BlockIndex) -> None:
        self._index = index

    def block(self, name: BlockId) -> IndexedBlock | None:
        """The block, or None if there is no such one."""
        if name.hash is not None:
            return self._index.block_by_hash(name.hash)
        if name.number is not None:
            return self._index.block(name.number)
        return self._index.block(0 if name.tag == "earliest" else self._index.latest_block)

    def number(self, name: BlockId) -> int:
        """The number that is meant, whether or not there is such a block."""
        if name.number is not None:
            return name.number
        return 0 if name.tag == "earliest" else self._index.latest_block

    def at(self, name: BlockId) -> Moment:
        """The block with the epoch of its state.

        Raises
        ------
        UnknownBlock
            There is no such block.
        """
        head = self._index.head
        block = self.block(name)
        if block is None:
            wanted = f"0x{name.hash.hex()}" if name.hash is not None else str(name.number)
            raise UnknownBlock(f"block {wanted} not found; the newest is {head.block}")
        return Moment(
            block=block,
            epoch=head.epoch if block.number == head.block else block.epoch,
            pending=name.tag == "pending",
        )
