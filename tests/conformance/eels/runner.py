"""Executes signed transactions one after the other by EELS: JSON on stdin, JSON on stdout.

With ``--lines`` every line of stdin is an input document, and is answered by a line with its output document: so that
starting, which takes longer than most documents, is done once.

It runs in a virtual environment of its own (`engine.py` makes it), because the specification needs an older coincurve
than this project. Nothing here imports from the project.

Input, numbers as JSON numbers or 0x-prefixed text, bytes as 0x-prefixed text::

    {"fork", "chain_id", "coinbase", "gas_limit", "base_fee",
     "blocks": [{"number", "timestamp", "prevrandao", "transactions": [raw, ...]}, ...],
     "alloc": {address: {"balance", "nonce", "code", "storage": {slot: value}}},
     "block_hashes": {number: hash}}

Output, in the order of the input::

    {"transactions": [{"hash", "status", "gas_used", "logs": [{"address", "topics", "data"}], "error", "output",
                       "created"}, ...],
     "accounts": {address: {"balance", "nonce", "code", "storage"}}}

- ``fork`` is ``shanghai``, ``cancun`` or ``prague``, which it is if it is left out.
- ``status`` is 1, 0, or null for a transaction that was rejected: it changed nothing and used no gas.
- ``error`` is null, or the name of the specification's exception, with its message if it has one.
- ``output`` is what the outermost frame returned, the reason of a revert included.
- ``created`` is the address of a creating transaction's contract, if it succeeded.
- ``gas_limit`` is what GASLIMIT answers and the most that one transaction may ask for. There is no limit over a block:
  each transaction is processed as the first of its block.
- A hash that ``block_hashes`` leaves out is zero. The system calls at the start of a block aren't made.
- The specification doesn't compare the chain id of a typed transaction with the chain's; the runner does, and its error
  is ``WrongChain``.

References
----------
``ethereum.forks.<fork>.fork.process_transaction`` of ethereum/execution-specs.
"""

import dataclasses
import importlib
import json
import sys
from types import SimpleNamespace
from typing import Any

# The specification isn't installed where this file is type-checked.
from ethereum.crypto.hash import keccak256  # type: ignore[import-not-found]
from ethereum.exceptions import EthereumException  # type: ignore[import-not-found]
from ethereum.trace import TransactionEnd, set_evm_trace  # type: ignore[import-not-found]
from ethereum_rlp import rlp  # type: ignore[import-not-found]
from ethereum_rlp.exceptions import RLPException  # type: ignore[import-not-found]
from ethereum_types.bytes import Bytes, Bytes32  # type: ignore[import-not-found]
from ethereum_types.numeric import U64, U256, Uint  # type: ignore[import-not-found]

JSON = dict[str, Any]

HISTORY = 256
"""How many earlier blocks BLOCKHASH can name."""
NEEDED = {
    "blocks": ("decode_receipt",), "fork": ("process_transaction",), "fork_types": ("Account", "Address"),
    "state": ("State", "set_account", "set_storage"), "transactions": ("LegacyTransaction", "decode_transaction"),
    "trie": ("trie_get",), "vm": ("BlockEnvironment", "BlockOutput"),
}  # fmt: skip
"""What is used of a fork, by the modules that have it."""
LOADED: dict[str, Any] = {}
"""Forks by name."""


def fork_named(name: str) -> Any:
    """What `NEEDED` lists of a fork, as attributes."""
    if name not in LOADED:
        modules = {module: importlib.import_module(f"ethereum.forks.{name}.{module}") for module in NEEDED}
        LOADED[name] = SimpleNamespace(**{
            thing: getattr(modules[module], thing) for module, things in NEEDED.items() for thing in things
        })  # fmt: skip
    return LOADED[name]


class NoTransaction(Exception):
    """No bytes at all."""


class WrongChain(Exception):
    """A typed transaction that was signed for another chain."""


def number(value: int | str) -> int:
    """A JSON number, or text in the notation of a Python literal."""
    return value if isinstance(value, int) else int(value, 0)


def data(text: str) -> Any:
    """Bytes of 0x-prefixed hex."""
    return Bytes.fromhex(text.removeprefix("0x"))


def text(value: bytes) -> str:
    """0x-prefixed hex of bytes."""
    return "0x" + bytes(value).hex()


class Outermost:
    """Listens to the specification's trace and keeps how the outermost frame ended."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget the last transaction."""
        self.output = b""
        self.error: Exception | None = None
        self.target = b""
        self.ended = False

    def __call__(self, evm: Any, event: Any) -> None:
        """Receive one event of the trace."""
        if isinstance(event, TransactionEnd):
            self.output = bytes(event.output)
            self.error = event.error
            self.target = bytes(evm.message.current_target)
            self.ended = True


def allocate(fork: Any, alloc: JSON) -> Any:
    """Make the state before the first block."""
    state = fork.State()
    for address_text, account in alloc.items():
        address = fork.Address(data(address_text))
        made = fork.Account(
            nonce=Uint(number(account.get("nonce", 0))),
            balance=U256(number(account.get("balance", 0))),
            code=data(account.get("code", "0x")),
        )
        fork.set_account(state, address, made)
        for slot, value in account.get("storage", {}).items():
            fork.set_storage(state, address, Bytes32(number(slot).to_bytes(32, "big")), U256(number(value)))
    return state


def environment(fork: Any, document: JSON, block: JSON, state: Any) -> Any:
    """Make what a block's transactions see of it."""
    current = number(block["number"])
    hashes = {number(key): data(value) for key, value in document.get("block_hashes", {}).items()}
    values = {
        "chain_id": U64(number(document["chain_id"])),
        "state": state,
        "block_gas_limit": Uint(number(document["gas_limit"])),
        "block_hashes": [Bytes32(hashes.get(n, bytes(32))) for n in range(max(0, current - HISTORY), current)],
        "coinbase": fork.Address(data(document["coinbase"])),
        "number": Uint(current),
        "base_fee_per_gas": Uint(number(document["base_fee"])),
        "time": U256(number(block["timestamp"])),
        "prev_randao": Bytes32(data(block["prevrandao"])),
        "excess_blob_gas": U64(0),
        "parent_beacon_block_root": Bytes32(bytes(32)),
    }
    # The last two came with Cancun.
    known = {field.name for field in dataclasses.fields(fork.BlockEnvironment)}
    return fork.BlockEnvironment(**{name: value for name, value in values.items() if name in known})


def described(error: Exception) -> str:
    """Name of an exception, and its message if it has one."""
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def execute(fork: Any, environment_: Any, raw: bytes, outermost: Outermost) -> JSON:
    """Execute one signed transaction on the environment's state."""
    outermost.clear()
    result: JSON = {
        "hash": text(keccak256(raw)), "status": None, "gas_used": 0, "logs": [], "error": None, "output": "0x",
        "created": None,
    }  # fmt: skip
    block_output = fork.BlockOutput()
    try:
        if not raw:
            raise NoTransaction
        # RLP lists start at 0xc0; below are the type bytes.
        legacy = raw[:1] >= b"\xc0"
        transaction = rlp.decode_to(fork.LegacyTransaction, raw) if legacy else fork.decode_transaction(raw)
        if not legacy and transaction.chain_id != environment_.chain_id:
            raise WrongChain(f"{transaction.chain_id}, not {environment_.chain_id}")
        fork.process_transaction(environment_, block_output, transaction, Uint(0))
    except (NoTransaction, WrongChain, EthereumException, RLPException) as error:
        return {**result, "error": described(error)}

    receipt = fork.decode_receipt(fork.trie_get(block_output.receipts_trie, rlp.encode(Uint(0))))
    result["status"] = int(receipt.succeeded)
    result["gas_used"] = int(receipt.cumulative_gas_used)
    result["logs"] = [
        {"address": text(log.address), "topics": [text(topic) for topic in log.topics], "data": text(log.data)}
        for log in receipt.logs
    ]
    result["output"] = text(outermost.output)
    if not receipt.succeeded:
        # Only a creation at an address in use ends without an outermost frame.
        result["error"] = described(outermost.error) if outermost.error else "AddressCollision"
    elif len(transaction.to) == 0:
        result["created"] = text(outermost.target)
    return result


def accounts(state: Any) -> JSON:
    """Describe the whole state, sorted by address and slot."""
    # The two tries are private, but the specification has no function that lists accounts.
    storage = {
        address: {text(slot): hex(value) for slot, value in sorted(trie._data.items())}
        for address, trie in state._storage_tries.items()
    }
    return {
        text(address): {
            "balance": hex(account.balance),
            "nonce": int(account.nonce),
            "code": text(account.code),
            "storage": storage.get(address, {}),
        }
        for address, account in sorted(state._main_trie._data.items())
    }


def run(document: JSON) -> JSON:
    """Execute all blocks of an input document; returns the output document."""
    outermost = Outermost()
    set_evm_trace(outermost)  # in the place of the one of the document before
    fork = fork_named(document.get("fork", "prague"))
    state = allocate(fork, document.get("alloc", {}))
    results = []
    for block in document["blocks"]:
        block_environment = environment(fork, document, block, state)
        results += [execute(fork, block_environment, data(raw), outermost) for raw in block["transactions"]]
    return {"transactions": results, "accounts": accounts(state)}


if __name__ == "__main__":
    if sys.argv[1:] == ["--lines"]:
        for line in sys.stdin:
            print(json.dumps(run(json.loads(line))), flush=True)
    else:
        json.dump(run(json.load(sys.stdin)), sys.stdout)
