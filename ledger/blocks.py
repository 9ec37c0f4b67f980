"""Blocks as the index knows them, and their layout in its database.

A block is an epoch with at least one included transaction. Its number stands in the manifest that cut it, and its hash
is the hash of the manifest that closes it: it isn't the Keccak of the header. Roots and bloom are real; they are
computed when somebody first asks for the block.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from struct import Struct

from schemas.hashing import digest
from schemas.records import Offset, Partition, Receipt, ShardDigest, Source
from schemas.rules import Rules

from .tries import BLOOM_BYTES, EMPTY_LIST_HASH, bloom, encode, encoded_receipt, list_bytes, ordered_root

_FIXED = Struct(">QQQQ32s32s32s32s")
_SOURCE = Struct(">IQ")
_SIZE = Struct(">Q")

SOURCE_BYTES = _SOURCE.size


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexedBlock:
    """A block without what is computed on demand."""

    number: int
    hash: bytes
    """Of the manifest that closes the epoch; the anchor of the chain for block 0."""
    parent_hash: bytes
    epoch: int
    timestamp_ms: int
    """Of the manifest that cut the epoch."""
    randomness: bytes
    """32 bytes: PREVRANDAO, the mix hash of the header."""
    state_root: bytes
    """`state_commitment` of the digests known in the closing manifest."""
    gas_used: int
    sources: tuple[Source, ...]
    """Of the included transactions, by their index in the block."""

    @property
    def timestamp_s(self) -> int:
        """What TIMESTAMP answers."""
        return self.timestamp_ms // 1000

    def to_bytes(self) -> bytes:
        """The value in the database."""
        fixed = _FIXED.pack(
            self.number,
            self.epoch,
            self.timestamp_ms,
            self.gas_used,
            self.hash,
            self.parent_hash,
            self.randomness,
            self.state_root,
        )
        return fixed + b"".join(_SOURCE.pack(*source) for source in self.sources)

    @classmethod
    def from_bytes(cls, data: bytes) -> "IndexedBlock":
        """Read a value of the database."""
        number, epoch, timestamp_ms, gas_used, own, parent, randomness, state_root = _FIXED.unpack_from(data)
        return cls(
            number=number,
            hash=own,
            parent_hash=parent,
            epoch=epoch,
            timestamp_ms=timestamp_ms,
            randomness=randomness,
            state_root=state_root,
            gas_used=gas_used,
            sources=tuple(
                Source(Partition(partition), Offset(offset))
                for partition, offset in _SOURCE.iter_unpack(data[_FIXED.size :])
            ),
        )


def packed_source(source: Source) -> bytes:
    """A source as part of a key: partition (4 bytes), offset (8), big-endian."""
    return _SOURCE.pack(*source)


def unpacked_source(data: bytes) -> Source:
    """The source in 12 bytes."""
    partition, offset = _SOURCE.unpack(data)
    return Source(Partition(partition), Offset(offset))


def state_commitment(digests: Sequence[ShardDigest]) -> bytes:
    """What a block gives as its state root: BLAKE2b-256 over shard (4 bytes), epoch (8) and digest (32) of each shard.

    The digests are the newest ones that the closing manifest names or builds on. They may be of an earlier epoch than
    the block, since a shard learns of the close only from that manifest. It is no root of a Merkle-Patricia trie.
    """
    return digest(
        b"".join(
            entry.shard.to_bytes(4, "big") + entry.epoch.to_bytes(8, "big") + entry.digest
            for entry in sorted(digests, key=lambda entry: entry.shard)
        )
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockRoots:
    """What is computed on the first request of a block."""

    transactions: bytes
    """Merkle-Patricia root over the signed transactions."""
    receipts: bytes
    """Merkle-Patricia root over the receipts."""
    bloom: bytes
    """256 bytes."""
    size: int
    """Bytes of the block in RLP: header, transactions and no uncles."""

    @classmethod
    def of(cls, block: IndexedBlock, raws: Sequence[bytes], receipts: Sequence[Receipt], rules: Rules) -> "BlockRoots":
        """Compute them from the signed transactions and the receipts of a block, both in order."""
        events = [event for receipt in receipts for event in receipt.logs]
        transactions_root = ordered_root(raws)
        receipts_root = ordered_root([encoded_receipt(receipt) for receipt in receipts])
        logs_bloom = bloom(events)
        header = [
            block.parent_hash, EMPTY_LIST_HASH, rules.coinbase, block.state_root, transactions_root, receipts_root,
            logs_bloom, 0, block.number, rules.block_gas_limit, block.gas_used, block.timestamp_s, b"",
            block.randomness, bytes(8), rules.base_fee,
        ]  # fmt: skip
        # Within a block a typed transaction is a string, a legacy one the list that it is.
        listed = sum(len(raw) if raw[0] >= 0xC0 else len(encode(raw)) for raw in raws)
        size = list_bytes(len(encode(header)) + list_bytes(listed) + list_bytes(0))
        return cls(transactions=transactions_root, receipts=receipts_root, bloom=logs_bloom, size=size)

    def to_bytes(self) -> bytes:
        """The value in the database."""
        return self.transactions + self.receipts + self.bloom + _SIZE.pack(self.size)

    @classmethod
    def from_bytes(cls, data: bytes) -> "BlockRoots":
        """Read a value of the database."""
        return cls(
            transactions=data[:32],
            receipts=data[32:64],
            bloom=data[64 : 64 + BLOOM_BYTES],
            size=_SIZE.unpack_from(data, 64 + BLOOM_BYTES)[0],
        )
