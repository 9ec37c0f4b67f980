"""Cases for engines: blocks of labelled transactions, and the example contracts in them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from eth_utils.crypto import keccak

from tests.conformance.eels.wallet import CHAIN_ID, Wallet, call_data, create_address, init_code

GAS_LIMIT = 30_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One run of an engine."""

    name: str
    labels: tuple[str, ...]
    """What each transaction is there for, in order."""
    document: Mapping[str, Any]
    """Input of the runner."""


class Script:
    """Collects blocks of labelled transactions."""

    def __init__(self, name: str, *, coinbase: bytes, base_fee: int, alloc: Mapping[bytes, int]) -> None:
        self.name = name
        self.labels: list[str] = []
        self.blocks: list[dict[str, Any]] = []
        self.head = {
            "chain_id": CHAIN_ID, "coinbase": "0x" + coinbase.hex(), "gas_limit": GAS_LIMIT, "base_fee": base_fee,
        }  # fmt: skip
        self.alloc = {"0x" + address.hex(): {"balance": hex(balance)} for address, balance in alloc.items()}

    def block(self) -> None:
        """Open the next block."""
        number = len(self.blocks) + 1
        self.blocks.append({
            "number": number,
            "timestamp": 1_700_000_000 + 3 * number,
            "prevrandao": "0x" + keccak(text=f"randomness of {number}").hex(),
            "transactions": [],
        })  # fmt: skip

    def add(self, label: str, raw: bytes) -> None:
        """Append a transaction to the open block."""
        self.labels.append(label)
        self.blocks[-1]["transactions"].append("0x" + raw.hex())

    def case(self) -> Case:
        """The finished case; every block knows the hashes of all before it."""
        hashes = {str(n): "0x" + keccak(text=f"block {n}").hex() for n in range(len(self.blocks))}
        document = {**self.head, "blocks": self.blocks, "alloc": self.alloc, "block_hashes": hashes}
        return Case(name=self.name, labels=tuple(self.labels), document=document)


@dataclass(frozen=True, slots=True, kw_only=True)
class Contracts:
    """Addresses of the contracts that `deploy` makes."""

    first: bytes
    """A token with 18 decimals, whose owner deployed all."""
    second: bytes
    """A token with 6 decimals."""
    pool: bytes
    """The market between the two."""
    store: bytes


def deploy(script: Script, owner: Wallet) -> Contracts:
    """Deploy all contracts, with four transactions of types 0, 2, 1 and 0."""
    first, second, pool, store = (create_address(owner.address, owner.nonce + index) for index in range(4))
    make = owner.transaction
    data = init_code("Token", "First Token", "ONE", 18, 10**24)
    script.add("deploy the first token", make(None, data, gas=2_000_000))
    data = init_code("Token", "A second token with a name of more than 31 bytes", "TWO", 6, 10**13)
    script.add("deploy the second token", make(None, data, kind=2, gas=2_000_000))
    access = [(first, [0, 1]), (second, [])]
    data = init_code("Pool", "0x" + first.hex(), "0x" + second.hex())
    script.add("deploy the pool", make(None, data, kind=1, gas=2_000_000, access=access))
    script.add("deploy the store", make(None, init_code("Store"), gas=3_000_000))
    return Contracts(first=first, second=second, pool=pool, store=store)


def caller(name: str) -> Callable[..., bytes]:
    """A function that signs calls to a contract of that name; its keywords are fields of the transaction."""

    def call(wallet: Wallet, address: bytes, function: str, *arguments: object, **fields: Any) -> bytes:
        return wallet.transaction(address, call_data(name, function, *arguments), **fields)

    return call


token, pool, store = caller("Token"), caller("Pool"), caller("Store")
