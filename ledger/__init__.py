"""The way out: the receipts that clients wait for, and the index of blocks, receipts and logs.

All of it is rebuilt from the topics `epochs`, `receipts` and `transactions`; nothing in here decides anything.
"""

from .blocks import BlockRoots, IndexedBlock
from .follow import IndexFollower
from .index import BlockIndex, Head
from .logs import LimitExceeded, LogFilter, LoggedEvent
from .subscriber import FromEpoch, Live, ReceiptFilter, ReceiptSubscriber

__all__ = [
    "BlockIndex",
    "BlockRoots",
    "FromEpoch",
    "Head",
    "IndexFollower",
    "IndexedBlock",
    "LimitExceeded",
    "Live",
    "LogFilter",
    "LoggedEvent",
    "ReceiptFilter",
    "ReceiptSubscriber",
]
