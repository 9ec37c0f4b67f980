"""What services meet through: the log, with Kafka behind it or memory, and the client of the shards' read service.

The events and commands of the protocol's machines live here too, since services are what carries them.
"""

from .kafka import KafkaLog, KafkaSettings
from .log import Acked, Fetched, Log, MemoryLog
from .reads import ShardReader

__all__ = ["Acked", "Fetched", "KafkaLog", "KafkaSettings", "Log", "MemoryLog", "ShardReader"]
