"""The records on the topics, in the order of the steps of the protocol.

Every class has an Avro schema of the same name in ``avro/``, with the meaning of each field. Addresses have 20 bytes,
hashes 32, attempts 16; numbers that may exceed 64 bits are big-endian bytes without leading zeros.
"""

from dataclasses import dataclass
from typing import NamedTuple, NewType

Epoch = NewType("Epoch", int)
Partition = NewType("Partition", int)
ShardId = NewType("ShardId", int)
Offset = NewType("Offset", int)
Rank = NewType("Rank", int)
Attempt = NewType("Attempt", bytes)
Version = NewType("Version", int)
"""Last change of a key: twice its epoch, plus 1 if more than one lane contributed to the key in that epoch."""

UNVERSIONED = Version(-1)
"""In place of a version: the key was read from the lane's own overlay alone."""


def version(epoch: int, *, merged: bool) -> Version:
    """The version of a key that changed in `epoch`."""
    return Version(2 * epoch + merged)


def version_epoch(of: Version) -> Epoch:
    """The epoch of a version; 0 for a key that was never written."""
    return Epoch(of >> 1)


class Entry(NamedTuple):
    """A committed value with its version."""

    value: bytes
    version: Version


NEVER = Entry(b"", Version(0))
"""The entry of a key that was never written."""


class Source(NamedTuple):
    """Where a client's transaction lies in `transactions`: the identity of its receipt."""

    partition: Partition
    offset: Offset


class Origin(NamedTuple):
    """First cut of a transaction. It never changes, and carried transactions are ordered by it."""

    epoch: Epoch
    partition: Partition
    offset: Offset

    @property
    def source(self) -> Source:
        """Where the transaction came from."""
        return Source(self.partition, self.offset)


# ---- the way in -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """`transactions`: a signed transaction."""

    raw: bytes
    touched: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Join:
    """`members`: an attempt is ready to run these partitions (step 1)."""

    attempt: Attempt
    partitions: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """`outcomes`: the attempt holds the transactions of a partition below `offset` (step 2)."""

    attempt: Attempt
    partition: int
    offset: int


# ---- the chain of manifests -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """What a lane takes of one partition: carries by their positions, and the offsets [low, high)."""

    partition: int
    low: int
    high: int
    carries: tuple[int, ...] = ()
    skip: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """One attempt with the partitions that it runs in an epoch (step 3)."""

    attempt: Attempt
    joined: int
    partitions: tuple[int, ...]
    slices: tuple[Slice, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """Where a carried transaction waits: a position in `carries` of a partition."""

    partition: int
    position: int
    origin_epoch: int
    origin_partition: int
    origin_offset: int
    parked_ms: int | None = None

    @property
    def origin(self) -> Origin:
        """The first cut of the transaction."""
        return Origin(Epoch(self.origin_epoch), Partition(self.origin_partition), Offset(self.origin_offset))


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneOutcome:
    """What a lane came to (step 8); the close names it as it is."""

    attempt: Attempt
    revised: tuple[int, ...]
    carried: tuple[int, ...]
    accepted: tuple[Accepted, ...]
    included: int
    rejected: int
    gas: int
    logs: int
    list_digest: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardDigest:
    """The digest of a shard after an epoch."""

    shard: int
    epoch: int
    digest: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """`epochs`: closes an epoch and cuts the next one. Its append is the commit point (steps 3 and 9)."""

    epoch: int
    block: int
    previous: bytes
    timestamp_ms: int
    randomness: bytes
    rules: bytes
    close: tuple[LaneOutcome | None, ...]
    cut: tuple[Lane, ...]
    digests: tuple[ShardDigest, ...]
    outcomes_read: int
    offers: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Exclusion:
    """`epochs`: these lanes of the open cut will not commit."""

    epoch: int
    previous: bytes
    lanes: tuple[int, ...]


# ---- an epoch ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A log of a contract."""

    address: bytes
    topics: tuple[bytes, ...]
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """`receipts`: the final result of a transaction. Within a prepare the indexes count from the start of the lane."""

    partition: int
    offset: int
    epoch: int
    shard: int
    index: int
    hash: bytes
    status: str
    reason: str
    sender: bytes
    recipient: bytes | None
    contract: bytes | None
    nonce: int
    kind: int
    block: int | None
    block_hash: bytes | None
    timestamp_ms: int
    transaction_index: int | None
    gas_used: int
    cumulative_gas: int
    gas_price: bytes
    log_index: int
    logs: tuple[Event, ...]
    output: bytes

    @property
    def source(self) -> Source:
        """Where the transaction came from."""
        return Source(Partition(self.partition), Offset(self.offset))

    @property
    def included(self) -> bool:
        """Whether the transaction is in a block."""
        return self.status != "rejected"


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepare:
    """`prepares`: all that one shard needs to judge and apply a lane (step 5)."""

    epoch: int
    attempt: Attempt
    shard: int
    part: int
    parts: int
    read_keys: tuple[bytes, ...]
    read_versions: tuple[int, ...]
    write_keys: tuple[bytes, ...]
    write_values: tuple[bytes, ...]
    delta_keys: tuple[bytes, ...]
    delta_amounts: tuple[bytes, ...]
    receipts: tuple[Receipt, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """`prepares`: effects that replace those of the prepare (step 7)."""

    epoch: int
    attempt: Attempt
    shard: int
    part: int
    parts: int
    write_keys: tuple[bytes, ...]
    write_values: tuple[bytes, ...]
    delta_keys: tuple[bytes, ...]
    delta_amounts: tuple[bytes, ...]
    receipts: tuple[Receipt, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """A shard's view of one lane (step 6). Indexes count the read keys of the prepare, then its written keys."""

    rank: int
    attempt: Attempt
    stale_indexes: tuple[int, ...]
    stale_versions: tuple[int, ...]
    stale_values: tuple[bytes, ...]
    lost_indexes: tuple[int, ...]
    lost_ranks: tuple[int, ...]
    refresh_keys: tuple[bytes, ...]
    refresh_versions: tuple[int, ...]
    refresh_values: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Vote:
    """`votes`: one shard's judgement on all lanes of an epoch that aren't excluded (step 6).

    Without lanes it only tells the digest and the address: at the start of a shard, and after the last epoch.
    """

    epoch: int
    shard: int
    address: str
    lanes: tuple[Judgement, ...]
    digest: ShardDigest


@dataclass(frozen=True, slots=True, kw_only=True)
class Carry:
    """`carries`: a transaction that did not commit (step 8)."""

    epoch: int
    attempt: Attempt
    origin_epoch: int
    origin_partition: int
    origin_offset: int
    hash: bytes
    sender: bytes
    raw: bytes
    touched: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """`outcomes`: what a lane came to, with the newest offers of its attempt (step 8)."""

    epoch: int
    lane: LaneOutcome
    offers: tuple[Offer, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """`deadletters`: a record that cannot be decoded or that was skipped."""

    partition: int
    offset: int
    reason: str
    record: bytes


# ---- what is stored and served ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstCut:
    """Offsets below `end` were first cut in `epoch`."""

    end: int
    epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """What a partition still has to run, and how far it has come."""

    consumed: int = 0
    first_cuts: tuple[FirstCut, ...] = ()
    pending: tuple[Accepted, ...] = ()
    carries_end: int = 0
    joins_from: int = 0
    offered: int = 0
    strikes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredTip:
    """A tip of the chain as shards store and serve it; see `schemas.chain.Tip`."""

    hash: bytes
    offset: int
    epoch: int
    block: int
    timestamp_ms: int
    randomness: bytes
    cut: tuple[Lane, ...]
    excluded: tuple[int, ...]
    inputs: tuple[Input, ...]
    outcomes_read: int
    digests: tuple[ShardDigest, ...]
    ancestors: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadRequest:
    """Read service: keys, pinned to an epoch or at whatever the shard has applied."""

    keys: tuple[bytes, ...]
    at: int | None
    wait_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadAnswer:
    """Read service: entries in the order of the keys, all of one snapshot."""

    epoch: int
    values: tuple[bytes, ...]
    versions: tuple[int, ...]
