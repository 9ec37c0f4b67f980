"""Digests, anchors and rules, computed by hand and written down."""

from dataclasses import fields, replace
from hashlib import blake2b

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.chain import anchor
from schemas.digests import START, chained, merkle_root
from schemas.hashing import EMPTY_CODE_HASH, digest, keccak
from schemas.rules import Rules
from tests.strategies import keys, values

VECTORS = {
    "one": "f468c7baf82bf1667ed48dd565f1fabd692cfcd8582b7082f89c2bb6930e2041",
    "three": "1389570ffd14f9b3dbdd325d0aebc85645a1ba945ef8bfde903a7084aced67b1",
    "chained": "c5bf2a64820093741d209848126dc03a99378936e50266613d12db8f8f14d5ff",
    "empty": "0e5751c026e543b2e8ab2eb06099daa1d1e5df47778f7787faab45cdf12fe3a8",
    "rules": "9d587217a3a27d2acc3a54baaaff70004e4a1a28190a1ecfc879265979b0a94b",
    "anchor": "0dd2da4142fbdce5df05005bb3d62fb3503db137871ae383efdb0d0e3729f925",
}


def _hash(data: bytes) -> bytes:
    return blake2b(data, digest_size=32).digest()


def _leaf(key: bytes, value: bytes) -> bytes:
    return _hash(b"\0" + len(key).to_bytes(4, "big") + key + value)


def _node(left: bytes, right: bytes) -> bytes:
    return _hash(b"\1" + left + right)


def test_vectors() -> None:
    """Bytes written down once: another result is another chain."""
    three = {b"b": b"2", b"a": b"1", b"cc": b""}
    assert merkle_root({}) == bytes(32)
    assert merkle_root({b"a": b"1"}).hex() == VECTORS["one"]
    assert merkle_root(three).hex() == VECTORS["three"]
    assert chained(START, 7, three).hex() == VECTORS["chained"]
    assert digest(b"").hex() == VECTORS["empty"]
    assert keccak(b"").hex() == "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"
    assert EMPTY_CODE_HASH == keccak(b"")
    assert Rules().hash().hex() == VECTORS["rules"]
    assert anchor(bytes(32), 4, 2, Rules()).hex() == VECTORS["anchor"]


def test_trees_by_hand() -> None:
    """Sorted by key; an odd last one moves up as it is."""
    a, b, c, d, e = (_leaf(bytes([key]), b"v") for key in b"abcde")
    tree = {bytes([key]): b"v" for key in b"edcba"}
    assert merkle_root(tree) == _node(_node(_node(a, b), _node(c, d)), e)
    del tree[b"e"], tree[b"d"]
    assert merkle_root(tree) == _node(_node(a, b), c)


def test_a_digest_covers_what_was_before_and_the_epoch() -> None:
    """The chain of digests by hand."""
    written = {b"k": b"v"}
    assert chained(START, 3, written) == _hash(bytes(32) + (3).to_bytes(8, "big") + _leaf(b"k", b"v"))
    assert chained(START, 3, written) != chained(START, 4, written)
    assert chained(START, 3, written) != chained(b"\1" * 32, 3, written)


@given(st.dictionaries(keys, values, min_size=1, max_size=12), st.data())
def test_any_change_changes_the_root(written: dict[bytes, bytes], data: st.DataObject) -> None:
    """A value, a key more or one less is seen; the order of insertion is not."""
    root = merkle_root(written)
    assert merkle_root(dict(reversed(written.items()))) == root
    key = data.draw(st.sampled_from(sorted(written)))
    assert merkle_root(written | {key: written[key] + b"!"}) != root
    assert merkle_root({k: v for k, v in written.items() if k != key}) != root


def test_the_border_between_key_and_value_counts() -> None:
    """Moving a byte from the key to the value is a change."""
    assert merkle_root({b"ab": b"c"}) != merkle_root({b"a": b"bc"})


@pytest.mark.parametrize("name", [field.name for field in fields(Rules)])
def test_every_rule_is_in_the_hash_of_the_rules(name: str) -> None:
    """What decides a result cannot differ between processes without being noticed."""
    value = getattr(Rules(), name)
    more = {bytes: b"x", str: "x", tuple: ("x/1",)}
    other = value + more.get(type(value), 1)
    assert replace(Rules(), **{name: other}).hash() != Rules().hash()


def test_an_anchor_names_genesis_partitions_shards_and_rules() -> None:
    """A start with any other of them is refused, because the first record names this hash."""
    usual = anchor(bytes(32), 4, 2, Rules())
    others = (
        anchor(b"\1" * 32, 4, 2, Rules()), anchor(bytes(32), 5, 2, Rules()), anchor(bytes(32), 4, 3, Rules()),
        anchor(bytes(32), 4, 2, Rules(base_fee=1)))
    assert len({usual, *others}) == 5
