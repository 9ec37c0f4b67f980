"""Accounts and signed transactions for load: deterministic, and signed by libsecp256k1 directly."""

from dataclasses import dataclass, field

import rlp
from coincurve import PrivateKey

from schemas.hashing import keccak

TRANSFER = keccak(b"transfer(address,uint256)")[:4]
SWAP = keccak(b"swap(address,uint256,uint256,address)")[:4]


def word(number: int) -> bytes:
    """An ABI word."""
    return number.to_bytes(32, "big")


def padded(address: bytes) -> bytes:
    """An address as an ABI word."""
    return bytes(12) + address


@dataclass(slots=True)
class Wallet:
    """An account that signs type 2 transactions."""

    key: PrivateKey
    address: bytes = field(init=False)
    nonce: int = 0

    def __post_init__(self) -> None:
        self.address = keccak(self.key.public_key.format(compressed=False)[1:])[12:]

    @classmethod
    def numbered(cls, number: int) -> "Wallet":
        """The same account for the same number."""
        return cls(PrivateKey(keccak(b"bench account %d" % number)))

    def sign(self, chain_id: int, to: bytes, *, value: int = 0, data: bytes = b"", gas: int = 21_000) -> bytes:
        """A signed transaction with the next nonce; fees are zero."""
        unsigned = [chain_id, self.nonce, 0, 0, gas, to, value, data, []]
        self.nonce += 1
        signature = self.key.sign_recoverable(keccak(b"\x02" + rlp.encode(unsigned)), hasher=None)
        r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:64], "big")
        return b"\x02" + bytes(rlp.encode([*unsigned, signature[64], r, s]))


def mapping_slot(address: bytes, position: int) -> int:
    """Storage slot of ``mapping(address => …)`` at a position."""
    return int.from_bytes(keccak(padded(address) + word(position)), "big")
