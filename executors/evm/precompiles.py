"""Precompiled contracts of the Prague fork.

Those of py-evm, except for three: recovery goes by the library that transactions use; modular exponentiation takes an
empty base for no base, and counts gas in floating point; point evaluation loads its trusted setup, which takes two
seconds, on every call. Sums and products on BLS12-381 are in `bls`. Pairings are slow: they are pure Python.

References
----------
EIP-198 and EIP-2565 (modular exponentiation), EIP-4844 (point evaluation).
"""

import hashlib
from functools import cache
from typing import Any, Final

import ckzg

from ingest.signatures import recover

from . import bls
from .library import PRECOMPILES, TRUSTED_SETUP_PATH, Instruction, VMError

_BLS_MODULUS: Final = 52435875175126190479447740508185965837690552500527637822603658699938581184513
_FIELD_ELEMENTS: Final = 4_096


def _ecrecover(frame: Any) -> None:
    """Address that signed a hash; nothing for a signature that no key makes."""
    frame.consume_gas(3_000, "ecrecover")
    data = frame.msg.data[:128].ljust(128, b"\0")
    v, r, s = (int.from_bytes(data[start:start + 32], "big") for start in (32, 64, 96))
    address = recover(data[:32], v - 27, r, s) if v in (27, 28) else None
    frame.output = address.rjust(32, b"\0") if address else b""


def _modexp(frame: Any) -> None:
    """``base ** exponent % modulus`` of numbers of given lengths."""
    data: bytes = frame.msg.data

    def number(start: int, length: int) -> int:
        # Zeros that are missing at the end are counted, not made: lengths may be huge before gas is charged.
        part = data[start:start + length]
        return int.from_bytes(part, "big") << 8 * (length - len(part)) if part else 0

    base_length, exponent_length, modulus_length = number(0, 32), number(32, 32), number(64, 32)
    words = (max(base_length, modulus_length) + 7) >> 3
    head = number(96 + base_length, min(exponent_length, 32))
    iterations = max(head.bit_length() - 1, 0) + 8 * max(exponent_length - 32, 0)
    frame.consume_gas(max(200, words * words * max(iterations, 1) // 3), "modexp")
    if not modulus_length:
        return
    base = number(96, base_length)
    exponent = number(96 + base_length, exponent_length)
    modulus = number(96 + base_length + exponent_length, modulus_length)
    frame.output = (pow(base, exponent, modulus) if modulus else 0).to_bytes(modulus_length, "big")


@cache
def _trusted_setup() -> Any:
    """Loaded at the first point evaluation of the process."""
    return ckzg.load_trusted_setup(TRUSTED_SETUP_PATH, 0)


def _point_evaluation(frame: Any) -> None:
    """Check a proof that a committed polynomial has a value at a point."""
    frame.consume_gas(50_000, "point evaluation")
    data = frame.msg.data
    if len(data) != 192:
        raise VMError(f"point evaluation: {len(data)} bytes of input instead of 192")
    versioned_hash, z, y, commitment, proof = data[:32], data[32:64], data[64:96], data[96:144], data[144:]
    if versioned_hash != b"\x01" + hashlib.sha256(commitment).digest()[1:]:
        raise VMError("point evaluation: the commitment is not of the hash")
    try:
        proved = ckzg.verify_kzg_proof(commitment, z, y, proof, _trusted_setup())
    except RuntimeError as exc:
        raise VMError(f"point evaluation: {exc}") from exc
    if not proved:
        raise VMError("point evaluation: the proof is wrong")
    frame.output = _FIELD_ELEMENTS.to_bytes(32, "big") + _BLS_MODULUS.to_bytes(32, "big")


def _address(number: int) -> bytes:
    return number.to_bytes(20, "big")


PRECOMPILED: Final[dict[bytes, Instruction]] = {
    **PRECOMPILES, _address(0x01): _ecrecover, _address(0x05): _modexp, _address(0x0A): _point_evaluation,
    **{_address(number): contract for number, contract in bls.CONTRACTS.items()}}
"""What runs in place of code, by address of 20 bytes."""
