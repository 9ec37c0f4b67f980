"""What only this platform has: receipts of rejected transactions, and positions in the pipeline."""

from typing import Any

from gateway import forms
from gateway.node import Node
from gateway.parameters import Malformed, hash32
from schemas.records import Offset, Partition, Source

from .method import Method, Parameter


def receipt(node: Node, name: bytes | Source) -> Any:
    """The final result of a transaction by its hash, or by its source, included or rejected; null while there is none.

    A source is an object with `partition` and `offset` in the topic `transactions`. The answer tells status, reason,
    epoch and source; `receipt` in it is the usual receipt, null if the transaction was rejected.
    """
    found = node.index.receipt_of(name) if isinstance(name, Source) else node.index.receipt(name)
    return None if found is None else forms.pipeline_receipt(found)


def hash_or_source(value: Any) -> bytes | Source:
    """A transaction hash, or an object with partition and offset."""
    if not isinstance(value, dict):
        return hash32(value)
    position = [value.get(name) for name in ("partition", "offset")]
    if value.keys() != {"partition", "offset"} or not all(
        isinstance(each, int) and not isinstance(each, bool) and 0 <= each < 1 << 63 for each in position
    ):
        raise Malformed("an object with partition and offset, both whole numbers, is expected")
    if value["partition"] >= 1 << 32:
        raise Malformed(f"partition {value['partition']} is above 32 bits")
    return Source(Partition(value["partition"]), Offset(value["offset"]))


METHODS = (Method("parsec_getReceipt", receipt, (Parameter("transaction", hash_or_source),)),)
