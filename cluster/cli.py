"""The ``parsec`` command. Its subcommands are modules of `cluster.commands`, each imported only when it runs.

Exit statuses
-------------
0
    Done.
1
    Done, and the answer is no: a difference in the audit, a refused transaction, a receipt that did not come. Of a
    service: it has ended and may be started again.
2
    Something has to be changed first: the command line, the configuration, a file, the genesis.
3
    Nobody answers at the moment: the broker, a shard.
4
    A fault of this program.
130
    Interrupted.
"""

import sys
import traceback
from importlib import import_module
from typing import Any, Final, NamedTuple

import click

NO: Final = 1
REFUSED: Final = 2
UNAVAILABLE: Final = 3
FAULT: Final = 4
INTERRUPTED: Final = 130

EPILOG: Final = """\b
Exit status: 0 done; 1 the answer is no (a difference, a refused transaction);
2 something has to be changed first; 3 nobody answers; 4 a fault of this program.

Settings come from parsec.toml (or --config), then from variables such as PARSEC_CLUSTER_DATA, then from options.
'parsec config' prints them. What runs is found by the data directory, or by --kafka.
"""


class Entry(NamedTuple):
    """A command: its module in `cluster.commands`, and what it is for."""

    module: str
    help: str


COMMANDS: Final = {
    "demo": Entry("demo", "Run a pipeline, send payments and swaps through it, and check every result."),
    "up": Entry("up", "Run everything on this machine until Ctrl-C."),
    "status": Entry("status", "Show how a running pipeline is."),
    "send": Entry("send", "Send signed transactions."),
    "receipts": Entry("receipts", "Print receipts."),
    "deploy": Entry("deploy", "Deploy a contract."),
    "call": Entry("call", "Call a function of a contract."),
    "account": Entry("account", "Make, list and use accounts of this machine."),
    "audit": Entry("audit", "Execute the whole log again and compare every result."),
    "statetest": Entry("statetest", "Run Ethereum state tests and compare every account."),
    "t8n": Entry("t8n", "Apply a list of transactions to a state, as a block does."),
    "schemas": Entry("schemas", "Print the Avro schemas of the topics."),
    "genesis": Entry("genesis", "Print the genesis file."),
    "config": Entry("config", "Print the settings in force."),
    "topics": Entry("topics", "Make the topics, or check those that are there."),
    "sequencer": Entry("service", "Run a sequencer."),
    "executor": Entry("service", "Run an executor."),
    "shard": Entry("service", "Run a state shard."),
    "gateway": Entry("service", "Run the Ethereum JSON-RPC."),
}


class Commands(click.Group):
    """Imports a command when it is called. Errors are one message and an exit status, never a traceback."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """The names, in the order in which people need them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - as above
        """A command by its name."""
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        command: click.Command = getattr(import_module(f"cluster.commands.{entry.module}"), cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - as above
        """The list in the help, without importing any of them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.help) for name, entry in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo("interrupted", err=True)
            sys.exit(INTERRUPTED)
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise
        except Exception as exc:  # whatever it is, the user gets one message
            if ctx.params.get("debug"):
                traceback.print_exc()
            status, text = _told(exc)
            click.echo(f"{click.style('parsec:', fg='red', bold=True)} {text}", err=True)
            sys.exit(status)


def _told(error: Exception) -> tuple[int, str]:
    """The exit status of an error, and its message."""
    from schemas.errors import InvariantViolation, ParsecError, Transient

    if isinstance(error, Transient):
        return UNAVAILABLE, str(error)
    if isinstance(error, InvariantViolation):
        return FAULT, str(error)
    if isinstance(error, ParsecError):
        return REFUSED, str(error)
    if isinstance(error, OSError) and error.filename is not None:
        return REFUSED, f"{error.filename}: {error.strerror}"
    return FAULT, f"{type(error).__name__}: {error} (parsec --debug tells where)"


@click.group(cls=Commands, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="parsec-streams", message="parsec %(version)s")
@click.option("--debug", is_flag=True, help="Show where an error comes from.")
def main(debug: bool) -> None:
    """Smart contracts in parallel, as a Kafka streaming pipeline."""
