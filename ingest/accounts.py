"""Accounts of this machine: encrypted key files as other Ethereum software reads and writes them.

The adapter of eth_account.

References
----------
Web3 Secret Storage, version 3. Files are named as geth names them, and readable by their owner only.
"""

import json
import logging
import os
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from schemas.errors import ConfigurationError
from schemas.hashing import keccak

from .forks import MACHINE
from .rlp import write, write_list

# A dependency of eth_account raises the limit to 100,000. With that, nested JSON overflows the stack of C and kills the
# process instead of raising RecursionError.
_limit = sys.getrecursionlimit()
from eth_account import Account  # noqa: E402
from eth_account.signers.local import LocalAccount  # noqa: E402

sys.setrecursionlimit(_limit)

_LOGGER: Final = logging.getLogger(__name__)

DEVELOPMENT_MNEMONIC: Final = "test test test test test test test test test test test junk"
"""The words that development chains use; accounts made of them belong to everybody."""

_SCRYPT_ITERATIONS: Final = 2**18
"""What geth takes; a second of work and 256 MB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyFile:
    """An encrypted key on disk."""

    address: bytes
    """20 bytes."""
    path: Path


def new(directory: Path, password: str, *, iterations: int = _SCRYPT_ITERATIONS) -> KeyFile:
    """Make an account and write its key file.

    Parameters
    ----------
    directory
        Made if it isn't there, for its owner only.
    password
        Encrypts the key.
    iterations
        Cost of scrypt, a power of two. Less than the default is for tests.
    """
    account: LocalAccount = Account.create()
    address = bytes.fromhex(account.address[2:])
    content = Account.encrypt(account.key, password, kdf="scrypt", iterations=iterations)
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = directory / f"UTC--{datetime.now(UTC):%Y-%m-%dT%H-%M-%S.%f}000Z--{address.hex()}"
    # Never readable by others, not even for a moment, and never over a file that is there.
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(content, file)
        file.flush()
        os.fsync(file.fileno())
    return KeyFile(address=address, path=path)


def key_files(directory: Path) -> tuple[KeyFile, ...]:
    """The key files in a directory, in the order in which they were made. Other files are left out, with a warning."""
    found = []
    for path in sorted(directory.iterdir()) if directory.is_dir() else ():
        if not path.is_file() or path.name.startswith("."):
            continue
        try:
            address = bytes.fromhex(_content(path)["address"].removeprefix("0x"))
        except (ConfigurationError, KeyError, ValueError, AttributeError):
            _LOGGER.warning("%s is not a key file", path)
            continue
        found.append(KeyFile(address=address, path=path))
    return tuple(found)


def unlock(path: Path, password: str) -> LocalAccount:
    """Decrypt a key file.

    Raises
    ------
    ConfigurationError
        If it isn't a key file, or the password is wrong.
    """
    content = _content(path)
    try:
        return _local(Account.decrypt(content, password))
    except (KeyError, TypeError, ValueError, NotImplementedError) as exc:
        raise ConfigurationError(f"{path} can't be decrypted: {exc}") from exc


def load(directory: Path, address: bytes, password: str) -> LocalAccount:
    """Decrypt the key of an account in a directory.

    Raises
    ------
    ConfigurationError
        If there is no key file for it, or the password is wrong.
    """
    for file in key_files(directory):
        if file.address == address:
            return unlock(file.path, password)
    raise ConfigurationError(f"no key file for account 0x{address.hex()} in {directory}")


def development_accounts(count: int = 10) -> tuple[LocalAccount, ...]:
    """The first accounts of the development mnemonic, which the default genesis gives ether to."""
    Account.enable_unaudited_hdwallet_features()
    return tuple(
        Account.from_mnemonic(DEVELOPMENT_MNEMONIC, account_path=f"m/44'/60'/0'/0/{index}") for index in range(count))


def sign_transfer(
    account: LocalAccount, *, chain_id: int, nonce: int, to: bytes, value: int, data: bytes = b"",
    gas_limit: int = 21_000, max_fee: int, max_priority_fee: int = 0,
) -> bytes:
    """Sign a payment, or a call with calldata.

    Parameters
    ----------
    to
        Recipient, 20 bytes.
    value
        Wei.
    max_fee, max_priority_fee
        Wei per gas.

    Returns
    -------
    bytes
        A signed transaction of type 2.
    """
    signed = account.sign_transaction({
        "type": 2, "chainId": chain_id, "nonce": nonce, "to": to, "value": value, "data": data, "gas": gas_limit,
        "maxFeePerGas": max_fee, "maxPriorityFeePerGas": max_priority_fee})
    return bytes(signed.raw_transaction)


def sign_for_machine(
    account: LocalAccount, *, chain_id: int, nonce: int, machine: str, to: bytes | None, value: int = 0,
    data: bytes = b"", gas_limit: int, max_fee: int, max_priority_fee: int = 0,
) -> bytes:
    """Sign a transaction for a contract of a machine beside the EVM.

    Parameters
    ----------
    machine
        Name of the machine, as ``lua``.
    to
        The contract, 20 bytes; None to deploy one.
    value
        Wei.
    data
        The arguments of a call, or what `deployment` gives.
    max_fee, max_priority_fee
        Wei per gas.

    Returns
    -------
    bytes
        A signed transaction of type 0x50, whose form is in `ingest.transactions`.
    """
    kind = bytes([MACHINE])
    fields = [write(each) for each in (
        chain_id, nonce, max_priority_fee, max_fee, gas_limit, machine.encode("ascii"), to or b"", value, data)]
    signed = account.unsafe_sign_hash(keccak(kind + write_list(fields)))  # type: ignore[arg-type]  # 32 bytes by a name
    return kind + write_list([*fields, write(signed.v - 27), write(signed.r), write(signed.s)])


def deployment(code: bytes, arguments: bytes = b"") -> bytes:
    """The data of a transaction of type 0x50 that deploys a contract: its code, and what its constructor gets."""
    return write_list((write(code), write(arguments)))


def _local(key: Any) -> LocalAccount:
    account: LocalAccount = Account.from_key(key)
    return account


def _content(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError) as exc:
        raise ConfigurationError(f"{path} is not a key file: {exc}") from exc
    if not isinstance(content, dict):
        raise ConfigurationError(f"{path} is not a key file: no JSON object")
    return content
