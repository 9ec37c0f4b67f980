"""State: the voting machine, the store on RocksDB, the read service, and the publishing of receipts."""

from .reads import ReadService
from .rocks import RocksStore
from .store import Durable, MemoryStore, Store
from .voting import Shard

__all__ = ["Durable", "MemoryStore", "ReadService", "RocksStore", "Shard", "Store"]
