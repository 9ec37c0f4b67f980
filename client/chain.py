"""A running pipeline as a client reads it: the state that its shards have applied, and messages tried on it."""

import threading
import time
from collections.abc import Callable
from contextlib import closing
from typing import Final, Self, TypeVar

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from executors.evm import Call
from executors.machine import Block
from executors.trials import Scene, TrialFailed, Trials, affordable
from ingest.admission import TRANSACTION_GAS
from schemas.chain import Tip
from schemas.errors import ConfigurationError, Unavailable
from schemas.genesis import Genesis
from schemas.keys import StateKey
from schemas.records import StoredTip
from schemas.topics import EPOCHS, TopicName
from streams.kafka import KafkaLog, KafkaSettings, topic_name
from streams.reads import ShardReader
from streams.snapshots import Snapshot, Snapshots
from streams.start import check_genesis, shard_addresses

from .failures import ExecutionFailed

T = TypeVar("T")
ANSWER_S: Final = 10.0
"""How long a broker may take to answer the first question."""
ATTEMPT_S: Final = 3.0
"""How long shards are asked at the addresses that are known, before these are looked up again."""
GAS_MARGIN: Final = 1.2
"""What the gas limit of a transaction is to its estimate: the state may have changed until it runs."""


class Chain:
    """Reads of one chain. Any thread may use it.

    Parameters
    ----------
    settings
        The cluster.
    genesis
        What the chain has begun with.
    partitions, shards
        N and M.
    timeout_s
        How long a question is tried while shards don't answer.
    """

    def __init__(
        self, settings: KafkaSettings, genesis: Genesis, *, partitions: int, shards: int, timeout_s: float
    ) -> None:
        self.settings = settings
        self.rules = genesis.rules
        self.partitions = partitions
        self.shards = shards
        self.timeout_s = timeout_s
        self._start = Tip.genesis(genesis.hash, partitions, shards, genesis.rules, genesis.timestamp_ms)
        self._reader = ShardReader(shards, anchor=self._start.hash, deadline_s=ATTEMPT_S)
        self._snapshots = Snapshots(self._reader, ATTEMPT_S)
        self._trials = Trials(genesis.rules)
        self._seen = 0
        self._lock = threading.Lock()
        try:
            with closing(KafkaLog(settings)) as kafka:
                check_genesis(kafka, self._start, kafka.ends([EPOCHS])[EPOCHS])
                self._take_addresses(kafka)
        except BaseException:
            self._reader.close()
            raise

    @classmethod
    def find(cls, settings: KafkaSettings, genesis: Genesis, timeout_s: float) -> Self:
        """A chain whose N and M the topics tell.

        Raises
        ------
        Unavailable
            No broker answers.
        ConfigurationError
            There is no pipeline under the prefix, or it has begun with another genesis.
        """
        try:
            found = AdminClient(settings.client()).list_topics(timeout=ANSWER_S).topics
        except KafkaException as exc:
            raise Unavailable(
                f"no broker answers at {settings.bootstrap} within {ANSWER_S:g} s: {exc.args[0].str()}") from exc
        counted = {}
        for name in (TopicName.TRANSACTIONS, TopicName.RECEIPTS):
            topic = found.get(topic_name(settings, name))
            if topic is None:
                raise ConfigurationError(
                    f"{settings.bootstrap} has no topic {topic_name(settings, name)}: does a pipeline run there, and "
                    f"is {settings.prefix!r} the right prefix?")
            counted[name] = len(topic.partitions)
        return cls(
            settings, genesis, partitions=counted[TopicName.TRANSACTIONS], shards=counted[TopicName.RECEIPTS],
            timeout_s=timeout_s)

    def saw(self, epoch: int) -> None:
        """Read nothing older than this epoch from now on: a receipt of it was seen."""
        with self._lock:
            self._seen = max(self._seen, epoch)

    def read(self, *keys: StateKey) -> list[bytes]:
        """The newest values of keys, all of one epoch."""
        return self._asked(lambda: self._newest()[0].read_all(keys))

    def output(self, call: Call) -> bytes:
        """What a message returns on the newest state.

        Raises
        ------
        ExecutionFailed
            It doesn't succeed.
        """
        return self._tried(lambda scene: self._trials.output(call, scene))

    def gas_limit(self, call: Call) -> int:
        """A gas limit for a transaction: by a trial on the newest state, with a margin, as far as its sender can pay.

        Raises
        ------
        ExecutionFailed
            It wouldn't succeed now.
        """
        price = call.gas_price

        def limit(scene: Scene) -> int:
            gas = self._trials.lowest_gas(call, scene, price=price)
            most = min(call.gas_limit, affordable(call, scene, price)) if price else call.gas_limit
            # A payment costs the same whatever happens meanwhile.
            return gas if gas == TRANSACTION_GAS else max(gas, min(int(gas * GAS_MARGIN), most))

        return self._tried(limit)

    def close(self) -> None:
        """Let go of the shards."""
        self._reader.close()

    def _tried(self, trial: Callable[[Scene], T]) -> T:
        try:
            return self._asked(lambda: trial(self._scene()))
        except TrialFailed as exc:
            raise ExecutionFailed(exc.reason, exc.output) from exc

    def _scene(self) -> Scene:
        """The newest state, and the block that comes next."""
        snapshot, tip = self._newest()
        ancestors = tip.ancestors

        def ancestor(number: int) -> bytes:
            place = len(ancestors) - (tip.block - number)
            return ancestors[place] if 0 <= place < len(ancestors) else bytes(32)

        return Scene(snapshot=snapshot, block=Block(
            number=tip.block, timestamp_s=max(tip.timestamp_ms // 1000, int(time.time())), prevrandao=tip.randomness,
            ancestor=ancestor))

    def _newest(self) -> tuple[Snapshot, StoredTip]:
        """The state after the newest epoch that a shard has applied, or that a receipt was seen of."""
        tip = self._reader.tip()
        with self._lock:
            self._seen = epoch = max(self._seen, tip.epoch - 1)
        return self._snapshots.at(epoch), tip

    def _asked(self, question: Callable[[], T]) -> T:
        """Ask, and ask again where shards may have moved meanwhile."""
        deadline = time.monotonic() + self.timeout_s
        while True:
            try:
                return question()
            except Unavailable:
                if time.monotonic() > deadline:
                    raise
                with closing(KafkaLog(self.settings)) as kafka:
                    self._take_addresses(kafka)

    def _take_addresses(self, kafka: KafkaLog) -> None:
        for shard, address in shard_addresses(kafka, self.shards).items():
            self._reader.set_address(shard, address)
