"""Blocks, and the transactions in them by index."""

from collections.abc import Iterable
from typing import Any

from gateway import forms
from gateway.node import Node
from gateway.parameters import BlockId, block_id, block_number, boolean, hash32, quantity64
from ingest.transactions import Transaction, decode, decode_many
from ledger import IndexedBlock
from schemas.errors import InvariantViolation
from schemas.records import Receipt

from .method import Method, Parameter


def block_by_number(node: Node, name: BlockId, whole: bool) -> Any:
    """A block by number or tag, with hashes of its transactions or whole ones; null if there is no such block."""
    return _block(node, node.moments.block(name), whole)


def block_by_hash(node: Node, block_hash: bytes, whole: bool) -> Any:
    """A block by its hash, with hashes of its transactions or whole ones; null if there is no such block."""
    return _block(node, node.index.block_by_hash(block_hash), whole)


def count_by_number(node: Node, name: BlockId) -> Any:
    """Number of transactions in a block by number or tag; null if there is no such block."""
    return _count(node.moments.block(name))


def count_by_hash(node: Node, block_hash: bytes) -> Any:
    """Number of transactions in a block by its hash; null if there is no such block."""
    return _count(node.index.block_by_hash(block_hash))


def transaction_by_number(node: Node, name: BlockId, index: int) -> Any:
    """A transaction by block number or tag and its index; null if there is no such transaction."""
    return _transaction(node, node.moments.block(name), index)


def transaction_by_hash(node: Node, block_hash: bytes, index: int) -> Any:
    """A transaction by block hash and its index; null if there is no such transaction."""
    return _transaction(node, node.index.block_by_hash(block_hash), index)


def uncles_by_number(node: Node, name: BlockId) -> Any:
    """Number of uncles, 0; null if there is no such block."""
    return None if node.moments.block(name) is None else "0x0"


def uncles_by_hash(node: Node, block_hash: bytes) -> Any:
    """Number of uncles, 0; null if there is no such block."""
    return None if node.index.block_by_hash(block_hash) is None else "0x0"


def receipts(node: Node, name: BlockId) -> Any:
    """The receipts of a block by number, tag or hash; null if there is no such block."""
    block = node.moments.block(name)
    return None if block is None else [forms.receipt(receipt) for receipt in node.index.receipts(block)]


def _block(node: Node, block: IndexedBlock | None, whole: bool) -> Any:
    if block is None:
        return None
    included = node.index.receipts(block)
    if whole:
        decoded = _decoded(node, node.index.transactions(block))
        transactions: Iterable[Any] = [forms.transaction(*each) for each in zip(decoded, included, strict=True)]
    else:
        transactions = [forms.data(receipt.hash) for receipt in included]
    return forms.block(block, node.index.roots(block), list(transactions), node.rules)


def _decoded(node: Node, raws: list[bytes]) -> list[Transaction]:
    decoded = []
    for each in decode_many(raws, node.rules):
        if not isinstance(each, Transaction):
            raise InvariantViolation(f"an included transaction is invalid: {each}")
        decoded.append(each)
    return decoded


def _count(block: IndexedBlock | None) -> str | None:
    return None if block is None else forms.quantity(len(block.sources))


def _transaction(node: Node, block: IndexedBlock | None, index: int) -> Any:
    if block is None or index >= len(block.sources):
        return None
    (receipt,) = node.index.receipts(block, [index])
    return included_transaction(node, receipt)


def included_transaction(node: Node, receipt: Receipt) -> Any:
    """The form of a transaction by its receipt."""
    raw = node.index.transaction(receipt.source)
    if raw is None:
        raise InvariantViolation(f"the index lacks the transaction at {tuple(receipt.source)}")
    return forms.transaction(decode(raw, node.rules), receipt)


_NUMBER = Parameter("block", block_number)
_HASH = Parameter("blockHash", hash32)
_WHOLE = Parameter("fullTransactions", boolean, False)
_INDEX = Parameter("index", quantity64)

METHODS = (
    Method("eth_getBlockByNumber", block_by_number, (_NUMBER, _WHOLE)),
    Method("eth_getBlockByHash", block_by_hash, (_HASH, _WHOLE)),
    Method("eth_getBlockTransactionCountByNumber", count_by_number, (_NUMBER,)),
    Method("eth_getBlockTransactionCountByHash", count_by_hash, (_HASH,)),
    Method("eth_getTransactionByBlockNumberAndIndex", transaction_by_number, (_NUMBER, _INDEX)),
    Method("eth_getTransactionByBlockHashAndIndex", transaction_by_hash, (_HASH, _INDEX)),
    Method("eth_getUncleCountByBlockNumber", uncles_by_number, (_NUMBER,)),
    Method("eth_getUncleCountByBlockHash", uncles_by_hash, (_HASH,)),
    Method("eth_getBlockReceipts", receipts, (Parameter("block", block_id),)),
)
