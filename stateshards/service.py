"""A shard as a process: moves the bytes of `stateshards.voting`, serves reads, publishes receipts."""

import gc
import logging
import queue
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from schemas.chain import Tip
from schemas.codec import CODEC
from schemas.digests import chained
from schemas.errors import UndecodableRecord
from schemas.genesis import Genesis
from schemas.keys import home
from schemas.records import ShardDigest, Vote
from schemas.topics import EPOCHS
from streams.events import Acknowledged, Append, Command, Event, Publish, Record
from streams.kafka import KafkaLog, KafkaSettings
from streams.start import check_genesis

from .layout import Identity
from .publisher import Publisher
from .reads import ReadService
from .rocks import RocksStore
from .store import Durable
from .voting import Shard

log = logging.getLogger(__name__)

IDLE_S = 0.02
STOP_S = 10.0
ANNOUNCE_AGAIN_S = 3_600.0
"""After so long without a vote the address is told again, since old votes are dropped."""
ANNOUNCE_S = 0.15
"""A digest is told by itself after so long without a vote that would carry it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardSettings:
    """What a shard needs to know."""

    shard: int
    shards: int
    data: Path
    """Directory of its store."""
    host: str = "127.0.0.1"
    port: int = 0
    """Of the read service; 0 takes any that is free."""
    advertised: str = ""
    """Host under which others reach the read service, if not `host`."""
    keep_history_ms: int | None = 3_600_000
    """How long replaced values are kept; None for ever."""


def identity_of(start: Tip, own: ShardSettings) -> Identity:
    """Whose state the store of a shard holds."""
    return Identity(anchor=start.hash, shard=own.shard, shards=own.shards)


def open_store(genesis: Genesis, start: Tip, own: ShardSettings) -> RocksStore:
    """The store of a shard, filled with its part of the genesis where there is none yet."""
    identity = identity_of(start, own)
    if RocksStore.loaded(own.data):
        return RocksStore.open(own.data, identity=identity, rules=start.rules, keep_history_ms=own.keep_history_ms)
    entries: dict[bytes, bytes] = {key: value for key, value in genesis.entries() if home(key, own.shards) == own.shard}
    first = ShardDigest(shard=own.shard, epoch=0, digest=chained(bytes(32), 0, entries))
    durable = Durable(tip=start, published=start, prepares_from=0, digest=first)
    return RocksStore.create(
        own.data, entries.items(), durable, identity=identity, keep_history_ms=own.keep_history_ms)


class ShardService:
    """Follows `epochs` and its `prepares`, votes, applies, serves and publishes."""

    def __init__(self, settings: KafkaSettings, genesis: Genesis, start: Tip, own: ShardSettings) -> None:
        self._settings = settings
        self._genesis = genesis
        self._start = start
        self._own = own
        self._published: queue.SimpleQueue[Publish] = queue.SimpleQueue()
        self._announcement: Append | None = None
        self._announce_s = 0.0
        self._voted_s = 0.0

    def run(self, stop: threading.Event) -> None:
        """Work until `stop` is set."""
        own = self._own
        self._kafka = KafkaLog(self._settings, committed_only=True)
        check_genesis(self._kafka, self._start, self._kafka.ends([EPOCHS])[EPOCHS])
        store = open_store(self._genesis, self._start, own)
        self._reads = ReadService(
            store, identity=identity_of(self._start, own), host=own.host, port=own.port,
            advertised_host=own.advertised or None)
        address = self._reads.start()
        self._publisher = Publisher(self._settings, own.shard, self._published.put)
        try:
            machine = Shard(own.shard, store, address)
            self._applied = store.durable.applied
            self._kafka.follow(machine.positions())
            self._publisher.start()
            self._append(machine.announcement())
            log.info("shard %d starts after epoch %d", own.shard, store.durable.applied)
            gc.collect()
            gc.freeze()
            gc.set_threshold(50_000, 20, 50)
            while not stop.is_set():
                if self._publisher.failure is not None:
                    raise self._publisher.failure
                self._turn(machine, store)
        finally:
            self._publisher.stop(STOP_S)
            self._reads.stop(STOP_S)
            self._kafka.close()
            store.close()

    def _turn(self, machine: Shard, store: RocksStore) -> None:
        """One round: what was published, then the next records."""
        while not self._published.empty():
            self._step(machine, store, Acknowledged(self._published.get(), 0))
        # Manifests come first: a prepare before the manifest of its epoch has only to be kept.
        fetched = sorted(self._kafka.poll(IDLE_S), key=lambda record: record.topic != EPOCHS)
        for record in fetched:
            try:
                value = CODEC.decode(record.value)
            except UndecodableRecord as exc:
                log.warning("skipped %s at %d: %s", record.topic.name, record.offset, exc)
                continue
            self._step(machine, store, Record(record.topic, record.offset, value, record.value))
        self._announce(machine)

    def _step(self, machine: Shard, store: RocksStore, event: Event) -> None:
        self._take(machine.step(event))
        if store.durable.applied != self._applied:
            self._applied = store.durable.applied
            self._reads.applied(self._applied)

    def _take(self, commands: list[Command]) -> None:
        for command in commands:
            match command:
                case Append(record=Vote() as vote) if not vote.lanes:
                    self._announcement = command
                    self._announce_s = time.monotonic() + ANNOUNCE_S
                case Append():
                    self._announcement = None  # a vote tells the digest, too
                    self._append(command)
                case Publish():
                    self._publisher.submit(command)
                case _:
                    raise TypeError(command)

    def _append(self, command: Append) -> None:
        self._voted_s = time.monotonic()
        key = b"%d-%d" % (command.record.epoch, self._own.shard)
        self._kafka.append(command.topic, CODEC.encode(command.record), key=key)

    def _announce(self, machine: Shard) -> None:
        """Tell the digest of the last epoch, once no other one has followed for a while; the address now and then."""
        now = time.monotonic()
        if self._announcement is None and now >= self._voted_s + ANNOUNCE_AGAIN_S:
            self._announcement = machine.announcement()
        if self._announcement is not None and now >= self._announce_s:
            self._append(self._announcement)
            self._announcement = None
