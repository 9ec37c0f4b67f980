"""The roots and the bloom of a block, as Ethereum defines them over transactions and receipts.

The roots are built bottom up from the sorted list, without a store of nodes: a block is looked at once.

References
----------
Ethereum Yellow Paper, appendices C and D and section 4.3; EIP-2718 (typed transactions and receipts).
"""

from collections.abc import Sequence
from typing import Any

import rlp

from schemas.hashing import keccak
from schemas.records import Event, Receipt

BLOOM_BYTES = 256
EMPTY_LIST_HASH = keccak(b"\xc0")
"""Hash of the empty list: what a block without uncles has."""
EMPTY_ROOT = keccak(b"\x80")
"""Root of a trie without entries."""


def encode(item: Any) -> bytes:
    """RLP of bytes, integers >= 0, and lists of these."""
    encoded: bytes = rlp.encode(item)
    return encoded


def list_bytes(payload: int) -> int:
    """Length of an RLP list by the length of its encoded items."""
    return 1 + payload + (0 if payload < 56 else (payload.bit_length() + 7) >> 3)


def ordered_root(values: Sequence[bytes]) -> bytes:
    """Root of the Merkle-Patricia trie that maps the RLP of 0, 1, … to `values`, 32 bytes."""
    if not values:
        return EMPTY_ROOT
    entries = sorted((_nibbles(encode(index)), value) for index, value in enumerate(values))
    return keccak(encode(_node(entries, 0)))


def bloom(events: Sequence[Event]) -> bytes:
    """Bloom filter over addresses and topics, 256 bytes."""
    bits = 0
    for value in {value for event in events for value in (event.address, *event.topics)}:
        digest = keccak(value)
        for at in (0, 2, 4):
            bits |= 1 << (int.from_bytes(digest[at : at + 2], "big") & 0x7FF)
    return bits.to_bytes(BLOOM_BYTES, "big")


def encoded_receipt(receipt: Receipt) -> bytes:
    """An included receipt as the trie of receipts holds it."""
    logs = [[event.address, list(event.topics), event.data] for event in receipt.logs]
    body = encode([int(receipt.status == "success"), receipt.cumulative_gas, bloom(receipt.logs), logs])
    return bytes((receipt.kind,)) + body if receipt.kind else body


def _nibbles(key: bytes) -> tuple[int, ...]:
    return tuple(nibble for byte in key for nibble in (byte >> 4, byte & 15))


def _node(entries: list[tuple[tuple[int, ...], bytes]], depth: int) -> list[Any]:
    """The node over sorted entries that agree in their first `depth` nibbles. No key is a prefix of another one."""
    first, last = entries[0][0], entries[-1][0]
    if len(entries) == 1:
        return [_compact(first[depth:], leaf=True), entries[0][1]]
    shared = depth
    while first[shared] == last[shared]:
        shared += 1
    if shared > depth:
        return [_compact(first[depth:shared], leaf=False), _reference(_node(entries, shared))]
    children: list[list[tuple[tuple[int, ...], bytes]]] = [[] for _ in range(16)]
    for entry in entries:
        children[entry[0][depth]].append(entry)
    return [*(_reference(_node(child, depth + 1)) if child else b"" for child in children), b""]


def _reference(node: list[Any]) -> Any:
    """How a parent names a node: itself if it is shorter than a hash."""
    encoded = encode(node)
    return node if len(encoded) < 32 else keccak(encoded)


def _compact(path: Sequence[int], *, leaf: bool) -> bytes:
    """Nibbles as bytes, with a flag for a leaf and for an odd number of them."""
    odd = len(path) & 1
    flag = 2 * leaf + odd
    padded = [flag, *path] if odd else [flag, 0, *path]
    return bytes(16 * high + low for high, low in zip(padded[::2], padded[1::2], strict=True))
