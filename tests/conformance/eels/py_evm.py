"""Stock py-evm as a third opinion: it runs the same input documents, with its own tries and transaction executor.

Driven like this it accepts transactions that a chain rejects, so that the caller says which ones to leave out.
"""

from collections.abc import Collection, Mapping
from typing import Any

from eth.abc import StateAPI
from eth.constants import BLANK_ROOT_HASH
from eth.db.atomic import AtomicDB
from eth.vm.execution_context import ExecutionContext
from eth.vm.forks.prague import PragueVM
from eth_typing import Address, Hash32
from eth_utils.crypto import keccak

from tests.conformance.eels.results import Account, Log, Receipt, unhex

HISTORY = 256


def context(document: Mapping[str, Any], block: Mapping[str, Any]) -> ExecutionContext:
    """What a block's transactions see of it."""
    current = block["number"]
    hashes = {int(number): unhex(value) for number, value in document["block_hashes"].items()}
    return ExecutionContext(
        coinbase=Address(unhex(document["coinbase"])),
        timestamp=block["timestamp"],
        block_number=current,
        difficulty=0,
        mix_hash=Hash32(unhex(block["prevrandao"])),
        gas_limit=document["gas_limit"],
        # The parent's comes first.
        prev_hashes=[
            Hash32(hashes.get(number, bytes(32))) for number in range(current - 1, max(-1, current - 1 - HISTORY), -1)
        ],
        chain_id=document["chain_id"],
        base_fee_per_gas=document["base_fee"],
        excess_blob_gas=0,
    )


def new_state(accounts: Mapping[bytes, Account], of: ExecutionContext) -> StateAPI:
    """A state of its own that holds these accounts, and py-evm's system contracts."""
    state = PragueVM.get_state_class()(AtomicDB(), of, BLANK_ROOT_HASH)
    for key, account in accounts.items():
        address = Address(key)
        state.set_balance(address, account.balance)
        state.set_nonce(address, account.nonce)
        if account.code:
            state.set_code(address, account.code)
        for slot, value in account.storage.items():
            state.set_storage(address, slot, value)
    return state


def root(state: StateAPI) -> bytes:
    """Root of the state trie, 32 bytes: it is equal for equal accounts, and for nothing else."""
    state.persist()
    return bytes(state.state_root)


def run(document: Mapping[str, Any], rejected: Collection[int]) -> tuple[tuple[Receipt | None, ...], bytes]:
    """Execute an input document; returns receipts, with None for those left out, and the root of the last state.

    Parameters
    ----------
    rejected
        Positions of the transactions to leave out, counted over all blocks.
    """
    alloc = {
        unhex(address): Account(
            balance=int(entry.get("balance", "0x0"), 16), nonce=int(entry.get("nonce", "0x0"), 16),
            code=unhex(entry.get("code", "0x")),
            storage={int(slot, 16): int(value, 16) for slot, value in entry.get("storage", {}).items()},
        )
        for address, entry in document["alloc"].items()
    }  # fmt: skip
    state = new_state(alloc, context(document, document["blocks"][0]))
    receipts: list[Receipt | None] = []
    for block in document["blocks"]:
        state.execution_context = context(document, block)
        for raw in block["transactions"]:
            receipts.append(None if len(receipts) in rejected else execute(state, unhex(raw)))
    return tuple(receipts), root(state)


def execute(state: StateAPI, raw: bytes) -> Receipt:
    """Execute one signed transaction."""
    transaction = PragueVM.get_transaction_builder().decode(raw)
    computation = state.apply_transaction(transaction)
    # What is now in storage becomes the original value for the refunds of the next transaction.
    state.lock_changes()
    return Receipt(
        hash=keccak(raw),
        status=int(computation.is_success),
        gas_used=PragueVM.finalize_gas_used(transaction, computation),
        logs=tuple(
            Log(address=bytes(address), topics=tuple(topic.to_bytes(32, "big") for topic in topics), data=data)
            for address, topics, data in computation.get_log_entries()
        ),
        error=type(computation.error).__name__ if computation.is_error else None,
        output=computation.output,
        created=bytes(computation.msg.storage_address) if transaction.to == b"" and computation.is_success else None,
    )
