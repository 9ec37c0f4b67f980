"""``parsec deploy``: a contract of any machine onto the chain."""

import sys
from pathlib import Path
from typing import NoReturn

import click

from client import Client, Code, ExecutionFailed, TransactionFailed
from cluster.cli import NO
from cluster.config import Config
from cluster.pipeline import quiet
from schemas.records import Receipt

from .account import AMOUNT, _directory, _signer, keys_option, password_option
from .options import Live, configured, json_option
from .printing import print_json, receipt_document, receipt_line
from .values import typed

value_option = click.option("--value", type=AMOUNT, default="0", help="Wei, or as 1.5ether or 20gwei.")
gas_option = click.option("--gas", type=click.IntRange(1), help="Gas limit; by default found by a trial.")
timeout_option = click.option(
    "--timeout", "timeout_s", type=float, default=30.0, show_default=True, help="Seconds to wait for the receipt.")


@click.command
@click.argument("source", metavar="FILE", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.argument("arguments", metavar="[ARGUMENT]…", nargs=-1)
@configured("genesis", live=Live.NEEDED)
@click.option("--from", "sender", required=True, metavar="ADDRESS|dev:N",
              help="Account of a key file, or one of the development accounts.")
@click.option("--constructor", metavar="SIGNATURE",
              help="Types of the arguments, as 'constructor(address,uint256)', where the file doesn't tell them.")
@click.option("--machine", metavar="NAME", help="Whose code it is, where the ending of the file doesn't tell.")
@value_option
@gas_option
@keys_option
@password_option
@timeout_option
@json_option
def deploy(
    config: Config, source: Path, arguments: tuple[str, ...], sender: str, constructor: str | None,
    machine: str | None, value: int, gas: int | None, keys: Path | None, password_file: Path | None, timeout_s: float,
    as_json: bool,
) -> None:
    """Deploy a contract. Its address is printed.

    FILE is what a compiler wrote, by its ending: .lua, .wasm or .wat, .json (an artifact with bytecode and abi), .hex
    or .bin. Each ARGUMENT is one of the constructor: numbers decimal or 0x…, addresses 0x… or dev:N, bytes 0x…, true
    or false, arrays and tuples as JSON, strings as they are. Put -- before one that begins with a hyphen. The exit
    status is 1 if it can't be deployed.
    """
    code = Code.read(source, machine)
    function = code.constructor(constructor, arguments)
    values = typed(function, arguments)
    account = _signer(_directory(config, keys), sender, password_file)
    with Client.connect(quiet(config.settings), genesis=config.read_genesis(), timeout_s=timeout_s) as client:
        try:
            made = client.deploy(code, account, *values, constructor=function, value=value, gas=gas)
        except ExecutionFailed as exc:
            refused(exc, as_json=as_json)
    if as_json:
        print_json({"address": made.address.lower()} | (receipt_document(made.receipt) if made.receipt else {}))
    else:
        click.echo(made.address.lower())


def refused(error: ExecutionFailed, *, as_json: bool) -> NoReturn:
    """Say why a message or transaction doesn't succeed, and end with status 1."""
    if isinstance(error, TransactionFailed):
        show_receipt(error.receipt, as_json=as_json)
    elif as_json:
        print_json({"error": error.reason, "data": f"0x{error.output.hex()}"})
    else:
        click.echo(f"{click.style('fails', fg='red')}: {error.reason}", err=True)
    sys.exit(NO)


def show_receipt(receipt: Receipt, *, as_json: bool) -> None:
    """Print a receipt."""
    if as_json:
        print_json(receipt_document(receipt))
    else:
        click.echo(receipt_line(receipt))
