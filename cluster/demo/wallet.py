"""Accounts of the demonstration. Their keys follow from their numbers: anybody has them."""

from typing import Final

from coincurve import PrivateKey

from ingest.rlp import write, write_list
from schemas.hashing import keccak

GAS_PRICE: Final = 10**9
"""Wei; all of it goes to the fee recipient, as a delta that conflicts with nothing."""
_TYPE: Final = b"\x02"


class Wallet:
    """One account, and the nonce of its next transaction.

    Parameters
    ----------
    number
        Which one.
    chain_id
        What it signs for.

    References
    ----------
    EIP-1559 (the transactions that it signs).
    """

    def __init__(self, number: int, chain_id: int) -> None:
        self._key = PrivateKey(keccak(b"parsec demo account %d" % number))
        self._chain_id = chain_id
        self.address = keccak(self._key.public_key.format(compressed=False)[1:])[12:]
        """20 bytes."""
        self.nonce = 0

    def sign(self, to: bytes | None, *, value: int = 0, data: bytes = b"", gas: int = 21_000) -> bytes:
        """Sign the account's next transaction.

        Parameters
        ----------
        to
            20 bytes, or None to deploy a contract.
        value
            Wei.
        gas
            Limit.
        """
        numbers = (self._chain_id, self.nonce, GAS_PRICE, GAS_PRICE, gas)
        self.nonce += 1
        fields = [*map(write, numbers), write(to or b""), write(value), write(data), write_list(())]
        signature = self._key.sign_recoverable(keccak(_TYPE + write_list(fields)), hasher=None)
        r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:64], "big")
        return _TYPE + write_list([*fields, write(signature[64]), write(r), write(s)])
