"""``parsec up``: everything on this machine, until Ctrl-C or SIGTERM."""

import logging
import signal
import time
from pathlib import Path
from types import FrameType

import click

from cluster.config import Config
from cluster.supervisor import Supervisor

from .options import configured, json_option
from .printing import print_json

WATCH_S = 0.2


class _Stop(BaseException):
    """Somebody wants it to stop; it interrupts whatever is under way."""


def _ask(_signal: int, _frame: FrameType | None) -> None:
    raise _Stop


@click.command
@configured("executors", "shards", "partitions", "genesis", "port", "history_minutes")
@click.option("--no-gateway", is_flag=True, help="Without the Ethereum JSON-RPC.")
@json_option
def up(config: Config, file: Path | None, no_gateway: bool, as_json: bool) -> None:
    """Run everything on this machine until Ctrl-C.

    The embedded broker (or the cluster that --kafka names), shards, sequencers, executors and the Ethereum JSON-RPC,
    each in a process that is started again when it ends. All data are in one directory; with the same directory it goes
    on where it ended.
    """
    from dataclasses import replace

    if no_gateway:
        config = replace(config, gateway=replace(config.gateway, enabled=False))
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    supervisor = Supervisor(config, file, lasting=True)
    began_s = time.monotonic()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _ask)
    try:
        supervisor.start(lambda text: click.echo(text, err=True))
        _banner(supervisor, time.monotonic() - began_s, as_json=as_json)
        while True:
            time.sleep(WATCH_S)
            for name in supervisor.restart_dead():
                click.echo(f"{name} was started again", err=True)
    except _Stop:
        click.echo("stopping", err=True)
    finally:
        # A second Ctrl-C is not to leave it half stopped; stopping has a deadline of its own.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        supervisor.stop()
    click.echo("stopped", err=True)


def _banner(supervisor: Supervisor, took_s: float, *, as_json: bool) -> None:
    """Say where everything is."""
    config = supervisor.config
    gateway = config.gateway
    rpc = f"http://{gateway.host}:{gateway.port}" if gateway.enabled else None
    chain_id = config.read_genesis().rules.chain_id
    if as_json:
        print_json({
            "ready": True, "kafka": config.kafka.bootstrap, "prefix": config.kafka.prefix, "rpc": rpc,
            "chain_id": chain_id, "data": str(supervisor.data),
            "pids": {name: service.pid for name, service in supervisor.services.items()}})
        return
    cluster = config.cluster
    broker = "embedded" if supervisor.broker is not None else "yours"
    lines = {
        "kafka": f"{config.kafka.bootstrap} ({broker}), topics {config.kafka.prefix}*",
        "rpc": f"{rpc}, chain id {chain_id}" if rpc else "off",
        "services": (
            f"{cluster.executors} executors, {cluster.shards} shards, {cluster.sequencers} sequencers, "
            f"{cluster.partitions} partitions"),
        "data": f"{supervisor.data} (logs in {supervisor.data / 'logs'})",
    }
    click.echo(click.style(f"ready after {took_s:.1f} s", fg="green"))
    for name, text in lines.items():
        click.echo(f"  {name:9} {text}")
    click.echo("Ctrl-C stops everything")
