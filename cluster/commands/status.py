"""``parsec status``: how a running pipeline is."""

import time

import click

from cluster.config import Config
from cluster.pipeline import Pipeline
from cluster.status import Status, Watcher

from .options import Live, configured, json_option
from .printing import print_json


@click.command
@configured("genesis", live=Live.NEEDED)
@click.option("--watch", "-w", is_flag=True, help="Look again and again, until Ctrl-C.")
@click.option("--interval", "interval_s", type=click.FloatRange(0.2), default=1.0, show_default=True,
              help="Seconds between two looks.")
@json_option
def status(config: Config, watch: bool, interval_s: float, as_json: bool) -> None:
    """Show how a running pipeline is: epochs, throughput, lag, carried transactions, conflicts, shards and digests.

    All of it is read from the ends of the topics and from the shards' read services. The exit status is 0 also where
    something isn't as it should be; --json names it under "problems".
    """
    pipeline = Pipeline.connect(config)
    with pipeline.log(committed_only=False) as kafka, pipeline.reader(kafka) as reader:
        watcher = Watcher(pipeline, kafka, reader)
        while True:
            found = watcher.look()
            if as_json:
                print_json(found.document())
            else:
                if watch:
                    click.clear()
                click.echo("\n".join(lines_of(found)))
            if not watch:
                return
            time.sleep(interval_s)


def lines_of(status: Status) -> list[str]:
    """A status for people."""
    rates = status.rates
    lines = [
        f"{status.kafka} {status.prefix}*  chain {status.chain_id}  {status.executors} executors",
        (
            f"epoch {_bold(status.epoch)}  block {_bold(status.block)}  "
            f"last manifest {_ago(status.age_ms)} ago  lag {_bold(status.lag)}"),
        (
            f"last {rates.window_s:g} s: {_bold(f'{rates.transactions_per_s:.1f}')} transactions/s  "
            f"{rates.epochs_per_s:.1f} epochs/s  {rates.included} included  {rates.rejected} rejected"),
        (
            f"conflicts: {rates.carried_per_100:.1f} carried per 100  {rates.stale} stale reads  "
            f"{rates.lost} lost keys  {rates.aborted} of {rates.lanes} lanes aborted  {rates.exclusions} exclusions"),
        "",
        f"{'partition':>9} {'end':>10} {'consumed':>10} {'lag':>8} {'carries':>8} {'parked':>8}",
    ]
    lines += [
        f"{each.partition:>9} {each.end:>10} {each.consumed:>10} {each.lag:>8} {each.pending:>8} {each.parked:>8}"
        for each in status.partitions]
    lines += ["", f"{'shard':>9} {'applied':>10} {'published':>10}  {'read service':21}  digest"]
    for each in status.shards:
        applied = "-" if each.applied is None else each.applied
        published = "-" if each.published is None else each.published
        digest = f"{each.digest[:16]}… after epoch {each.digest_epoch}" if each.digest else "none named yet"
        lines.append(f"{each.shard:>9} {applied:>10} {published:>10}  {each.address:21}  {digest}")
    lines += [click.style(f"! {problem}", fg="red") for problem in status.problems]
    return lines


def _bold(value: object) -> str:
    return click.style(str(value), bold=True)


def _ago(duration_ms: int) -> str:
    """A duration that people can read."""
    if duration_ms < 10_000:
        return f"{duration_ms / 1000:.1f} s"
    if duration_ms < 600_000:
        return f"{duration_ms // 1000} s"
    if duration_ms < 36_000_000:
        return f"{duration_ms // 60_000} min"
    return f"{duration_ms // 3_600_000} h"
