"""The commands of ``parsec``; each reads the configuration once and calls what does the work."""

import logging
import sys
import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import click

from schemas.errors import ParsecError

from .config import Config, load
from .supervisor import Supervisor, running

F = TypeVar("F", bound=Callable[..., Any])


class Command(click.Group):
    """Errors of ours are one message and an exit status, never a traceback."""

    def invoke(self, context: click.Context) -> Any:
        """Run a command."""
        try:
            return super().invoke(context)
        except ParsecError as exc:
            click.echo(f"parsec: {exc}", err=True)
            sys.exit(2)
        except KeyboardInterrupt:
            click.echo("interrupted", err=True)
            sys.exit(130)


def configured(*, live: bool = False) -> Callable[[F], F]:
    """Options that all commands share; the command gets a `Config` first.

    Parameters
    ----------
    live
        Whether what runs on the data directory tells where the broker is.
    """

    def decorate(function: F) -> F:
        @click.option("--config", "file", type=click.Path(path_type=Path), help="Configuration file (TOML).")
        @click.option("--data", type=click.Path(path_type=Path), help="Directory of all data.")
        @click.option("--kafka", "bootstrap", metavar="HOST:PORT,…", help="An existing cluster instead of the embedded broker.")
        @click.option("--prefix", help="Prefix of all topics.")
        @wraps(function)
        def command(file: Path | None, data: Path | None, bootstrap: str | None, prefix: str | None, **rest: Any) -> Any:
            flags: dict[str, Any] = {"cluster.data": data, "kafka.bootstrap": bootstrap, "kafka.prefix": prefix}
            for name in ("executors", "shards", "partitions", "genesis"):
                flags[f"cluster.{name}"] = rest.pop(name, None)
            config = load(file, flags=flags)
            if live and not config.kafka.bootstrap:
                found = running(config.cluster.data)
                for section, entries in found.items():
                    for name, value in entries.items():
                        if flags.get(f"{section}.{name}") is None and value not in (None, "", {}):
                            flags[f"{section}.{name}"] = value
                config = load(file, flags=flags)
                if not config.kafka.bootstrap:
                    raise click.ClickException(
                        f"nothing runs on {config.cluster.data}: start it with 'parsec up', or name a cluster with --kafka")
            return function(config, file=file, **rest) if "file" in function.__code__.co_varnames else function(config, **rest)

        return command  # type: ignore[return-value]  # click has changed the signature on purpose

    return decorate


@click.group(cls=Command, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="parsec-streams")
def main() -> None:
    """Smart contracts in parallel, as a Kafka streaming pipeline."""


@main.command()
@click.option("--executors", type=int, help="Executor processes.")
@click.option("--shards", type=int, help="State shards (fixed once the log has begun).")
@click.option("--partitions", type=int, help="Partitions of transactions (fixed once the log has begun).")
@click.option("--genesis", type=click.Path(path_type=Path), help="Genesis file in geth's format.")
@configured()
def up(config: Config, file: Path | None) -> None:
    """Run everything on this machine until Ctrl-C."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    supervisor = Supervisor(config, file)
    with supervisor:
        supervisor.start(lambda text: click.echo(text, err=True))
        running_config = supervisor.config
        click.echo(f"kafka    {running_config.kafka.bootstrap}")
        if running_config.gateway.enabled:
            click.echo(f"rpc      http://{running_config.gateway.host}:{running_config.gateway.port}")
        click.echo(f"data     {supervisor.data}")
        click.echo("ready; Ctrl-C stops everything")
        while True:
            time.sleep(0.2)
            for name in supervisor.restart_dead():
                click.echo(f"{name} was started again", err=True)


@main.command()
@click.option("--patience-ms", type=int, help="A standby waits for so long before it acts.")
@configured()
def sequencer(config: Config, patience_ms: int | None) -> None:
    """Run a sequencer."""
    from .services import log_to_stderr, run_sequencer

    log_to_stderr("sequencer")
    sys.exit(run_sequencer(config, patience_ms))


@main.command()
@click.option("--instance", default="", help="Name in the consumer group that survives a restart.")
@configured()
def executor(config: Config, instance: str) -> None:
    """Run an executor."""
    from .services import log_to_stderr, run_executor

    log_to_stderr(instance or "executor")
    sys.exit(run_executor(config, instance))


@main.command()
@click.option("--shard", type=int, required=True, help="Number of the shard, from 0.")
@click.option("--port", type=int, default=0, help="Port of the read service; any free one by default.")
@configured()
def shard(config: Config, shard: int, port: int) -> None:
    """Run a state shard."""
    from .services import log_to_stderr, run_shard

    log_to_stderr(f"shard-{shard}")
    sys.exit(run_shard(config, shard, port))
