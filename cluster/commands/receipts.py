"""``parsec receipts``: what came of transactions."""

import click

from cluster.config import Config
from cluster.pipeline import Pipeline
from ledger.subscriber import FromEpoch, ReceiptFilter, ReceiptSubscriber
from ledger.subscriber import Live as FromNow
from schemas.topics import receipts as receipts_of

from .options import Live, configured, json_option
from .printing import print_json, receipt_document, receipt_line

POLL_S = 0.2


class Hexadecimal(click.ParamType[bytes]):
    """Bytes of a given length."""

    name = "hex"

    def __init__(self, length: int) -> None:
        self.length = length

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> bytes:
        """The bytes."""
        if isinstance(value, bytes):
            return value
        try:
            data = bytes.fromhex(str(value).removeprefix("0x"))
        except ValueError:
            self.fail(f"{value} is not hexadecimal", param, ctx)
        if len(data) != self.length:
            self.fail(f"{value} has {len(data)} bytes instead of {self.length}", param, ctx)
        return data


@click.command
@configured(live=Live.NEEDED)
@click.option("--follow", "-f", is_flag=True, help="Go on until Ctrl-C; begins now unless --from-epoch is given.")
@click.option("--from-epoch", type=click.IntRange(0), help="Begin with this epoch.")
@click.option("--hash", "hashes", type=Hexadecimal(32), multiple=True, help="Only of these transactions.")
@click.option("--address", "addresses", type=Hexadecimal(20), multiple=True,
              help="Only where one of these is sender, recipient, created contract, or emits a log.")
@click.option("--limit", type=click.IntRange(1), help="End after so many.")
@json_option
def receipts(
    config: Config, follow: bool, from_epoch: int | None, hashes: tuple[bytes, ...], addresses: tuple[bytes, ...],
    limit: int | None, as_json: bool,
) -> None:
    """Print receipts: all that are published so far, or with --follow those to come.

    They come shard by shard as they were published; within a shard in the order of their epochs.
    """
    pipeline = Pipeline.connect(config)
    only = ReceiptFilter(hashes=frozenset(hashes), addresses=frozenset(addresses))
    start = FromNow() if follow and from_epoch is None else FromEpoch(epoch=from_epoch or 0)
    topics = [receipts_of(shard) for shard in range(pipeline.shards)]
    with pipeline.log() as kafka:
        ends = kafka.ends(topics)
        subscriber = ReceiptSubscriber(pipeline.settings, pipeline.shards, start=start, only=only, log=kafka)
        printed = 0
        while True:
            # Positions are taken first: what came in before them is in what the poll returns.
            at_end = not follow and all(kafka.position(topic) >= ends[topic] or ends[topic] == 0 for topic in topics)
            for receipt in subscriber.poll(POLL_S):
                if as_json:
                    print_json(receipt_document(receipt))
                else:
                    click.echo(receipt_line(receipt))
                printed += 1
                if printed == limit:
                    return
            if at_end:
                return
