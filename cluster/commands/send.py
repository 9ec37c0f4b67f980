"""``parsec send``: signed transactions onto the topic, as any producer may write them."""

import sys
from collections.abc import Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from itertools import islice
from pathlib import Path
from typing import IO, NamedTuple

import click

from cluster.cli import NO
from cluster.config import Config
from cluster.pipeline import Pipeline
from ingest.producer import Delivery, TransactionProducer
from ingest.routing import Router
from ledger.subscriber import ReceiptSubscriber
from schemas.errors import ConfigurationError, InvalidTransaction, Unavailable
from schemas.records import Offset, Partition, Source

from .options import Live, configured, json_option
from .printing import hexadecimal, print_json, receipt_document, receipt_line

BATCH = 1_000
"""So many transactions are on the way at once."""


class Line(NamedTuple):
    """A transaction as it was given."""

    number: int
    text: str


@click.command
@click.argument("what", metavar="RAWTX|FILE|-")
@configured("genesis", live=Live.NEEDED)
@click.option("--wait", is_flag=True, help="Wait for the receipts and print them.")
@click.option("--timeout", "timeout_s", type=float, default=30.0, show_default=True, help="Seconds to wait for each.")
@json_option
def send(config: Config, what: str, wait: bool, timeout_s: float, as_json: bool) -> None:
    """Send signed transactions.

    RAWTX is one in hexadecimal; FILE, or standard input for -, has one per line; empty lines and those that begin with
    # are passed over. Each is printed with the partition and offset where the broker has stored it. One that is wrong
    whatever the state is isn't sent; the others are. The exit status is 1 if any was refused or rejected.
    """
    lines = _lines(what, _is_file(what))
    pipeline = Pipeline.connect(config)
    subscriber = ReceiptSubscriber(pipeline.settings, pipeline.shards) if wait else None
    well = True
    with TransactionProducer(pipeline.settings, pipeline.genesis.rules, Router(pipeline.partitions)) as producer:
        while batch := list(islice(lines, BATCH)):
            sent = []
            for line in batch:
                try:
                    sent.append((line, producer.send(_bytes(line), timeout_s=timeout_s)))
                except InvalidTransaction as exc:
                    well = False
                    _refused(line, exc.reason, as_json=as_json)
            for line, future in sent:
                delivery = _delivered(line, future, timeout_s)
                well &= _tell(delivery, subscriber, timeout_s, as_json=as_json)
    if subscriber is not None:
        subscriber.close()
    sys.exit(0 if well else NO)


def _is_file(what: str) -> bool:
    """Whether the argument names a file or standard input; if not, it is a transaction."""
    if what == "-" or Path(what).is_file():
        return True
    digits = what.removeprefix("0x")
    if len(digits) < 2 or any(digit not in "0123456789abcdefABCDEF" for digit in digits):
        raise ConfigurationError(f"{what[:80]!r} is neither a file nor a transaction in hexadecimal")
    return False


def _lines(what: str, is_file: bool) -> Iterator[Line]:
    """The transactions in what was given."""
    if not is_file:
        yield Line(1, what)
        return
    source: IO[str]
    with click.open_file(what, encoding="utf-8") as source:
        for number, line in enumerate(source, 1):
            text = line.strip()
            if text and not text.startswith("#"):
                yield Line(number, text)


def _bytes(line: Line) -> bytes:
    try:
        return bytes.fromhex(line.text.removeprefix("0x"))
    except ValueError:
        raise InvalidTransaction(f"{line.text[:40]!r} is not hexadecimal") from None


def _refused(line: Line, reason: str, *, as_json: bool) -> None:
    if as_json:
        print_json({"line": line.number, "error": reason})
    else:
        click.echo(f"line {line.number}: {click.style('not sent', fg='red')}: {reason}", err=True)


def _delivered(line: Line, future: "Future[Delivery]", timeout_s: float) -> Delivery:
    try:
        return future.result(timeout_s)
    except FutureTimeout:
        raise Unavailable(
            f"line {line.number}: the broker did not acknowledge the transaction within {timeout_s:g} s; it may be "
            "stored all the same") from None


def _tell(delivery: Delivery, subscriber: ReceiptSubscriber | None, timeout_s: float, *, as_json: bool) -> bool:
    """Print where a transaction is, or its receipt; whether it wasn't rejected."""
    if subscriber is None:
        if as_json:
            print_json({"partition": delivery.partition, "offset": delivery.offset, "hash": hexadecimal(delivery.hash)})
        else:
            click.echo(f"[{delivery.partition}] {delivery.offset} {hexadecimal(delivery.hash)}")
        return True
    receipt = subscriber.wait(Source(Partition(delivery.partition), Offset(delivery.offset)), timeout_s)
    if as_json:
        print_json(receipt_document(receipt))
    else:
        click.echo(receipt_line(receipt))
    return receipt.included
