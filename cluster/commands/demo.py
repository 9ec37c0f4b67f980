"""``parsec demo``: see it work, and see it checked."""

import sys
from pathlib import Path

import click

from cluster.config import Config

from .options import configured, json_option


@click.command
@configured("executors", "shards", "partitions", "genesis", "port")
@click.option("--payments", type=click.IntRange(0), default=2_000, show_default=True, help="Payments to send.")
@click.option("--swaps", type=click.IntRange(0), default=200, show_default=True, help="Swaps in one pool to send.")
@click.option("--scramble", is_flag=True, help="Kill services while it works.")
@click.option("--keep", is_flag=True, help="Keep the data directory, and go on running until Ctrl-C.")
@json_option
def demo(
    config: Config, file: Path | None, payments: int, swaps: int, scramble: bool, keep: bool, as_json: bool
) -> None:
    """Run a pipeline, send payments and swaps through it, and check every result."""
    from cluster.demo import run

    status = run(config, file, json_output=as_json, scramble=scramble, payments=payments, swaps=swaps, keep=keep)
    sys.exit(status)
