"""An executor's part in one epoch: one lane, from its list to its outcome."""

from enum import Enum, auto

from schemas import topics
from schemas.chain import Tip
from schemas.errors import InvariantViolation
from schemas.hashing import digest
from schemas.records import Accepted, Attempt, Carry, DeadLetter, Entry, LaneOutcome, Origin
from streams.events import Append, Command, Read

from .effects import Effects, Totals
from .machine import Block, VirtualMachine
from .view import Run
from .walk import Item, Refused, Walk

NO_TRANSACTION = bytes(32)
DEAD_LETTER_BYTES_MAX = 65_536
"""So much of a record is kept in a dead letter."""


class Stage(Enum):
    """Where a lane is in an epoch; it goes through them from top to bottom, never back."""

    FETCH = auto()
    """Waiting for the records of the list, and for the values that they are expected to touch."""
    EXECUTE = auto()
    VOTE = auto()
    REPAIR = auto()
    OUTCOME = auto()
    DONE = auto()


class LaneWork:
    """Everything that belongs to one lane in one epoch."""

    def __init__(self, tip: Tip, rank: int, machine: VirtualMachine) -> None:
        self.tip = tip
        self.epoch = tip.epoch
        self.rank = rank
        self.attempt: Attempt = tip.cut[rank].attempt
        self.listed = tip.listed(rank)
        self.items: list[Item] = []
        self.stage = Stage.FETCH
        self.block = Block(
            number=tip.block, timestamp_s=tip.timestamp_ms // 1000, prevrandao=tip.randomness, ancestor=tip.ancestor)
        self.asked: set[Read] = set()
        """Reads that aren't answered yet."""
        self.exact: dict[bytes, Entry] = {}
        """Entries of exactly the snapshot of e-1."""
        self.loose: dict[bytes, Entry] = {}
        """Entries of whatever the shards had applied, for keys that the cache did not hold."""
        self.base: dict[bytes, Entry] = {}
        """Base reads of the first walk."""
        self.reads: dict[bytes, int] = {}
        """Keys read with the version of a base read, or `UNVERSIONED`."""
        self.first = Walk(machine, self.block, tip.rules.parked_ms_max)
        self.final: Walk = self.first
        self.sent: list[Effects] = []
        self.sent_keys: list[tuple[bytes, ...]] = []
        """By shard, the keys that the indexes of a vote count."""
        self.totals = Totals()
        self.stale: dict[bytes, Entry] = {}
        self.lost: dict[bytes, int] = {}
        self.waiting: set[int] = set()
        self.targets: dict[int, int] = {}
        """Positions that were lost to another lane, with a partition of it."""
        self.followed: dict[bytes, int] = {}
        """Senders with a carried transaction in the list, and where it went."""
        self.unacknowledged: dict[Append, int | None] = {}
        """With the list position of a carry."""
        self.revised: tuple[int, ...] = ()
        self.accepted: list[Accepted] = []

    def carried(self) -> tuple[int, ...]:
        """Positions of the final walk that did not commit."""
        return tuple([
            position for position, (run, item) in enumerate(zip(self.final.runs, self.items, strict=True))
            if item is not None and (run is None or run.waits)])

    def committed(self, run: Run | None) -> bool:
        """Whether a run of the final walk commits."""
        return run is not None and not run.waits

    def carry(self, index: int) -> Carry:
        """The record of a transaction that did not commit, with what it touched as a hint."""
        item, run = self.items[index], self.first.runs[index]
        if item is None or isinstance(item, Refused) or run is None:
            raise InvariantViolation(f"position {index} cannot be carried")
        origin: Origin = self.listed[index].origin
        return Carry(
            epoch=self.epoch,
            attempt=self.attempt,
            origin_epoch=origin.epoch,
            origin_partition=origin.partition,
            origin_offset=origin.offset,
            hash=item.hash,
            sender=item.sender,
            raw=item.raw,
            touched=tuple(sorted(run.reads | run.writes.keys())),
        )

    def dead_letters(self) -> list[Command]:
        """Records that cannot be decoded or are skipped."""
        letters: list[Command] = []
        for listed, item in zip(self.listed, self.items, strict=True):
            dead = isinstance(item, Refused) and item.dead
            if item is None or not (dead or listed.skip):
                continue
            reason = item.reason if isinstance(item, Refused) else "skipped"
            letters.append(Append(topics.DEADLETTERS, DeadLetter(
                partition=listed.origin.partition, offset=listed.origin.offset, reason=reason,
                record=item.raw[:DEAD_LETTER_BYTES_MAX])))
        return letters

    def outcome(self) -> LaneOutcome:
        """What the lane came to (step 8)."""
        return LaneOutcome(
            attempt=self.attempt,
            revised=self.revised,
            carried=self.carried(),
            accepted=tuple(self.accepted),
            included=self.totals.included,
            rejected=self.totals.rejected,
            gas=self.totals.gas,
            logs=self.totals.logs,
            list_digest=list_digest(self.items),
        )


def list_digest(items: list[Item]) -> bytes:
    """BLAKE2b-256 over the transaction hashes of a list, 32 zero bytes for a hole."""
    return digest(b"".join([NO_TRANSACTION if item is None else item.hash for item in items]))
