"""Sending transactions, and finding them and their receipts."""

from typing import Any

from gateway import forms
from gateway.node import Node
from gateway.parameters import data, hash32

from .blocks import included_transaction
from .method import Method, Parameter


def send_raw(node: Node, raw: bytes) -> str:
    """Check a signed transaction, append it to the log, and give its hash once the broker has stored it."""
    return forms.data(node.submission.send(raw))


def by_hash(node: Node, transaction_hash: bytes) -> Any:
    """A transaction that is included, or in flight through this gateway; null otherwise."""
    receipt = node.index.receipt(transaction_hash)
    if receipt is not None and receipt.included:
        return included_transaction(node, receipt)
    waiting = node.submission.in_flight.find(transaction_hash)
    return None if waiting is None else forms.transaction(waiting)


def raw_by_hash(node: Node, transaction_hash: bytes) -> Any:
    """The signed bytes of a transaction that is included, or in flight through this gateway; null otherwise."""
    receipt = node.index.receipt(transaction_hash)
    if receipt is not None and receipt.included:
        return forms.data_or_none(node.index.transaction(receipt.source))
    waiting = node.submission.in_flight.find(transaction_hash)
    return None if waiting is None else forms.data(waiting.raw)


def receipt_by_hash(node: Node, transaction_hash: bytes) -> Any:
    """The receipt of an included transaction; null if it isn't included. See `parsec_getReceipt` for rejected ones.

    For a transaction in flight through this gateway the answer waits up to half a second for it.
    """
    receipt = node.submission.receipt(transaction_hash)
    return forms.receipt(receipt) if receipt is not None and receipt.included else None


_HASH = Parameter("transactionHash", hash32)

METHODS = (
    Method("eth_sendRawTransaction", send_raw, (Parameter("transaction", data),)),
    Method("eth_getTransactionByHash", by_hash, (_HASH,)),
    Method("eth_getRawTransactionByHash", raw_by_hash, (_HASH,)),
    Method("eth_getTransactionReceipt", receipt_by_hash, (_HASH,)),
)
