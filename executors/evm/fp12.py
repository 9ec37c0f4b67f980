"""The field over which pairings on BN254 take their values, in plain integers.

An element is twelve coordinates of the prime field, in a tower of extensions: pairs ``a + b·i`` with ``i² = -1``;
triples of pairs over ``v`` with ``v³ = 9 + i``; pairs of triples over ``w`` with ``w² = v``. Coordinates stand in the
order of the tower: the triple without ``w``, then the one with it. Products are written out coordinate by coordinate
and reduced once at the end: function calls and reductions are what costs in Python.

References
----------
Devegili, Scott, Dahab, "Implementing cryptographic pairings over Barreto-Naehrig curves" (tower and Frobenius).
Fuentes-Castañeda, Knapp, Rodríguez-Henríquez, "Faster hashing to G2" (hard part of the final exponentiation).
"""

from typing import Final

P: Final = 21888242871839275222246405745257275088696311157297823662689037894645226208583
"""Order of the prime field."""
U: Final = 4_965_661_367_192_848_881
"""The parameter of the curve."""

Fp2 = tuple[int, int]
Fp6 = tuple[int, int, int, int, int, int]
Fp12 = tuple[int, int, int, int, int, int, int, int, int, int, int, int]

ONE: Final[Fp12] = (1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)


def multiply_pairs(a: Fp2, b: Fp2) -> Fp2:
    """A product of pairs."""
    (a0, a1), (b0, b1) = a, b
    low, high = a0 * b0, a1 * b1
    return (low - high) % P, ((a0 + a1) * (b0 + b1) - low - high) % P


def invert_pair(a: Fp2) -> Fp2:
    """The inverse of a pair.

    Raises
    ------
    ValueError
        For zero.
    """
    a0, a1 = a
    norm = pow(a0 * a0 + a1 * a1, -1, P)
    return a0 * norm % P, -a1 * norm % P


def raise_pair(a: Fp2, exponent: int) -> Fp2:
    """A power of a pair."""
    result = (1, 0)
    for bit in f"{exponent:b}":
        result = multiply_pairs(result, result)
        if bit == "1":
            result = multiply_pairs(result, a)
    return result


def _multiply_triples(a: Fp6, b: Fp6) -> Fp6:
    """A product of triples, not reduced. By Karatsuba: six products of pairs, three multiplications each."""
    a0, a1, a2, a3, a4, a5 = a
    b0, b1, b2, b3, b4, b5 = b
    low, high = a0 * b0, a1 * b1
    x0, x1 = low - high, (a0 + a1) * (b0 + b1) - low - high
    low, high = a2 * b2, a3 * b3
    y0, y1 = low - high, (a2 + a3) * (b2 + b3) - low - high
    low, high = a4 * b4, a5 * b5
    z0, z1 = low - high, (a4 + a5) * (b4 + b5) - low - high
    c0, c1, d0, d1 = a2 + a4, a3 + a5, b2 + b4, b3 + b5
    low, high = c0 * d0, c1 * d1
    yz0, yz1 = low - high - y0 - z0, (c0 + c1) * (d0 + d1) - low - high - y1 - z1
    c0, c1, d0, d1 = a0 + a2, a1 + a3, b0 + b2, b1 + b3
    low, high = c0 * d0, c1 * d1
    xy0, xy1 = low - high - x0 - y0, (c0 + c1) * (d0 + d1) - low - high - x1 - y1
    c0, c1, d0, d1 = a0 + a4, a1 + a5, b0 + b4, b1 + b5
    low, high = c0 * d0, c1 * d1
    xz0, xz1 = low - high - x0 - z0, (c0 + c1) * (d0 + d1) - low - high - x1 - z1
    return (
        x0 + 9 * yz0 - yz1, x1 + 9 * yz1 + yz0, xy0 + 9 * z0 - z1, xy1 + 9 * z1 + z0, xz0 + y0, xz1 + y1)


def multiply(a: Fp12, b: Fp12) -> Fp12:
    """A product."""
    x0, x1, x2, x3, x4, x5 = _multiply_triples(a[:6], b[:6])
    y0, y1, y2, y3, y4, y5 = _multiply_triples(a[6:], b[6:])
    a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11 = a
    b0, b1, b2, b3, b4, b5, b6, b7, b8, b9, b10, b11 = b
    z0, z1, z2, z3, z4, z5 = _multiply_triples(
        (a0 + a6, a1 + a7, a2 + a8, a3 + a9, a4 + a10, a5 + a11),
        (b0 + b6, b1 + b7, b2 + b8, b3 + b9, b4 + b10, b5 + b11))
    return (
        (x0 + 9 * y4 - y5) % P, (x1 + 9 * y5 + y4) % P, (x2 + y0) % P, (x3 + y1) % P, (x4 + y2) % P, (x5 + y3) % P,
        (z0 - x0 - y0) % P, (z1 - x1 - y1) % P, (z2 - x2 - y2) % P, (z3 - x3 - y3) % P, (z4 - x4 - y4) % P,
        (z5 - x5 - y5) % P)


def square(a: Fp12) -> Fp12:
    """A square, by two products of triples."""
    a0, a1, a2, a3, a4, a5, b0, b1, b2, b3, b4, b5 = a
    x0, x1, x2, x3, x4, x5 = _multiply_triples(a[:6], a[6:])
    y0, y1, y2, y3, y4, y5 = _multiply_triples(
        (a0 + b0, a1 + b1, a2 + b2, a3 + b3, a4 + b4, a5 + b5),
        (a0 + 9 * b4 - b5, a1 + 9 * b5 + b4, a2 + b0, a3 + b1, a4 + b2, a5 + b3))
    return (
        (y0 - x0 - 9 * x4 + x5) % P, (y1 - x1 - 9 * x5 - x4) % P, (y2 - x2 - x0) % P, (y3 - x3 - x1) % P,
        (y4 - x4 - x2) % P, (y5 - x5 - x3) % P, 2 * x0 % P, 2 * x1 % P, 2 * x2 % P, 2 * x3 % P, 2 * x4 % P, 2 * x5 % P)


def multiply_line(a: Fp12, b0: int, b1: int, c0: int, c1: int) -> Fp12:
    """The product with ``1 + b·w + c·w³``, for pairs b and c: the value of a line."""
    x0, x1, x2, x3, x4, x5, y0, y1, y2, y3, y4, y5 = a
    b, c, d0, d1 = b0 + b1, c0 + c1, b0 + c0, b1 + c1
    d = d0 + d1

    # Each triple times b + c·v, by five products of pairs.
    low, high = x0 * b0, x1 * b1
    p0, p1 = low - high, (x0 + x1) * b - low - high
    low, high = x2 * c0, x3 * c1
    q0, q1 = low - high, (x2 + x3) * c - low - high
    e0, e1 = x0 + x2, x1 + x3
    low, high = e0 * d0, e1 * d1
    r0, r1 = low - high - p0 - q0, (e0 + e1) * d - low - high - p1 - q1
    low, high = x4 * b0, x5 * b1
    s0, s1 = q0 + low - high, q1 + (x4 + x5) * b - low - high
    low, high = x4 * c0, x5 * c1
    t0, t1 = low - high, (x4 + x5) * c - low - high
    z0, z1, z2, z3, z4, z5 = p0 + 9 * t0 - t1, p1 + 9 * t1 + t0, r0, r1, s0, s1

    low, high = y0 * b0, y1 * b1
    p0, p1 = low - high, (y0 + y1) * b - low - high
    low, high = y2 * c0, y3 * c1
    q0, q1 = low - high, (y2 + y3) * c - low - high
    e0, e1 = y0 + y2, y1 + y3
    low, high = e0 * d0, e1 * d1
    r0, r1 = low - high - p0 - q0, (e0 + e1) * d - low - high - p1 - q1
    low, high = y4 * b0, y5 * b1
    s0, s1 = q0 + low - high, q1 + (y4 + y5) * b - low - high
    low, high = y4 * c0, y5 * c1
    t0, t1 = low - high, (y4 + y5) * c - low - high
    p0, p1 = p0 + 9 * t0 - t1, p1 + 9 * t1 + t0

    return (
        (x0 + 9 * s0 - s1) % P, (x1 + 9 * s1 + s0) % P, (x2 + p0) % P, (x3 + p1) % P, (x4 + r0) % P, (x5 + r1) % P,
        (y0 + z0) % P, (y1 + z1) % P, (y2 + z2) % P, (y3 + z3) % P, (y4 + z4) % P, (y5 + z5) % P)


def conjugate(a: Fp12) -> Fp12:
    """The power to p⁶: the inverse of what the easy part of the final exponentiation leaves."""
    a0, a1, a2, a3, a4, a5, b0, b1, b2, b3, b4, b5 = a
    return a0, a1, a2, a3, a4, a5, -b0 % P, -b1 % P, -b2 % P, -b3 % P, -b4 % P, -b5 % P


def _invert_triple(a: Fp6) -> Fp6:
    """The inverse of a triple, by its norm."""
    x, y, z = a[:2], a[2:4], a[4:]

    def minus(left: Fp2, right: Fp2) -> Fp2:
        return left[0] - right[0], left[1] - right[1]

    def shifted(pair: Fp2) -> Fp2:
        return 9 * pair[0] - pair[1], 9 * pair[1] + pair[0]

    t0 = minus(multiply_pairs(x, x), shifted(multiply_pairs(y, z)))
    t1 = minus(shifted(multiply_pairs(z, z)), multiply_pairs(x, y))
    t2 = minus(multiply_pairs(y, y), multiply_pairs(x, z))
    n0, n1, n2 = multiply_pairs(x, t0), shifted(multiply_pairs(z, t1)), shifted(multiply_pairs(y, t2))
    norm = invert_pair((n0[0] + n1[0] + n2[0], n0[1] + n1[1] + n2[1]))
    return *multiply_pairs(t0, norm), *multiply_pairs(t1, norm), *multiply_pairs(t2, norm)


def invert(a: Fp12) -> Fp12:
    """The inverse of an element other than zero."""
    low, high = a[:6], a[6:]
    s0, s1, s2, s3, s4, s5 = _multiply_triples(low, low)
    t0, t1, t2, t3, t4, t5 = _multiply_triples(high, high)
    inverse = _invert_triple((
        (s0 - 9 * t4 + t5) % P, (s1 - 9 * t5 - t4) % P, (s2 - t0) % P, (s3 - t1) % P, (s4 - t2) % P, (s5 - t3) % P))
    x0, x1, x2, x3, x4, x5 = _multiply_triples(low, inverse)
    y0, y1, y2, y3, y4, y5 = _multiply_triples(high, inverse)
    return (
        x0 % P, x1 % P, x2 % P, x3 % P, x4 % P, x5 % P, -y0 % P, -y1 % P, -y2 % P, -y3 % P, -y4 % P, -y5 % P)


def _twists() -> tuple[Fp2, ...]:
    """Powers of ``(9 + i) ** ((p - 1) / 6)``, from the zeroth on."""
    root = raise_pair((9, 1), (P - 1) // 6)
    twists: list[Fp2] = [(1, 0)]
    while len(twists) < 6:
        twists.append(multiply_pairs(twists[-1], root))
    return tuple(twists)


TWISTS: Final = _twists()
"""What the power to p does to the powers of w."""
_PLACES: Final = (0, 2, 4, 1, 3, 5)
"""The power of w that each pair of an element belongs to."""


def frobenius(a: Fp12) -> Fp12:
    """The power to p."""
    r0, r1, r2, r3, r4, r5 = (
        multiply_pairs((a[2 * index], -a[2 * index + 1]), TWISTS[place]) for index, place in enumerate(_PLACES))
    return *r0, *r1, *r2, *r3, *r4, *r5


def _raise_to_u(a: Fp12) -> Fp12:
    result = a
    for bit in f"{U:b}"[1:]:
        result = square(result)
        if bit == "1":
            result = multiply(result, a)
    return result


def final_exponentiation(a: Fp12) -> Fp12:
    """A power that is one for two elements alike if they differ by a factor out of a smaller field only.

    The exponent is a multiple of ``(p¹² - 1) / r`` that shares no factor with r.
    """
    # The easy part, (p⁶ - 1)(p² + 1). From there on the inverse is the conjugate.
    a = multiply(conjugate(a), invert(a))
    a = multiply(frobenius(frobenius(a)), a)
    # The hard part: 12u³ and so on stand for the powers of a.
    u1 = _raise_to_u(a)
    u2 = square(u1)
    u6 = multiply(square(u2), u2)
    uu6 = _raise_to_u(u6)
    uuu12 = _raise_to_u(square(uu6))
    second = multiply(multiply(uuu12, uu6), u6)
    first = multiply(second, conjugate(u2))
    zeroth = multiply(multiply(second, uu6), a)
    third = multiply(first, conjugate(a))
    second = frobenius(frobenius(second))
    third = frobenius(frobenius(frobenius(third)))
    return multiply(multiply(zeroth, frobenius(first)), multiply(second, third))
