"""The example contracts as the demonstration uses them: calldata, and where their storage is.

References
----------
Solidity documentation, contract ABI specification and layout of state variables in storage.
"""

import json
from pathlib import Path
from typing import Any, Final

import cluster
from ingest.hints import mapping_slot
from ingest.rlp import write, write_list
from schemas.errors import ConfigurationError
from schemas.hashing import keccak
from schemas.keys import StateKey, slot_key

_WHERE: Final = Path("examples", "contracts", "artifacts")
_WORD: Final = 32

TRANSFER_TOPIC: Final = keccak(b"Transfer(address,address,uint256)")
"""First topic of a token's log that says who gave how much to whom."""

Argument = int | bytes | str
"""A number, an address of 20 bytes, or a text."""


class Artifact:
    """What the compiler made of a contract.

    Raises
    ------
    ConfigurationError
        The artifact isn't there: a wheel doesn't bring the examples.
    """

    def __init__(self, name: str) -> None:
        path = _folder() / f"{name}.json"
        try:
            loaded: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            self._code = bytes.fromhex(loaded["bytecode"][2:])
            self._signatures = {
                entry["name"]: f"{entry['name']}({','.join(argument['type'] for argument in entry['inputs'])})"
                for entry in loaded["abi"] if entry["type"] == "function"}
            self._slots = {entry["label"]: int(entry["slot"]) for entry in loaded["storageLayout"]}
        except (OSError, ValueError, KeyError) as exc:
            raise ConfigurationError(f"{path} is no artifact of a contract: {exc}") from exc

    def init_code(self, *arguments: Argument) -> bytes:
        """Data of the transaction that deploys the contract."""
        return self._code + _encoded(arguments)

    def call(self, function: str, *arguments: Argument) -> bytes:
        """Data of the transaction that calls a function."""
        return keccak(self._signatures[function].encode())[:4] + _encoded(arguments)

    def slot(self, label: str) -> int:
        """Where a state variable is."""
        return self._slots[label]

    def variable(self, contract: bytes, label: str) -> StateKey:
        """The key of the slot of a state variable."""
        return slot_key(contract, self._slots[label])

    def entry(self, contract: bytes, label: str, account: bytes) -> StateKey:
        """The key of the entry of an account in a mapping."""
        return slot_key(contract, mapping_slot(account, self._slots[label]))


def created_address(sender: bytes, nonce: int) -> bytes:
    """Address of the contract that an account deploys with a nonce, 20 bytes."""
    return keccak(write_list((write(sender), write(nonce))))[12:]


def _folder() -> Path:
    """The artifacts in the checkout that this package lies in, or in the working directory."""
    places = [root / _WHERE for root in (Path(cluster.__file__).resolve().parents[1], Path.cwd())]
    for place in places:
        if place.is_dir():
            return place
    raise ConfigurationError(
        "the demonstration needs the example contracts, which are not part of an installed package: run it in a "
        f"checkout of the repository, where {_WHERE} is (looked for in {' and '.join(map(str, places))})")


def _encoded(arguments: tuple[Argument, ...]) -> bytes:
    """Arguments as a contract takes them: a word each, and texts behind the words."""
    head, tail = b"", b""
    for argument in arguments:
        if isinstance(argument, str):
            text = argument.encode()
            head += (len(arguments) * _WORD + len(tail)).to_bytes(_WORD, "big")
            tail += len(text).to_bytes(_WORD, "big") + text.ljust(-(-len(text) // _WORD) * _WORD, b"\0")
        elif isinstance(argument, bytes):
            head += argument.rjust(_WORD, b"\0")
        else:
            head += argument.to_bytes(_WORD, "big")
    return head + tail
