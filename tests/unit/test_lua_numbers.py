"""Numbers of Lua contracts are exact, or revert."""

import itertools

import pytest
from eth_abi.abi import decode as eth_decode
from hypothesis import given, settings
from hypothesis import strategies as st

from executors.machine import Status
from tests.lua_chain import Chain, failure

OPERATORS = ["+", "-", "*", "//", "%", "==", "~=", "<", "<=", ">", ">="]
ARITHMETIC_CONTRACT = "return {" + "".join(
    f'["f{n}{kind}({a},{b}) returns ({"bool" if n > 4 else out})"] = function(a, b) return a {operator} b end,'
    for n, operator in enumerate(OPERATORS)
    for kind, a, b, out in (("uu", "uint256", "uint256", "uint256"), ("iu", "int64", "uint256", "uint256"), ("ui", "uint256", "int64", "uint256"), ("ii", "int64", "int64", "int64"))
) + """["pow(uint256,uint256) returns (uint256)"] = function(a, b) return a:pow(b) end,
  ["muldiv(uint256,uint256,uint256) returns (uint256)"] = function(a, b, c) return a:muldiv(b, c) end,
  ["text(uint256) returns (string)"] = function(a) return tostring(a) end,
  ["parse(string) returns (uint256)"] = function(a) return u256(a) end,
  ["bytes(uint256) returns (uint256)"] = function(a) return u256_from_bytes(a:bytes()) end,
  ["int(uint256) returns (int64)"] = function(a) return a:int() end }"""
EDGES = [0, 1, 2, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1, 2**64, 2**128 - 1, 2**128, 2**192, 2**255, 2**256 - 1]
NEAR = st.sampled_from(EDGES)
SMALL_EDGES = [0, 1, -1, 2**31, -2**31, 2**62, 2**63 - 1, -2**63, 3037000500, -2, 2**32]
BIG = st.one_of(NEAR, st.integers(0, 2**256 - 1), st.integers(0, 2**64))
SMALL = st.one_of(st.sampled_from(SMALL_EDGES), st.integers(-2**63, 2**63 - 1))
CALCULATOR = Chain()
CALCULATOR_ADDRESS = CALCULATOR.deploy(ARITHMETIC_CONTRACT)


def in_python(operator: str, a: int, b: int) -> int | bool | None:
    """The value, or None for an error."""
    if operator in ("//", "%") and b == 0:
        return None
    return eval(f"a {operator.replace('~=', '!=')} b", {"a": a, "b": b})  # type: ignore[no-any-return]


def check(operator: str, kind: str, a: int, b: int) -> None:
    kinds = {"u": "uint256", "i": "int64"}
    number = OPERATORS.index(operator)
    result = CALCULATOR.send(CALCULATOR_ADDRESS, f"f{number}{kind}({kinds[kind[0]]},{kinds[kind[1]]})", a, b)
    expected = in_python(operator, a, b)
    if number > 4:
        assert result.status is Status.SUCCESS, result.reason
        assert eth_decode(["bool"], result.output) == (expected,)
        return
    if kind == "ii":
        if operator == "//" and (a, b) == (-(2**63), -1):
            return  # Lua's own: it stays
        fits = expected is not None and -(2**63) <= expected < 2**63
    else:
        # Numbers below 0 are no numbers of 256 bits.
        fits = expected is not None and 0 <= expected < 2**256 and a >= 0 and b >= 0
    assert (result.status is Status.SUCCESS) == fits, (operator, a, b, result.reason)
    if fits:
        assert eth_decode(["int64" if kind == "ii" else "uint256"], result.output) == (expected,), (operator, a, b)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(OPERATORS), BIG, BIG, SMALL, SMALL, st.sampled_from(["uu", "iu", "ui", "ii"]))
def test_numbers_are_exact_or_revert(operator: str, x: int, y: int, i: int, j: int, kind: str) -> None:
    check(operator, kind, *{"uu": (x, y), "iu": (i, y), "ui": (x, j), "ii": (i, j)}[kind])


@pytest.mark.parametrize("operator", ["+", "-", "*", "<"])
def test_numbers_are_exact_at_the_edges(operator: str) -> None:
    for x, y in itertools.product(EDGES, repeat=2):
        check(operator, "uu", x, y)
    for i, j in itertools.product(SMALL_EDGES, repeat=2):
        check(operator, "ii", i, j)


@settings(max_examples=60, deadline=None)
@given(BIG, BIG, BIG, st.integers(0, 300))
def test_functions_of_numbers(a: int, b: int, c: int, n: int) -> None:
    chain, contract = CALCULATOR, CALCULATOR_ADDRESS
    assert chain.read(contract, "text(uint256)", a, returns="string") == str(a)
    assert chain.read(contract, "parse(string)", str(a)) == a
    assert chain.read(contract, "parse(string)", hex(a)) == a
    assert chain.read(contract, "bytes(uint256)", a) == a
    whole = chain.send(contract, "int(uint256)", a)
    assert (whole.status is Status.SUCCESS) == (a < 2**63)
    for result, expected in (
        (chain.send(contract, "muldiv(uint256,uint256,uint256)", a, b, c), a * b // c if c else 2**256),
        (chain.send(contract, "pow(uint256,uint256)", a, n), a**n),
    ):
        assert (result.status is Status.SUCCESS) == (expected < 2**256)
        if expected < 2**256:
            assert result.output == expected.to_bytes(32, "big")


@pytest.mark.parametrize("text", ["", "-1", "1.5", "0x", "x", "1" * 79, "0x" + "f" * 65, " 1", "1" * 81, str(2**256)])
def test_texts_that_are_no_numbers(text: str) -> None:
    assert failure(f'u256("{text}")').status is Status.FAILED
