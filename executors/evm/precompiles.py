"""Precompiled contracts: what runs at some addresses in place of code, by fork.

Hashes and the identity are py-evm's. Recovery goes by the library that transactions use; modular exponentiation is
written here, because py-evm's takes an empty base for no base and counts gas in floating point; what is on curves is in
`bn254` and `bls`, the compression function in `blake2`.

References
----------
EIP-198 and EIP-2565 (modular exponentiation), EIP-4844 (point evaluation), EIP-2537 (BLS12-381).
"""

from collections.abc import Mapping
from typing import Any, Final

from ingest.signatures import recover

from . import blake2, bls, bn254
from .library import PRECOMPILES, Instruction


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


_CONTRACTS: Final[dict[int, Instruction]] = {
    **PRECOMPILES, 0x01: _ecrecover, 0x05: _modexp, **bn254.CONTRACTS, 0x09: blake2.contract,
    0x0A: bls.point_evaluation, **bls.CONTRACTS}


def precompiles(last: int) -> Mapping[bytes, Instruction]:
    """The contracts from 1 up to a number, by address of 20 bytes."""
    return {number.to_bytes(20, "big"): _CONTRACTS[number] for number in range(1, last + 1)}
