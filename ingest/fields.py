"""Fields of a decoded RLP list, each checked for its form.

All raise `InvalidTransaction`, with the name that they are given for the field.
"""

from schemas.errors import InvalidTransaction

from .rlp import Item


def uint(item: Item, name: str, width: int) -> int:
    """An integer of at most `width` bytes without leading zeros."""
    if isinstance(item, list):
        raise InvalidTransaction(f"undecodable: {name} is a list")
    if len(item) > width:
        raise InvalidTransaction(f"undecodable: {name} of {len(item)} bytes, limit {width}")
    if item[:1] == b"\x00":
        raise InvalidTransaction(f"undecodable: {name} with leading zeros")
    return int.from_bytes(item, "big")


def recipient(item: Item) -> bytes | None:
    """An address, or None where the field is empty."""
    return None if item == b"" else fixed(item, "recipient", 20)


def fixed(item: Item, name: str, length: int) -> bytes:
    """So many bytes."""
    data = string(item, name)
    if len(data) != length:
        raise InvalidTransaction(f"undecodable: {name} of {len(data)} bytes instead of {length}")
    return data


def string(item: Item, name: str) -> bytes:
    """Any bytes."""
    if isinstance(item, list):
        raise InvalidTransaction(f"undecodable: {name} is a list")
    return item


def sequence(item: Item, name: str) -> list[Item]:
    """Any list."""
    if not isinstance(item, list):
        raise InvalidTransaction(f"undecodable: {name} is not a list")
    return item


def record(item: Item, count: int, name: str) -> list[Item]:
    """A list of so many items."""
    items = sequence(item, name)
    if len(items) != count:
        raise InvalidTransaction(f"undecodable: {len(items)} fields in an {name}; it has {count}")
    return items
