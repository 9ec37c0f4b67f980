"""Addresses as programs give them: bytes, text, or anything that has one, such as an account or a contract.

References
----------
EIP-55 (capital letters as a checksum).
"""

import re
from typing import Any, Final, Protocol

from schemas.errors import RejectedInput
from schemas.hashing import keccak

_TEXT: Final = re.compile(r"0x[0-9a-fA-F]{40}")


class HasAddress(Protocol):
    """What has an address as text: an account of eth_account, or a contract."""

    @property
    def address(self) -> Any:
        """``0x`` and 40 hexadecimal digits."""


AddressLike = bytes | str | HasAddress
"""20 bytes, ``0x`` and 40 hexadecimal digits, or what has an `address`."""


class InvalidAddress(RejectedInput):
    """What is no address."""


def address_of(value: AddressLike) -> bytes:
    """The 20 bytes of an address.

    Raises
    ------
    InvalidAddress
        It is none, or capital and small letters in it contradict its checksum.
    """
    found = value if isinstance(value, bytes | bytearray | str) else getattr(value, "address", None)
    if isinstance(found, bytes | bytearray):
        if len(found) != 20:
            raise InvalidAddress(f"an address has 20 bytes, found {len(found)}")
        return bytes(found)
    if not isinstance(found, str) or not _TEXT.fullmatch(found):
        raise InvalidAddress(f"{str(value)[:80]!r} is no address: 0x and 40 hexadecimal digits")
    address, digits = bytes.fromhex(found[2:]), found[2:]
    if digits not in (digits.lower(), digits.upper()) and found != checksummed(address):
        raise InvalidAddress(f"{found} has a wrong checksum: the address in small letters is 0x{address.hex()}")
    return address


def checksummed(address: bytes) -> str:
    """An address as text, with its checksum in the capital letters."""
    digits = address.hex()
    digest = keccak(digits.encode()).hex()
    return "0x" + "".join(
        digit.upper() if int(mark, 16) >= 8 else digit for digit, mark in zip(digits, digest[:40], strict=True))
