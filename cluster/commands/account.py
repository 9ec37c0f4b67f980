"""``parsec account``: key files of this machine, and signing with them."""

from pathlib import Path
from typing import Any

import click

from cluster.config import Config
from cluster.pipeline import Pipeline
from schemas.errors import ConfigurationError, ParsecError
from schemas.genesis import DEVELOPMENT_ACCOUNTS
from schemas.keys import integer, nonce_key

from .options import Live, configured, json_option
from .printing import hexadecimal, print_json
from .receipts import Hexadecimal

UNITS = {"wei": 1, "gwei": 10**9, "ether": 10**18}
DEVELOPMENT = "dev:"


class Amount(click.ParamType[int]):
    """Wei, as an integer or as a decimal number with a unit: ``1.5ether``."""

    name = "amount"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The amount in wei."""
        if isinstance(value, int):
            return value
        text = str(value).strip().lower()
        unit = next((name for name in sorted(UNITS, key=len, reverse=True) if text.endswith(name)), "")
        number = text.removesuffix(unit).strip()
        whole, point, fraction = number.partition(".")
        digits = len(str(UNITS[unit])) - 1 if unit else 0
        if not whole.isdecimal() or (point and not fraction.isdecimal()):
            self.fail(f"{value} is not an amount: give wei, or a number with gwei or ether, as 1.5ether", param, ctx)
        if len(fraction) > digits:
            self.fail(f"{value} is less than one wei: {unit or 'wei'} has {digits} decimal places", param, ctx)
        wei = int(whole + fraction.ljust(digits, "0"))
        if wei >= 2**256:
            self.fail(f"{value} is more than 2**256 - 1 wei", param, ctx)
        return wei


AMOUNT = Amount()
keys_option = click.option(
    "--keys", type=click.Path(path_type=Path), help="Directory of key files; 'keys' in the data directory by default.")
password_option = click.option(
    "--password-file", type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="File with the password in its first line.")


@click.group
def account() -> None:
    """Make, list and use accounts of this machine."""


@account.command
@configured()
@keys_option
@password_option
@json_option
def new(config: Config, keys: Path | None, password_file: Path | None, as_json: bool) -> None:
    """Make an account. Its key is written to a file that is encrypted with a password, in geth's format."""
    from ingest import accounts

    made = accounts.new(_directory(config, keys), _password(password_file, confirm=True))
    if as_json:
        print_json({"address": hexadecimal(made.address), "file": str(made.path)})
    else:
        click.echo(hexadecimal(made.address))
        click.echo(f"key file: {made.path}", err=True)


@account.command(name="list")
@configured("genesis", live=Live.USED)
@keys_option
@json_option
def list_(config: Config, keys: Path | None, as_json: bool) -> None:
    """List the accounts: those with a key file, and those that everybody has the keys of (dev:0 …)."""
    from ingest import accounts

    funded = {each.address: each.balance for each in config.read_genesis().accounts}
    found = [(hexadecimal(each.address), str(each.path)) for each in accounts.key_files(_directory(config, keys))]
    found += [
        (hexadecimal(address), f"{DEVELOPMENT}{index}")
        for index, address in enumerate(DEVELOPMENT_ACCOUNTS) if address in funded]
    for address, source in found:
        if as_json:
            print_json({"address": address, "source": source})
        else:
            click.echo(f"{address}  {source}")


@account.command
@configured("genesis", live=Live.USED)
@click.option("--from", "sender", required=True, metavar="ADDRESS|dev:N",
              help="Account of a key file, or one of the development accounts.")
@click.option("--to", "recipient", type=Hexadecimal(20), required=True, help="Recipient.")
@click.option("--value", type=AMOUNT, default="0", help="Wei, or as 1.5ether or 20gwei.")
@click.option("--calldata", default="0x", help="Calldata in hexadecimal.")
@click.option("--nonce", type=click.IntRange(0), help="By default the account's, as the shards of what runs say.")
@click.option("--gas", type=click.IntRange(0), help="Gas limit; 21000 for a payment by default, for a call much more.")
@click.option("--gas-price", type=AMOUNT, help="Per gas, written as --value; the genesis' base fee by default.")
@click.option("--chain-id", type=click.IntRange(1), help="That of the genesis by default.")
@keys_option
@password_option
def sign(
    config: Config, sender: str, recipient: bytes, value: int, calldata: str, nonce: int | None, gas: int | None,
    gas_price: int | None, chain_id: int | None, keys: Path | None, password_file: Path | None,
) -> None:
    """Sign a payment or a call. Only the raw transaction is printed, so that it can be piped to 'parsec send -'."""
    from ingest import accounts
    from ingest.admission import intrinsic_gas

    rules = config.read_genesis().rules
    try:
        data = bytes.fromhex(calldata.removeprefix("0x"))
    except ValueError:
        raise ConfigurationError(f"--calldata {calldata[:40]!r} is not hexadecimal") from None
    signer = _signer(_directory(config, keys), sender, password_file)
    address = bytes.fromhex(signer.address[2:])
    raw = accounts.sign_transfer(
        signer,
        chain_id=chain_id or rules.chain_id,
        nonce=_nonce(config, address) if nonce is None else nonce,
        to=recipient,
        value=value,
        data=data,
        gas_limit=max(intrinsic_gas(data, creates=False)) * (10 if data else 1) if gas is None else gas,
        max_fee=rules.base_fee if gas_price is None else gas_price,
    )
    click.echo(hexadecimal(raw))


def _directory(config: Config, keys: Path | None) -> Path:
    return config.cluster.data / "keys" if keys is None else keys


def _password(file: Path | None, *, confirm: bool = False) -> str:
    """From a file, or from whoever sits at the terminal."""
    if file is not None:
        return (file.read_text(encoding="utf-8").splitlines() or [""])[0]
    answer: str = click.prompt("Password", hide_input=True, confirmation_prompt=confirm, err=True)
    return answer


def _signer(directory: Path, sender: str, password_file: Path | None) -> Any:
    """The account that signs."""
    from ingest import accounts

    if sender.startswith(DEVELOPMENT):
        number = sender.removeprefix(DEVELOPMENT)
        if not number.isdecimal() or int(number) >= len(DEVELOPMENT_ACCOUNTS):
            raise ConfigurationError(
                f"--from {sender}: there are {DEVELOPMENT}0 to {DEVELOPMENT}{len(DEVELOPMENT_ACCOUNTS) - 1}")
        return accounts.development_accounts(int(number) + 1)[-1]
    try:
        address = bytes.fromhex(sender.removeprefix("0x"))
    except ValueError:
        raise ConfigurationError(f"--from {sender!r} is neither an address nor {DEVELOPMENT}N") from None
    if all(file.address != address for file in accounts.key_files(directory)):
        raise ConfigurationError(f"no key file for account {hexadecimal(address)} in {directory}")
    return accounts.load(directory, address, _password(password_file))


def _nonce(config: Config, address: bytes) -> int:
    """The next nonce of an account, as far as it is committed."""
    if not config.kafka.bootstrap:
        raise ConfigurationError(
            f"nothing runs on {config.cluster.data.absolute()} that knows the nonce of {hexadecimal(address)}: "
            "give --nonce")
    pipeline = Pipeline.connect(config)
    key = nonce_key(address)
    with pipeline.log() as kafka, pipeline.reader(kafka) as reader:
        try:
            return integer(reader.read([key])[key].value)
        except ParsecError as exc:
            raise ConfigurationError(f"the nonce of {hexadecimal(address)} can't be read, give --nonce: {exc}") from exc
