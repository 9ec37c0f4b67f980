"""Addition and multiplication on the curves of BLS12-381, in plain integers.

py_ecc does the same on objects, and takes minutes for the largest multiplication that the gas of one transaction pays
for; this takes seconds. Pairings and maps to the curve stay with py_ecc.

References
----------
EIP-2537. Formulas in Jacobian coordinates for curves ``y² = x³ + b``: Explicit-Formulas Database, dbl-2009-l,
add-2007-bl.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final, Generic, TypeVar

from .library import G1_DISCOUNTS, G2_DISCOUNTS, Instruction, VMError

_P: Final = 0x1A0111EA397FE69A4B1BA7B6434BACD764774B84F38512BF6730D2A0F6B0F6241EABFFFEB153FFFFB9FEFFFFFFFFAAAB
_ORDER: Final = 0x73EDA753299D7D483339D80809A1D80553BDA402FFFE5BFEFFFFFFFF00000001

Element = TypeVar("Element")
Point = tuple[Element, Element, Element]
"""Jacobian coordinates; z is zero at infinity."""

Pair = tuple[int, int]
"""c0 + c1·u with u² = -1."""


class Curve(Generic[Element]):
    """A curve ``y² = x³ + b`` over some field of characteristic p.

    Parameters
    ----------
    multiply, subtract, double
        Arithmetic of the field.
    inverse
        Of an element other than zero.
    size
        Number of coordinates in the prime field of an element.
    read, write
        An element from and to its coordinates.
    b, zero, one
        Constants.
    """

    def __init__(
        self, *, multiply: Callable[[Element, Element], Element], subtract: Callable[[Element, Element], Element],
        double: Callable[[Element], Element], inverse: Callable[[Element], Element], size: int,
        read: Callable[[Sequence[int]], Element], write: Callable[[Element], Sequence[int]], b: Element, zero: Element,
        one: Element,
    ) -> None:
        self._multiply = multiply
        self._subtract = subtract
        self._double = double
        self._inverse = inverse
        self._read = read
        self._write = write
        self._b, self._zero, self._one = b, zero, one
        self.point_bytes = 128 * size
        self._size = size
        self.infinity: Point[Element] = (one, one, zero)

    def double(self, point: Point[Element]) -> Point[Element]:
        """Twice a point."""
        mul, sub, dbl = self._multiply, self._subtract, self._double
        x, y, z = point
        a, b = mul(x, x), mul(y, y)
        c = mul(b, b)
        d = mul(x, b)
        d = dbl(dbl(d))
        e = sub(dbl(a), sub(self._zero, a))
        x3 = sub(mul(e, e), dbl(d))
        return x3, sub(mul(e, sub(d, x3)), dbl(dbl(dbl(c)))), dbl(mul(y, z))

    def add(self, left: Point[Element], right: Point[Element]) -> Point[Element]:
        """The sum of any two points."""
        mul, sub, dbl = self._multiply, self._subtract, self._double
        (x1, y1, z1), (x2, y2, z2) = left, right
        if z1 == self._zero:
            return right
        if z2 == self._zero:
            return left
        zz1, zz2 = mul(z1, z1), mul(z2, z2)
        u1, u2 = mul(x1, zz2), mul(x2, zz1)
        s1, s2 = mul(mul(y1, z2), zz2), mul(mul(y2, z1), zz1)
        h, r = sub(u2, u1), dbl(sub(s2, s1))
        if h == self._zero:
            return self.double(left) if r == self._zero else self.infinity
        i = mul(dbl(h), dbl(h))
        j, v = mul(h, i), mul(u1, i)
        x3 = sub(sub(mul(r, r), j), dbl(v))
        return x3, sub(mul(r, sub(v, x3)), dbl(mul(s1, j))), dbl(mul(mul(z1, z2), h))

    def multiply(self, point: Point[Element], scalar: int) -> Point[Element]:
        """A multiple of a point."""
        total = self.infinity
        for bit in f"{scalar:b}":
            total = self.double(total)
            if bit == "1":
                total = self.add(total, point)
        return total

    def decode(self, data: bytes) -> Point[Element]:
        """A point of the curve from its encoding, zeros for infinity.

        Raises
        ------
        VMError
            If it is none.
        """
        numbers = [int.from_bytes(data[start:start + 64], "big") for start in range(0, self.point_bytes, 64)]
        if any(number >= _P for number in numbers):
            raise VMError("BLS12-381: coordinate not below the field modulus")
        if not any(numbers):
            return self.infinity
        x, y = self._read(numbers[:self._size]), self._read(numbers[self._size:])
        mul, sub = self._multiply, self._subtract
        if sub(mul(y, y), mul(mul(x, x), x)) != self._b:
            raise VMError("BLS12-381: point not on the curve")
        return x, y, self._one

    def encode(self, point: Point[Element]) -> bytes:
        """The encoding of a point."""
        x, y, z = point
        if z == self._zero:
            return bytes(self.point_bytes)
        mul = self._multiply
        inverse = self._inverse(z)
        square = mul(inverse, inverse)
        numbers = (*self._write(mul(x, square)), *self._write(mul(y, mul(square, inverse))))
        return b"".join(number.to_bytes(64, "big") for number in numbers)

    def check_subgroup(self, point: Point[Element]) -> None:
        """Refuse points that aren't in the subgroup of prime order.

        Raises
        ------
        VMError
            For such a point.
        """
        if self.multiply(point, _ORDER)[2] != self._zero:
            raise VMError("BLS12-381: point not in the subgroup")


def _multiply_pairs(left: Pair, right: Pair) -> Pair:
    (a, b), (c, d) = left, right
    ac, bd = a * c, b * d
    return (ac - bd) % _P, ((a + b) * (c + d) - ac - bd) % _P


def _inverse_pair(pair: Pair) -> Pair:
    a, b = pair
    norm = pow(a * a + b * b, -1, _P)
    return a * norm % _P, -b * norm % _P


G1: Final = Curve[int](
    multiply=lambda left, right: left * right % _P, subtract=lambda left, right: (left - right) % _P,
    double=lambda number: 2 * number % _P, inverse=lambda number: pow(number, -1, _P), size=1,
    read=lambda numbers: numbers[0], write=lambda number: (number,), b=4, zero=0, one=1)

G2: Final = Curve[Pair](
    multiply=_multiply_pairs, subtract=lambda left, right: ((left[0] - right[0]) % _P, (left[1] - right[1]) % _P),
    double=lambda pair: (2 * pair[0] % _P, 2 * pair[1] % _P), inverse=_inverse_pair, size=2,
    read=lambda numbers: (numbers[0], numbers[1]), write=lambda pair: pair, b=(4, 4), zero=(0, 0), one=(1, 0))


def addition(curve: Curve[Any], gas: int) -> Instruction:
    """The precompiled contract that adds two points; they may be outside of the subgroup."""
    size = curve.point_bytes

    def add(frame: Any) -> None:
        data = frame.msg.data
        frame.consume_gas(gas)
        if len(data) != 2 * size:
            raise VMError(f"BLS12-381: {len(data)} bytes of input instead of {2 * size}")
        frame.output = curve.encode(curve.add(curve.decode(data[:size]), curve.decode(data[size:])))
    return add


def multiplication(curve: Curve[Any], gas: int, discounts: Sequence[int]) -> Instruction:
    """The precompiled contract that multiplies points with scalars and adds the products up.

    Parameters
    ----------
    gas
        For one product.
    discounts
        Thousandths of it that are due for each of one, two … products; the last one holds for all more.
    """
    size = curve.point_bytes

    def multiply(frame: Any) -> None:
        data = frame.msg.data
        count, rest = divmod(len(data), size + 32)
        if rest or not count:
            raise VMError(f"BLS12-381: {len(data)} bytes of input, not a multiple of {size + 32}")
        frame.consume_gas(count * gas * discounts[min(count, len(discounts)) - 1] // 1_000)
        total = curve.infinity
        for start in range(0, len(data), size + 32):
            point = curve.decode(data[start:start + size])
            curve.check_subgroup(point)
            scalar = int.from_bytes(data[start + size:start + size + 32], "big") % _ORDER
            total = curve.add(total, curve.multiply(point, scalar))
        frame.output = curve.encode(total)
    return multiply


CONTRACTS: Final[dict[int, Instruction]] = {
    0x0B: addition(G1, 375), 0x0C: multiplication(G1, 12_000, G1_DISCOUNTS),
    0x0D: addition(G2, 600), 0x0E: multiplication(G2, 22_500, G2_DISCOUNTS)}
"""By the last byte of their address."""
