"""Signatures and the codec of Lua contracts."""

from typing import Any

import pytest
from eth_abi.abi import decode as eth_decode
from eth_abi.abi import encode as eth_encode
from hypothesis import given, settings
from hypothesis import strategies as st

from executors.lua import limits
from executors.lua.abi import BadValue, decode, encode, nested
from executors.lua.signature import BadSignature, signature_of, types_of

ELEMENTS = st.sampled_from(["address", "bool", "uint8", "uint56", "uint64", "uint128", "uint256", "int8", "int64", "bytes1", "bytes32", "bytes", "string"])
TYPES = st.lists(st.tuples(ELEMENTS, st.sampled_from(["", "[]", "[2]", "[][]", "[2][]", "[][2]"])).map("".join), min_size=0, max_size=4)


def value_of(data: st.DataObject, name: str) -> Any:
    if name.endswith("]"):
        inner, length = name[:-1].rsplit("[", 1)
        count = int(length) if length else data.draw(st.integers(0, 3))
        return tuple(value_of(data, inner) for _ in range(count))
    if name == "address":
        return "0x" + data.draw(st.binary(min_size=20, max_size=20)).hex()
    if name == "bool":
        return data.draw(st.booleans())
    if name == "string":
        return data.draw(st.text(max_size=40))
    if name == "bytes":
        return data.draw(st.binary(max_size=70))
    if name.startswith("bytes"):
        return data.draw(st.binary(min_size=int(name[5:]), max_size=int(name[5:])))
    bits = int(name.lstrip("uint"))
    return data.draw(st.integers(0, 2**bits - 1) if name[0] == "u" else st.integers(-2 ** (bits - 1), 2 ** (bits - 1) - 1))


@settings(max_examples=100, deadline=None)
@given(TYPES, st.data())
def test_the_codec_agrees_with_another_library(names: list[str], data: st.DataObject) -> None:
    values = [value_of(data, name) for name in names]
    types = types_of(",".join(names))
    expected = eth_encode(names, values)
    tags, flat = decode(types, expected)
    assert encode(types, nested(tags, flat)) == expected
    assert eth_decode(names, encode(types, nested(tags, flat))) == tuple(values)


@settings(max_examples=200, deadline=None)
@given(TYPES.filter(bool), st.binary(max_size=400))
def test_any_input_is_decoded_or_refused(names: list[str], noise: bytes) -> None:
    types = types_of(",".join(names))
    try:
        tags, flat = decode(types, noise)
    except BadValue:
        return
    assert nested(tags, flat) is not None
    assert sum(len(value) for value in flat if isinstance(value, bytes)) <= 32 * limits.VALUES_MAX + len(noise)


def test_parts_that_overlap_are_refused() -> None:
    # 100 items that are all the same array of 100 items that are all the same text.
    def word(n: Any) -> Any:
        return n.to_bytes(32, "big")
    inner = word(100) + word(3200) * 100 + word(4) + b"text".ljust(32, b"\0")
    bomb = word(32) + word(100) + word(3200) * 100 + inner
    with pytest.raises(BadValue, match="overlap"):
        decode(types_of("string[][]"), bomb)


@pytest.mark.parametrize("text", ["", "f", "f(", "f)", "f()x", "f(uint)(", "f(uint8 a b)", "f(uint256[0])", "f(uint256[][][][][])", "f(bytes33)", "f(int12)", "1f()", "f()\nreturns" , "f(é)", "f(" + "uint8," * 300 + "uint8)"])
def test_what_is_no_signature(text: str) -> None:
    with pytest.raises(BadSignature):
        signature_of(text)


def test_signatures_as_others_write_them() -> None:
    for text in ("transfer(address to, uint amount) returns (bool)", "function transfer(address,uint256) external returns (bool ok)"):
        assert signature_of(text).selector == bytes.fromhex("a9059cbb")
    assert signature_of("f(bytes memory x, address payable y) public payable").canonical == "f(bytes,address)"
