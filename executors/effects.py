"""What a walk changes, shard by shard: final writes, deltas and receipts; and the records that carry them (step 5)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from ingest.transactions import Transaction
from schemas.chain import Listed, Tip
from schemas.keys import home, minimal, source_home
from schemas.records import Attempt, Event, Prepare, Receipt, Revision
from schemas.topics import RECORD_BYTES_MAX

from .machine import Rejected, Result
from .view import Run
from .walk import Item, Refused, Walk

OUTPUT_BYTES_MAX = 1_024
"""Of the data of a revert, so much is kept in a receipt."""
PART_BYTES = RECORD_BYTES_MAX // 2
"""A record is split before it grows beyond this estimate."""
RECEIPT_BYTES = 256
"""Estimate of a receipt without logs."""


@dataclass(slots=True)
class Effects:
    """What a lane changes at one shard."""

    writes: dict[bytes, bytes] = field(default_factory=dict)
    deltas: dict[bytes, int] = field(default_factory=dict)
    receipts: list[Receipt] = field(default_factory=list)


@dataclass(slots=True)
class Totals:
    """Counts of a lane, for the close."""

    included: int = 0
    rejected: int = 0
    gas: int = 0
    logs: int = 0


def effects_of(
    walk: Walk, listed: Sequence[Listed], items: Sequence[Item], tip: Tip, shards: int
) -> tuple[list[Effects], Totals]:
    """The effects of a finished walk at each shard, and its counts."""
    parts = [Effects() for _ in range(shards)]
    for key, value in walk.overlay.values.items():
        parts[home(key, shards)].writes[key] = value
    for key, amount in walk.overlay.deltas.items():
        parts[home(key, shards)].deltas[key] = amount
    totals = Totals()
    for position, run in enumerate(walk.runs):
        item = items[position]
        if run is None or run.waits or item is None:
            continue
        receipt = _receipt(listed[position], item, run, tip, totals)
        parts[source_home(receipt.partition, receipt.offset, shards)].receipts.append(receipt)
    return parts, totals


def _receipt(listed: Listed, item: Transaction | Refused, run: Run, tip: Tip, totals: Totals) -> Receipt:
    """The receipt of a position; its indexes count from the start of the lane."""
    answer = run.answer
    signed = item if isinstance(item, Transaction) else None
    if isinstance(answer, Result):
        index: int | None = totals.included
        first_log = totals.logs
        totals.included += 1
        totals.gas += answer.gas_used
        totals.logs += len(answer.logs)
        status, reason, gas = answer.status.value, answer.reason, answer.gas_used
        logs = tuple([Event(address=log.address, topics=log.topics, data=log.data) for log in answer.logs])
        output = answer.output[:OUTPUT_BYTES_MAX] if status == "failed" else b""
        contract = answer.contract
    else:
        totals.rejected += 1
        index, first_log, status, gas, logs, output, contract = None, 0, "rejected", 0, (), b"", None
        reason = answer.reason if isinstance(answer, Rejected) else ""
    return Receipt(
        partition=listed.origin.partition,
        offset=listed.origin.offset,
        epoch=tip.epoch,
        shard=0,
        index=0,
        hash=item.hash,
        status=status,
        reason=reason,
        sender=signed.sender if signed else b"",
        recipient=signed.to if signed else None,
        contract=contract,
        nonce=signed.nonce if signed else 0,
        kind=signed.type if signed else 0,
        block=None,
        block_hash=None,
        timestamp_ms=tip.timestamp_ms,
        transaction_index=index,
        gas_used=gas,
        cumulative_gas=totals.gas if index is not None else 0,
        gas_price=minimal(effective_gas_price(signed, tip.rules.base_fee)) if signed else b"",
        log_index=first_log,
        logs=logs,
        output=output,
    )


def effective_gas_price(transaction: Transaction, base_fee: int) -> int:
    """Wei per gas that a transaction pays.

    References
    ----------
    EIP-1559.
    """
    return min(transaction.max_fee, base_fee + transaction.max_priority_fee)


# ---- records ----------------------------------------------------------------------------------------------------


def prepares_of(
    epoch: int, attempt: Attempt, shard: int, reads: dict[bytes, int], effects: Effects
) -> list[Prepare]:
    """The prepare for a shard; several parts where one record would be too large."""
    chunks = _chunks(reads, effects)
    return [
        Prepare(
            epoch=epoch,
            attempt=attempt,
            shard=shard,
            part=number,
            parts=len(chunks),
            read_keys=tuple(read),
            read_versions=tuple(read.values()),
            write_keys=tuple(part.writes),
            write_values=tuple(part.writes.values()),
            delta_keys=tuple(part.deltas),
            delta_amounts=tuple(map(minimal, part.deltas.values())),
            receipts=tuple(part.receipts),
        )
        for number, (read, part) in enumerate(chunks)
    ]


def revisions_of(epoch: int, attempt: Attempt, shard: int, effects: Effects) -> list[Revision]:
    """The revision for a shard, in as many parts as it takes."""
    chunks = _chunks({}, effects)
    return [
        Revision(
            epoch=epoch,
            attempt=attempt,
            shard=shard,
            part=number,
            parts=len(chunks),
            write_keys=tuple(part.writes),
            write_values=tuple(part.writes.values()),
            delta_keys=tuple(part.deltas),
            delta_amounts=tuple(map(minimal, part.deltas.values())),
            receipts=tuple(part.receipts),
        )
        for number, (_, part) in enumerate(chunks)
    ]


def _chunks(reads: dict[bytes, int], effects: Effects) -> list[tuple[dict[bytes, int], Effects]]:
    """Reads and effects as they are, or in pieces of which each fits into a record."""
    read_sizes = [len(key) + 12 for key in reads]
    write_sizes = [len(key) + len(value) + 8 for key, value in effects.writes.items()]
    delta_sizes = [len(key) + 40 for key in effects.deltas]
    receipt_sizes = [
        RECEIPT_BYTES + len(r.reason) + len(r.output) + sum(len(log.data) + 192 for log in r.logs)
        for r in effects.receipts
    ]
    if sum(read_sizes) + sum(write_sizes) + sum(delta_sizes) + sum(receipt_sizes) <= PART_BYTES:
        return [(reads, effects)]
    read_list, write_list, delta_list = list(reads.items()), list(effects.writes.items()), list(effects.deltas.items())
    chunks = [(dict(read_list[low:high]), Effects()) for low, high in _ranges(read_sizes)]
    chunks += [({}, Effects(writes=dict(write_list[low:high]))) for low, high in _ranges(write_sizes)]
    chunks += [({}, Effects(deltas=dict(delta_list[low:high]))) for low, high in _ranges(delta_sizes)]
    chunks += [({}, Effects(receipts=effects.receipts[low:high])) for low, high in _ranges(receipt_sizes)]
    return chunks


def _ranges(sizes: list[int]) -> Iterator[tuple[int, int]]:
    """Consecutive ranges whose sizes add up to at most a part, or to one item."""
    low, total = 0, 0
    for index, size in enumerate(sizes):
        if total + size > PART_BYTES and index > low:
            yield low, index
            low, total = index, 0
        total += size
    if sizes:
        yield low, len(sizes)
