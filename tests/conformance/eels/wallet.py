"""Accounts with known keys that sign transactions, and the example contracts that they call."""

import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import rlp
from eth_abi.abi import encode
from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

MNEMONIC = "test test test test test test test test test test test junk"
"""Known to everybody: never for anything of value."""
CHAIN_ID = 52188

ARTIFACTS = Path(__file__).resolve().parents[3] / "examples" / "contracts" / "artifacts"


@functools.cache
def key(index: int) -> LocalAccount:
    """The key at ``m/44'/60'/0'/0/index`` of the mnemonic."""
    Account.enable_unaudited_hdwallet_features()
    account: LocalAccount = Account.from_mnemonic(MNEMONIC, account_path=f"m/44'/60'/0'/0/{index}")
    return account


@functools.cache
def artifact(name: str) -> dict[str, Any]:
    """A committed artifact of an example contract."""
    loaded: dict[str, Any] = json.loads((ARTIFACTS / f"{name}.json").read_text())
    return loaded


def init_code(name: str, *arguments: object) -> bytes:
    """Data of the transaction that deploys a contract."""
    abi = artifact(name)["abi"]
    types = next(([i["type"] for i in entry["inputs"]] for entry in abi if entry["type"] == "constructor"), [])
    return bytes.fromhex(artifact(name)["bytecode"][2:]) + encode(types, arguments)


def call_data(name: str, function: str, *arguments: object) -> bytes:
    """Data of the transaction that calls a function; no two functions of a contract here have the same name."""
    abi = artifact(name)["abi"]
    entry = next(entry for entry in abi if entry["type"] == "function" and entry["name"] == function)
    types = [argument["type"] for argument in entry["inputs"]]
    return keccak(text=f"{function}({','.join(types)})")[:4] + encode(types, arguments)


def create_address(sender: bytes, nonce: int) -> bytes:
    """Address of the contract that an account creates with a nonce, 20 bytes."""
    return keccak(rlp.encode([sender, nonce]))[12:]


class Wallet:
    """One key and the nonce of its next transaction."""

    def __init__(self, index: int) -> None:
        self.account = key(index)
        self.address = bytes.fromhex(self.account.address[2:])
        self.nonce = 0

    def __repr__(self) -> str:
        return f"Wallet({self.account.address})"

    def sign(self, fields: Mapping[str, Any]) -> bytes:
        """Sign exactly these fields; the nonce of the wallet stays."""
        return bytes(self.account.sign_transaction(dict(fields)).raw_transaction)

    def transaction(
        self,
        to: bytes | None,
        data: bytes = b"",
        *,
        kind: int = 0,
        value: int = 0,
        gas: int = 500_000,
        price: int = 0,
        tip: int | None = None,
        access: Sequence[tuple[bytes, Sequence[int]]] = (),
        authorizations: Sequence[Mapping[str, Any]] = (),
        **changes: Any,
    ) -> bytes:
        """Sign the wallet's next transaction.

        Parameters
        ----------
        kind
            Transaction type: 0, 1, 2 or 4.
        price
            Gas price, or the highest fee per gas of types 2 and 4; in wei.
        tip
            Highest priority fee per gas of types 2 and 4; the price if it isn't given.
        access
            Access list: addresses with slots.
        changes
            Fields to sign in place of the right ones, such as another ``nonce``. The wallet's own nonce then stays,
            because such a transaction is to be rejected.
        """
        fields: dict[str, Any] = {
            "chainId": CHAIN_ID, "nonce": self.nonce, "gas": gas, "to": to_checksum_address(to) if to else b"",
            "value": value, "data": data,
        }  # fmt: skip
        if kind:
            fields["type"] = kind
            fields["accessList"] = [
                {"address": to_checksum_address(address), "storageKeys": [f"0x{slot:064x}" for slot in slots]}
                for address, slots in access
            ]
        if kind in (2, 4):
            fields["maxFeePerGas"] = price
            fields["maxPriorityFeePerGas"] = price if tip is None else tip
        else:
            fields["gasPrice"] = price
        if kind == 4:
            fields["authorizationList"] = list(authorizations)
        if not changes:
            self.nonce += 1
        return self.sign({**fields, **changes})

    def authorize(self, delegate: bytes, *, nonce: int | None = None, chain_id: int = CHAIN_ID) -> Any:
        """Sign that this account runs the code of `delegate`; a right nonce is counted as used."""
        if nonce is None:
            nonce = self.nonce
            self.nonce += 1
        return self.account.sign_authorization(
            {"chainId": chain_id, "address": to_checksum_address(delegate), "nonce": nonce}
        )
