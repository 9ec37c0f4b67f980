"""Blocks, transactions, receipts and logs in the form of Ethereum's JSON.

Numbers are quantities (``0x`` without leading zeros), bytes are data.
"""

from collections.abc import Sequence
from typing import Any

from ingest.transactions import Authorization, Transaction
from ledger import BlockRoots, IndexedBlock
from ledger.tries import EMPTY_LIST_HASH, bloom
from schemas.records import Event, Receipt
from schemas.rules import Rules

Json = dict[str, Any]


def quantity(number: int) -> str:
    """A number >= 0."""
    return hex(number)


def data(value: bytes) -> str:
    """Bytes."""
    return f"0x{value.hex()}"


def data_or_none(value: bytes | None) -> str | None:
    """Bytes, or null."""
    return None if value is None else data(value)


def block(found: IndexedBlock, roots: BlockRoots, transactions: Sequence[Any], rules: Rules) -> Json:
    """A block with its transactions, hashes or whole, as they are given."""
    return {
        "number": quantity(found.number),
        "hash": data(found.hash),
        "parentHash": data(found.parent_hash),
        "nonce": data(bytes(8)),
        "sha3Uncles": data(EMPTY_LIST_HASH),
        "logsBloom": data(roots.bloom),
        "transactionsRoot": data(roots.transactions),
        "stateRoot": data(found.state_root),
        "receiptsRoot": data(roots.receipts),
        "miner": data(rules.coinbase),
        "difficulty": "0x0",
        "extraData": "0x",
        "size": quantity(roots.size),
        "gasLimit": quantity(rules.block_gas_limit),
        "gasUsed": quantity(found.gas_used),
        "timestamp": quantity(found.timestamp_s),
        "mixHash": data(found.randomness),
        "baseFeePerGas": quantity(rules.base_fee),
        "transactions": list(transactions),
        "uncles": [],
    }


def transaction(found: Transaction, receipt: Receipt | None = None) -> Json:
    """A transaction, with its place if it is included.

    One of type 0x50 has the fields of type 2, and `machine`. Libraries that don't know the type take the number as it
    is, and pass over a field that they don't know; its access list is empty, as they look for one in what has a type.
    """
    placed = receipt is not None and receipt.block is not None
    form: Json = {
        "blockHash": data_or_none(receipt.block_hash) if receipt else None,
        "blockNumber": quantity(receipt.block or 0) if placed and receipt else None,
        "blockTimestamp": quantity(receipt.timestamp_ms // 1000) if placed and receipt else None,
        "transactionIndex": quantity(receipt.transaction_index or 0) if placed and receipt else None,
        "hash": data(found.hash),
        "from": data(found.sender),
        "to": data_or_none(found.to),
        "type": quantity(found.type),
        "nonce": quantity(found.nonce),
        "gas": quantity(found.gas_limit),
        "gasPrice": quantity(int.from_bytes(receipt.gas_price, "big") if placed and receipt else found.max_fee),
        "value": quantity(found.value),
        "input": data(found.data),
        "v": quantity(found.v),
        "r": quantity(found.r),
        "s": quantity(found.s),
    }
    if found.chain_id is not None:
        form["chainId"] = quantity(found.chain_id)
    if found.type:
        form["yParity"] = quantity(found.v)
        form["accessList"] = [
            {"address": data(address), "storageKeys": [data(slot.to_bytes(32, "big")) for slot in slots]}
            for address, slots in found.access_list
        ]
    if found.type >= 2:
        form["maxFeePerGas"] = quantity(found.max_fee)
        form["maxPriorityFeePerGas"] = quantity(found.max_priority_fee)
    if found.machine:
        form["machine"] = found.machine
    if found.authorizations:
        form["authorizationList"] = [_authorization(entry) for entry in found.authorizations]
    return form


def _authorization(entry: Authorization) -> Json:
    return {
        "chainId": quantity(entry.chain_id),
        "address": data(entry.address),
        "nonce": quantity(entry.nonce),
        "yParity": quantity(entry.y_parity),
        "r": quantity(entry.r),
        "s": quantity(entry.s),
    }


def receipt(found: Receipt) -> Json:
    """The receipt of an included transaction."""
    return {
        "transactionHash": data(found.hash),
        "transactionIndex": quantity(found.transaction_index or 0),
        "blockHash": data_or_none(found.block_hash),
        "blockNumber": quantity(found.block or 0),
        "from": data(found.sender),
        "to": data_or_none(found.recipient),
        "cumulativeGasUsed": quantity(found.cumulative_gas),
        "gasUsed": quantity(found.gas_used),
        "effectiveGasPrice": quantity(int.from_bytes(found.gas_price, "big")),
        "contractAddress": data_or_none(found.contract),
        "logs": [log(found, found.log_index + at, event) for at, event in enumerate(found.logs)],
        "logsBloom": data(bloom(found.logs)),
        "type": quantity(found.kind),
        "status": quantity(int(found.status == "success")),
    }


def log(found: Receipt, index: int, event: Event) -> Json:
    """A log with the place of its transaction; `index` is its own within the block."""
    return {
        "address": data(event.address),
        "topics": [data(topic) for topic in event.topics],
        "data": data(event.data),
        "blockHash": data_or_none(found.block_hash),
        "blockNumber": quantity(found.block or 0),
        "blockTimestamp": quantity(found.timestamp_ms // 1000),
        "transactionHash": data(found.hash),
        "transactionIndex": quantity(found.transaction_index or 0),
        "logIndex": quantity(index),
        "removed": False,
    }


def pipeline_receipt(found: Receipt) -> Json:
    """A receipt as the pipeline knows it, also of a rejected transaction, which has no block."""
    form: Json = {
        "source": {"partition": found.partition, "offset": found.offset},
        "epoch": found.epoch,
        "shard": found.shard,
        "index": found.index,
        "transactionHash": data(found.hash),
        "status": found.status,
        "reason": found.reason,
        "from": data_or_none(found.sender or None),
        "to": data_or_none(found.recipient),
        "nonce": quantity(found.nonce),
        "timestampMs": found.timestamp_ms,
        "output": data(found.output),
        "receipt": receipt(found) if found.included else None,
    }
    return form
