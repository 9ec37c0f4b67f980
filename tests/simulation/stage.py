"""A world without chance, for schedules that are written by hand: nothing fails but what the schedule says."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from random import Random
from typing import Final

from executors.engine import Executor
from ingest.sequencer import Pace, Sequencer
from schemas import topics
from schemas.chain import Tip
from schemas.codec import CODEC
from schemas.records import Envelope
from schemas.topics import Topic

from .faults import JUMP_MS, Faults
from .violation import Violation
from .workload import Toys
from .world import Process, World

TURNS_MAX: Final = 30_000
QUIET: Final = 150
"""After so many turns without an event nothing more will happen."""

STILL: Final = Faults(
    partitions=2, shards=2, p_send=0, p_crash={"executor": 0, "sequencer": 0, "shard": 0}, p_disk=0, p_rebalance=0,
    p_early=0, turns_untold=1, part_bytes=None, cache_entries_max=None, poisons=0,
    pace=Pace(interval_ms=0, timeout_ms_min=100_000), patience_ms=0)


class Stage(World):
    """A world whose executors own what the schedule says; one sequencer acts.

    Parameters
    ----------
    owned
        For each executor the partitions that it owns.
    """

    def __init__(self, owned: Sequence[tuple[int, ...]], *, seed: int = 1, pace: Pace = STILL.pace) -> None:
        self._owned = owned
        partitions = sum(map(len, owned))
        super().__init__(seed, _toys, replace(STILL, partitions=partitions, pace=pace))
        self.chaos = False
        self.sequencers = self.sequencers[:1]
        self.ticking = True

    def regroup(self) -> None:
        """Give out the partitions as the schedule says, once."""
        for partitions in self._owned:
            member = self.executor()
            self.group[member] = partitions
            member.untold = 1

    def owner(self, partition: int) -> Process:
        """The executor that owns a partition."""
        return next(process for process, owned in self.group.items() if partition in owned)

    @property
    def tip(self) -> Tip:
        """What the sequencer knows."""
        role = self.sequencers[0].role
        if not isinstance(role, Sequencer):
            raise TypeError(role)
        return role.tip

    def tick(self, process: Process, _: None) -> None:
        """Time passes only where the schedule lets it."""
        if self.ticking:
            super().tick(process, None)

    def pass_time(self) -> None:
        """A turn is a millisecond, and no clock jumps."""
        self.now_ms += 1
        self.quiet += 1

    def send_to(self, partition: int, *raws: bytes) -> None:
        """Transactions arrive."""
        for raw in raws:
            self.broker.append(topics.transactions(partition), CODEC.encode(Envelope(raw=raw)))

    def settle(self, until: Callable[[], bool] = lambda: False) -> None:
        """Let everything happen that can, or until something is so."""
        self.quiet = 0
        for _ in range(TURNS_MAX):
            if until() or self.quiet > QUIET:
                return
            self.pass_time()
            processes = [p for p in (*self.shards, *self.sequencers, *self.executors) if not p.dead]
            self.turn(processes[int(self.rng.random() * len(processes))])
        raise Violation("stalls", "the schedule doesn't come to rest")

    def together(self, *sent: tuple[int, tuple[bytes, ...]]) -> None:
        """Cut transactions of several partitions in one epoch."""
        self.ticking = False
        for partition, raws in sent:
            self.send_to(partition, *raws)
        self.settle()
        self.ticking = True

    def ranked(self) -> list[int]:
        """The partitions in the order in which the next cut ranks them, if nothing is carried."""
        return sorted(range(self.partitions), key=lambda partition: (partition + self.tip.epoch) % self.partitions)

    def time_out(self) -> None:
        """The sequencer's clock jumps beyond every time-out."""
        for process in self.sequencers:
            process.clock_ms += JUMP_MS
        self.settle()

    def hold(self, process: Process, *held: Topic) -> None:
        """Nothing of these topics reaches a process or comes from it, besides what was held before."""
        process.held |= frozenset(held)

    def release(self, process: Process) -> None:
        """Hold nothing back any more."""
        process.held = frozenset()

    def finish(self) -> None:
        """Everything has to drain."""
        self.settle(self.drained)
        if not self.drained():
            raise Violation("stalls", self.standing())

    def machine_of(self, partition: int) -> Executor:
        """The executor's machine that owns a partition."""
        role = self.owner(partition).role
        if not isinstance(role, Executor):
            raise TypeError(role)
        return role


def _toys(rng: Random) -> Toys:
    return Toys(rng, poisons=0)
