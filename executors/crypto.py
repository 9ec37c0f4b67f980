"""Hashes and signatures that contracts of machines beside the EVM may ask for.

References
----------
SEC 1 (ECDSA on secp256k1), RFC 8032 (Ed25519), BIP-340 (Schnorr on secp256k1).
"""

import hashlib
from collections.abc import Callable
from typing import Final

from coincurve import PublicKey, PublicKeyXOnly
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from ingest.signatures import HALF_ORDER
from schemas.hashing import digest, keccak


def _sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


DIGESTS: Final[dict[str, Callable[[bytes], bytes]]] = {"keccak256": keccak, "sha256": _sha256, "blake2b256": digest}
"""By name; each gives 32 bytes."""


_POINTS: Final = (b"\x02", b"\x03", b"\x04")
"""How a key begins: compressed with its parity, or whole. The library takes a third form, hybrid, that others don't."""


def _secp256k1(message_hash: bytes, signature: bytes, key: bytes) -> bool:
    """ECDSA; as in Ethereum, s has to be in the lower half."""
    if len(message_hash) != 32 or len(signature) != 64 or int.from_bytes(signature[32:], "big") > HALF_ORDER:
        return False
    if key[:1] not in _POINTS:
        return False
    try:
        public = PublicKey(key)
        return public.verify(_der(signature), message_hash, hasher=None)
    except ValueError:
        return False


def _der(signature: bytes) -> bytes:
    """A signature, r and s of 32 bytes each, in the encoding that the library takes."""
    def number(part: bytes) -> bytes:
        part = part.lstrip(b"\0") or b"\0"
        part = b"\0" + part if part[0] & 0x80 else part
        return b"\x02" + bytes([len(part)]) + part

    body = number(signature[:32]) + number(signature[32:])
    return b"\x30" + bytes([len(body)]) + body


def _ed25519(message: bytes, signature: bytes, key: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def _bip340(message_hash: bytes, signature: bytes, key: bytes) -> bool:
    if len(message_hash) != 32 or len(signature) != 64 or len(key) != 32:
        return False
    try:
        return PublicKeyXOnly(key).verify(signature, message_hash)
    except ValueError:
        return False


SCHEMES: Final[dict[str, Callable[[bytes, bytes, bytes], bool]]] = {
    "secp256k1": _secp256k1, "ed25519": _ed25519, "bip340": _bip340}
"""By name; each takes what was signed, signature and public key, and says False to whatever is malformed."""
