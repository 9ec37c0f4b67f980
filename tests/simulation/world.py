"""The world around the machines: delivery, time, chance and failure, all drawn from one seed."""

from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any, Final

from executors import effects as effects_module
from executors import engine as engine_module
from executors import intake
from executors.engine import Executor
from ingest.sequencer import Sequencer
from schemas import topics
from schemas.chain import Tip
from schemas.codec import CODEC
from schemas.digests import START, chained
from schemas.errors import InvariantViolation, Unavailable
from schemas.keys import home
from schemas.records import Attempt, Entry, Envelope, Join, Receipt, ShardDigest
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

from .broker import Broker, Stored
from .faults import JUMP_MS, P_GARBAGE, P_HOLE, P_LATE, P_TWICE, Faults, drawn
from .violation import Violation
from .workload import Poison, Toys, Workload

REPLICAS: Final = 2
"""Of each shard."""
EXECUTORS: Final = (1, 2, 3, 3)
"""Each rebalance draws their number."""
TURNS_CHAOS: Final = 7_000
"""Then nothing fails any more, and all has to drain."""
TURNS_CALM: Final = 40_000
BURST: Final = 14
"""Transactions that arrive at once, at most."""
P_RESENT: Final = 0.1
QUIET_TURNS: Final = 80
"""After so many turns without any event the clock jumps to where something is due."""
GENESIS_MS: Final = 1_000
GENESIS_HASH: Final = bytes(range(32))

Role = Executor | Sequencer | Shard


@dataclass(slots=True, eq=False)
class Process:
    """A machine with its connections: what it has still to receive, and what it has sent that has not arrived."""

    role: Role
    positions: dict[Topic, int] = field(default_factory=dict)
    outgoing: defaultdict[Topic, deque[Append | Publish]] = field(default_factory=lambda: defaultdict(deque))
    reads: list[Read] = field(default_factory=list)
    untold: int = 0
    """Of a member of the group: turns until it hears which partitions it has now; 0 if it knows."""
    turns_left: int | None = None
    """Of a zombie."""
    asleep: int = 0
    held: frozenset[Topic] = frozenset()
    """Topics from which it is given nothing, and to which it can send nothing."""
    dead: bool = False
    clock_ms: float = 0
    """Of a sequencer: how far its clock runs ahead."""
    backups: list[MemoryStore] = field(default_factory=list)
    """Of a shard: copies of its store."""


def copied(store: MemoryStore) -> MemoryStore:
    """A store with the same content that goes its own way."""
    copy = MemoryStore(store.durable)
    copy._history = {key: list(entries) for key, entries in store._history.items()}
    return copy


class World:
    """A group of executors, M shards with two replicas each, two sequencers, and clients."""

    def __init__(self, seed: int, workload: Callable[[Random], Workload] | None = None, faults: Faults | None = None) -> None:
        self.rng = Random(seed)
        self.faults = faults or drawn(self.rng)
        self.workload = workload(self.rng) if workload else Toys(self.rng, poisons=self.faults.poisons)
        self.partitions, self.shard_count = self.faults.partitions, self.faults.shards
        self.now_ms = GENESIS_MS
        self.chaos = True
        self.broker = Broker()
        self.count: Counter[str] = Counter()
        self.sent = 0
        self.published: dict[tuple[int, int], tuple[Receipt, ...]] = {}
        """Receipts that were recorded, by shard and epoch."""
        self.limbo: list[tuple[int, Topic, bytes]] = []
        """Appends of the dead, with the turn in which they arrive."""
        self.state = self.workload.genesis()
        self.start_tip = Tip.genesis(
            GENESIS_HASH, self.partitions, self.shard_count, self.workload.rules, GENESIS_MS)
        self.turn_number = 0
        self.quiet = 0
        """Turns since the last event other than a tick."""
        self._skip_ms = 100
        numbers = [shard for shard in range(self.shard_count) for _ in range(REPLICAS)]
        self.shards = [self.shard(number, self.genesis_store(number)) for number in numbers]
        paces = (self.faults.pace, replace(self.faults.pace, patience_ms=self.faults.patience_ms))
        self.sequencers = [self.started(Sequencer(self.start_tip, self.shard_count, pace)) for pace in paces]
        self.executors: list[Process] = []
        """All that run, members of the group or not."""
        self.group: dict[Process, tuple[int, ...]] = {}
        """Its members, with what it has given to each."""
        self.regroup()

    # ---- processes ----------------------------------------------------------------------------------------------

    def genesis_store(self, shard: int) -> MemoryStore:
        """The store of a shard before the first epoch."""
        entries = {key: value for key, value in self.state.items() if home(key, self.shard_count) == shard}
        newest = ShardDigest(shard=shard, epoch=0, digest=chained(START, 0, entries))
        durable = Durable(tip=self.start_tip, published=self.start_tip, prepares_from=0, digest=newest)
        return MemoryStore(durable, entries.items())

    def started(self, role: Role) -> Process:
        """Run a machine in a new process."""
        process = Process(role)
        self.seek(process)
        return process

    def shard(self, number: int, store: MemoryStore) -> Process:
        """A new process of a shard; it announces itself."""
        machine = Shard(number, store, "sim:1")
        process = self.started(machine)
        self.take(process, machine.announcement())
        return process

    def seek(self, process: Process) -> None:
        """Read the topics that the machine asks for, new ones from where it says."""
        process.positions = {
            topic: process.positions.get(topic, self.broker.end(topic) if position == END else position)
            for topic, position in process.role.positions().items()}

    def some_tip(self) -> Tip:
        """Where a new reader starts: a tip from any shard, through its bytes."""
        machine = self.rng.choice(self.shards).role
        assert isinstance(machine, Shard)
        stored = CODEC.decode(CODEC.encode(machine.store.durable.tip.stored()))
        return Tip.restored(stored, self.workload.rules)

    def executor(self) -> Process:
        """A new process of an executor, not a member yet."""
        machine = Executor(self.some_tip(), self.shard_count, self.workload.machine(), self.workload.hints)
        self.executors.append(self.started(machine))
        return self.executors[-1]

    def regroup(self) -> None:
        """Executors join or leave the group, and it gives out the partitions anew: some of them, or all."""
        rng, wanted = self.rng, self.rng.choice(EXECUTORS)
        while len(self.group) < wanted:
            self.group[self.executor()] = ()
        while len(self.group) > wanted:
            self.leave(rng.choice(list(self.group)))
        owners = {partition: member for member, partitions in self.group.items() for partition in partitions}
        moving = {rng.randrange(self.partitions)} if rng.random() < 0.7 else set(range(self.partitions))
        for partition in range(self.partitions):
            if partition in moving or partition not in owners:
                owners[partition] = rng.choice(list(self.group))
        for member in self.group:
            partitions = tuple(partition for partition in range(self.partitions) if owners[partition] is member)
            if partitions != self.group[member]:
                self.group[member] = partitions
                member.untold = member.untold or rng.choice((1, self.faults.turns_untold))
        self.count["rebalances"] += 1

    def succeed(self, process: Process) -> None:
        """A new member takes the place of a dead one, and nothing else moves."""
        new = self.executor()
        self.group[new] = self.group.pop(process)
        new.untold = self.rng.choice((1, self.faults.turns_untold)) if self.group[new] else 0

    def leave(self, process: Process) -> None:
        """An executor isn't a member any more. It is dead, or lives on for a while and doesn't know."""
        if self.group.pop(process, None) is not None and self.rng.random() < 0.5:
            process.turns_left = self.rng.randrange(5, 120)
        else:
            process.dead = True

    def assign(self, process: Process, partitions: tuple[int, ...]) -> None:
        """An executor learns its partitions."""
        self.step(process, Assigned(Attempt(self.rng.randbytes(16)), partitions))
        self.seek(process)

    def crash(self, process: Process) -> None:
        """End a process at this point; what it has sent may be lost, or arrive late."""
        rng = self.rng
        match process.role:
            case Executor():
                self.count["crashes of executors"] += 1
                member = process in self.group
                self.leave(process)
                if member:
                    self.regroup()
            case Shard(shard=number, store=MemoryStore() as store):
                self.count["crashes of shards"] += 1
                self.strand(process)
                if rng.random() < self.faults.p_disk:
                    self.count["lost disks"] += 1
                    store = copied(rng.choice(process.backups)) if process.backups else self.genesis_store(number)
                new = self.shard(number, store)
                new.backups, new.asleep = process.backups, rng.randrange(40)
                self.shards[self.shards.index(process)] = new
            case Sequencer(pace=pace):
                self.count["crashes of sequencers"] += 1
                self.strand(process)
                new = self.started(Sequencer(self.some_tip(), self.shard_count, pace))
                self.sequencers[self.sequencers.index(process)] = new
        process.dead = process.dead or not isinstance(process.role, Executor)

    def strand(self, process: Process) -> None:
        """Decide what becomes of the appends of a dead process: the first ones of each topic may still arrive."""
        for topic, queue in process.outgoing.items():
            for command in queue:
                if not isinstance(command, Append) or topic == topics.MEMBERS or self.rng.random() >= P_LATE:
                    break
                due = self.turn_number + self.rng.randrange(1, 300)
                self.limbo.append((due, topic, CODEC.encode(command.record)))

    # ---- events and commands ------------------------------------------------------------------------------------

    def step(self, process: Process, *events: Event) -> None:
        """Give a machine events and take its commands."""
        role = process.role
        self.quiet = self.quiet if isinstance(events[0], Tick) else 0
        try:
            if isinstance(role, Executor):
                commands = role.step(*events)
            else:
                commands = [command for event in events for command in role.step(event)]
        except Poison:
            self.count["poisoned executors"] += 1
            self.strand(process)
            process.dead = True
            if process in self.group:
                self.succeed(process)
            return
        except InvariantViolation as exc:
            raise Violation("invariant", str(exc)) from exc
        for command in commands:
            self.take(process, command)

    def take(self, process: Process, command: Command) -> None:
        """Accept a command for later, in any order against those on other topics."""
        match command:
            case Append():
                process.outgoing[command.topic].append(command)
            case Publish():
                assert isinstance(process.role, Shard)
                process.outgoing[topics.receipts(process.role.shard)].append(command)
            case Read():
                process.reads.append(command)
            case Rejoin():
                assert isinstance(process.role, Executor)
                self.assign(process, process.role.partitions)

    def turn(self, process: Process) -> None:
        """Let one thing happen to a process."""
        rng = self.rng
        if process.asleep:
            process.asleep -= 1
            return
        if process.turns_left is not None:
            process.turns_left -= 1
            if process.turns_left <= 0:
                process.dead = True
                self.strand(process)
                return
        if process in self.group and process.untold:
            process.untold -= 1
            self.quiet = 0
            if not process.untold:
                self.assign(process, self.group[process])
        if self.chaos and rng.random() < self.faults.p_crash[type(process.role).__name__.lower()]:
            self.crash(process)
            return
        ready: list[tuple[Any, Any]] = [
            (self.deliver, topic) for topic, at in process.positions.items()
            if at < len(self.broker.topics[topic]) and topic not in process.held]
        ready += [
            (self.flush, queue) for topic, queue in process.outgoing.items() if queue and topic not in process.held]
        ready += [(self.answer, read) for read in process.reads]
        if isinstance(process.role, Sequencer):
            ready.append((self.tick, None))
        elif isinstance(process.role, Shard) and rng.random() < 0.002:
            assert isinstance(process.role.store, MemoryStore)
            process.backups.append(copied(process.role.store))
        if ready:
            happens, what = ready[int(rng.random() * len(ready))]
            happens(process, what)

    def deliver(self, process: Process, topic: Topic) -> None:
        """The next records of a topic arrive: mostly one, at times all there are."""
        log, at = self.broker.topics[topic], process.positions[topic]
        luck = self.rng.random()
        number = 1 if luck < 0.5 else 3 if luck < 0.8 else len(log)
        new = list(enumerate(log[at:at + number], at))
        process.positions[topic] = at + len(new)
        self.quiet = 0
        events = self.events(topic, [(offset, stored) for offset, stored in new if stored is not None])
        if isinstance(process.role, Executor) and events and self.rng.random() < 0.5:
            self.step(process, *events)
            return
        for event in events:
            if process.dead:
                return
            self.step(process, event)

    def events(self, topic: Topic, records: list[tuple[int, Stored]]) -> list[Record]:
        """What a service makes of records."""
        if topic.name not in (TopicName.TRANSACTIONS, TopicName.CARRIES):
            return [Record(topic, at, stored.value, stored.data) for at, stored in records if stored.value is not None]
        fetched = [Fetched(topic, at, None, stored.data, 0, {}) for at, stored in records]
        of = intake.transactions if topic.name is TopicName.TRANSACTIONS else intake.carries
        return of(fetched, self.workload.rules, self.workload.decode)

    def flush(self, process: Process, queue: deque[Append | Publish]) -> None:
        """An append reaches the broker, which may refuse it; its acknowledgement is what the sender sees next."""
        command = queue.popleft()
        self.quiet = 0
        if isinstance(command, Publish):
            self.publish(process, command)
            return
        topic = command.topic
        if topic == topics.MEMBERS and self.refuses(process, command.record):
            process.dead = process not in self.group  # a member will hear of the rebalance
            return
        data = CODEC.encode(command.record)
        offset = self.broker.append(topic, data)
        if topic == topics.MEMBERS:
            self.broker.hole(topic)
        if self.chaos and self.rng.random() < P_TWICE:
            self.broker.append(topic, data)
        if self.rng.random() < P_HOLE:
            self.broker.hole(topic)
        self.step(process, Acknowledged(command, offset))

    def refuses(self, process: Process, join: Join) -> bool:
        """Whether the group has given the partitions of a join to others since."""
        return self.group.get(process) != join.partitions

    def publish(self, process: Process, command: Publish) -> None:
        """The Kafka transaction that holds the receipts of an epoch; a second one is dropped, and has to be equal."""
        assert isinstance(process.role, Shard)
        number = process.role.shard
        decoded = tuple(CODEC.decode(CODEC.encode(receipt)) for receipt in command.receipts)
        first = self.published.setdefault((number, command.epoch), decoded)
        if first != decoded:
            raise Violation("replicas", f"shard {number} publishes epoch {command.epoch} in two ways")
        if command.epoch and (number, command.epoch - 1) not in self.published:
            raise Violation("receipts", f"shard {number} publishes epoch {command.epoch} before the one before it")
        self.step(process, Acknowledged(command, 0))

    def answer(self, process: Process, read: Read) -> None:
        """Replicas that are up and have applied the epoch answer a read, each shard for itself."""
        assert isinstance(process.role, Executor)
        if self.rng.random() < 0.1 and not process.role.wants(read):
            process.reads.remove(read)
            process.role.dropped(read)
            return
        entries: dict[bytes, Entry] = {}
        parts: defaultdict[int, list[bytes]] = defaultdict(list)
        for key in sorted(read.keys):
            parts[home(key, self.shard_count)].append(key)
        for number, keys in parts.items():
            found = self.read_from(number, keys, read.at)
            if found is None:
                return
            entries.update(zip(keys, found, strict=True))
        process.reads.remove(read)
        self.step(process, Answer(read, entries))

    def read_from(self, number: int, keys: list[bytes], at: int | None) -> list[Entry] | None:
        """What some replica of a shard answers, or None if none can yet."""
        replicas = [
            process.role.store for process in self.shards
            if isinstance(process.role, Shard) and process.role.shard == number and not process.asleep]
        self.rng.shuffle(replicas)
        for store in replicas:
            try:
                return store.read(keys, at)[1]
            except Unavailable:
                continue
        return None

    def tick(self, process: Process, _: None) -> None:
        """Time passes for a sequencer, at times in a jump."""
        if self.chaos and self.rng.random() < self.faults.p_early:
            process.clock_ms += JUMP_MS
        elapsed = self.now_ms + process.clock_ms
        self.step(process, Tick(self.now_ms, elapsed, self.rng.randbytes(32)))

    # ---- the run ------------------------------------------------------------------------------------------------

    def send(self) -> None:
        """A burst of transactions."""
        rng = self.rng
        for _ in range(rng.randint(1, BURST)):
            raw = self.workload.raw()
            data = CODEC.encode(Envelope(raw=raw))
            self.sent += 1
            for _ in range(1 + (self.workload.resent(raw) and rng.random() < P_RESENT)):
                topic = topics.transactions(rng.randrange(self.partitions))
                self.broker.append(topic, data)
                if rng.random() < P_HOLE:
                    self.broker.hole(topic)
        if rng.random() < P_GARBAGE * BURST:
            known = list(self.broker.topics)
            self.broker.append(rng.choice(known), rng.randbytes(rng.randrange(1, 30)))

    def run(self) -> None:
        """Chaos, then calm until all has drained."""
        with self.settings():
            self._run()

    @contextmanager
    def settings(self) -> Iterator[None]:
        """Sizes that this world sets lower, so that its few transactions reach them."""
        kept = effects_module.PART_BYTES, engine_module.CACHE_ENTRIES_MAX
        effects_module.PART_BYTES = self.faults.part_bytes or kept[0]
        engine_module.CACHE_ENTRIES_MAX = self.faults.cache_entries_max or kept[1]
        try:
            yield
        finally:
            effects_module.PART_BYTES, engine_module.CACHE_ENTRIES_MAX = kept

    def _run(self) -> None:
        rng, faults = self.rng, self.faults
        for self.turn_number in range(TURNS_CHAOS + TURNS_CALM):
            self.pass_time()
            if self.chaos:
                self.chaos = self.turn_number < TURNS_CHAOS
                if not self.chaos:
                    self.calm()
                if self.sent < self.workload.transactions and rng.random() < faults.p_send:
                    self.send()
                if rng.random() < faults.p_rebalance:
                    self.regroup()
            if self.turn_number % 50 == 0:
                self.tidy()
                if not self.chaos and self.drained():
                    return
            kind = (self.shards, self.sequencers, self.executors, self.executors)[int(rng.random() * 4)]
            process = kind[int(rng.random() * len(kind))] if kind else None
            if process is not None and not process.dead:
                self.turn(process)
        raise Violation("stalls", self.standing())

    def calm(self) -> None:
        """From now on nothing fails; one last transaction for each partition shows that all goes on."""
        for partition in range(self.partitions):
            self.broker.append(topics.transactions(partition), CODEC.encode(Envelope(raw=self.workload.raw())))

    def pass_time(self) -> None:
        """A turn is a millisecond; where nothing happens the clock jumps ahead, farther each time."""
        self.now_ms += 1
        self.quiet += 1
        if self.quiet == 1:
            self._skip_ms = 100
        elif self.quiet % QUIET_TURNS == 0:
            self.now_ms += self._skip_ms
            self._skip_ms = min(2 * self._skip_ms, 60_000)

    def tidy(self) -> None:
        """Forget the dead, and let late appends arrive."""
        self.executors = [process for process in self.executors if not process.dead]
        due = [entry for entry in self.limbo if entry[0] <= self.turn_number or not self.chaos]
        if due:
            self.limbo = [entry for entry in self.limbo if entry not in due]
            for _, topic, data in due:
                self.broker.append(topic, data)

    def machines(self) -> list[Shard]:
        """The machines of all shards."""
        return [process.role for process in self.shards if isinstance(process.role, Shard)]

    def drained(self) -> bool:
        """Whether nothing is left to do."""
        tip = self.machines()[0].tip
        return (
            not tip.cut
            and all(
                machine.tip == tip and machine.store.durable.applied == max(0, tip.epoch - 1)
                and machine.published == tip for machine in self.machines())
            and all(process.positions[topics.EPOCHS] == self.broker.end(topics.EPOCHS) for process in self.shards)
            and not any(waiting.pending for waiting in tip.inputs)
            and all(
                waiting.consumed == self.broker.records_end(topics.transactions(p))
                for p, waiting in enumerate(tip.inputs))
            and all(
                machine.store.durable.digest in tip.digests for machine in self.machines()))

    def standing(self) -> str:
        """Where a world that stalls stands."""
        tip = self.machines()[0].tip
        waiting = [
            (p, i.consumed, self.broker.records_end(topics.transactions(p)), len(i.pending), i.strikes, i.joins_from)
            for p, i in enumerate(tip.inputs)]
        return (
            f"epoch {tip.epoch}, cut {[(lane.attempt.hex()[:6], lane.partitions) for lane in tip.cut]}, "
            f"excluded {sorted(tip.excluded)}, inputs (partition, consumed, end, pending, strikes, joins_from) {waiting}, "
            f"shards at {[(m.shard, m.store.durable.applied, m.tip.epoch, m.published.epoch) for m in self.machines()]}")
