"""The index of blocks, transactions, receipts and logs, in RocksDB.

Layout of its keys, numbers big-endian; those of logs are in `logs`:

=============================  ======================================================================
key                            value
=============================  ======================================================================
``m`` + name                   the anchor of the chain, the tip, the positions to read on from
``t`` + source (12)            the signed transaction, as it lies in `transactions`
``r`` + source (12)            the receipt, its bytes on the topic
``h`` + transaction hash (32)  source of its receipt, and ``01`` if it is included, ``00`` if rejected
``b`` + number (8)             the block
``n`` + block hash (32)        its number
``x`` + number (8)             roots, bloom and size of the block, once somebody has asked for it
=============================  ======================================================================

One thread writes; any may read. An epoch appears as a whole, with the positions that a restart reads on from.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from threading import Condition
from typing import NamedTuple

import orjson

from schemas.chain import Tip
from schemas.codec import CODEC
from schemas.errors import GenesisRefused, InvariantViolation
from schemas.records import Epoch, Receipt, Source, StoredTip

from . import logs
from .assembly import CompleteEpoch
from .blocks import BlockRoots, IndexedBlock, packed_source, state_commitment, unpacked_source
from .database import Database

BLOCKS_CACHED = 1_024
_ANCHOR = b"manchor"
_TIP = b"mtip"
_POSITIONS = b"mpositions"
_INCLUDED = b"\x01"
_REJECTED = b"\x00"


class Head(NamedTuple):
    """The newest that the index has complete."""

    epoch: Epoch
    block: int
    """Number of the newest block at that epoch."""


class Positions(NamedTuple):
    """Where a restart reads on."""

    receipts: dict[int, int]
    transactions: dict[int, int]


class BlockIndex:
    """Blocks by number and hash, transactions and receipts by hash and source, logs by address and topic.

    Parameters
    ----------
    path
        Directory of the database; it is made if it isn't there, and belongs to one process at a time.
    genesis
        The tip before the first manifest.
    shards
        M, the number of partitions of `receipts`.

    Raises
    ------
    GenesisRefused
        The directory holds the index of another chain.
    """

    def __init__(self, path: Path, genesis: Tip, shards: int) -> None:
        self.rules = genesis.rules
        self._database = Database(path)
        self._changed = Condition()
        self._block = lru_cache(BLOCKS_CACHED)(self._read_block)
        anchor = self._database.value(_ANCHOR)
        if anchor is None:
            self._begin(genesis, shards)
        elif anchor != genesis.hash:
            self._database.close()
            raise GenesisRefused(
                f"the index in {path} belongs to a chain with the anchor 0x{anchor.hex()}, not 0x{genesis.hash.hex()}; "
                "genesis, number of partitions, number of shards or rules differ"
            )
        self.tip = self._stored_tip()
        self.positions = self._stored_positions()
        self._head = self._head_of(self.tip)

    # ---- writing ------------------------------------------------------------------------------------------------

    def _begin(self, genesis: Tip, shards: int) -> None:
        block = IndexedBlock(
            number=0,
            hash=genesis.hash,
            parent_hash=bytes(32),
            epoch=0,
            timestamp_ms=genesis.timestamp_ms,
            randomness=genesis.randomness,
            state_root=state_commitment(()),
            gas_used=0,
            sources=(),
        )
        positions = Positions(dict.fromkeys(range(shards), 0), dict.fromkeys(range(len(genesis.inputs)), 0))
        self._database.write(
            [
                *_block_entries(block),
                (_ANCHOR, genesis.hash),
                (_TIP, CODEC.encode(genesis.stored())),
                (_POSITIONS, _positions_bytes(positions)),
            ]
        )

    def store(
        self,
        epochs: Sequence[CompleteEpoch],
        transactions: Sequence[tuple[Source, bytes]],
        tip: Tip,
        positions: Positions,
    ) -> None:
        """Store whole epochs and transactions with the positions after them, in one atomic batch.

        Parameters
        ----------
        epochs
            In order, following those that are stored.
        transactions
            Signed transactions by source.
        tip
            After the manifest that closed the last stored epoch.
        positions
            Where a restart reads on.
        """
        entries = [(b"t" + packed_source(source), raw) for source, raw in transactions]
        hashes: dict[bytes, bytes] = {}
        for epoch in epochs:
            entries += self._epoch_entries(epoch, hashes)
        entries += hashes.items()
        if epochs:
            entries.append((_TIP, CODEC.encode(tip.stored())))
        entries.append((_POSITIONS, _positions_bytes(positions)))
        self._database.write(entries)
        self.positions = positions
        if epochs:
            self.tip = tip
            with self._changed:
                self._head = self._head_of(tip)
                self._changed.notify_all()

    def _epoch_entries(self, epoch: CompleteEpoch, hashes: dict[bytes, bytes]) -> Iterator[tuple[bytes, bytes]]:
        for receipt, data in epoch.rejected:
            key = b"h" + receipt.hash
            known = hashes.get(key) or self._database.value(key)
            # A rejection never replaces an inclusion of the same hash.
            if known is None or known[-1:] != _INCLUDED:
                hashes[key] = packed_source(receipt.source) + _REJECTED
            yield b"r" + packed_source(receipt.source), data
        for receipt, data in epoch.included:
            hashes[b"h" + receipt.hash] = packed_source(receipt.source) + _INCLUDED
            yield b"r" + packed_source(receipt.source), data
        if epoch.block is not None:
            yield from _block_entries(epoch.block)
            yield from logs.entries(epoch.block.number, [receipt for receipt, _ in epoch.included])

    def _stored_tip(self) -> Tip:
        data = self._database.value(_TIP)
        if data is None:
            raise InvariantViolation("the index holds no tip of the chain; remove its directory to build it again")
        return Tip.restored(CODEC.decode_as(StoredTip, data), self.rules)

    def _stored_positions(self) -> Positions:
        stored = orjson.loads(self._database.value(_POSITIONS) or b"{}")
        return Positions(*({int(at): offset for at, offset in stored[name].items()} for name in Positions._fields))

    @staticmethod
    def _head_of(tip: Tip) -> Head:
        return Head(Epoch(max(tip.epoch - 1, 0)), tip.block - 1)

    # ---- reading ------------------------------------------------------------------------------------------------

    @property
    def head(self) -> Head:
        """The newest complete epoch and block."""
        return self._head

    @property
    def latest_epoch(self) -> Epoch:
        """The newest complete epoch; 0 before the first one."""
        return self._head.epoch

    @property
    def latest_block(self) -> int:
        """Number of the newest block."""
        return self._head.block

    def wait_for_epoch(self, epoch: int, timeout_s: float) -> bool:
        """Wait until an epoch is complete; whether it is."""
        with self._changed:
            return self._changed.wait_for(lambda: self._head.epoch >= epoch, timeout_s)

    def block(self, number: int) -> IndexedBlock | None:
        """A block by its number."""
        return self._block(number) if 0 <= number <= self._head.block else None

    def block_by_hash(self, block_hash: bytes) -> IndexedBlock | None:
        """A block by its hash."""
        number = self._database.value(b"n" + block_hash)
        return None if number is None else self.block(int.from_bytes(number, "big"))

    def _read_block(self, number: int) -> IndexedBlock:
        data = self._database.value(b"b" + number.to_bytes(8, "big"))
        if data is None:
            raise InvariantViolation(f"the index has no block {number}, though its newest is {self._head.block}")
        return IndexedBlock.from_bytes(data)

    def receipt(self, transaction_hash: bytes) -> Receipt | None:
        """The receipt of a transaction: of its inclusion, or else of its last rejection."""
        found = self._database.value(b"h" + transaction_hash)
        return None if found is None else self.receipt_of(unpacked_source(found[:12]))

    def receipt_of(self, source: Source) -> Receipt | None:
        """The receipt of what a client put at a source."""
        data = self._database.value(b"r" + packed_source(source))
        return None if data is None else CODEC.decode_as(Receipt, data)

    def receipts(self, block: IndexedBlock, indexes: Sequence[int] | None = None) -> list[Receipt]:
        """The receipts of a block by index, or of these indexes alone."""
        sources = block.sources if indexes is None else [block.sources[index] for index in indexes]
        return [CODEC.decode_as(Receipt, data) for data in self._values(b"r", sources)]

    def transaction(self, source: Source) -> bytes | None:
        """The signed transaction that a client put at a source."""
        return self._database.value(b"t" + packed_source(source))

    def transactions(self, block: IndexedBlock) -> list[bytes]:
        """The signed transactions of a block by index."""
        return self._values(b"t", block.sources)

    def _values(self, kind: bytes, sources: Sequence[Source]) -> list[bytes]:
        found = self._database.values([kind + packed_source(source) for source in sources])
        present = [data for data in found if data is not None]
        if len(present) != len(found):
            raise InvariantViolation(f"the index lacks {len(found) - len(present)} of {len(found)} entries of a block")
        return present

    def roots(self, block: IndexedBlock) -> BlockRoots:
        """Roots, bloom and size of a block; computed when it is first asked for."""
        key = b"x" + block.number.to_bytes(8, "big")
        known = self._database.value(key)
        if known is not None:
            return BlockRoots.from_bytes(known)
        roots = BlockRoots.of(block, self.transactions(block), self.receipts(block), self.rules)
        self._database.write([(key, roots.to_bytes())])
        return roots

    def logs(self, asked: logs.LogFilter, first: int, last: int, limit: int) -> list[logs.LoggedEvent]:
        """The logs of the blocks `first` to `last` that a filter asks for, in order.

        Raises
        ------
        LimitExceeded
            If they are more than `limit`.
        """
        last = min(last, self._head.block)
        if first > last:
            return []
        found: list[logs.LoggedEvent] = []
        for number, indexes in sorted(logs.candidates(self._database, asked, first, last).items()):
            for receipt in self.receipts(self._block(number), sorted(indexes)):
                found += logs.matching(receipt, asked)
            if len(found) > limit:
                raise logs.LimitExceeded(f"query returned more than {limit} results")
        return found

    def close(self) -> None:
        """Close the database."""
        self._database.close()


def _block_entries(block: IndexedBlock) -> list[tuple[bytes, bytes]]:
    number = block.number.to_bytes(8, "big")
    return [(b"b" + number, block.to_bytes()), (b"n" + block.hash, number)]


def _positions_bytes(positions: Positions) -> bytes:
    by_name: Mapping[str, Mapping[int, int]] = positions._asdict()
    return orjson.dumps({name: {str(at): offset for at, offset in of.items()} for name, of in by_name.items()})
