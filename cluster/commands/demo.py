"""``parsec demo``: see it work, and see it checked."""

import sys
from pathlib import Path

import click

from cluster.config import Config

from .options import configured, json_option


@click.command
@configured()
@click.option("--payments", type=click.IntRange(1), default=5_000, show_default=True, help="Payments in each round.")
@click.option("--swaps", type=click.IntRange(0), default=400, show_default=True, help="Swaps in each round.")
@click.option("--scramble", is_flag=True, help="Choose partitions at random instead of by what transactions touch.")
@click.option("--keep", is_flag=True, help="Leave the data behind.")
@json_option
def demo(
    config: Config, file: Path | None, payments: int, swaps: int, scramble: bool, keep: bool, as_json: bool
) -> None:
    """Run a pipeline, send payments and swaps through it, and check every result.

    It has a chain and a data directory of its own. Processes are killed while it works.
    """
    from cluster.demo import run

    status = run(config, file, json_output=as_json, scramble=scramble, payments=payments, swaps=swaps, keep=keep)
    sys.exit(status)
