"""Roots and blooms against independent implementations and known vectors."""

import random

import pytest
import rlp
from eth_bloom.bloom import BloomFilter
from trie.hexary import HexaryTrie

from ledger.tries import EMPTY_LIST_HASH, EMPTY_ROOT, bloom, encoded_receipt, list_bytes, ordered_root
from schemas.keys import minimal
from schemas.records import Event, Receipt


def trie_root(values: list[bytes]) -> bytes:
    """The root by a trie that stores its nodes."""
    trie = HexaryTrie({})
    for index, value in enumerate(values):
        trie[rlp.encode(index)] = value
    return bytes(trie.root_hash)


@pytest.mark.parametrize("count", [1, 2, 3, 15, 16, 17, 127, 128, 129, 200, 256, 257, 300])
def test_root_equals_that_of_a_stored_trie(count: int) -> None:
    chance = random.Random(count)
    values = [chance.randbytes(chance.choice((1, 5, 31, 32, 33, 110, 600))) for _ in range(count)]
    assert ordered_root(values) == trie_root(values)


@pytest.mark.parametrize("size", range(20, 36))
def test_nodes_around_the_length_of_a_hash(size: int) -> None:
    values = [bytes([n + 1]) * size for n in range(20)]
    assert ordered_root(values) == trie_root(values)


def test_short_values_are_embedded_in_their_parents() -> None:
    values = [bytes([n % 250 + 1]) for n in range(40)]
    assert ordered_root(values) == trie_root(values)


def test_empty_root_and_empty_list_are_the_well_known_hashes() -> None:
    assert ordered_root([]) == EMPTY_ROOT
    assert EMPTY_ROOT.hex() == "56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421"
    assert EMPTY_LIST_HASH.hex() == "1dcc4de8dec75d7aab85b567b6ccd41ad312451b948a7413f0a142fd40d49347"


def test_bloom_equals_that_of_another_implementation() -> None:
    chance = random.Random(7)
    events = [
        Event(
            address=chance.randbytes(20),
            topics=tuple(chance.randbytes(32) for _ in range(chance.randint(0, 4))),
            data=b"not in the bloom",
        )
        for _ in range(50)
    ]
    values = [value for event in events for value in (event.address, *event.topics)]
    assert bloom(events) == int(BloomFilter.from_iterable(values)).to_bytes(256, "big")
    assert bloom([]) == bytes(256)


def receipt(kind: int, status: str, logs: tuple[Event, ...]) -> Receipt:
    """A receipt of which only some fields are in the trie."""
    return Receipt(
        partition=0, offset=0, epoch=1, shard=0, index=0, hash=bytes(32), status=status, reason="", sender=bytes(20),
        recipient=None, contract=None, nonce=0, kind=kind, block=1, block_hash=bytes(32), timestamp_ms=0,
        transaction_index=0, gas_used=21_000, cumulative_gas=63_000, gas_price=minimal(1), log_index=0, logs=logs,
        output=b"")  # fmt: skip


def test_receipts_are_encoded_as_ethereum_does() -> None:
    log = Event(address=b"\1" * 20, topics=(b"\2" * 32,), data=b"xyz")
    body = rlp.encode([b"\1", 63_000, bloom([log]), [[log.address, [log.topics[0]], log.data]]])
    assert encoded_receipt(receipt(0, "success", (log,))) == body
    assert encoded_receipt(receipt(2, "success", (log,))) == b"\2" + body
    assert encoded_receipt(receipt(2, "failed", ())) == b"\2" + rlp.encode([b"", 63_000, bytes(256), []])


@pytest.mark.parametrize("payload", [0, 1, 55, 56, 255, 256, 65_536])
def test_length_of_a_list(payload: int) -> None:
    assert list_bytes(payload) == len(rlp.encode([b"\1"] * payload))
