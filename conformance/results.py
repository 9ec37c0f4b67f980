"""What a transition came to, as geth's ``evm t8n`` writes it.

References
----------
``cmd/evm/README.md`` of go-ethereum (the format); EIP-2718, EIP-4895 (withdrawals), EIP-7685 (requests).
"""

from typing import Any, Final

from executors.effects import effective_gas_price
from ingest.blobs import GAS_PER_BLOB
from ledger.tries import bloom, encode, ordered_root
from schemas.hashing import keccak
from schemas.records import Event

from .accounts import accounts_of
from .environment import Environment
from .fields import hexadecimal
from .roots import state_root
from .system import requests_hash
from .transition import Applied, Ended, Included

_NO_HASH: Final = hexadecimal(bytes(32))
_NO_ADDRESS: Final = hexadecimal(bytes(20))


def result_document(environment: Environment, applied: Applied, ended: Ended) -> dict[str, Any]:
    """The ``result`` of a transition."""
    included = applied.included
    logs = [[log.address, log.topics, log.data] for log in applied.logs]
    cumulative = _cumulative(included)
    document: dict[str, Any] = {
        "stateRoot": hexadecimal(state_root(accounts_of(ended.state))),
        "txRoot": hexadecimal(ordered_root([each.transaction.raw for each in included])),
        "receiptsRoot": hexadecimal(ordered_root([
            _encoded_receipt(each, gas) for each, gas in zip(included, cumulative, strict=True)])),
        "logsHash": hexadecimal(keccak(encode(logs))),
        "logsBloom": hexadecimal(bloom(_events(*included))),
        "receipts": _receipts(environment, included, cumulative),
        "rejected": [{"index": index, "error": reason} for index, reason in applied.rejected],
        "currentDifficulty": None,
        "gasUsed": hex(cumulative[-1] if cumulative else 0),
        "currentBaseFee": hex(environment.base_fee),
        "withdrawalsRoot": hexadecimal(ordered_root([
            encode([each.index, each.validator, each.address, each.amount_gwei])
            for each in environment.withdrawals])),
    }
    if environment.excess_blob_gas is not None:
        document["currentExcessBlobGas"] = hex(environment.excess_blob_gas)
        document["blobGasUsed"] = hex(sum(_blob_gas(each) for each in included))
    if environment.fork.requests:
        document["requestsHash"] = hexadecimal(requests_hash(ended.requests))
        document["requests"] = [hexadecimal(request) for request in ended.requests]
    return document


def _cumulative(included: tuple[Included, ...]) -> list[int]:
    """The gas used up to each transaction."""
    gas, totals = 0, []
    for each in included:
        gas += each.gas_used
        totals.append(gas)
    return totals


def _blob_gas(included: Included) -> int:
    return GAS_PER_BLOB * len(included.transaction.blob_hashes)


def _events(*included: Included) -> list[Event]:
    return [
        Event(address=log.address, topics=log.topics, data=log.data) for each in included for log in each.logs]


def _encoded_receipt(included: Included, cumulative: int) -> bytes:
    """A receipt as the trie of receipts holds it."""
    logs = [[log.address, log.topics, log.data] for log in included.logs]
    body = encode([int(included.succeeded), cumulative, bloom(_events(included)), logs])
    kind = included.transaction.type
    return bytes((kind,)) + body if kind else body


def _receipts(environment: Environment, included: tuple[Included, ...], cumulative: list[int]) -> list[dict[str, Any]]:
    documents, log_index = [], 0
    for index, (each, gas) in enumerate(zip(included, cumulative, strict=True)):
        transaction = each.transaction
        place = {
            "blockHash": _NO_HASH, "blockNumber": hex(environment.number),
            "transactionHash": hexadecimal(transaction.hash), "transactionIndex": hex(index)}
        document = {
            "type": hex(transaction.type), "root": "0x", "status": hex(each.succeeded), "cumulativeGasUsed": hex(gas),
            "logsBloom": hexadecimal(bloom(_events(each))),
            "logs": [
                {"address": hexadecimal(log.address), "topics": [hexadecimal(topic) for topic in log.topics],
                 "data": hexadecimal(log.data), "logIndex": hex(log_index + number), "removed": False, **place}
                for number, log in enumerate(each.logs)],
            "contractAddress": _NO_ADDRESS if each.contract is None else hexadecimal(each.contract),
            "gasUsed": hex(each.gas_used),
            "effectiveGasPrice": hex(effective_gas_price(transaction, environment.base_fee)), **place}
        if transaction.blob_hashes:
            document |= {"blobGasUsed": hex(_blob_gas(each)), "blobGasPrice": hex(environment.blob_base_fee)}
        documents.append(document)
        log_index += len(each.logs)
    return documents
