"""State keys and the values under them.

A key is a prefix byte and its parts:

====================  =====================================  =================================
key                   bytes                                  value
====================  =====================================  =================================
``balance|addr``      ``b`` + address (20)                   integer, wei
``nonce|addr``        ``n`` + address (20)                   integer
``code|addr``         ``c`` + address (20)                   code hash (32), empty without code
``slot|addr|slot``    ``s`` + address (20) + slot (32)       integer
``blob|hash``         ``h`` + code hash (32)                 code, immutable
``storage|addr``      ``r`` + address (20)                   ``01`` where the genesis gives storage without code,
                                                             ``02`` + integer: how often it was deleted
``entry|addr|key``    ``m`` + address (20) + key (1 to 128)  what a contract of another machine keeps there
====================  =====================================  =================================

Only forks before Cancun delete contracts with their storage. Nobody knows which slots one had, so that they stay where
they are; one that comes back at the address has its slots under the same keys with that integer at the end.

An integer is stored big-endian without leading zeros, so that zero is empty. An empty value and a key that was never
written are the same.
"""

from typing import NewType

from .hashing import digest

StateKey = NewType("StateKey", bytes)
"""A key of the state."""

STORAGE_GIVEN = b"\x01"
STORAGE_DELETED = b"\x02"
"""How the value under `storage|addr` begins."""

_NAMES = {
    b"b": "balance", b"n": "nonce", b"c": "code", b"s": "slot", b"h": "blob", b"r": "storage",
    b"m": "entry"}


def balance_key(address: bytes) -> StateKey:
    """The balance of an account, by its address of 20 bytes."""
    return StateKey(b"b" + address)


def nonce_key(address: bytes) -> StateKey:
    """The nonce of an account."""
    return StateKey(b"n" + address)


def code_key(address: bytes) -> StateKey:
    """The hash of the code of an account."""
    return StateKey(b"c" + address)


def slot_key(address: bytes, slot: int) -> StateKey:
    """A storage slot of a contract; `slot` below 2**256."""
    return StateKey(b"s" + address + slot.to_bytes(32, "big"))


def blob_key(code_hash: bytes) -> StateKey:
    """A code by its Keccak-256 hash. Such a key never conflicts: it is written with one value only."""
    return StateKey(b"h" + code_hash)


def storage_key(address: bytes) -> StateKey:
    """Set where the genesis gives storage to an account without code."""
    return StateKey(b"r" + address)


def generation(mark: bytes) -> bytes:
    """What the slot keys of an account end with, by the value under its `storage|addr`."""
    return mark[1:] if mark[:1] == STORAGE_DELETED else b""


def entry_key(address: bytes, key: bytes) -> StateKey:
    """An entry of a contract of a machine beside the EVM, by the contract's own key."""
    return StateKey(b"m" + address + key)


def is_entry(key: bytes) -> bool:
    """Whether a key is an entry of a contract of a machine beside the EVM."""
    return key[:1] == b"m"


def is_blob(key: bytes) -> bool:
    """Whether a key is immutable, so that it is left out of conflicts."""
    return key[:1] == b"h"


def integer(value: bytes) -> int:
    """The integer in a value."""
    return int.from_bytes(value, "big")


def minimal(number: int) -> bytes:
    """The value that holds an integer >= 0."""
    return number.to_bytes((number.bit_length() + 7) >> 3, "big")


def home(key: bytes, shards: int) -> int:
    """The shard where a key lives: the first 8 bytes of its BLAKE2b-256, big-endian, modulo `shards`."""
    return int.from_bytes(digest(key)[:8], "big") % shards


def source_home(partition: int, offset: int, shards: int) -> int:
    """The shard that publishes the receipt of a source; it follows from the source alone."""
    return (partition + offset) % shards


def describe(key: bytes) -> str:
    """A key as people write it, ``slot|0x…|0x…``."""
    name, rest = _NAMES.get(key[:1], f"0x{key[:1].hex()}"), key[1:]
    if name == "slot":
        return f"slot|0x{rest[:20].hex()}|{hex(int.from_bytes(rest[20:52], 'big'))}" + (
            f" after {integer(rest[52:])} deletions" if rest[52:] else "")
    if name == "entry":
        return f"entry|0x{rest[:20].hex()}|0x{rest[20:].hex()}"
    return f"{name}|0x{rest.hex()}"
