"""``parsec genesis``: the file that a chain starts from."""

import click

from cluster.config import Config

from .options import Live, configured


@click.command
@configured("genesis", live=Live.USED)
def genesis(config: Config) -> None:
    """Print the genesis file: the one in use, or the built-in one of the development chain.

    It is a place to begin for a file of one's own: config.chainId, alloc, and the rules in config.parsec.
    """
    click.echo(config.read_genesis().dumps().decode(), nl=False)
