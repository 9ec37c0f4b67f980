"""Queries for logs."""

from typing import Any

from gateway import forms
from gateway.errors import InvalidParameter, UnknownBlock
from gateway.node import Node
from gateway.parameters import LogQuery, log_query
from ledger import LimitExceeded

from .method import Method, Parameter


def logs(node: Node, query: LogQuery) -> Any:
    """The logs of a range of blocks, or of one block by hash, that match addresses and topics, in order.

    Blocks in the range and logs found are limited; beyond that it is an error.
    """
    first, last = _range(node, query)
    found = node.index.logs(query.asked, first, last, node.settings.logs_max)
    return [forms.log(*each) for each in found]


def _range(node: Node, query: LogQuery) -> tuple[int, int]:
    if query.block_hash is not None:
        block = node.index.block_by_hash(query.block_hash)
        if block is None:
            raise UnknownBlock(f"block 0x{query.block_hash.hex()} not found")
        return block.number, block.number
    first, last = node.moments.number(query.first), node.moments.number(query.last)
    if first > last:
        raise InvalidParameter(f"invalid parameter 0, filter: fromBlock {first} is above toBlock {last}")
    last = min(last, node.index.latest_block)
    if last - first >= node.settings.block_range_max:
        raise LimitExceeded(f"the query spans {last - first + 1} blocks; at most {node.settings.block_range_max}")
    return first, last


METHODS = (Method("eth_getLogs", logs, (Parameter("filter", log_query),)),)
