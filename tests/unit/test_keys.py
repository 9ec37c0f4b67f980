"""Keys, values and homes, with bytes written down."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import keys
from tests.strategies import keys as state_keys

ADDRESS = bytes.fromhex("00112233445566778899aabbccddeeff00112233")


@pytest.mark.parametrize(("made", "written"), [
    (keys.balance_key(ADDRESS), "62" + ADDRESS.hex()),
    (keys.nonce_key(ADDRESS), "6e" + ADDRESS.hex()),
    (keys.code_key(ADDRESS), "63" + ADDRESS.hex()),
    (keys.slot_key(ADDRESS, 0x1234), "73" + ADDRESS.hex() + "00" * 30 + "1234"),
    (keys.blob_key(bytes(range(32))), "68" + bytes(range(32)).hex()),
    (keys.storage_key(ADDRESS), "72" + ADDRESS.hex()),
])
def test_layout(made: bytes, written: str) -> None:
    """The bytes of each kind of key: stores and digests rest on them."""
    assert made.hex() == written


@pytest.mark.parametrize(("key", "shards", "home"), [
    (keys.balance_key(ADDRESS), 2, 1), (keys.balance_key(ADDRESS), 7, 1), (keys.slot_key(ADDRESS, 1), 7, 3),
    (keys.slot_key(ADDRESS, 2), 1_000, 25)])
def test_homes_are_written_down(key: bytes, shards: int, home: int) -> None:
    """Another home of a key is another cluster."""
    assert keys.home(key, shards) == home


@given(state_keys, st.integers(1, 64))
def test_a_home_is_a_shard(key: bytes, shards: int) -> None:
    """Within range, and the same each time."""
    assert 0 <= keys.home(key, shards) < shards
    assert keys.home(key, shards) == keys.home(bytes(bytearray(key)), shards)


def test_homes_are_spread() -> None:
    """Slots of one contract live everywhere."""
    counts = [0] * 4
    for slot in range(4_000):
        counts[keys.home(keys.slot_key(ADDRESS, slot), 4)] += 1
    assert min(counts) > 850


def test_the_home_of_a_source_follows_from_the_source() -> None:
    """Neighbours are at neighbouring shards."""
    assert [keys.source_home(3, offset, 4) for offset in range(4)] == [3, 0, 1, 2]


@given(st.integers(0, 2**256))
def test_integers_come_back(number: int) -> None:
    """Without leading zeros, and zero is empty."""
    value = keys.minimal(number)
    assert keys.integer(value) == number
    assert value[:1] != b"\0"
    assert len(value) == (number.bit_length() + 7) // 8


def test_only_code_is_immutable() -> None:
    """Immutable keys are left out of conflicts, so it must not be any other."""
    assert keys.is_blob(keys.blob_key(bytes(32)))
    for made in (keys.balance_key, keys.nonce_key, keys.code_key, keys.storage_key):
        assert not keys.is_blob(made(ADDRESS))
    assert not keys.is_blob(keys.slot_key(ADDRESS, 0))


def test_keys_are_described_for_people() -> None:
    """As logs and errors show them."""
    assert keys.describe(keys.slot_key(ADDRESS, 255)) == f"slot|0x{ADDRESS.hex()}|0xff"
    assert keys.describe(keys.balance_key(ADDRESS)) == f"balance|0x{ADDRESS.hex()}"
    assert keys.describe(b"\x01ab") == "0x01|0x6162"
