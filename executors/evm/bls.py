"""The contracts on the curve BLS12-381, and the point evaluation of blobs: the adapter of py_arkworks_bls12381.

References
----------
EIP-2537 (sums, products, pairings, maps to the curve), EIP-4844 (point evaluation).
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from py_arkworks_bls12381 import GT, G1Point, G2Point, Scalar

from .library import G1_DISCOUNTS, G2_DISCOUNTS, Instruction, VMError

_PAIRING_GAS: Final = 37_700
_PAIR_GAS: Final = 32_600
_POINT_EVALUATION_GAS: Final = 50_000
_BLS_MODULUS: Final = 52435875175126190479447740508185965837690552500527637822603658699938581184513
_FIELD_ELEMENTS: Final = 4_096
_PADDING: Final = bytes(16)
"""A coordinate has 48 bytes, and comes in 64."""
_SECRET: Final = G2Point.from_compressed_bytes(bytes.fromhex(
    "b5bfd7dd8cdeb128843bc287230af38926187075cbfbefa81009a2ce615ac53d2914e5870cb452d2afaaab24f3499f72"
    "185cbfee53492714734429b7b38608e23926c911cceceac9a36851477ba4c60b087041de621000edc98edada20c1def2"))
"""The secret of the KZG ceremony times the generator: all that verifying takes of the trusted setup."""

Point = TypeVar("Point", G1Point, G2Point)


@dataclass(frozen=True, slots=True, kw_only=True)
class Group(Generic[Point]):
    """G1 or G2, as the library has it."""

    numbers: int
    """So many coordinates in the prime field has a point."""
    read: Callable[[bytes], Point]
    """A point of the group; refuses every other one."""
    read_outside: Callable[[bytes], Point]
    """A point of the curve, in the group or not."""
    write: Callable[[Point], bytes]
    sum_of_products: Callable[[list[Point], list[Scalar]], Point]
    """Of points in the group."""
    map_to: Callable[[bytes], Point]
    """From a field element, half of the coordinates of a point."""

    @property
    def point_bytes(self) -> int:
        """Length of a point in the input of a contract."""
        return 64 * self.numbers


G1: Final[Group[G1Point]] = Group(
    numbers=2, read=G1Point.from_xy_bytes_be, read_outside=G1Point.from_xy_bytes_unchecked_be,
    write=G1Point.to_xy_bytes_be, sum_of_products=G1Point.multiexp_unchecked, map_to=G1Point.map_from_fp_be)
G2: Final[Group[G2Point]] = Group(
    numbers=4, read=G2Point.from_xy_bytes_be, read_outside=G2Point.from_xy_bytes_unchecked_be,
    write=G2Point.to_xy_bytes_be, sum_of_products=G2Point.multiexp_unchecked, map_to=G2Point.map_from_fp2_be)


def _stripped(data: bytes) -> bytes:
    """Coordinates without their padding.

    Raises
    ------
    VMError
        If it isn't zero.
    """
    parts = []
    for start in range(0, len(data), 64):
        if data[start:start + 16] != _PADDING:
            raise VMError("BLS12-381: coordinate not below the field modulus")
        parts.append(data[start + 16:start + 64])
    return b"".join(parts)


def _parsed(read: Callable[[bytes], Any], data: bytes) -> Any:
    """What a function of the library makes of coordinates.

    Raises
    ------
    VMError
        If it refuses them.
    """
    try:
        return read(_stripped(data))
    except ValueError as exc:
        raise VMError(f"BLS12-381: {exc}") from exc


def _padded(coordinates: bytes) -> bytes:
    return b"".join(_PADDING + coordinates[start:start + 48] for start in range(0, len(coordinates), 48))


def _check_length(data: bytes, expected: int) -> None:
    if len(data) != expected:
        raise VMError(f"BLS12-381: {len(data)} bytes of input instead of {expected}")


def _check_multiple(data: bytes, unit: int) -> int:
    """How many items there are, at least one."""
    count, rest = divmod(len(data), unit)
    if rest or not count:
        raise VMError(f"BLS12-381: {len(data)} bytes of input, not a multiple of {unit}")
    return count


def addition(group: Group[Point], gas: int) -> Instruction:
    """The contract that adds two points of the curve; they may be outside of the group."""
    size = group.point_bytes

    def add(frame: Any) -> None:
        data = frame.msg.data
        frame.consume_gas(gas)
        _check_length(data, 2 * size)
        left, right = _parsed(group.read_outside, data[:size]), _parsed(group.read_outside, data[size:])
        frame.output = _padded(group.write(left + right))
    return add


def multiplication(group: Group[Point], gas: int, discounts: Sequence[int]) -> Instruction:
    """The contract that multiplies points with scalars and adds the products up.

    Parameters
    ----------
    gas
        For one product.
    discounts
        Thousandths of it that are due for each of one, two … products; the last one holds for all more.
    """
    size = group.point_bytes

    def multiply(frame: Any) -> None:
        data = frame.msg.data
        count = _check_multiple(data, size + 32)
        frame.consume_gas(count * gas * discounts[min(count, len(discounts)) - 1] // 1_000)
        points, scalars = [], []
        for start in range(0, len(data), size + 32):
            points.append(_parsed(group.read, data[start:start + size]))
            scalars.append(Scalar.from_be_bytes_mod_order(data[start + size:start + size + 32]))
        frame.output = _padded(group.write(group.sum_of_products(points, scalars)))
    return multiply


def mapping(group: Group[Point], gas: int) -> Instruction:
    """The contract that maps a field element to a point of the group."""
    size = group.point_bytes // 2

    def map_to_group(frame: Any) -> None:
        data = frame.msg.data
        frame.consume_gas(gas)
        _check_length(data, size)
        frame.output = _padded(group.write(_parsed(group.map_to, data)))
    return map_to_group


def pairing(frame: Any) -> None:
    """The contract that tells whether the pairings of some points multiply to one."""
    data = frame.msg.data
    size = G1.point_bytes + G2.point_bytes
    count = _check_multiple(data, size)
    frame.consume_gas(_PAIRING_GAS + _PAIR_GAS * count)
    left, right = [], []
    for start in range(0, len(data), size):
        middle = start + G1.point_bytes
        left.append(_parsed(G1.read, data[start:middle]))
        right.append(_parsed(G2.read, data[middle:start + size]))
    frame.output = GT.pairing_check(left, right).to_bytes(32, "big")


def _compressed(data: bytes) -> G1Point:
    """A point of G1 in 48 bytes; of the encodings of infinity that the library takes only the right one."""
    point = G1Point.from_compressed_bytes(data)
    if point.to_compressed_bytes() != data:
        raise ValueError("more than one way to write a point")
    return point


def point_evaluation(frame: Any) -> None:
    """The contract that checks a proof that a committed polynomial has a value at a point.

    For a commitment C to a polynomial with value y at z, and a proof W: ``e(C - y, 1) = e(W, s - z)``.
    """
    frame.consume_gas(_POINT_EVALUATION_GAS)
    data = frame.msg.data
    if len(data) != 192:
        raise VMError(f"point evaluation: {len(data)} bytes of input instead of 192")
    versioned_hash, commitment = data[:32], data[96:144]
    if versioned_hash != b"\x01" + hashlib.sha256(commitment).digest()[1:]:
        raise VMError("point evaluation: the commitment is not of the hash")
    try:
        z, y = Scalar.from_be_bytes(data[32:64]), Scalar.from_be_bytes(data[64:96])
        value = _compressed(commitment) - G1Point() * y
        proof = _compressed(data[144:])
    except ValueError as exc:
        raise VMError(f"point evaluation: {exc}") from exc
    if not GT.pairing_check([value, -proof], [G2Point(), _SECRET - G2Point() * z]):
        raise VMError("point evaluation: the proof is wrong")
    frame.output = _FIELD_ELEMENTS.to_bytes(32, "big") + _BLS_MODULUS.to_bytes(32, "big")


CONTRACTS: Final[dict[int, Instruction]] = {
    0x0B: addition(G1, 375), 0x0C: multiplication(G1, 12_000, G1_DISCOUNTS),
    0x0D: addition(G2, 600), 0x0E: multiplication(G2, 22_500, G2_DISCOUNTS),
    0x0F: pairing, 0x10: mapping(G1, 5_500), 0x11: mapping(G2, 23_800)}
"""By the last byte of their address."""
