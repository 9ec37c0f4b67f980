"""``parsec call``: functions of contracts, read or by a transaction."""

from pathlib import Path

import click

from client import Client, Contract, ExecutionFailed, Function
from client.addresses import address_of
from cluster.config import Config
from cluster.pipeline import quiet

from .account import _directory, _signer, keys_option, password_option
from .deploy import gas_option, refused, show_receipt, timeout_option, value_option
from .options import Live, configured, json_option
from .printing import document, print_json
from .values import development_address, print_values, typed


@click.command
@click.argument("address")
@click.argument("signature")
@click.argument("arguments", metavar="[ARGUMENT]…", nargs=-1)
@configured("genesis", live=Live.NEEDED)
@click.option("--from", "sender", metavar="ADDRESS|dev:N",
              help="Who calls: account of a key file or development account; without --send any address.")
@click.option("--send", is_flag=True, help="Sign and send a transaction and wait for its receipt.")
@value_option
@gas_option
@keys_option
@password_option
@timeout_option
@json_option
def call(
    config: Config, address: str, signature: str, arguments: tuple[str, ...], sender: str | None, send: bool,
    value: int, gas: int | None, keys: Path | None, password_file: Path | None, timeout_s: float, as_json: bool,
) -> None:
    """Call a function of a contract. What it returns is printed; with --send the receipt.

    SIGNATURE is as in Solidity, with the types of the result: 'balanceOf(address) returns (uint256)'. Each ARGUMENT is
    written by its type: numbers decimal or 0x…, addresses 0x… or dev:N, bytes 0x…, true or false, arrays and tuples as
    JSON, strings as they are. Put -- before one that begins with a hyphen. Without --send nothing is signed: the
    function is run here, on the newest state. The exit status is 1 if it reverts or fails.
    """
    function = Function.parse(signature)
    values = typed(function, arguments)
    to = address_of(development_address(address, "ADDRESS"))
    if send and sender is None:
        raise click.UsageError("--from: the account that sends is missing, as --from dev:0")
    account = _signer(_directory(config, keys), sender, password_file) if send and sender is not None else None
    reader = address_of(development_address(sender, "--from")) if sender is not None else bytes(20)
    with Client.connect(quiet(config.settings), genesis=config.read_genesis(), timeout_s=timeout_s) as client:
        contract = Contract(client, to, [function])
        try:
            if account is not None:
                receipt = contract.send(account, function.name, *values, value=value, gas=gas)
            else:
                result = contract.call(function.name, *values, sender=reader, value=value, gas=gas)
        except ExecutionFailed as exc:
            refused(exc, as_json=as_json)
    if account is not None:
        show_receipt(receipt, as_json=as_json)
    elif as_json:
        print_json({"result": document(result)})
    else:
        print_values(result, several=len(function.outputs or ()) > 1)
