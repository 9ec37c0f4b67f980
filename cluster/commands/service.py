"""``parsec sequencer | executor | shard | gateway``: one service as a process, for containers and for the supervisor.

Exit statuses are those of `cluster.services.run_until_stopped`: 0 after SIGTERM, 1 to be started again, 2 where an
operator has to change something.
"""

import sys

import click

from cluster.config import Config

from .options import configured


@click.command
@configured("shards", "partitions", "genesis")
@click.option("--patience-ms", type=int, help="A standby waits for so long before it acts.")
def sequencer(config: Config, patience_ms: int | None) -> None:
    """Run a sequencer. Any number of them may run: the first valid record wins."""
    from cluster.services import log_to_stderr, run_sequencer

    log_to_stderr("sequencer")
    sys.exit(run_sequencer(config, patience_ms))


@click.command
@configured("shards", "partitions", "genesis")
@click.option("--instance", default="", help="Name in the consumer group that survives a restart.")
def executor(config: Config, instance: str) -> None:
    """Run an executor, a member of the consumer group that shares the partitions."""
    from cluster.services import log_to_stderr, run_executor

    log_to_stderr(instance or "executor")
    sys.exit(run_executor(config, instance))


@click.command
@configured("shards", "partitions", "genesis", "history_minutes")
@click.option("--shard", "number", type=int, required=True, help="Number of the shard, from 0.")
@click.option("--port", type=click.IntRange(0, 65_535), default=0, help="Of the read service; any free one by default.")
def shard(config: Config, number: int, port: int) -> None:
    """Run a state shard."""
    from cluster.services import log_to_stderr, run_shard

    log_to_stderr(f"shard-{number}")
    sys.exit(run_shard(config, number, port))


@click.command
@configured("shards", "partitions", "genesis", "host", "port")
def gateway(config: Config) -> None:
    """Run the Ethereum JSON-RPC. Any number of them may run."""
    from cluster.services import log_to_stderr, run_gateway

    log_to_stderr("gateway")
    sys.exit(run_gateway(config))
