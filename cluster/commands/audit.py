"""``parsec audit``: everything executed again, by one process that trusts nobody."""

import sys
import time
from dataclasses import asdict
from typing import Any

import click

from cluster.cli import NO
from cluster.config import Config
from cluster.pipeline import Pipeline
from ledger.replay import LedgerLog
from schemas.errors import ConfigurationError

from .options import Live, configured, json_option
from .printing import print_json


@click.command
@configured("shards", "partitions", "genesis", live=Live.NEEDED)
@json_option
def audit(config: Config, as_json: bool) -> None:
    """Execute the whole log again and compare every result.

    From the genesis, the transactions, the carries and the chain of manifests alone follows what every receipt, every
    written value and every digest has to be. The first difference is named, and makes the exit status 1. It may run
    beside the pipeline, but then the newest epochs, whose receipts are still on their way, may look different.
    """
    from executors.evm import PyEvm
    from ledger.audit import Audit
    from ledger.feed import Feed
    from schemas.topics import EPOCHS
    from streams.start import check_genesis

    pipeline = Pipeline.connect(config)
    _same("--partitions", config.cluster.partitions, pipeline.partitions)
    _same("--shards", config.cluster.shards, pipeline.shards)
    began_s = time.monotonic()
    with pipeline.log() as committed, pipeline.log(committed_only=False) as uncommitted:
        check_genesis(committed, pipeline.start, committed.ends([EPOCHS])[EPOCHS])
        feed = Feed(LedgerLog(committed, uncommitted), Audit.topics(pipeline.partitions, pipeline.shards))
        job = Audit(feed, pipeline.genesis, pipeline.partitions, pipeline.shards, PyEvm(pipeline.genesis.rules))
        with click.progressbar(
            length=max(1, feed.ends[EPOCHS]), label="audit", file=sys.stderr, hidden=as_json or not sys.stderr.isatty(),
            update_min_steps=20,
        ) as bar:
            shown = 0

            def advance(done: int, _total: int) -> None:
                nonlocal shown
                bar.update(done - shown)
                shown = done

            report = job.run(advance)
    took_s = time.monotonic() - began_s
    _tell({**asdict(report), "seconds": round(took_s, 3)}, as_json=as_json)
    sys.exit(0 if report.identical else NO)


def _same(flag: str, configured_number: int, found: int) -> None:
    """Numbers that belong to the log; a wrong one would make another chain."""
    if configured_number != found:
        raise ConfigurationError(f"{flag}: the log has {found}, not {configured_number}")


def _tell(report: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(report)
        return
    click.echo(
        f"{report['epochs']} epochs with {report['blocks']} blocks: {report['transactions']} transactions executed, "
        f"{report['receipts']} receipts, {report['prepares']} prepares and {report['digests']} digests compared "
        f"({report['carried']} carried, {report['aborted']} lanes aborted) in {report['seconds']:.1f} s")
    if report["identical"]:
        click.echo(click.style("identical", fg="green"))
    else:
        click.echo(f"{click.style('different', fg='red')}: {report['difference']}")
