"""A log written by hand: transactions, valid manifests and receipts, without executors and shards."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from eth_account import Account

from ingest.transactions import decode
from schemas.chain import Tip
from schemas.codec import CODEC
from schemas.errors import InvalidTransaction, UndecodableRecord
from schemas.hashing import digest
from schemas.keys import minimal, source_home
from schemas.placing import placed
from schemas.records import (
    Attempt,
    Envelope,
    Event,
    Exclusion,
    Lane,
    LaneOutcome,
    Manifest,
    Offset,
    Partition,
    Receipt,
    ShardDigest,
    Slice,
    Source,
)
from schemas.rules import Rules
from schemas.topics import EPOCHS, receipts, transactions
from streams.log import MemoryLog

START_MS = 1_700_000_000_000
TO = bytes.fromhex("00000000000000000000000000000000000000aa")


def account(number: int) -> Any:
    """A key to sign with."""
    return Account.from_key(number.to_bytes(32, "big"))


def signed(sender: Any, nonce: int = 0, *, rules: Rules | None = None, **fields: Any) -> bytes:
    """A signed transaction; a fee market one unless fields say otherwise."""
    fees = {} if "gasPrice" in fields else {"maxFeePerGas": 2 * 10**9, "maxPriorityFeePerGas": 10**9}
    unsigned = {
        "chainId": (rules or Rules()).chain_id, "nonce": nonce, "to": TO, "value": 1, "gas": 100_000, **fees, **fields}
    return bytes(sender.sign_transaction({k: v for k, v in unsigned.items() if v is not None}).raw_transaction)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a transaction came to."""

    status: str = "success"
    reason: str = ""
    gas: int = 21_000
    logs: tuple[Event, ...] = ()
    contract: bytes | None = None


@dataclass
class WrittenChain:
    """Writes a chain record by record.

    Each partition is a lane of its own, in the order of the partitions.
    """

    partitions: int = 2
    shards: int = 2
    rules: Rules = field(default_factory=Rules)

    def __post_init__(self) -> None:
        self.log = MemoryLog()
        self.genesis = Tip.genesis(b"\1" * 32, self.partitions, self.shards, self.rules, START_MS)
        self.tip = self.genesis
        self.listed: list[list[Source]] = []

    def send(self, raw: bytes, partition: int = 0) -> Source:
        """Append a transaction as a client does."""
        topic = transactions(partition)
        self.log.append(topic, CODEC.encode(Envelope(raw=raw)))
        return Source(Partition(partition), Offset(len(self.log.topics[topic]) - 1))

    def cut(self) -> None:
        """A manifest that cuts all that was sent, and closes an empty epoch."""
        self.append(self.manifest(()))

    def close(
        self, verdicts: Mapping[Source, Verdict] | None = None, *, publish: bool = True, digests: Sequence[bytes] = (),
    ) -> list[Receipt]:
        """A manifest that closes the open epoch and cuts what was sent meanwhile; then the receipts, unless told not to."""
        before = self.tip
        drafts = [self.drafts(sources, verdicts) for sources in self.listed]
        close = tuple(self.outcome(rank, sources, verdicts) for rank, sources in enumerate(self.listed))
        named = tuple(ShardDigest(shard=s, epoch=before.epoch, digest=d) for s, d in enumerate(digests))
        self.append(replace(self.manifest(close), digests=named))
        final: list[Receipt] = []
        for rank, lane_receipts in enumerate(drafts):
            final += map(placed(before, close, rank, self.tip.hash), lane_receipts)
        if publish:
            self.publish(final)
        return final

    def outcome(
        self, rank: int, sources: Sequence[Source], verdicts: Mapping[Source, Verdict] | None = None
    ) -> LaneOutcome:
        """What a lane of the open epoch came to."""
        found = self.drafts(sources, verdicts)
        return LaneOutcome(
            attempt=self.tip.cut[rank].attempt, revised=(), carried=(), accepted=(),
            included=sum(receipt.included for receipt in found), rejected=sum(not receipt.included for receipt in found),
            gas=sum(receipt.gas_used for receipt in found), logs=sum(len(receipt.logs) for receipt in found),
            list_digest=bytes(32))

    def publish(self, found: Sequence[Receipt]) -> None:
        """Append receipts as the shards do."""
        for receipt in found:
            self.log.append(
                receipts(receipt.shard), CODEC.encode(receipt), key=receipt.hash,
                headers={"status": receipt.status.encode(), "from": receipt.sender, "to": receipt.recipient or b""})

    def manifest(self, close: tuple[LaneOutcome | None, ...]) -> Manifest:
        """A valid manifest."""
        inputs = self.tip.inputs_after(close)
        lanes, offers, self.listed = [], [], []
        for partition, waiting in enumerate(inputs):
            high = len(self.log.topics.get(transactions(partition), ()))
            offers.append(high)
            if high > waiting.consumed:
                cut = Slice(partition=partition, low=waiting.consumed, high=high)
                attempt = Attempt(bytes([partition + 1]) * 16)
                lanes.append(Lane(attempt=attempt, joined=partition, partitions=(partition,), slices=(cut,)))
                self.listed.append(
                    [Source(Partition(partition), Offset(offset)) for offset in range(waiting.consumed, high)])
        epoch = self.tip.epoch + 1
        return Manifest(
            epoch=epoch, block=self.tip.block_after(close), previous=self.tip.hash,
            timestamp_ms=START_MS + 1_500 * epoch, randomness=digest(b"random%d" % epoch), rules=self.rules.hash(),
            close=close, cut=tuple(lanes), digests=(), outcomes_read=0, offers=tuple(offers))

    def append(self, record: Manifest | Exclusion) -> None:
        """Append a record that has to be valid."""
        data = CODEC.encode(record)
        self.log.append(EPOCHS, data)
        after = self.tip.after(record, digest(data), len(self.log.topics[EPOCHS]) - 1)
        assert after is not None
        self.tip = after

    def drafts(self, sources: Sequence[Source], verdicts: Mapping[Source, Verdict] | None = None) -> list[Receipt]:
        """The receipts of a lane of the open epoch, counted from its start."""
        found, index, gas, logs = [], 0, 0, 0
        for source in sources:
            verdict = (verdicts or {}).get(source, Verdict())
            included = verdict.status != "rejected"
            used = verdict.gas if included else 0
            gas += used
            found.append(Receipt(
                partition=source.partition, offset=source.offset, epoch=self.tip.epoch,
                shard=source_home(source.partition, source.offset, self.shards), index=0, status=verdict.status,
                reason=verdict.reason, contract=verdict.contract, block=None, block_hash=None,
                timestamp_ms=self.tip.timestamp_ms, transaction_index=index if included else None, gas_used=used,
                cumulative_gas=gas, gas_price=minimal(10**9), log_index=logs, logs=verdict.logs, output=b"",
                **self._identity(source)))
            index += included
            logs += len(verdict.logs)
        return found

    def _identity(self, source: Source) -> dict[str, Any]:
        """The fields of a receipt that tell which transaction it is."""
        record = self.log.topics[transactions(source.partition)][source.offset]
        try:
            transaction = decode(CODEC.decode_as(Envelope, record.value).raw, self.rules)
        except (InvalidTransaction, UndecodableRecord):
            return {"hash": digest(record.value), "sender": b"", "recipient": None, "nonce": 0, "kind": 0}
        return {
            "hash": transaction.hash, "sender": transaction.sender, "recipient": transaction.to,
            "nonce": transaction.nonce, "kind": transaction.type}
