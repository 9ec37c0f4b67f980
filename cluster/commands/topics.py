"""``parsec topics``: have all topics before the services start."""

import click

from cluster.config import Config
from cluster.kafka.topics import FOREVER_MS
from cluster.pipeline import quiet
from cluster.provision import provide_topics

from .options import Live, configured, json_option
from .printing import print_json


@click.command
@configured("shards", "partitions", live=Live.NEEDED)
@click.option("--timeout", "timeout_s", type=float, default=30.0, show_default=True, help="Seconds for all of it.")
@json_option
def topics(config: Config, timeout_s: float, as_json: bool) -> None:
    """Make the topics, or check those that are there.

    One whose settings would break the protocol is refused with the setting's name; none is ever changed.
    """
    from dataclasses import replace

    kafka = replace(config.kafka, security=quiet(config.settings).security)
    for spec in provide_topics(replace(config, kafka=kafka), timeout_s=timeout_s):
        if as_json:
            print_json({
                "name": spec.name, "partitions": spec.partitions, "replication": spec.replication,
                "retention_ms": spec.retention_ms, "min_insync_replicas": spec.min_insync_replicas})
            continue
        kept = "for ever" if spec.retention_ms == FOREVER_MS else f"{spec.retention_ms // 3_600_000} h"
        click.echo(f"{spec.name:30} {spec.partitions:5} partitions, {spec.replication} copies, kept {kept}")
