"""Precompiled contracts that are written here, against other implementations of the same."""

import hashlib
from types import SimpleNamespace
from typing import Any

import pytest
from eth_account import Account
from hypothesis import given, settings
from hypothesis import strategies as st
from py_ecc.optimized_bls12_381 import optimized_curve

from executors.evm.bls import CONTRACTS, G1, G2
from executors.evm.library import VMError
from executors.evm.precompiles import PRECOMPILED
from schemas.hashing import keccak

reference: Any = optimized_curve  # its types say less than they hold


class Caller:
    """As much of a frame as a precompiled contract sees."""

    def __init__(self, data: bytes) -> None:
        self.msg = SimpleNamespace(data=data, data_as_bytes=data)
        self.gas_used = 0
        self.output = b""

    def consume_gas(self, amount: int, reason: str = "") -> None:
        """Count gas."""
        assert amount >= 0, reason
        if amount > 10**12:
            raise VMError("out of gas")
        self.gas_used += amount


def run(number: int, data: bytes) -> Caller:
    """The caller after a contract ran."""
    caller = Caller(data)
    PRECOMPILED[number.to_bytes(20, "big")](caller)
    return caller


def words(*numbers: int) -> bytes:
    """Numbers of 32 bytes."""
    return b"".join(number.to_bytes(32, "big") for number in numbers)


def test_all_of_the_fork_are_there() -> None:
    assert set(PRECOMPILED) == {number.to_bytes(20, "big") for number in range(1, 0x12)}


def test_recovery() -> None:
    account = Account.from_key(b"\x01" * 32)
    message_hash = keccak(b"hello")
    signature = account.unsafe_sign_hash(message_hash)
    data = message_hash + words(signature.v, signature.r, signature.s)
    caller = run(1, data)
    assert (caller.gas_used, caller.output) == (3_000, bytes(12) + bytes.fromhex(account.address[2:]))
    assert run(1, data + b"more").output == caller.output
    assert run(1, message_hash + words(29, signature.r, signature.s)).output == b""
    assert run(1, message_hash + words(signature.v, 0, signature.s)).output == b""
    assert run(1, b"").output == b""


@given(st.binary(max_size=40), st.binary(max_size=40), st.binary(max_size=40))
def test_modular_exponentiation(base: bytes, exponent: bytes, modulus: bytes) -> None:
    caller = run(5, words(len(base), len(exponent), len(modulus)) + base + exponent + modulus)
    numbers = [int.from_bytes(each, "big") for each in (base, exponent, modulus)]
    expected = pow(*numbers) if numbers[2] else 0
    assert caller.output == (expected.to_bytes(len(modulus), "big") if modulus else b"")
    assert caller.gas_used >= 200


@pytest.mark.parametrize(("data", "gas", "output"), [
    (b"", 200, b""),
    (words(0, 0, 1) + b"\x05", 200, b"\x01"),  # nothing to the power of nothing is 1
    (words(0, 2**255, 0), 200, b""),
    (words(1, 32, 32) + b"\x03" + words(2**256 - 2**32 - 978, 2**256 - 2**32 - 977), 1_360, words(1)),
    (words(1, 1, 2) + b"\x02\x03", 200, b"\0\0"),  # zeros that are missing make the modulus zero
])
def test_modular_exponentiation_cases(data: bytes, gas: int, output: bytes) -> None:
    caller = run(5, data)
    assert (caller.gas_used, caller.output) == (gas, output)


def test_modular_exponentiation_pays_before_it_works() -> None:
    with pytest.raises(VMError):
        run(5, words(2**200, 2**200, 2**200))


def test_point_evaluation_refuses() -> None:
    commitment = b"\xc0" + bytes(47)
    versioned_hash = b"\x01" + hashlib.sha256(commitment).digest()[1:]
    for data in (b"", bytes(192), versioned_hash + bytes(63) + b"\x01" + commitment + commitment):
        with pytest.raises(VMError, match="point evaluation"):
            run(10, data)
    # The commitment to the zero polynomial, which is zero everywhere.
    assert len(run(10, versioned_hash + bytes(64) + commitment + commitment).output) == 64


def coordinates(point: Any) -> bytes:
    """The encoding of a point of the other implementation."""
    numbers = [number for each in reference.normalize(point) for number in getattr(each, "coeffs", (each,))]
    return b"".join(int(number).to_bytes(64, "big") for number in numbers)


@settings(max_examples=8, deadline=None)
@given(st.integers(1, reference.curve_order - 1), st.integers(1, reference.curve_order - 1), st.booleans())
def test_curves(first: int, second: int, on_g1: bool) -> None:
    generator, adding, multiplying = (reference.G1, 0x0B, 0x0C) if on_g1 else (reference.G2, 0x0D, 0x0E)
    left, right = reference.multiply(generator, first), reference.multiply(generator, second)
    assert run(adding, coordinates(left) + coordinates(right)).output == coordinates(reference.add(left, right))
    assert run(adding, coordinates(left) * 2).output == coordinates(reference.add(left, left))
    sums = coordinates(generator) + words(first) + coordinates(left) + words(second)
    assert run(multiplying, sums).output == coordinates(
        reference.multiply(generator, first * (second + 1) % reference.curve_order))


@pytest.mark.parametrize("number", CONTRACTS)
def test_curves_at_infinity_and_outside(number: int) -> None:
    curve = G1 if number < 0x0D else G2
    size, multiplies = curve.point_bytes, number in (0x0C, 0x0E)
    zero = bytes(size)
    assert run(number, zero + (words(5) if multiplies else zero)).output == zero
    for data in (b"", zero, b"\x01" * (size + (32 if multiplies else size)), zero[:-1] + b"\x01" + zero):
        with pytest.raises(VMError):
            run(number, data)


def test_multiplication_refuses_points_outside_of_the_subgroup() -> None:
    # On the curve of G1, with x = 4; most points of the curve aren't in the subgroup.
    modulus = 0x1A0111EA397FE69A4B1BA7B6434BACD764774B84F38512BF6730D2A0F6B0F6241EABFFFEB153FFFFB9FEFFFFFFFFAAAB
    y = pow(68, (modulus + 1) // 4, modulus)
    assert y * y % modulus == 68
    point = (4).to_bytes(64, "big") + y.to_bytes(64, "big")
    assert len(run(0x0B, point + point).output) == 128
    with pytest.raises(VMError, match="subgroup"):
        run(0x0C, point + words(1))
