"""An executor as a process: moves the bytes of `executors.engine`. One thread owns all of it."""

import gc
import logging
import os
import queue
import threading
import time
from collections import deque
from dataclasses import dataclass
from functools import partial

from schemas import topics
from schemas.chain import Tip
from schemas.codec import CODEC
from schemas.errors import ParsecError, UndecodableRecord
from schemas.records import Attempt, Carry, Entry, Join, Outcome, Vote
from schemas.topics import Topic, TopicName
from streams.events import Acknowledged, Answer, Append, Assigned, Command, Event, Read, Record, Rejoin
from streams.kafka import KafkaLog, KafkaSettings
from streams.log import Fetched
from streams.reads import ShardReader
from streams.start import newest_tip, shard_addresses

from . import intake
from .engine import Executor
from .evm import PyEvm
from .foresight import Foresight
from .group import GroupMember

log = logging.getLogger(__name__)

IDLE_S = 0.02
"""How long it waits for records when there is nothing to do."""
DECODED_PER_TURN = 128
"""So many transactions are decoded before it looks at the epoch again."""
READ_AHEAD_MAX = 8_192
"""A partition with so many transactions waiting isn't fetched."""
READ_TURN_S = 0.002
"""So long it waits for answers before it looks at its topics again."""
REJOIN_S = 1.0
"""A join that failed is tried again after so long."""
READ_WAIT_MS = 1_000
"""How long a read is waited for before the service looks at its topics again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutorSettings:
    """What an executor needs to know."""

    shards: int
    instance: str = ""
    """Name in the consumer group that survives a restart."""


class ExecutorService:
    """Follows the topics, runs the engine and writes what it says."""

    def __init__(self, settings: KafkaSettings, genesis: Tip, own: ExecutorSettings) -> None:
        self._settings = settings
        self._genesis = genesis
        self._own = own
        self._backlog: deque[Fetched] = deque()
        self._carried: list[Fetched] = []
        self._reads: list[Read] = []
        self._open_reads = 0
        self._answers: queue.SimpleQueue[tuple[Read, dict[bytes, Entry] | ParsecError]] = queue.SimpleQueue()
        self._paused: set[Topic] = set()
        self._rejoin_s = float("inf")

    def run(self, stop: threading.Event) -> None:
        """Work until `stop` is set."""
        # `transactions` is read uncommitted: a client transaction that hangs is not to stop a partition.
        self._kafka = KafkaLog(self._settings, committed_only=False)
        self._reader = ShardReader(self._own.shards, anchor=self._genesis.hash)
        member: GroupMember | None = None
        try:
            tip = newest_tip(self._kafka, self._reader, self._own.shards, self._genesis)
            for shard, address in shard_addresses(self._kafka, self._own.shards).items():
                self._reader.set_address(shard, address)
            foresight = Foresight()
            self._engine = Executor(
                tip, self._own.shards, PyEvm(self._genesis.rules), foresight.touched, foresight.learn)
            self._kafka.follow(self._engine.positions())
            self._member = member = GroupMember(self._settings, self._own.instance)
            log.info("executor starts at epoch %d", tip.epoch)
            gc.collect()
            gc.freeze()
            gc.set_threshold(50_000, 20, 50)  # a scan each 700 objects costs more than it frees
            while not stop.is_set():
                self._turn()
        finally:
            if member is not None:
                member.close()
            self._reader.close()
            self._kafka.close()

    def _turn(self) -> None:
        """One round: membership, records, what is decoded ahead, reads."""
        assigned = self._member.poll()
        if assigned is not None:
            self._assign(assigned)
        elif time.monotonic() >= self._rejoin_s:
            self._assign(self._member.partitions)
        busy = self._backlog or self._reads or self._open_reads
        self._take_records(self._kafka.poll(0 if busy else IDLE_S))
        for acked in self._kafka.acknowledged():
            if isinstance(acked.token, Append):
                self._step(Acknowledged(acked.token, acked.offset))
        if self._carried:
            carried, self._carried = self._carried, []
            self._step(*intake.carries(carried, self._genesis.rules))
        if self._backlog:
            count = min(DECODED_PER_TURN, len(self._backlog))
            records = [self._backlog.popleft() for _ in range(count)]
            touched: set[bytes] = set()
            events = intake.transactions(records, self._genesis.rules, touched=touched)
            self._engine.expect(touched)
            self._step(*events)
        self._answer_reads()
        self._throttle()

    def _take_records(self, fetched: list[Fetched]) -> None:
        """Records of the epoch at once; transactions wait until it is quiet."""
        for record in fetched:
            name = record.topic.name
            if name is TopicName.TRANSACTIONS:
                self._backlog.append(record)
            elif name is TopicName.CARRIES:
                self._carried.append(record)
            else:
                try:
                    value = CODEC.decode(record.value)
                except UndecodableRecord as exc:
                    log.warning("skipped %s at %d: %s", name, record.offset, exc)
                    continue
                if isinstance(value, Vote):
                    self._reader.set_address(value.shard, value.address)
                self._step(Record(record.topic, record.offset, value, record.value))

    def _step(self, *events: Event) -> None:
        """Let the engine take events, and do what it says."""
        for command in self._engine.step(*events):
            self._do(command)

    def _do(self, command: Command) -> None:
        match command:
            case Append(record=Join() as join):
                consumed = {p: self._engine.tip.inputs[p].consumed for p in join.partitions}
                joined = self._member.join(join, consumed)
                # A member that was replaced hears of its new partitions; one that only met a broken broker doesn't.
                self._rejoin_s = float("inf") if joined else time.monotonic() + REJOIN_S
            case Append(topic=topic, record=record):
                token = command if self._engine.awaits(command) else None
                self._kafka.append(topic, CODEC.encode(record), key=_key(record), token=token)
            case Read():
                self._reads.append(command)
            case Rejoin():
                self._assign(self._member.partitions)
            case _:
                raise TypeError(command)

    def _assign(self, partitions: frozenset[int]) -> None:
        """Follow the partitions of a new attempt, then join with them."""
        gone = frozenset(self._engine.partitions) - partitions
        self._kafka.leave([of(p) for p in gone for of in (topics.transactions, topics.carries)])
        self._backlog = deque(record for record in self._backlog if record.topic.partition not in gone)
        known = frozenset(self._engine.partitions)
        event = Assigned(Attempt(os.urandom(16)), tuple(sorted(partitions)))
        commands = self._engine.step(event)
        positions = self._engine.positions()
        self._kafka.follow({
            topic: at for topic, at in positions.items()
            if topic.name in (TopicName.TRANSACTIONS, TopicName.CARRIES) and topic.partition not in known})
        self._paused = {topic for topic in self._paused if topic.partition in partitions}
        for command in commands:
            self._do(command)
        log.info("attempt %s joins with partitions %s", event.attempt.hex()[:8], sorted(partitions))

    def _answer_reads(self) -> None:
        """Ask the shards for what the cache lacked, and take what they answer; other work goes on meanwhile."""
        reads, self._reads = self._reads, []
        for read in reads:
            self._open_reads += 1
            self._reader.submit(
                read.keys, read.at, partial(self._answered, read), wait_ms=READ_WAIT_MS,
                deadline_s=READ_WAIT_MS / 1000)
        try:
            while self._open_reads:
                read, result = self._answers.get(timeout=READ_TURN_S)
                self._open_reads -= 1
                if not isinstance(result, ParsecError):
                    self._step(Answer(read, result))
                elif self._engine.wants(read):
                    log.info("read at %s is repeated: %s", read.at, result)
                    self._reads.append(read)
                else:
                    self._engine.dropped(read)
        except queue.Empty:
            pass

    def _answered(self, read: Read, result: dict[bytes, Entry] | ParsecError) -> None:
        """Called in a thread of the client."""
        self._answers.put((read, result))

    def _throttle(self) -> None:
        """Stop fetching a partition that is too far ahead, and go on once it has drained."""
        for partition in self._engine.partitions:
            topic = topics.transactions(partition)
            ahead = self._engine.ahead(partition)
            if ahead > READ_AHEAD_MAX and topic not in self._paused:
                self._kafka.pause([topic])
                self._paused.add(topic)
            elif ahead < READ_AHEAD_MAX // 2 and topic in self._paused:
                self._kafka.resume([topic])
                self._paused.remove(topic)


def _key(record: object) -> bytes | None:
    """Every record is keyed by its epoch and attempt."""
    match record:
        case Outcome():
            return b"%d-%b" % (record.epoch, record.lane.attempt)
        case Carry():
            return record.hash
        case _:
            epoch, attempt = getattr(record, "epoch", None), getattr(record, "attempt", b"")
            return attempt if epoch is None else b"%d-%b" % (epoch, attempt)
