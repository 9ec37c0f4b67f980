"""How a running pipeline is: read from the ends of its topics and from the read services of its shards.

Nothing has to be switched on for it, and nothing that runs is slowed down by it.
"""

import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from schemas import topics
from schemas.chain import Tip
from schemas.codec import CODEC
from schemas.errors import ParsecError, UndecodableRecord
from schemas.hashing import digest
from schemas.records import Exclusion, Manifest, Vote
from schemas.topics import Topic
from streams.kafka import KafkaLog
from streams.log import Fetched
from streams.reads import ShardReader
from streams.start import records_between, shard_addresses

from .pipeline import Pipeline

WINDOW_S = 10.0
"""Rates are means over so long."""
EPOCHS_TAIL = 1_500
"""So many of the newest records of `epochs` are looked at."""
VOTES_TAIL = 400
SHARD_ANSWER_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionStatus:
    """A partition of transactions."""

    partition: int
    end: int
    """One past the last offset on the topic."""
    consumed: int
    """The first offset that isn't committed."""
    lag: int
    pending: int
    """Carried transactions that can run."""
    parked: int
    """Carried transactions that wait for a nonce."""
    strikes: int
    """Exclusions in a row of the lanes that ran it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardStatus:
    """A shard, as its read service tells."""

    shard: int
    address: str
    applied: int | None
    """The newest applied epoch; None if it doesn't answer."""
    published: int | None
    """The newest epoch whose receipts are published."""
    waiting_reads: int | None
    digest: str
    """The newest digest that a manifest names, hexadecimal."""
    digest_epoch: int
    problem: str = ""
    """Why it doesn't answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """What the epochs that closed lately came to."""

    window_s: float
    epochs: int = 0
    lanes: int = 0
    aborted: int = 0
    """Lanes that did not commit."""
    exclusions: int = 0
    included: int = 0
    rejected: int = 0
    carried: int = 0
    gas: int = 0
    transactions_per_s: float = 0.0
    epochs_per_s: float = 0.0
    carried_per_100: float = 0.0
    """Carried transactions on 100 committed ones."""
    stale: int = 0
    """Reads that the votes of these epochs found stale."""
    lost: int = 0
    """Keys that were lost to another lane."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """A whole pipeline at a moment."""

    kafka: str
    prefix: str
    chain_id: int
    epoch: int
    """The open one."""
    block: int
    """The newest one."""
    timestamp_ms: int
    """Of the newest manifest."""
    age_ms: int
    """How long ago that was; without work there are no new ones."""
    executors: int
    """Members of the consumer group that have partitions."""
    lag: int
    """Transactions on the topic that aren't committed."""
    partitions: tuple[PartitionStatus, ...]
    shards: tuple[ShardStatus, ...]
    rates: Rates
    problems: tuple[str, ...]
    """What is not as it should be, in words."""

    def document(self) -> dict[str, Any]:
        """All of it for JSON."""
        return asdict(self)


class Watcher:
    """Looks at a pipeline, once or again and again; used by one thread.

    Parameters
    ----------
    pipeline
        What to look at.
    kafka
        A connection that reads uncommitted, as executors do.
    reader
        Knows the shards' addresses.
    """

    def __init__(self, pipeline: Pipeline, kafka: KafkaLog, reader: ShardReader) -> None:
        self._pipeline = pipeline
        self._kafka = kafka
        self._reader = reader
        self._admin = AdminClient(pipeline.settings.client())
        self._tip: Tip | None = None
        self._silent = False
        """Whether a shard did not answer the last time: it may have another address by now."""

    def look(self) -> Status:
        """The status now."""
        pipeline, now_ms = self._pipeline, time.time_ns() // 1_000_000
        if self._silent:
            for shard, address in shard_addresses(self._kafka, pipeline.shards).items():
                self._reader.set_address(shard, address)
        inputs = [topics.transactions(p) for p in range(pipeline.partitions)]
        ends = self._kafka.ends([topics.EPOCHS, *inputs])
        tip = self._tip or self._first_tip()
        low = min(tip.offset + 1, max(0, ends[topics.EPOCHS] - EPOCHS_TAIL))
        recent: list[Manifest | Exclusion] = []
        for fetched in records_between(self._kafka, topics.EPOCHS, low, ends[topics.EPOCHS]):
            record = decoded(fetched)
            if not isinstance(record, Manifest | Exclusion):
                continue
            recent.append(record)
            if fetched.offset > tip.offset:
                tip = tip.after(record, digest(fetched.value), fetched.offset) or tip
        self._tip = tip
        partitions = tuple(partition_status(p, tip, ends[topic]) for p, topic in enumerate(inputs))
        shards = tuple(self._shard(shard, tip) for shard in range(pipeline.shards))
        self._silent = any(each.problem for each in shards)
        executors = self._executors()
        rates = self._with_votes(rates_of(recent, now_ms), tip)
        return Status(
            kafka=pipeline.settings.bootstrap,
            prefix=pipeline.settings.prefix,
            chain_id=pipeline.genesis.rules.chain_id,
            epoch=tip.epoch,
            block=tip.block - 1,
            timestamp_ms=tip.timestamp_ms,
            age_ms=max(0, now_ms - tip.timestamp_ms),
            executors=executors,
            lag=sum(each.lag for each in partitions),
            partitions=partitions,
            shards=shards,
            rates=rates,
            problems=tuple(problems_of(executors, shards, partitions, tip, rates)),
        )

    def _first_tip(self) -> Tip:
        """The newest tip that a shard gives; without any, the chain is followed from its begin."""
        for shard in self._reader.addresses():
            try:
                stored = self._reader.tip(shard, deadline_s=SHARD_ANSWER_S)
            except ParsecError:
                continue
            return Tip.restored(stored, self._pipeline.genesis.rules)
        return self._pipeline.start

    def _shard(self, shard: int, tip: Tip) -> ShardStatus:
        named = next((entry for entry in tip.digests if entry.shard == shard), None)
        told: dict[str, Any] = {}
        problem = ""
        try:
            told = self._reader.status(shard, deadline_s=SHARD_ANSWER_S)
        except ParsecError as exc:
            problem = str(exc)
        return ShardStatus(
            shard=shard,
            address=self._reader.addresses().get(shard, ""),
            applied=told.get("applied"),
            published=told.get("published"),
            waiting_reads=told.get("waiting_reads"),
            digest=named.digest.hex() if named else "",
            digest_epoch=named.epoch if named else 0,
            problem=problem,
        )

    def _executors(self) -> int:
        group = f"{self._pipeline.settings.prefix}executors"
        try:
            described = self._admin.describe_consumer_groups([group])[group].result(10)
        except KafkaException:
            return 0
        return sum(bool(member.assignment.topic_partitions) for member in described.members)

    def _with_votes(self, rates: Rates, tip: Tip) -> Rates:
        """The rates, with what the votes of the same epochs say of conflicts."""
        if not rates.epochs:
            return rates
        (low,), (high,) = self._kafka.begins([topics.VOTES]).values(), self._kafka.ends([topics.VOTES]).values()
        tail = max(VOTES_TAIL, 2 * rates.epochs * self._pipeline.shards)
        oldest = tip.epoch - rates.epochs
        stale = lost = 0
        for vote in _votes(self._kafka, topics.VOTES, max(low, high - tail), high):
            if vote.epoch >= oldest:
                stale += sum(len(lane.stale_indexes) for lane in vote.lanes)
                lost += sum(len(lane.lost_indexes) for lane in vote.lanes)
        return replace(rates, stale=stale, lost=lost)


def decoded(fetched: Fetched) -> Any:
    """The record, or None where nobody can read it."""
    try:
        return CODEC.decode(fetched.value)
    except UndecodableRecord:
        return None


def _votes(kafka: KafkaLog, topic: Topic, low: int, high: int) -> Iterable[Vote]:
    """The votes in a range, each of a shard and epoch once: a shard that starts again repeats itself."""
    seen: set[tuple[int, int]] = set()
    for fetched in records_between(kafka, topic, low, high):
        vote = decoded(fetched)
        if isinstance(vote, Vote) and vote.lanes and (vote.epoch, vote.shard) not in seen:
            seen.add((vote.epoch, vote.shard))
            yield vote


def partition_status(partition: int, tip: Tip, end: int) -> PartitionStatus:
    """How far a partition is."""
    waiting = tip.inputs[partition]
    parked = sum(carry.parked_ms is not None for carry in waiting.pending)
    return PartitionStatus(
        partition=partition,
        end=end,
        consumed=waiting.consumed,
        lag=max(0, end - waiting.consumed),
        pending=len(waiting.pending) - parked,
        parked=parked,
        strikes=waiting.strikes,
    )


def rates_of(recent: Iterable[Manifest | Exclusion], now_ms: int, window_s: float = WINDOW_S) -> Rates:
    """What the manifests of the last seconds closed. Each epoch counts once, whoever repeated its manifest."""
    oldest_ms = now_ms - int(window_s * 1000)
    counts: Counter[str] = Counter()
    seen: set[int] = set()
    excluding = 0
    for record in recent:
        if isinstance(record, Exclusion):
            excluding += 1
            continue
        excluded, excluding = excluding, 0
        if record.timestamp_ms < oldest_ms or not record.close or record.epoch in seen:
            continue
        seen.add(record.epoch)
        counts["exclusions"] += excluded
        counts["epochs"] += 1
        for outcome in record.close:
            counts["lanes"] += 1
            if outcome is None:
                counts["aborted"] += 1
                continue
            counts["included"] += outcome.included
            counts["rejected"] += outcome.rejected
            counts["carried"] += len(outcome.carried)
            counts["gas"] += outcome.gas
    committed = counts["included"] + counts["rejected"]
    return Rates(
        window_s=window_s,
        **counts,
        transactions_per_s=committed / window_s,
        epochs_per_s=counts["epochs"] / window_s,
        carried_per_100=100 * counts["carried"] / committed if committed else 0.0,
    )


def problems_of(
    executors: int, shards: Iterable[ShardStatus], partitions: Iterable[PartitionStatus], tip: Tip, rates: Rates
) -> list[str]:
    """What is not as it should be."""
    problems = [f"shard {each.shard} does not answer: {each.problem}" for each in shards if each.problem]
    if not executors:
        problems.append("no executor has partitions")
    lagging = [each for each in partitions if each.lag]
    if lagging and not rates.epochs:
        total = sum(each.lag for each in lagging)
        problems.append(f"{total} offsets wait, and no epoch closed within {rates.window_s:g} s: {tip.epoch} is open")
    problems += [
        f"partition {each.partition}: {each.strikes} exclusions in a row" for each in partitions if each.strikes]
    return problems
