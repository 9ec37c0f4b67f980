"""The contracts on the curve BN254 (alt_bn128): sums, products and pairings, in plain integers.

There is no native library for this curve that is kept well and built for all platforms. A pairing takes some
milliseconds here, which is a hundredth of what the implementation of py-evm takes.

References
----------
EIP-196, EIP-197 and EIP-1108 (gas). Gallant, Lambert, Vanstone, "Faster point multiplication on elliptic
curves with efficient endomorphisms". Vercauteren, "Optimal pairings". Explicit-Formulas Database, dbl-2009-l and
madd-2007-bl, for ``y² = x³ + b`` in Jacobian coordinates.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from .fp12 import (
    ONE,
    TWISTS,
    Fp2,
    Fp12,
    P,
    U,
    final_exponentiation,
    invert_pair,
    multiply_line,
    multiply_pairs,
    square,
)
from .library import Instruction, VMError

ORDER: Final = 21888242871839275222246405745257275088548364400416034343698204186575808495617
_ADD_GAS: Final = 150
_MULTIPLY_GAS: Final = 6_000
_PAIRING_GAS: Final = 45_000
_PAIR_GAS: Final = 34_000

G1 = tuple[int, int]
"""x and y of a point of ``y² = x³ + 3``."""
G2 = tuple[Fp2, Fp2]
"""The same over pairs, of the twisted curve ``y² = x³ + 3 / (9 + i)``."""
Line = tuple[int, int, int, int]
"""Slope of a line, and slope times x minus y of a point on it; two pairs."""


def _coordinate(data: bytes) -> int:
    number = int.from_bytes(data, "big")
    if number >= P:
        raise VMError("BN254: coordinate not below the field modulus")
    return number


def _read_g1(data: bytes) -> G1 | None:
    """A point from 64 bytes, None for infinity."""
    x, y = _coordinate(data[:32]), _coordinate(data[32:])
    if not x and not y:
        return None
    if (y * y - x * x * x - 3) % P:
        raise VMError("BN254: point not on the curve")
    return x, y


_TWISTED_B: Final = multiply_pairs((3, 0), invert_pair((9, 1)))


def _read_g2(data: bytes) -> G2 | None:
    """A point from 128 bytes, in which the imaginary parts come first; None for infinity."""
    x1, x0, y1, y0 = (_coordinate(data[start:start + 32]) for start in (0, 32, 64, 96))
    if not (x0 or x1 or y0 or y1):
        return None
    x, y = (x0, x1), (y0, y1)
    left, right = multiply_pairs(y, y), multiply_pairs(multiply_pairs(x, x), x)
    if (left[0] - right[0] - _TWISTED_B[0]) % P or (left[1] - right[1] - _TWISTED_B[1]) % P:
        raise VMError("BN254: point not on the twisted curve")
    return x, y


def _write(point: G1 | None) -> bytes:
    x, y = point or (0, 0)
    return x.to_bytes(32, "big") + y.to_bytes(32, "big")


def add(left: G1 | None, right: G1 | None) -> G1 | None:
    """The sum of two points."""
    if left is None or right is None:
        return right if left is None else left
    (x1, y1), (x2, y2) = left, right
    if x1 != x2:
        slope = (y2 - y1) * pow(x2 - x1, -1, P)
    elif y1 == y2:  # and not zero: the order of the group is odd
        slope = 3 * x1 * x1 * pow(2 * y1, -1, P)
    else:
        return None
    x = (slope * slope - x1 - x2) % P
    return x, (slope * (x1 - x) - y1) % P


def _signed_digits(number: int, width: int) -> tuple[int, ...]:
    """Digits of a number in base two, the lowest first: zero, or odd and below ``2 ** (width - 1)`` with a sign.

    After each that isn't zero there are ``width - 1`` zeros at least.
    """
    digits = []
    while number:
        digit = 0
        if number & 1:
            digit = number & ((1 << width) - 1)
            if digit >> (width - 1):
                digit -= 1 << width
        digits.append(digit)
        number = (number - digit) >> 1
    return tuple(digits)


_ROOT: Final = 21888242871839275220042445260109153167277707414472061641714758635765020556616
"""A third root of one: ``(x, y) → (root · x, y)`` is a product with a scalar, too."""
_ROOT_SCALAR: Final = 21888242871839275217838484774961031246154997185409878258781734729429964517155
_SHORT: Final = ((2 * U + 1, 6 * U * U + 4 * U + 1), (6 * U * U + 2 * U, -2 * U - 1))
"""Two pairs ``(a, b)`` of half the length of the order, with ``a + b · scalar = 0`` modulo the order."""
_WIDTH: Final = 4


def split(scalar: int) -> tuple[int, int]:
    """Two numbers of half the length, ``a + b · _ROOT_SCALAR`` of which is a scalar below the order."""
    (a1, b1), (a2, b2) = _SHORT
    first, second = (-b2 * scalar + ORDER // 2) // ORDER, (b1 * scalar + ORDER // 2) // ORDER
    return scalar - first * a1 - second * a2, -first * b1 - second * b2


def multiply(point: G1 | None, scalar: int) -> G1 | None:
    """A multiple of a point: of it and of its image under the root at the same time, by signed digits."""
    scalar %= ORDER
    if point is None or not scalar:
        return None
    # Odd multiples, as many as digits need.
    double = add(point, point)
    multiples: list[G1] = [point]
    while len(multiples) < 1 << (_WIDTH - 2):
        following = add(multiples[-1], double)
        if following is None:
            raise VMError("BN254: point of small order")  # there is none
        multiples.append(following)
    schedule: list[list[G1]] = []
    for part, root in zip(split(scalar), (1, _ROOT), strict=True):
        sign = -1 if part < 0 else 1
        for place, digit in enumerate(_signed_digits(abs(part), _WIDTH)):
            if place == len(schedule):
                schedule.append([])
            if digit:
                x, y = multiples[abs(digit) >> 1]
                schedule[place].append((x * root % P, y if digit * sign > 0 else P - y))
    x, y, z = 0, 1, 0  # infinity in Jacobian coordinates
    for addends in reversed(schedule):
        if z:
            x, y, z = _double(x, y, z)
        for addend in addends:
            x, y, z = _add_mixed(x, y, z, addend)
    if not z:
        return None
    inverse = pow(z, -1, P)
    squared = inverse * inverse % P
    return x * squared % P, y * squared * inverse % P


def _double(x: int, y: int, z: int) -> tuple[int, int, int]:
    """Twice a point in Jacobian coordinates."""
    b = y * y % P
    d, e = 4 * x * b % P, 3 * x * x % P
    x3 = (e * e - 2 * d) % P
    return x3, (e * (d - x3) - 8 * b * b) % P, 2 * y * z % P


def _add_mixed(x: int, y: int, z: int, addend: G1) -> tuple[int, int, int]:
    """The sum of a point in Jacobian coordinates and one with z = 1."""
    if not z:
        return (*addend, 1)
    zz = z * z % P
    h = (addend[0] * zz - x) % P
    r = (addend[1] * zz * z - y) % P
    if not h:
        return (0, 1, 0) if r else _double(x, y, z)
    hh = h * h % P
    hhh, v = h * hh % P, x * hh % P
    x3 = (r * r - hhh - 2 * v) % P
    return x3, (r * (v - x3) - y * hhh) % P, z * h % P


# Pairings.


_LOOP: Final = _signed_digits(6 * U + 2, 2)[-2::-1]
"""The highest digit is left out: the loop begins with it."""


def _power_of_p(point: G2) -> G2:
    """What the power to p of coordinates is on the twisted curve."""
    (x0, x1), (y0, y1) = point
    return multiply_pairs((x0, -x1), TWISTS[2]), multiply_pairs((y0, -y1), TWISTS[3])


def _step(left: G2, right: G2, *, tangent: bool = False) -> tuple[G2, Line]:
    """The sum of two different points, or twice a point, and the line through them.

    Raises
    ------
    ValueError
        If the line is vertical.
    """
    (x, y), (x2, y2) = left, right
    if tangent:
        s0, s1 = multiply_pairs(x, x)
        slope = multiply_pairs((3 * s0, 3 * s1), invert_pair((2 * y[0], 2 * y[1])))
    else:
        slope = multiply_pairs((y2[0] - y[0], y2[1] - y[1]), invert_pair((x2[0] - x[0], x2[1] - x[1])))
    m0, m1 = multiply_pairs(slope, slope)
    x3 = (m0 - x[0] - x2[0]) % P, (m1 - x[1] - x2[1]) % P
    c0, c1 = multiply_pairs(slope, x)
    c0, c1 = c0 - y[0], c1 - y[1]
    d0, d1 = multiply_pairs(slope, x3)
    return (x3, ((c0 - d0) % P, (c1 - d1) % P)), (*slope, c0, c1)


def _lines(point: G2) -> list[Line]:
    """The lines of the Miller loop through the multiples of a point, in their order.

    With them comes the proof that the point is in the subgroup of prime order r, which no other point of the curve
    passes: ``(6u + 2)·Q + π(Q) - π²(Q) + π³(Q)`` is infinity, for the power π to p. The norm of that polynomial in π
    has no factor but r in common with the order of the curve. And no line is vertical for a point of the subgroup: the
    multiples that meet on the way differ modulo r.

    Raises
    ------
    VMError
        If the point isn't in the subgroup.
    """
    (x, y) = point
    minus: G2 = x, (-y[0] % P, -y[1] % P)
    total, lines = point, []
    first = _power_of_p(point)
    second = _power_of_p(first)
    third = _power_of_p(second)
    try:
        for digit in _LOOP:
            total, line = _step(total, total, tangent=True)
            lines.append(line)
            if digit:
                total, line = _step(total, point if digit > 0 else minus)
                lines.append(line)
        total, line = _step(total, first)
        lines.append(line)
        total, line = _step(total, (second[0], (-second[1][0] % P, -second[1][1] % P)))
        lines.append(line)
    except ValueError as exc:
        raise VMError("BN254: point not in the subgroup") from exc
    if total != (third[0], (-third[1][0] % P, -third[1][1] % P)):
        raise VMError("BN254: point not in the subgroup")
    return lines


def _miller_loop(pairs: Sequence[tuple[G1, list[Line]]]) -> Fp12:
    """The product over all pairs of the lines at their points of G1."""
    # A line at (x, y), divided by y: factors in the prime field vanish in the final exponentiation.
    points = []
    for (x, y), lines in pairs:
        inverse = pow(y, -1, P)
        points.append((-x * inverse % P, inverse, iter(lines)))

    def times_lines(value: Fp12) -> Fp12:
        for slope_factor, factor, lines in points:
            m0, m1, c0, c1 = next(lines)
            value = multiply_line(
                value, m0 * slope_factor % P, m1 * slope_factor % P, c0 * factor % P, c1 * factor % P)
        return value

    value = ONE
    for digit in _LOOP:
        value = times_lines(square(value))
        if digit:
            value = times_lines(value)
    return times_lines(times_lines(value))


def is_pairing_product_one(pairs: Iterator[tuple[G1 | None, G2 | None]]) -> bool:
    """Whether the pairings of some points multiply to one.

    Raises
    ------
    VMError
        If a point isn't in its group.
    """
    real = []
    for left, right in pairs:
        if right is not None:
            lines = _lines(right)  # checks the point
            if left is not None:
                real.append((left, lines))
    return not real or final_exponentiation(_miller_loop(real)) == ONE


# The contracts.


def _add(frame: Any) -> None:
    frame.consume_gas(_ADD_GAS)
    data = frame.msg.data[:128].ljust(128, b"\0")
    frame.output = _write(add(_read_g1(data[:64]), _read_g1(data[64:])))


def _multiply(frame: Any) -> None:
    frame.consume_gas(_MULTIPLY_GAS)
    data = frame.msg.data[:96].ljust(96, b"\0")
    frame.output = _write(multiply(_read_g1(data[:64]), int.from_bytes(data[64:], "big")))


def _pairing(frame: Any) -> None:
    data = frame.msg.data
    count, rest = divmod(len(data), 192)
    frame.consume_gas(_PAIRING_GAS + _PAIR_GAS * count)
    if rest:
        raise VMError(f"BN254: {len(data)} bytes of input, not a multiple of 192")
    pairs = (
        (_read_g1(data[start:start + 64]), _read_g2(data[start + 64:start + 192]))
        for start in range(0, len(data), 192))
    frame.output = is_pairing_product_one(pairs).to_bytes(32, "big")


CONTRACTS: Final[dict[int, Instruction]] = {0x06: _add, 0x07: _multiply, 0x08: _pairing}
"""By the last byte of their address."""
