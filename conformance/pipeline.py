"""The pipeline in one thread: the machines of the protocol over topics in memory, with an order of events from a seed.

Nothing fails in here; what happens by chance is which of the things that could happen next does. So transactions meet
in an epoch or don't, votes come before or after other lanes have run, and lanes conflict, run again and carry as they
do between processes. The simulator of the tests is the place for crashes.
"""

from collections import defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

from executors import intake
from executors.engine import Executor
from executors.foresight import Foresight
from executors.machine import VirtualMachine
from ingest.hints import routing_keys
from ingest.routing import Router
from ingest.sequencer import Pace, Sequencer
from ingest.transactions import decode
from schemas import topics
from schemas.chain import Tip
from schemas.codec import CODEC
from schemas.digests import START, chained
from schemas.errors import InvalidTransaction, InvariantViolation, Unavailable
from schemas.keys import home
from schemas.records import Attempt, Entry, Envelope, Receipt, ShardDigest, Source
from schemas.rules import Rules
from schemas.topics import Topic, TopicName
from stateshards.store import Durable, MemoryStore
from stateshards.voting import Shard
from streams.events import (
    END,
    Acknowledged,
    Answer,
    Append,
    Assigned,
    Command,
    Event,
    Publish,
    Read,
    Record,
    Rejoin,
    Tick,
)
from streams.log import Fetched

BURST_MAX: Final = 24
"""Transactions that arrive at once, at most."""
QUIET_TURNS: Final = 60
"""Times the number of processes: once all is sent, the clock jumps after so many turns without an event."""
TURNS_MAX: Final = 40_000
TURNS_EACH_MAX: Final = 2_000
"""For each transaction, besides."""
GENESIS: Final = bytes(32)
"""In place of the hash of a genesis file."""

Role = Executor | Sequencer | Shard


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """How many of each there are, and the seed of all chance."""

    partitions: int = 4
    executors: int = 2
    shards: int = 2
    seed: int = 1


class KeptStore(MemoryStore):
    """The state of a shard that can tell all of its keys."""

    def __init__(self, durable: Durable, entries: Mapping[bytes, bytes]) -> None:
        super().__init__(durable, entries.items())
        self._keys = dict.fromkeys(entries)

    def apply(self, values: Mapping[bytes, Entry], durable: Durable) -> None:
        """Store what an epoch changed."""
        self._keys.update(dict.fromkeys(values))
        super().apply(values, durable)

    def state(self) -> dict[bytes, bytes]:
        """All keys that have a value."""
        keys = list(self._keys)
        return {key: entry.value for key, entry in zip(keys, self.entries(keys), strict=True) if entry.value}


@dataclass(slots=True, eq=False)
class Process:
    """A machine, with what it has still to receive and what it has sent that hasn't arrived."""

    role: Role
    positions: dict[Topic, int] = field(default_factory=dict)
    outgoing: defaultdict[Topic, deque[Append | Publish]] = field(default_factory=lambda: defaultdict(deque))
    reads: list[Read] = field(default_factory=list)


class Pipeline:
    """N partitions, K executors, M shards and a sequencer.

    Parameters
    ----------
    shape
        The numbers.
    rules
        Of the chain.
    machine
        Makes the engine of an executor.
    state
        Keys and values at the start.
    """

    def __init__(
        self, shape: Shape, rules: Rules, machine: Callable[[], VirtualMachine], state: Mapping[bytes, bytes],
    ) -> None:
        self.rules = rules
        self.receipts: dict[Source, Receipt] = {}
        """All that were published."""
        self.log: defaultdict[Topic, list[bytes]] = defaultdict(list)
        """The topics."""
        self.start = Tip.genesis(GENESIS, shape.partitions, shape.shards, rules, 0)
        self._rng = rng = Random(shape.seed)
        self._shape = shape
        self._router = Router(shape.partitions, now_s=lambda: 0.0)
        self._now_ms = 0
        self._quiet = 0
        self._stores: list[KeptStore] = []
        for number in range(shape.shards):
            entries = {key: value for key, value in state.items() if home(key, shape.shards) == number}
            newest = ShardDigest(shard=number, epoch=0, digest=chained(START, 0, entries))
            durable = Durable(tip=self.start, published=self.start, prepares_from=0, digest=newest)
            self._stores.append(KeptStore(durable, entries))
        self._shards = [Shard(number, store, "memory:1") for number, store in enumerate(self._stores)]
        # How epochs are cut decides which transactions meet: small and large ones, at once and with a wait.
        pace = Pace(
            interval_ms=rng.choice((0, 5, 40)), lane_transactions_max=rng.choice((2, 8, 64)), timeout_ms_min=1e15)
        self._executors = [self._executor(machine()) for _ in range(shape.executors)]
        self._processes = [
            Process(Sequencer(self.start, shape.shards, pace)), *map(Process, self._shards),
            *map(Process, self._executors)]
        for process in self._processes:
            self._seek(process)
        for process, shard in zip(self._processes[1:], self._shards, strict=False):
            self._take(process, shard.announcement())
        for number, process in enumerate(self._processes[1 + shape.shards:]):
            owned = tuple(range(number, shape.partitions, shape.executors))
            self._step(process, Assigned(Attempt(rng.randbytes(16)), owned))
            self._seek(process)

    def _executor(self, machine: VirtualMachine) -> Executor:
        foresight = Foresight()
        return Executor(self.start, self._shape.shards, machine, foresight.touched, foresight.learn)

    # ---- the run ------------------------------------------------------------------------------------------------

    def run(self, raws: Sequence[bytes]) -> list[Source]:
        """Send transactions, and let everything happen until each has its receipt.

        Returns
        -------
        list of Source
            Where each of them was stored.

        Raises
        ------
        InvariantViolation
            If it doesn't come to rest.
        """
        rng, sources, waiting = self._rng, [], deque(raws)
        p_send = rng.choice((0.01, 0.05, 1.0))
        turns = TURNS_MAX + TURNS_EACH_MAX * len(raws)
        for _ in range(turns):
            self._now_ms += 1
            self._quiet += 1
            if waiting and rng.random() < p_send:
                sources += [self._send(waiting.popleft()) for _ in range(min(len(waiting), rng.randint(1, BURST_MAX)))]
            if not waiting and self._at_rest(len(sources)):
                return sources
            if not waiting and self._quiet > QUIET_TURNS * len(self._processes):
                self._now_ms += self.rules.parked_ms_max
                self._quiet = 0
            self._turn(rng.choice(self._processes))
        raise InvariantViolation(
            f"{len(self.receipts)} of {len(raws)} transactions have a receipt after {turns} turns, "
            f"seed {self._shape.seed}")

    def _send(self, raw: bytes) -> Source:
        """A client produces a transaction; what it can't decode itself goes anywhere."""
        try:
            partition = self._router.route(routing_keys(decode(raw, self.rules)))
        except InvalidTransaction:
            partition = self._rng.randrange(self._shape.partitions)
        topic = topics.transactions(partition)
        self.log[topic].append(CODEC.encode(Envelope(raw=raw)))
        self._quiet = 0
        return Source(partition, len(self.log[topic]) - 1)  # type: ignore[arg-type]  # numbers are what they are

    def _at_rest(self, sent: int) -> bool:
        return len(self.receipts) == sent and all(
            not shard.tip.cut and shard.published == shard.tip and shard.tip == self._shards[0].tip
            for shard in self._shards)

    def state(self) -> dict[bytes, bytes]:
        """What all shards hold, keys that have a value."""
        return {key: value for store in self._stores for key, value in store.state().items()}

    @property
    def repaired(self) -> int:
        """How often a transaction ran again because something had changed."""
        return sum(executor.runs_again for executor in self._executors)

    # ---- processes ----------------------------------------------------------------------------------------------

    def _seek(self, process: Process) -> None:
        """Read the topics that a machine asks for, new ones from where it says."""
        process.positions = {
            topic: process.positions.get(topic, len(self.log[topic]) if at == END else at)
            for topic, at in process.role.positions().items()}

    def _turn(self, process: Process) -> None:
        """Let one thing happen to a process, of those that could."""
        ready: list[tuple[Callable[[Process, Any], None], Any]] = [
            (self._deliver, topic) for topic, at in process.positions.items() if at < len(self.log[topic])]
        ready += [(self._flush, queue) for queue in process.outgoing.values() if queue]
        ready += [(self._answer, read) for read in process.reads]
        if isinstance(process.role, Sequencer):
            ready.append((self._tick, None))
        if ready:
            happens, what = self._rng.choice(ready)
            happens(process, what)

    def _step(self, process: Process, *events: Event) -> None:
        role = process.role
        self._quiet = self._quiet if isinstance(events[0], Tick) else 0
        if isinstance(role, Executor):
            commands = role.step(*events)
        else:
            commands = [command for event in events for command in role.step(event)]
        for command in commands:
            self._take(process, command)

    def _take(self, process: Process, command: Command) -> None:
        """Keep a command until it is its turn."""
        match command:
            case Append():
                process.outgoing[command.topic].append(command)
            case Publish():
                process.outgoing[Topic(TopicName.RECEIPTS)].append(command)
            case Read():
                process.reads.append(command)
            case Rejoin():
                raise InvariantViolation("an executor was excluded, and nothing has failed")

    def _deliver(self, process: Process, topic: Topic) -> None:
        """The next records of a topic arrive: one, some, or all that there are."""
        at = process.positions[topic]
        records = self.log[topic][at:at + self._rng.choice((1, 3, 1_000))]
        process.positions[topic] = at + len(records)
        fetched = [Fetched(topic, at + number, None, data, 0, {}) for number, data in enumerate(records)]
        events: Sequence[Event]
        match topic.name:
            case TopicName.TRANSACTIONS:
                events = intake.transactions(fetched, self.rules)
            case TopicName.CARRIES:
                events = intake.carries(fetched, self.rules)
            case _:
                events = [Record(topic, each.offset, CODEC.decode(each.value), each.value) for each in fetched]
        if events:
            self._step(process, *events)

    def _flush(self, process: Process, queue: deque[Append | Publish]) -> None:
        """An append is stored, or receipts are published; the sender hears of it."""
        command = queue.popleft()
        offset = 0
        if isinstance(command, Append):
            self.log[command.topic].append(CODEC.encode(command.record))
            offset = len(self.log[command.topic]) - 1
        else:
            for receipt in command.receipts:
                published = CODEC.decode_as(Receipt, CODEC.encode(receipt))
                if self.receipts.setdefault(published.source, published) is not published:
                    raise InvariantViolation(f"two receipts for {published.source}")
                self._router.settled(published.sender)
        self._step(process, Acknowledged(command, offset))

    def _answer(self, process: Process, read: Read) -> None:
        """The shards answer a read, unless one hasn't applied its epoch yet."""
        found: dict[bytes, Entry] = {}
        for store in self._stores:
            keys = sorted(key for key in read.keys if self._stores[home(key, len(self._stores))] is store)
            try:
                found.update(zip(keys, store.read(keys, read.at)[1], strict=True))
            except Unavailable:
                return
        process.reads.remove(read)
        self._step(process, Answer(read, found))

    def _tick(self, process: Process, _: None) -> None:
        self._step(process, Tick(self._now_ms, self._now_ms, self._rng.randbytes(32)))
