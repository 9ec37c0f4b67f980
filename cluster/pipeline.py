"""What runs somewhere, as a command sees it from outside: its cluster, its genesis, N and M."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from schemas.chain import Tip
from schemas.errors import ConfigurationError, Unavailable
from schemas.genesis import Genesis
from schemas.topics import TopicName
from streams.kafka import KafkaLog, KafkaSettings, topic_name
from streams.reads import ShardReader
from streams.start import shard_addresses

from .config import Config

ANSWER_S = 10.0
"""How long a broker may take to answer the first question."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipeline:
    """A pipeline that a command talks to."""

    config: Config
    """With N and M as the topics have them."""
    settings: KafkaSettings
    genesis: Genesis

    @classmethod
    def connect(cls, config: Config) -> "Pipeline":
        """Find the topics.

        Raises
        ------
        Unavailable
            No broker answers.
        ConfigurationError
            There is no pipeline under the prefix, or the genesis file can't be read.
        """
        settings = quiet(config.settings)
        genesis = config.read_genesis()
        try:
            found = AdminClient(settings.client()).list_topics(timeout=ANSWER_S).topics
        except KafkaException as exc:
            raise Unavailable(
                f"no broker answers at {settings.bootstrap} within {ANSWER_S:g} s: {exc.args[0].str()}") from exc
        missing = [name for each in TopicName if (name := topic_name(settings, each)) not in found]
        if missing:
            raise ConfigurationError(
                f"{settings.bootstrap} has no topic {', '.join(missing)}: is {settings.prefix!r} the right prefix? "
                "'parsec up' and 'parsec topics' make them")
        partitions = len(found[topic_name(settings, TopicName.TRANSACTIONS)].partitions)
        shards = len(found[topic_name(settings, TopicName.RECEIPTS)].partitions)
        cluster = replace(config.cluster, partitions=partitions, shards=shards)
        return cls(config=replace(config, cluster=cluster), settings=settings, genesis=genesis)

    @property
    def partitions(self) -> int:
        """N."""
        return self.config.cluster.partitions

    @property
    def shards(self) -> int:
        """M."""
        return self.config.cluster.shards

    @property
    def start(self) -> Tip:
        """The tip before the first record of the log."""
        return self.config.start(self.genesis)

    @contextmanager
    def log(self, *, committed_only: bool = True) -> Iterator[KafkaLog]:
        """A connection to the log."""
        kafka = KafkaLog(self.settings, committed_only=committed_only)
        try:
            yield kafka
        finally:
            kafka.close()

    @contextmanager
    def reader(self, kafka: KafkaLog, *, deadline_s: float = 5.0) -> Iterator[ShardReader]:
        """A connection to the shards' read services."""
        reader = ShardReader(self.shards, anchor=self.start.hash, deadline_s=deadline_s)
        try:
            for shard, address in shard_addresses(kafka, self.shards).items():
                reader.set_address(shard, address)
            yield reader
        finally:
            reader.close()


def quiet(settings: KafkaSettings) -> KafkaSettings:
    """The settings for a command: librdkafka says nothing on standard error, the command says what is wrong."""
    return replace(settings, security={**settings.security, "log_level": "0"})
