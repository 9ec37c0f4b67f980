"""Precompiled contracts that are written here, against other implementations of the same."""

import hashlib
import threading
from math import gcd
from types import SimpleNamespace
from typing import Any

import pytest
from eth._utils.blake2.compression import blake2b_compress
from eth_account import Account
from hypothesis import given, settings
from hypothesis import strategies as st
from py_ecc.bls import hash_to_curve
from py_ecc.fields import optimized_bls12_381_FQ, optimized_bls12_381_FQ2
from py_ecc.optimized_bls12_381 import optimized_curve
from py_ecc.optimized_bn128 import optimized_curve as optimized_bn_curve

from executors.evm import bn254, fp12
from executors.evm.bls import CONTRACTS, G1, G2
from executors.evm.forks import CANCUN, PRAGUE, SHANGHAI
from executors.evm.library import VMError
from schemas.hashing import keccak

reference: Any = optimized_curve  # its types say less than they hold
bn: Any = optimized_bn_curve
maps: Any = hash_to_curve


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
    PRAGUE.precompiles[number.to_bytes(20, "big")](caller)
    return caller


def words(*numbers: int) -> bytes:
    """Numbers of 32 bytes."""
    return b"".join(number.to_bytes(32, "big") for number in numbers)


@pytest.mark.parametrize(("fork", "last"), [(SHANGHAI, 0x09), (CANCUN, 0x0A), (PRAGUE, 0x11)])
def test_all_of_the_fork_are_there(fork: Any, last: int) -> None:
    assert set(fork.precompiles) == {number.to_bytes(20, "big") for number in range(1, last + 1)}


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


# BLAKE2.


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 25), st.binary(min_size=208, max_size=208), st.booleans())
def test_compression(rounds: int, words_: bytes, last: bool) -> None:
    caller = run(9, rounds.to_bytes(4, "big") + words_ + bytes([last]))
    state, message, offsets = (
        tuple(int.from_bytes(words_[start:start + 8], "little") for start in range(first, end, 8))
        for first, end in ((0, 64), (64, 192), (192, 208)))
    assert caller.output == blake2b_compress(rounds, state, message, offsets, last)
    assert caller.gas_used == rounds


def blake2_of(message: bytes, rounds: int) -> bytes:
    """Input of the compression that makes the 64 bytes of BLAKE2b of a short message out of its initial state."""
    state = bytearray(b"".join(word.to_bytes(8, "little") for word in (
        0x6A09E667F3BCC908, 0xBB67AE8584CAA73B, 0x3C6EF372FE94F82B, 0xA54FF53A5F1D36F1, 0x510E527FADE682D1,
        0x9B05688C2B3E6C1F, 0x1F83D9ABFB41BD6B, 0x5BE0CD19137E2179)))
    state[0] ^= 0x40
    state[2] ^= 0x01
    state[3] ^= 0x01
    length = len(message).to_bytes(16, "little")
    return rounds.to_bytes(4, "big") + bytes(state) + message.ljust(128, b"\0") + length + b"\x01"


def test_compression_is_the_one_of_the_hash() -> None:
    data = blake2_of(b"abc", 12)
    assert run(9, data).output == hashlib.blake2b(b"abc").digest()
    answers = []
    thread = threading.Thread(target=lambda: answers.append(run(9, data).output))
    thread.start()
    thread.join()
    assert answers == [hashlib.blake2b(b"abc").digest()]


def test_compression_of_many_rounds() -> None:
    # The result that other implementations test themselves with.
    assert run(9, blake2_of(b"abc", 8_000_000)).output.hex() == (
        "6d2ce9e534d50e18ff866ae92d70cceba79bbcd14c63819fe48752c8aca87a4bb7dcc230d22a4047f0486cfcfb50a17b24b2899eb8fca370"
        "f22240adb5170189")


@pytest.mark.parametrize("data", [b"", bytes(212), bytes(214), bytes(212) + b"\x02"])
def test_compression_refuses(data: bytes) -> None:
    with pytest.raises(VMError, match="BLAKE2"):
        run(9, data)


# BN254.


def bn_words(point: Any) -> bytes:
    """The encoding of a point of the other implementation; the imaginary parts come first."""
    numbers: list[int] = []
    for each in (0, 0) if bn.is_inf(point) else bn.normalize(point):
        numbers += reversed(getattr(each, "coeffs", (each,)))
    return words(*map(int, numbers))


SCALARS = st.one_of(st.integers(0, 20), st.integers(bn254.ORDER - 20, bn254.ORDER + 20), st.integers(0, 2**256 - 1))


@settings(max_examples=25, deadline=None)
@given(SCALARS, SCALARS)
def test_bn_curve(first: int, second: int) -> None:
    left, right = bn.multiply(bn.G1, first), bn.multiply(bn.G1, second)
    assert run(6, bn_words(left) + bn_words(right)).output == bn_words(bn.add(left, right))
    assert run(6, bn_words(left) * 2).output == bn_words(bn.add(left, left))
    assert run(6, bn_words(left) + bn_words(bn.neg(left))).output == bytes(64)
    caller = run(7, bn_words(left) + words(second))
    assert (caller.output, caller.gas_used) == (bn_words(bn.multiply(bn.G1, first * second % bn254.ORDER)), 6_000)


@given(st.integers(0, bn254.ORDER - 1))
def test_bn_scalars_are_split(scalar: int) -> None:
    first, second = bn254.split(scalar)
    assert (first + second * bn254._ROOT_SCALAR - scalar) % bn254.ORDER == 0
    assert max(abs(first), abs(second)) < 2**128


def test_bn_multiples() -> None:
    total = None
    for scalar in range(1, 70):
        total = bn254.add(total, (1, 2))
        assert bn254.multiply((1, 2), scalar) == total
        assert bn254.multiply((1, 2), bn254.ORDER - scalar) == (total[0], fp12.P - total[1])
        by_root = bn254.multiply((1, 2), scalar * bn254._ROOT_SCALAR)
        assert by_root == (total[0] * bn254._ROOT % fp12.P, total[1])


def test_bn_curve_takes_what_is_missing_for_zeros() -> None:
    assert run(6, b"").output == bytes(64)
    assert run(6, words(1, 2)).output == words(1, 2)
    assert run(6, words(1, 2) + bytes(64) + b"more").output == words(1, 2)
    assert run(7, words(1, 2)).output == bytes(64)
    assert run(6, b"").gas_used == 150


@settings(max_examples=4, deadline=None)
@given(st.integers(1, bn254.ORDER - 1), st.integers(1, bn254.ORDER - 1))
def test_bn_pairing(first: int, second: int) -> None:
    left, right = bn.multiply(bn.G1, first), bn.multiply(bn.G2, second)
    product = bn.neg(bn.multiply(bn.G1, first * second % bn254.ORDER))
    pairs = bn_words(left) + bn_words(right) + bn_words(product) + bn_words(bn.G2)
    caller = run(8, pairs)
    assert (caller.output, caller.gas_used) == (words(1), 45_000 + 2 * 34_000)
    assert run(8, pairs + bytes(64) + bn_words(right) + bn_words(left) + bytes(128)).output == words(1)
    assert run(8, pairs + bn_words(left) + bn_words(right)).output == words(0)
    assert run(8, pairs[:192]).output == words(0)


def test_bn_pairing_of_nothing() -> None:
    assert run(8, b"").output == words(1)
    assert run(8, bytes(384)).output == words(1)


_OUTSIDE = (
    # On the twisted curve, with x = 1, but in no subgroup; and of order 10,069, a factor of the cofactor.
    words(0, 1, 5912654199736721486680175016176231956195085055698687135131307249486702594212,
          18278151005453108793778860132295291098363647455926340152056652516292830556603),
    words(6803298140907275052193374279696798829244532018046680484422159498316181153049,
          17104313122165765134751071573954397998910742057160586741504431865092530247148,
          717535573572059415844575060885625982841398457036564749994433381333260146759,
          20929228109215085641673534002875667749781168108789068628040984026599887111329))


@pytest.mark.parametrize("outside", _OUTSIDE)
def test_bn_pairing_refuses_points_outside_of_the_subgroup(outside: bytes) -> None:
    for left in (words(1, 2), bytes(64)):
        with pytest.raises(VMError, match="not in the subgroup"):
            run(8, left + outside)


def test_bn_subgroup_is_what_the_miller_loop_proves() -> None:
    # a + b·π is what 6u + 2 + π - π² + π³ comes to with π² = t·π - p; its norm is the order of what it takes to zero.
    p, u, r = fp12.P, fp12.U, bn254.ORDER
    t = p + 1 - r
    assert p == 36 * u**4 + 36 * u**3 + 24 * u**2 + 6 * u + 1
    a, b = 6 * u + 2 + p - t * p, 1 - t + t * t - p
    assert gcd(a * a + a * b * t + b * b * p, r * (2 * p - r)) == r


@pytest.mark.parametrize(("number", "data"), [
    (6, words(1, 3)), (6, words(fp12.P, 0)), (6, words(0, 0, 1, 2 + fp12.P)), (7, words(1, 3, 5)), (8, bytes(191)),
    (8, words(1, 3) + bytes(128)), (8, bytes(64) + words(0, 0, 0, 1)), (8, bytes(64) + words(fp12.P, 0, 0, 0))])
def test_bn_refuses(number: int, data: bytes) -> None:
    with pytest.raises(VMError, match="BN254"):
        run(number, data)


COORDINATES = st.tuples(*[st.integers(0, fp12.P - 1)] * 12)


@settings(deadline=None)
@given(COORDINATES, COORDINATES)
def test_field(first: fp12.Fp12, second: fp12.Fp12) -> None:
    assert fp12.multiply(first, second) == fp12.multiply(second, first)
    assert fp12.square(first) == fp12.multiply(first, first)
    slope = second[:4]
    line = (1, 0, 0, 0, 0, 0, *slope, 0, 0)
    assert fp12.multiply_line(first, *slope) == fp12.multiply(first, line)
    if any(first):
        assert fp12.multiply(first, fp12.invert(first)) == fp12.ONE
    left, right = fp12.frobenius(first), fp12.frobenius(second)
    assert fp12.multiply(left, right) == fp12.frobenius(fp12.multiply(first, second))
    power = first
    for _ in range(6):
        power = fp12.frobenius(power)
    assert power == fp12.conjugate(first)


# BLS12-381.


def evaluation(commitment: bytes, z: bytes, y: bytes, proof: bytes) -> bytes:
    """Input of the point evaluation."""
    return b"\x01" + hashlib.sha256(commitment).digest()[1:] + z + y + commitment + proof


# Made with c-kzg: the commitment to the values n * 7777**5 + 3 of 4096 points, and two proofs.
COMMITMENT = bytes.fromhex(
    "93e2f86406c71b76c34e24a4233ad1f633f204c3e6f6e2138f298744fe4effb37b37ae06c886783d05c874ffa496ef08")


@pytest.mark.parametrize(("z", "y", "proof"), [
    (1, "0000000000000000000000000000000000000000000000000000000000000003",
     "858ccd6d9bc7ad34c7bc47a2e234f2d833a28f7338c578d0e970ff2e751fa330e1e10c30cea2fedc298085053371c5b3"),
    (2**200, "428889502692f5e537d013121c5a0fba82257da5d651e6abf98baae5d1718720",
     "82261d9414730e659cb1e4104dd40cbd8a29762f978ab4ae9019ecad26fe8f475a43a6d304d5fc9c20a2b74dc566a88e"),
])
def test_point_evaluation(z: int, y: str, proof: str) -> None:
    value = bytes.fromhex(y)
    caller = run(10, evaluation(COMMITMENT, words(z), value, bytes.fromhex(proof)))
    assert caller.gas_used == 50_000
    assert caller.output == words(4096, 52435875175126190479447740508185965837690552500527637822603658699938581184513)
    for wrong in (
            evaluation(COMMITMENT, words(z + 1), value, bytes.fromhex(proof)),
            evaluation(COMMITMENT, words(z), words(5), bytes.fromhex(proof)),
            evaluation(COMMITMENT, words(z), value, COMMITMENT)):
        with pytest.raises(VMError, match="the proof is wrong"):
            run(10, wrong)


INFINITY = b"\xc0" + bytes(47)


@pytest.mark.parametrize("data", [
    b"", bytes(192), evaluation(INFINITY, words(0), words(1), INFINITY), evaluation(INFINITY, words(0), words(0), bytes(48)),
    evaluation(INFINITY, b"\xff" * 32, words(0), INFINITY), evaluation(INFINITY, words(0), b"\xff" * 32, INFINITY),
    # Infinity has one encoding, and points outside of the group none; x = 4 is on the curve.
    evaluation(INFINITY[:-1] + b"\x01", words(0), words(0), INFINITY),
    evaluation(INFINITY, words(0), words(0), b"\xff" * 48),
    evaluation(INFINITY, words(0), words(0), b"\x80" + bytes(46) + b"\x04")])
def test_point_evaluation_refuses(data: bytes) -> None:
    with pytest.raises(VMError, match="point evaluation"):
        run(10, data)


def test_point_evaluation_of_zero() -> None:
    # The commitment to the zero polynomial, which is zero everywhere.
    assert len(run(10, evaluation(INFINITY, words(5), words(0), INFINITY)).output) == 64


def coordinates(point: Any) -> bytes:
    """The encoding of a point of the other implementation."""
    if reference.is_inf(point):
        return bytes(128 if isinstance(point[0], optimized_bls12_381_FQ) else 256)
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
    caller = run(multiplying, sums)
    assert caller.output == coordinates(reference.multiply(generator, first * (second + 1) % reference.curve_order))
    assert caller.gas_used == (2 * 12_000 * 949 // 1_000 if on_g1 else 2 * 22_500)
    beyond = coordinates(left) + words(second + reference.curve_order)
    assert run(multiplying, beyond).output == coordinates(reference.multiply(left, second))


@settings(max_examples=4, deadline=None)
@given(st.integers(1, reference.curve_order - 1), st.integers(1, reference.curve_order - 1))
def test_pairing(first: int, second: int) -> None:
    left, right = reference.multiply(reference.G1, first), reference.multiply(reference.G2, second)
    product = reference.neg(reference.multiply(reference.G1, first * second % reference.curve_order))
    pairs = coordinates(left) + coordinates(right) + coordinates(product) + coordinates(reference.G2)
    caller = run(0x0F, pairs)
    assert (caller.output, caller.gas_used) == (words(1), 37_700 + 2 * 32_600)
    assert run(0x0F, pairs[:384]).output == words(0)
    assert run(0x0F, pairs + bytes(128) + coordinates(right)).output == words(1)


@settings(max_examples=2, deadline=None)
@given(st.integers(0, reference.field_modulus - 1), st.integers(0, reference.field_modulus - 1))
def test_maps(first: int, second: int) -> None:
    field = first.to_bytes(64, "big")
    expected = maps.clear_cofactor_G1(maps.map_to_curve_G1(optimized_bls12_381_FQ(first)))
    caller = run(0x10, field)
    assert (caller.output, caller.gas_used) == (coordinates(expected), 5_500)
    expected = maps.clear_cofactor_G2(maps.map_to_curve_G2(optimized_bls12_381_FQ2((first, second))))
    caller = run(0x11, field + second.to_bytes(64, "big"))
    assert (caller.output, caller.gas_used) == (coordinates(expected), 23_800)


SIZES = {0x0B: 256, 0x0C: 160, 0x0D: 512, 0x0E: 288, 0x0F: 384, 0x10: 64, 0x11: 128}
"""Of the input of each contract with one item."""


@pytest.mark.parametrize("number", CONTRACTS)
def test_curves_at_infinity_and_outside(number: int) -> None:
    size = SIZES[number]
    if number < 0x0F:
        curve = G1 if number < 0x0D else G2
        assert run(number, bytes(size)).output == bytes(curve.point_bytes)
    else:
        assert run(number, bytes(size)).output
    # No input, a byte too little or too much, a coordinate above the modulus, one with something in its padding.
    beyond = reference.field_modulus.to_bytes(64, "big")
    for data in (b"", bytes(size - 1), bytes(size + 1), beyond + bytes(size - 64), b"\x01" + bytes(size - 1)):
        with pytest.raises(VMError, match="BLS12-381"):
            run(number, data)
    if number < 0x10:
        with pytest.raises(VMError, match="not on the G"):
            run(number, bytes(63) + b"\x01" + bytes(size - 64))


def test_groups_refuse_points_outside_of_them() -> None:
    # On the curve of G1, with x = 4; most points of the curve aren't in the subgroup.
    modulus = reference.field_modulus
    y = pow(68, (modulus + 1) // 4, modulus)
    assert y * y % modulus == 68
    point = (4).to_bytes(64, "big") + y.to_bytes(64, "big")
    assert len(run(0x0B, point + point).output) == 128
    for number, data in ((0x0C, point + words(1)), (0x0F, point + bytes(256))):
        with pytest.raises(VMError, match="subgroup"):
            run(number, data)
    curve = maps.map_to_curve_G2(optimized_bls12_381_FQ2((1, 2)))
    assert len(run(0x0D, coordinates(curve) * 2).output) == 256
    for number, data in ((0x0E, coordinates(curve) + words(1)), (0x0F, bytes(128) + coordinates(curve))):
        with pytest.raises(VMError, match="subgroup"):
            run(number, data)
