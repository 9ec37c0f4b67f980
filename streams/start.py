"""How a service finds its place in a running log: the addresses of the shards, and a tip of the chain to start from."""

import logging
import time
from collections.abc import Iterator

from schemas import topics
from schemas.chain import Tip
from schemas.codec import CODEC
from schemas.errors import GenesisRefused, ParsecError, Transient, UndecodableRecord
from schemas.records import Exclusion, Manifest, Vote
from schemas.topics import Topic

from .kafka import KafkaLog
from .log import Fetched
from .reads import ShardReader

log = logging.getLogger(__name__)

VOTES_TAIL = 400
"""So many of the newest votes are looked at for addresses, before all of them are."""
READ_TIMEOUT_S = 30.0


def records_between(kafka: KafkaLog, topic: Topic, low: int, high: int) -> Iterator[Fetched]:
    """The records of a topic in the range of offsets [low, high), then the topic is left again."""
    if high <= low:
        return
    kafka.follow({topic: low})
    deadline = time.monotonic() + READ_TIMEOUT_S
    try:
        while time.monotonic() < deadline:
            for fetched in kafka.poll(0.1):
                if fetched.topic == topic:
                    deadline = time.monotonic() + READ_TIMEOUT_S
                    if fetched.offset >= high:
                        return
                    yield fetched
            if kafka.position(topic) >= high:
                return
    finally:
        kafka.leave([topic])


def shard_addresses(kafka: KafkaLog, shards: int) -> dict[int, str]:
    """Where each shard's read service is, as far as the votes tell."""
    (low,), (high,) = kafka.begins([topics.VOTES]).values(), kafka.ends([topics.VOTES]).values()
    addresses: dict[int, str] = {}
    for start in sorted({max(low, high - VOTES_TAIL), low}, reverse=True):
        for fetched in records_between(kafka, topics.VOTES, start, high):
            try:
                vote = CODEC.decode(fetched.value)
            except UndecodableRecord:
                continue
            if isinstance(vote, Vote):
                addresses[vote.shard] = vote.address
        if len(addresses) == shards:
            break
    return addresses


def newest_tip(kafka: KafkaLog, reader: ShardReader, shards: int, genesis: Tip, *, patience_s: float = 20.0) -> Tip:
    """A tip to follow the chain from: the newest that a shard has, or the genesis where no shard answers.

    Raises
    ------
    GenesisRefused
        The log was begun with another genesis, N, M or rules.
    """
    (end,) = kafka.ends([topics.EPOCHS]).values()
    check_genesis(kafka, genesis, end)
    deadline = time.monotonic() + patience_s
    while end > 0 and time.monotonic() < deadline:
        for shard, address in shard_addresses(kafka, shards).items():
            reader.set_address(shard, address)
            try:
                return Tip.restored(reader.tip(shard, deadline_s=1.0), genesis.rules)
            except (Transient, ParsecError) as exc:
                log.info("shard %d at %s gives no tip yet: %s", shard, address, exc)
        time.sleep(0.2)
    return genesis


def check_genesis(kafka: KafkaLog, genesis: Tip, end: int) -> None:
    """Refuse a log whose chain does not begin with our genesis."""
    for fetched in records_between(kafka, topics.EPOCHS, 0, min(end, 16)):
        try:
            record = CODEC.decode(fetched.value)
        except UndecodableRecord:
            continue
        if isinstance(record, Manifest | Exclusion) and record.epoch <= 1:
            if record.previous == genesis.hash:
                return
            raise GenesisRefused(
                f"the chain on this log begins with {record.previous.hex()}, ours with {genesis.hash.hex()}: another "
                "genesis file, number of partitions, number of shards or rules; use those that the log was begun "
                "with, or another prefix")
