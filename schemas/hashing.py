"""The two hashes: Ethereum's Keccak-256, and BLAKE2b-256 for everything of our own."""

from hashlib import blake2b

from sha3 import keccak_256


def keccak(data: bytes) -> bytes:
    """Keccak-256 as Ethereum uses it, 32 bytes."""
    digest: bytes = keccak_256(data).digest()
    return digest


def digest(data: bytes) -> bytes:
    """BLAKE2b with an output of 32 bytes.

    References
    ----------
    RFC 7693; it serves for digests, manifests and the home of a key.
    """
    return blake2b(data, digest_size=32).digest()


EMPTY_CODE_HASH = keccak(b"")
"""The code hash of an account without code."""
