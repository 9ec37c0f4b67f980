"""Where the shards' read services are: every vote names the address of its shard.

All shards vote on every epoch, so that the newest votes name all of them; older ones needn't be read.
"""

import logging
from collections.abc import Iterator
from threading import Event

from schemas.codec import CODEC
from schemas.errors import Transient, UndecodableRecord
from schemas.records import Vote
from schemas.topics import VOTES
from streams.kafka import KafkaLog
from streams.reads import ShardReader
from streams.start import records_between, shard_addresses

log = logging.getLogger(__name__)

PAUSE_S = 1.0
TAIL_PER_SHARD = 4


class AddressBook:
    """Tells a reader of the shards where they are, also after they have moved. Used by one thread.

    Parameters
    ----------
    kafka
        A connection of its own.
    reader
        Whom to tell.
    shards
        M.
    """

    def __init__(self, kafka: KafkaLog, reader: ShardReader, shards: int) -> None:
        self._kafka = kafka
        self._reader = reader
        self._shards = shards
        self._read = 0

    def run(self, stopping: Event) -> None:
        """Keep the addresses up to date until `stopping` is set."""
        while not stopping.is_set():
            try:
                self.refresh()
            except Transient as exc:
                log.warning("reading the addresses of the shards: %s", exc)
            stopping.wait(PAUSE_S if self._complete() else PAUSE_S / 10)

    def refresh(self) -> None:
        """Take the addresses from the votes that came since the last time."""
        end = self._kafka.ends([VOTES])[VOTES]
        if end == self._read:
            return
        if not self._complete():
            for shard, address in shard_addresses(self._kafka, self._shards).items():
                self._reader.set_address(shard, address)
        else:
            low = max(self._read, end - TAIL_PER_SHARD * self._shards)
            for vote in self._votes(low, end):
                self._reader.set_address(vote.shard, vote.address)
        self._read = end

    def _complete(self) -> bool:
        return len(self._reader.addresses()) == self._shards

    def _votes(self, low: int, high: int) -> Iterator[Vote]:
        for record in records_between(self._kafka, VOTES, low, high):
            try:
                yield CODEC.decode_as(Vote, record.value)
            except UndecodableRecord:
                log.warning("offset %d of votes is skipped", record.offset)
