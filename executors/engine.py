"""The epoch engine: a pure state machine that runs its partitions as one lane (steps 1, 2, 4, 5, 7, 8).

It holds no clock, thread or connection. Records and answers come in as events, appends and reads go out as commands;
the service around it moves the bytes, decodes and verifies signatures ahead of the epoch.
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from functools import partial

from schemas import topics
from schemas.chain import Tip, carries_from
from schemas.hashing import digest
from schemas.keys import home, is_blob
from schemas.records import (
    UNVERSIONED,
    Accepted,
    Attempt,
    Carry,
    Entry,
    Exclusion,
    Join,
    Manifest,
    Offer,
    Outcome,
    Vote,
    version,
)
from schemas.topics import Topic, TopicName
from streams.events import (
    END,
    Acknowledged,
    Answer,
    Append,
    Assigned,
    Command,
    Event,
    Read,
    Record,
    Rejoin,
)

from .effects import effects_of, prepares_of, revisions_of
from .lane import LaneWork, Stage
from .machine import Missing, Rejected, VirtualMachine
from .view import Run
from .walk import Item, Refused, Repair

log = logging.getLogger(__name__)

CACHE_ENTRIES_MAX = 400_000
"""Of the cache, about 100 MB."""

Hints = Callable[[Item], Iterable[bytes]]
"""The keys that a transaction is expected to touch. Nothing rests on it."""
Learn = Callable[[Item, Run], None]
"""Is told what a transaction has touched."""


def forget(_item: Item, _run: Run) -> None:
    """Learn nothing."""


class Executor:
    """One process. Every join of it is a new attempt: its partitions may be others, its cache stays.

    Parameters
    ----------
    tip
        Where it starts to follow the chain.
    shards
        Number of shards, M.
    machine
        Executes transactions.
    hints
        The keys that a transaction is expected to touch.
    learn
        Is told what one has touched when it runs for the first time.
    """

    def __init__(self, tip: Tip, shards: int, machine: VirtualMachine, hints: Hints, learn: Learn = forget) -> None:
        self.tip = tip
        self.shards = shards
        self.attempt: Attempt | None = None
        self.partitions: tuple[int, ...] = ()
        self.items: dict[tuple[int, int], Item] = {}
        """Read ahead, by partition and offset."""
        self.held: dict[int, int] = {}
        """One past the last offset read, by partition."""
        self.carries: dict[tuple[int, int], tuple[Carry, Item]] = {}
        self.votes: dict[tuple[int, int], Vote] = {}
        self.cache: dict[bytes, Entry] = {}
        self.work: LaneWork | None = None
        self.runs_again = 0
        self.executed = 0
        self._machine = machine
        self._hints = hints
        self._learn = learn
        self._offered: dict[int, int] = {}
        self._ahead: set[bytes] = set()
        self._fetching: set[Read] = set()
        """Reads ahead of an epoch that are under way."""

    # ---- events -------------------------------------------------------------------------------------------------

    def positions(self) -> dict[Topic, int]:
        """Where it starts to read: `votes` at its end, and only then it joins (step 1)."""
        positions = {topics.EPOCHS: self.tip.offset + 1, topics.VOTES: END}
        for partition in self.partitions:
            positions[topics.transactions(partition)] = self.tip.inputs[partition].consumed
            positions[topics.carries(partition)] = self.carries_start(partition)
        return positions

    def carries_start(self, partition: int) -> int:
        """Where it reads `carries` from: the oldest pending position, or one past the highest accepted one."""
        return carries_from(self.tip.inputs[partition])

    def step(self, *events: Event) -> list[Command]:
        """Take note of the events, then go on with the open epoch as far as possible."""
        commands: list[Command] = []
        for event in events:
            match event:
                case Assigned(attempt, partitions):
                    commands += self._assigned(attempt, partitions)
                case Record(topic, offset, value, data):
                    commands += self._record(topic, offset, value, data)
                case Answer(read, entries):
                    self._answered(read, entries)
                case Acknowledged(Append() as append, offset) if self.work is not None:
                    self._acknowledge(self.work, append, offset)
                case _:
                    pass
        return commands + self._advance() + self._prefetch()

    def wants(self, read: Read) -> bool:
        """Whether the open epoch still needs the answer to a read."""
        return self.work is not None and read in self.work.asked

    def awaits(self, append: Append) -> bool:
        """Whether the open epoch goes on only when an append is acknowledged."""
        return self.work is not None and append in self.work.unacknowledged

    def ahead(self, partition: int) -> int:
        """How many offsets of a partition are held that no committed list held."""
        consumed = self.tip.inputs[partition].consumed
        return max(0, self.held.get(partition, consumed) - consumed)

    def _assigned(self, attempt: Attempt, partitions: tuple[int, ...]) -> list[Command]:
        self.attempt, self.partitions, self.work = attempt, tuple(sorted(partitions)), None
        mine = frozenset(partitions)
        self.items = {key: item for key, item in self.items.items() if key[0] in mine}
        self.carries = {key: carry for key, carry in self.carries.items() if key[0] in mine}
        self.held = {partition: held for partition, held in self.held.items() if partition in mine}
        self._offered = {}
        return [Append(topics.MEMBERS, Join(attempt=attempt, partitions=self.partitions))] if partitions else []

    def _record(self, topic: Topic, offset: int, value: object, data: bytes) -> list[Command]:
        partition = topic.partition
        match value:
            case Manifest() | Exclusion():
                return self._follow(value, data, offset)
            case Vote():
                if value.epoch >= self.tip.epoch:
                    self.votes.setdefault((value.epoch, value.shard), value)
            case (Carry() as carry, item):
                if partition in self.partitions:
                    self.carries[partition, offset] = carry, item  # type: ignore[assignment]  # the service pairs it with its item
            case _ if topic.name is TopicName.TRANSACTIONS:
                # A transaction, or what is wrong with it.
                if partition in self.partitions and offset >= self.tip.inputs[partition].consumed:
                    self.items[partition, offset] = value  # type: ignore[assignment]  # the only kind that is left
                    self.held[partition] = max(self.held.get(partition, 0), offset + 1)
                    self._ahead.update(key for key in self._hints(value) if key not in self.cache)  # type: ignore[arg-type]  # as above
        return []

    def expect(self, keys: Iterable[bytes]) -> None:
        """Have these keys fetched with the next step, unless the cache holds them."""
        self._ahead.update(key for key in keys if key not in self.cache)

    def _prefetch(self) -> list[Command]:
        """Ask for what the transactions that have just arrived will touch, while they wait for their cut."""
        ahead, self._ahead = self._ahead, set()
        if not ahead:
            return []
        read = Read(frozenset(ahead), None)
        self._fetching.add(read)
        return [read]

    def dropped(self, read: Read) -> None:
        """A read that nobody waits for was not answered."""
        self._fetching.discard(read)

    def _answered(self, read: Read, entries: Mapping[bytes, Entry]) -> None:
        work = self.work
        self._fetching.discard(read)
        for key, entry in entries.items():
            if not is_blob(key) or entry.value:
                self._cache(key, entry)
        if work is None:
            return
        work.asked.discard(read)
        if read.at is None:
            work.loose.update(entries)
        elif read.at == work.epoch - 1:
            work.exact.update(entries)

    def _cache(self, key: bytes, entry: Entry) -> None:
        """Keep an entry; the newest version wins, and the oldest ones go when there are too many."""
        known = self.cache.get(key)
        if known is None or known.version <= entry.version:
            self.cache[key] = entry
        if len(self.cache) > CACHE_ENTRIES_MAX:
            for old in list(self.cache)[: CACHE_ENTRIES_MAX // 8]:
                del self.cache[old]

    def _follow(self, record: Manifest | Exclusion, data: bytes, offset: int) -> list[Command]:
        """Adopt a valid record of `epochs`."""
        before = self.tip
        tip = before.after(record, digest(data), offset)
        if tip is None:
            return []
        self.tip = tip
        if isinstance(record, Exclusion):
            if all(tip.cut[rank].attempt != self.attempt for rank in record.lanes):
                return []
            log.warning("excluded from an epoch; joining anew", extra={"epoch": tip.epoch})
            self.work = None
            return [Rejoin()]
        if self.work is not None and record.close[self.work.rank] is not None:
            self._remember(self.work)  # step 10: only now
        self._forget(before, tip)
        mine = [rank for rank, lane in enumerate(tip.cut) if lane.attempt == self.attempt]
        self.work = LaneWork(tip, mine[0], self._machine) if mine else None
        self.votes = {key: vote for key, vote in self.votes.items() if key[0] >= tip.epoch}
        return []

    def _remember(self, work: LaneWork) -> None:
        """Cache the final writes. If another lane contributed to a key, its merged version will differ."""
        written = version(work.epoch, merged=False)
        for key, value in work.final.overlay.values.items():
            self._cache(key, Entry(value, written))

    def _forget(self, before: Tip, tip: Tip) -> None:
        """Drop the input that committed."""
        for partition in self.partitions:
            old, new = before.inputs[partition], tip.inputs[partition]
            for offset in range(old.consumed, new.consumed):
                self.items.pop((partition, offset), None)
            low = carries_from(new)
            for position in range(carries_from(old), low):
                self.carries.pop((partition, position), None)

    def _acknowledge(self, work: LaneWork, append: Append, offset: int) -> None:
        """Count down what has to be stored before the outcome may be written (step 8)."""
        if append in work.unacknowledged:
            index = work.unacknowledged.pop(append)
            if index is not None:
                self._accept(work, index, append.topic.partition, offset)

    # ---- an epoch -----------------------------------------------------------------------------------------------

    def _advance(self) -> list[Command]:
        """Run through as many stages as the messages at hand allow."""
        work, commands = self.work, []
        while work is not None and work.stage is not Stage.DONE:
            try:
                stage, more = _STAGES[work.stage](self, work)
            except _Asks as asks:
                commands += asks.reads
                break
            commands += more
            if stage is work.stage:
                break
            work.stage = stage
        if self.work is None or self.work.stage is Stage.DONE:
            commands += [Append(topics.OUTCOMES, offer) for offer in self._offers()]
        return commands

    def _offers(self) -> tuple[Offer, ...]:
        """The offsets that are held and weren't offered yet (step 2)."""
        if self.attempt is None:
            return ()
        new = {p: held for p, held in self.held.items() if held > self._offered.get(p, 0)}
        self._offered.update(new)
        return tuple(Offer(attempt=self.attempt, partition=p, offset=held) for p, held in sorted(new.items()))

    def _fetch(self, work: LaneWork) -> tuple[Stage, list[Command]]:
        """The records of the list may come after the manifest; what they are expected to touch is read at once."""
        listed = work.listed
        while len(work.items) < len(listed):
            entry = listed[len(work.items)]
            if entry.carry is not None:
                found = self.carries.get((entry.partition, entry.carry))
                if found is None:
                    return Stage.FETCH, []
                work.items.append(found[1])
            else:
                offset = entry.origin.offset
                if self.held.get(entry.partition, 0) <= offset:
                    return Stage.FETCH, []
                work.items.append(self.items.get((entry.partition, offset)))
        loose: set[bytes] = set()
        exact: set[bytes] = set()
        for entry, item in zip(listed, work.items, strict=True):
            if item is None or isinstance(item, Refused):
                continue
            if entry.carry is not None:
                exact.update(self.carries[entry.partition, entry.carry][0].touched)
            else:
                loose.update(key for key in self._hints(item) if key not in self.cache)
        loose -= exact
        for under_way in self._fetching:
            if not loose.isdisjoint(under_way.keys):
                work.asked.add(under_way)
                loose -= under_way.keys
        reads: list[Command] = []
        if exact:
            reads.append(Read(frozenset(exact), work.epoch - 1))
        if loose:
            reads.append(Read(frozenset(loose), None))
        work.asked.update(read for read in reads if isinstance(read, Read))
        return Stage.EXECUTE, reads

    def _execute(self, work: LaneWork) -> tuple[Stage, list[Command]]:
        """Steps 4 and 5: run the list, send a prepare to each shard."""
        if work.asked:
            return Stage.EXECUTE, []
        # 4. One overlay and one cache for all partitions of the lane.
        before = len(work.first.runs)
        try:
            work.first.first(work.listed, work.items, partial(self._base, work))
        except Missing as missing:
            raise self._asks(work, missing.keys, work.listed[len(work.first.runs)].carry is not None) from None
        finally:
            self.executed += len(work.first.runs) - before
        for item, run in zip(work.items, work.first.runs, strict=True):
            if run is not None:
                self._learn(item, run)
                for key in run.reads:
                    if not is_blob(key):
                        work.reads.setdefault(key, UNVERSIONED)
        # 5. One message per shard; one with nothing gets an empty one.
        work.sent, work.totals = effects_of(work.first, work.listed, work.items, work.tip, self.shards)
        reads: list[dict[bytes, int]] = [{} for _ in range(self.shards)]
        for key, read_version in work.reads.items():
            reads[home(key, self.shards)][key] = read_version
        appends: list[Append] = []
        for shard, effects in enumerate(work.sent):
            work.sent_keys.append((*reads[shard], *effects.writes))
            parts = prepares_of(work.epoch, work.attempt, shard, reads[shard], effects)
            appends += [Append(topics.prepares(shard), part) for part in parts]
        work.unacknowledged.update(dict.fromkeys(appends))
        return Stage.VOTE, [*appends, *work.dead_letters()]

    def _base(self, work: LaneWork, position: int, key: bytes) -> bytes:
        """A base read of the first walk; carried transactions read exactly the snapshot of e-1."""
        entry = work.base.get(key)
        if entry is None:
            if is_blob(key):
                return self._blob(work, key)
            if self.reads_exactly(work, position):
                entry = work.exact.get(key)
            else:
                entry = self.cache.get(key) or work.loose.get(key) or work.exact.get(key)
            if entry is None:
                raise Missing(frozenset({key}))  # type: ignore[arg-type]  # any bytes are a state key here
            work.base[key] = entry
        work.reads[key] = entry.version
        return entry.value

    def reads_exactly(self, work: LaneWork, position: int) -> bool:
        """Whether a position has to see the snapshot of e-1, neither cache nor an older epoch."""
        return work.listed[position].carry is not None

    def _blob(self, work: LaneWork, key: bytes) -> bytes:
        """Code by its hash: immutable and never validated, so that an absent one counts only at exactly e-1."""
        entry = self.cache.get(key) or work.exact.get(key)
        if entry is None:
            raise Missing(frozenset({key}))  # type: ignore[arg-type]  # as above
        return entry.value

    def _asks(self, work: LaneWork, keys: frozenset[bytes], exactly: bool) -> "_Asks":
        """The reads for missing values, those that aren't under way yet."""
        pinned = keys if exactly else frozenset(key for key in keys if is_blob(key))
        wanted = [Read(pinned, work.epoch - 1), Read(keys - pinned, None)]
        new: list[Read] = [read for read in wanted if read.keys and read not in work.asked]
        work.asked.update(new)
        return _Asks(new)

    def _vote(self, work: LaneWork) -> tuple[Stage, list[Command]]:
        """Wait for the votes of the shards where something is reserved (step 7)."""
        for shard, keys in enumerate(work.sent_keys):
            if not keys and not work.sent[shard].deltas:
                continue
            vote = self.votes.get((work.epoch, shard))
            if vote is None:
                return Stage.VOTE, []
            mine = [judged for judged in vote.lanes if judged.attempt == work.attempt]
            if not mine:
                return Stage.VOTE, []  # excluded meanwhile; the exclusion will be read, too
            (judged,) = mine
            for index, at, value in zip(judged.stale_indexes, judged.stale_versions, judged.stale_values, strict=True):
                work.stale[keys[index]] = Entry(value, at)  # type: ignore[arg-type]  # a version as the record holds it
            for index, rank in zip(judged.lost_indexes, judged.lost_ranks, strict=True):
                work.lost[keys[index]] = rank
            for key, at, value in zip(judged.refresh_keys, judged.refresh_versions, judged.refresh_values, strict=True):
                self._cache(key, Entry(value, at))  # type: ignore[arg-type]  # as above
        for key, entry in work.stale.items():
            self._cache(key, entry)
        return Stage.REPAIR, []

    def _repair(self, work: LaneWork) -> tuple[Stage, list[Command]]:
        """Steps 7 and 8: walk the list again if needed, send revisions, and carry what did not commit."""
        # 7. No second vote follows: whatever the walk keeps stays within what was reserved.
        if work.stale or work.lost:
            if work.final is work.first:
                changed = {key for key, entry in work.stale.items() if work.base[key].value != entry.value}
                work.final = Repair(self._machine, work.block, work.first, changed)
            final = work.final
            try:
                final.again(work.listed, work.items, partial(self._fresh, work), partial(self._keeps, work))  # type: ignore[attr-defined]  # a Repair from here on
            except Missing as missing:
                raise self._asks(work, missing.keys, exactly=True) from None
            self.runs_again += final.runs_again  # type: ignore[attr-defined]  # as above
        else:
            work.waiting = {i for i, run in enumerate(work.first.runs) if run is not None and run.waits}
        appends: dict[Append, int | None] = {}
        if work.final is not work.first:
            effects, work.totals = effects_of(work.final, work.listed, work.items, work.tip, self.shards)
            work.revised = tuple(shard for shard, part in enumerate(effects) if part != work.sent[shard])
            for shard in work.revised:
                for part in revisions_of(work.epoch, work.attempt, shard, effects[shard]):
                    appends[Append(topics.prepares(shard), part)] = None
        # 8. What did not commit is written to the lane that won, unless it stays in the `carries` it came from.
        for index in work.carried():
            listed = work.listed[index]
            target = work.targets.get(index, listed.partition)
            if target == listed.partition and listed.carry is not None:
                self._accept(work, index, target, listed.carry)
            else:
                appends[Append(topics.carries(target), work.carry(index))] = index
        work.unacknowledged.update(appends)
        return Stage.OUTCOME, list(appends)

    def _fresh(self, work: LaneWork, _position: int, key: bytes) -> bytes:
        """A base value of the re-run: corrected, or validated, or read at exactly e-1."""
        if is_blob(key):
            return self._blob(work, key)
        if key in work.stale:
            return work.stale[key].value
        if work.reads.get(key, UNVERSIONED) != UNVERSIONED:
            return work.base[key].value
        entry = work.exact.get(key)
        if entry is None:
            raise Missing(frozenset({key}))  # type: ignore[arg-type]  # as above
        return entry.value

    def _keeps(self, work: LaneWork, position: int, run: Run, again: bool) -> bool:
        """Whether a transaction of the second walk commits: nothing lost, and no key that wasn't reserved (step 7)."""
        item = work.items[position]
        lost = self.lost_by(work, run)
        if lost:
            winner = min(work.lost[key] for key in lost)
            if winner not in self.tip.excluded:
                work.targets[position] = min(part.partition for part in work.tip.cut[winner].slices)
        elif isinstance(run.answer, Rejected) or run.waits:
            # Behind a carried transaction of the same sender it would only wait, or be rejected, for its sake.
            followed = None if item is None or isinstance(item, Refused) else work.followed.get(item.sender)
            if followed is not None and again:
                work.targets[position] = followed
            elif run.waits:
                work.waiting.add(position)
                return False
            elif not again or self.reserved(work, run):
                return True
        elif not again or self.reserved(work, run):
            return True
        if item is not None and not isinstance(item, Refused):
            work.followed.setdefault(item.sender, work.targets.get(position, work.listed[position].partition))
        return False

    def lost_by(self, work: LaneWork, run: Run) -> set[bytes]:
        """The lost keys that a transaction read or wrote; a delta is no reason to carry it."""
        if not work.lost:
            return set()
        return {key for key in work.lost if key in run.reads or key in run.writes}

    def reserved(self, work: LaneWork, run: Run) -> bool:
        """Whether a re-run stays within what the first one reserved."""
        writes, deltas = work.first.overlay.values, work.first.overlay.deltas
        return (
            all(self.may_read(work, key) for key in run.reads)
            and all(key in writes or is_blob(key) for key in run.writes)
            and all(key in deltas or key in writes for key in run.deltas))

    def may_read(self, work: LaneWork, key: bytes) -> bool:
        """Whether a re-run may read a key: reserved as read or written, not as a delta only."""
        return key in work.reads or key in work.first.overlay.values or is_blob(key)

    def _accept(self, work: LaneWork, index: int, target: int, position: int) -> None:
        """Note where a carry is stored."""
        listed, parked_ms = work.listed[index], None
        if index in work.waiting:
            parked_ms = work.tip.timestamp_ms if listed.parked_ms is None else listed.parked_ms
        epoch, partition, offset = listed.origin
        work.accepted.append(Accepted(
            partition=target, position=position, origin_epoch=epoch, origin_partition=partition,
            origin_offset=offset, parked_ms=parked_ms))

    def _outcome(self, work: LaneWork) -> tuple[Stage, list[Command]]:
        """Step 8: once all is acknowledged, append the outcome."""
        if work.unacknowledged:
            return Stage.OUTCOME, []
        outcome = Outcome(epoch=work.epoch, lane=work.outcome(), offers=self._offers())
        return Stage.DONE, [Append(topics.OUTCOMES, outcome)]


class _Asks(Exception):
    """A stage cannot go on before these reads are answered."""

    def __init__(self, reads: list[Read]) -> None:
        super().__init__()
        self.reads: list[Command] = list(reads)


_STAGES: Mapping[Stage, Callable[[Executor, LaneWork], tuple[Stage, list[Command]]]] = {
    Stage.FETCH: Executor._fetch,
    Stage.EXECUTE: Executor._execute,
    Stage.VOTE: Executor._vote,
    Stage.REPAIR: Executor._repair,
    Stage.OUTCOME: Executor._outcome,
}
