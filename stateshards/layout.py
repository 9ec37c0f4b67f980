"""How a shard's state lies in its files: the bytes of keys and values, and nothing of the library that keeps them.

Three families of keys, each sorted by bytes:

=========  =============================================  =====================================================
family     key                                            value
=========  =============================================  =====================================================
newest     state key                                      version (8) + value
history    length of the state key (4) + state key +      version (8) + value that this epoch replaced; version 0
           epoch (8)                                      and no value where there was none
default    ``r`` + epoch (8) + number (4)                 timestamp of the epoch in ms (8) + some of the history
                                                          keys that its batch wrote, one after the other
default    ``a`` + number of a block (8)                  hash of the block (32)
default    ``identity``, ``durable``, ``oldest``,         see the functions below
           ``loading``
=========  =============================================  =====================================================

All integers are big-endian, so that the order of the bytes is that of the numbers. History is found by key (a read
pinned to an epoch takes the first replacement after it) and dropped by age (the lists under ``r`` name it in the order
of the epochs). The tips stand in ``durable`` without the hashes of the newest blocks: those are 8 KiB that hardly
change, so each has a key of its own.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace

from schemas.chain import Tip
from schemas.codec import CODEC
from schemas.errors import InvariantViolation
from schemas.records import Entry, ShardDigest, StoredTip, Version
from schemas.rules import Rules

from .store import Durable

FORMAT = 1
"""Raised when the layout changes."""

IDENTITY = b"identity"
"""Written last by a load: a store that has it is complete."""
LOADING = b"loading"
"""Written first by a load."""
DURABLE = b"durable"
OLDEST = b"oldest"

ABSENT = bytes(8)
"""Stored form of `NEVER`."""

_LISTED = struct.Struct(">cQI")
_NUMBERED = struct.Struct(">cQ")
_IDENTITY = struct.Struct(">HII")
_DURABLE = struct.Struct(">qIqIHIHI")


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Whose state a store holds."""

    anchor: bytes
    """`schemas.chain.anchor`: genesis, N, M and rules in 32 bytes."""
    shard: int
    shards: int

    def __str__(self) -> str:
        return f"shard {self.shard} of {self.shards}, anchor 0x{self.anchor.hex()}"


def packed_identity(identity: Identity) -> bytes:
    """Format (2), shard (4), number of shards (4), anchor."""
    return _IDENTITY.pack(FORMAT, identity.shard, identity.shards) + identity.anchor


def unpacked_identity(data: bytes) -> tuple[int, Identity]:
    """The format and the identity."""
    version, shard, shards = _IDENTITY.unpack_from(data)
    return version, Identity(anchor=data[_IDENTITY.size :], shard=shard, shards=shards)


def packed_entry(entry: Entry) -> bytes:
    """Version (8) and value."""
    return entry.version.to_bytes(8, "big") + entry.value


def unpacked_entry(data: bytes) -> Entry:
    """The entry that `packed_entry` wrote."""
    return Entry(data[8:], Version(int.from_bytes(data[:8], "big")))


def history_key(key: bytes, epoch: int) -> bytes:
    """Where the entry lies that `epoch` replaced. The length in front keeps keys apart that start alike."""
    return len(key).to_bytes(4, "big") + key + epoch.to_bytes(8, "big")


def split_history_keys(data: bytes) -> Iterator[bytes]:
    """The history keys in a row."""
    start = 0
    while start < len(data):
        end = start + 12 + int.from_bytes(data[start : start + 4], "big")
        yield data[start:end]
        start = end


def replaced_key(epoch: int, number: int) -> bytes:
    """Where a list of what an epoch replaced lies."""
    return _LISTED.pack(b"r", epoch, number)


def replaced_epoch(key: bytes) -> int | None:
    """The epoch of a list; None for a key of another kind."""
    if len(key) != _LISTED.size or key[:1] != b"r":
        return None
    return int.from_bytes(key[1:9], "big")


def hash_key(number: int) -> bytes:
    """Where the hash of a block lies."""
    return _NUMBERED.pack(b"a", number)


def hash_number(key: bytes) -> int | None:
    """The number of a block; None for a key of another kind."""
    return int.from_bytes(key[1:], "big") if len(key) == _NUMBERED.size and key[:1] == b"a" else None


def first_ancestor(tip: Tip) -> int:
    """Number of the oldest block whose hash the tip holds."""
    return tip.block - len(tip.ancestors)


def packed_tip(tip: Tip) -> bytes:
    """The tip as a record, without the hashes of the newest blocks."""
    return CODEC.encode(replace(tip.stored(), ancestors=()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """`Durable` as stored: the hashes of the blocks are still to be put back."""

    tip: StoredTip
    tip_hashes: int
    published: StoredTip
    published_hashes: int
    prepares_from: int
    digest: ShardDigest

    def restored(self, hashes: dict[int, bytes], rules: Rules) -> Durable:
        """With the hashes of the blocks, by their numbers."""
        return Durable(
            tip=_restored(self.tip, self.tip_hashes, hashes, rules),
            published=_restored(self.published, self.published_hashes, hashes, rules),
            prepares_from=self.prepares_from,
            digest=self.digest,
        )


def packed_durable(durable: Durable, tip: bytes, published: bytes) -> bytes:
    """A header, the digest, and the two tips that `packed_tip` wrote."""
    header = _DURABLE.pack(
        durable.prepares_from,
        durable.digest.shard,
        durable.digest.epoch,
        len(durable.digest.digest),
        len(durable.tip.ancestors),
        len(tip),
        len(durable.published.ancestors),
        len(published),
    )
    return b"".join((header, durable.digest.digest, tip, published))


def unpacked_durable(data: bytes) -> Packed:
    """What `packed_durable` wrote."""
    prepares_from, shard, epoch, digest_size, tip_hashes, tip_size, published_hashes, published_size = (
        _DURABLE.unpack_from(data)
    )
    tip_from = _DURABLE.size + digest_size
    published_from = tip_from + tip_size
    return Packed(
        tip=CODEC.decode_as(StoredTip, data[tip_from:published_from]),
        tip_hashes=tip_hashes,
        published=CODEC.decode_as(StoredTip, data[published_from : published_from + published_size]),
        published_hashes=published_hashes,
        prepares_from=prepares_from,
        digest=ShardDigest(shard=shard, epoch=epoch, digest=data[_DURABLE.size : tip_from]),
    )


def _restored(stored: StoredTip, count: int, hashes: dict[int, bytes], rules: Rules) -> Tip:
    numbers = range(stored.block - count, stored.block)
    missing = [number for number in numbers if number not in hashes]
    if missing:
        raise InvariantViolation(f"the store lacks the hashes of {len(missing)} blocks, the first is {missing[0]}")
    return Tip.restored(replace(stored, ancestors=tuple(hashes[number] for number in numbers)), rules)
