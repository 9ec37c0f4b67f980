"""Signatures, and recovery of the address that made one: the adapter of coincurve (libsecp256k1)."""

from typing import Final, NamedTuple

from coincurve import PrivateKey, PublicKey

from schemas.hashing import keccak

CURVE_ORDER: Final = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
"""Number of points of secp256k1."""

HALF_ORDER: Final = CURVE_ORDER // 2
"""Highest `s` of a transaction's signature: of the two that verify only the low one is valid (EIP-2)."""


class Signature(NamedTuple):
    """A signature that its signer can be recovered from."""

    parity: int
    """0 or 1."""
    r: int
    s: int


def sign(message_hash: bytes, key: bytes) -> Signature:
    """Sign the 32 bytes of a hash with a private key of 32 bytes.

    Raises
    ------
    ValueError
        If it is no key.
    """
    made = PrivateKey(key).sign_recoverable(message_hash, hasher=None)
    return Signature(made[64], int.from_bytes(made[:32], "big"), int.from_bytes(made[32:64], "big"))


def recover(message_hash: bytes, parity: int, r: int, s: int) -> bytes | None:
    """Address of the key that made a signature.

    Parameters
    ----------
    message_hash
        The 32 bytes that were signed.
    parity
        0 or 1: whether the y coordinate of the signature's point is odd.
    r, s
        The signature.

    Returns
    -------
    bytes or None
        20 bytes, or None where no key could have made it.

    Notes
    -----
    Most of its time is spent in C with the GIL released, so threads help.
    """
    if not (0 < r < CURVE_ORDER and 0 < s < CURVE_ORDER and 0 <= parity <= 1):
        return None
    signature = r.to_bytes(32, "big") + s.to_bytes(32, "big") + (b"\x01" if parity else b"\x00")
    try:
        public_key = PublicKey.from_signature_and_message(signature, message_hash, hasher=None)
    except ValueError:
        return None  # r isn't the x coordinate of a point
    return keccak(public_key.format(compressed=False)[1:])[12:]
