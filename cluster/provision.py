"""The topics of a configuration: made where they are missing, checked where they are there."""

from .config import Config
from .kafka import TopicSpec, ensure_topics, replication_for, topic_specs
from .kafka.topics import broker_count


def provide_topics(config: Config, *, timeout_s: float = 30.0) -> list[TopicSpec]:
    """Have all topics of the protocol on the cluster that the configuration names.

    Returns
    -------
    list of TopicSpec
        What they were checked against.

    Raises
    ------
    TopicRefused, ConfigurationError
        A topic that is there would break the protocol, or the cluster refuses to make one.
    Unavailable
        The cluster does not answer in time.
    """
    client = config.settings.client()
    replication = config.kafka.replication or replication_for(broker_count(client))
    specs = topic_specs(
        config.kafka.prefix,
        config.cluster.partitions,
        config.cluster.shards,
        replication=replication,
        kept_ms=config.kafka.kept_hours * 3_600_000,
    )
    ensure_topics(client, specs, timeout_s=timeout_s)
    return specs
