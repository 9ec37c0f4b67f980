"""Signatures with keys that stand in test documents: the adapter of coincurve for signing."""

from typing import NamedTuple

from coincurve import PrivateKey

from .fields import Malformed


class Signature(NamedTuple):
    """A signature that its signer can be recovered from."""

    parity: int
    """0 or 1."""
    r: int
    s: int


def sign(message_hash: bytes, key: bytes, where: str) -> Signature:
    """Sign the 32 bytes of a hash with a private key of 32 bytes.

    Raises
    ------
    Malformed
        If it is no key; `where` says where it stands.
    """
    try:
        made = PrivateKey(key).sign_recoverable(message_hash, hasher=None)
    except ValueError as exc:
        raise Malformed(f"{where}: no private key: {exc}") from exc
    return Signature(made[64], int.from_bytes(made[:32], "big"), int.from_bytes(made[32:64], "big"))
