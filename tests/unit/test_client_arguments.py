"""Arguments and results against the encoder itself, and what is refused."""

from typing import Any

import pytest
from eth_abi.abi import encode
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from client.addresses import InvalidAddress, address_of, checksummed
from client.arguments import InvalidArgument, Undecodable, calldata, parts, result
from client.functions import Function

ADDRESS = bytes(range(20))
TEXT = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"


class HasAddress:
    address = TEXT


def test_calldata_is_what_the_encoder_gives() -> None:
    function = Function.parse("f(address,uint8[],(bool,string)[2],bytes,bytes4,int16)")
    given_ = [TEXT, (1, 2), [[True, "é"], (False, "")], "0x0102", b"abcd", -5]
    assert calldata(function, given_) == function.selector + encode(
        function.inputs, [TEXT, [1, 2], [(True, "é"), (False, "")], b"\1\2", b"abcd", -5])
    assert calldata(Function.parse("f()"), []) == Function.parse("f()").selector
    assert calldata(Function.parse("constructor(uint8)"), [7]) == (7).to_bytes(32, "big")


@pytest.mark.parametrize(("signature", "value", "fault"), [
    ("f(uint8 x)", 256, "argument 1 (x) of f(uint8): 256 doesn't fit uint8, which goes from 0 to 255"),
    ("f(int8)", -129, "argument 1 of f(int8): -129 doesn't fit int8, which goes from -128 to 127"),
    ("f(uint256)", "5", "'5' is no integer"),
    ("f(uint256)", True, "True is no integer"),
    ("f(bool)", 1, "1 is no bool"),
    ("f(string)", b"x", "b'x' is no string"),
    ("f(bytes)", "12", "'12' is no bytes: bytes, or 0x and hexadecimal digits"),
    ("f(bytes)", "0xzz", "'0xzz' is no bytes"),
    ("f(bytes4)", b"abc", "3 bytes, bytes4 has 4"),
    ("f(address)", "0x12", "'0x12' is no address"),
    ("f(address)", ADDRESS[:19], "an address has 20 bytes, found 19"),
    ("f(address)", TEXT.replace("aAeb", "aaeb"), "has a wrong checksum"),
    ("f(address)", None, "'None' is no address"),
    ("f(uint8[])", 5, "5 is no list for uint8[]"),
    ("f(uint8[2])", [1], "1 items, uint8[2] has 2"),
    ("f(uint8[2][])", [[1, 2], [3, 400]], "argument 1 of f(uint8[2][]), item 1, item 1: 400 doesn't fit"),
    ("f((uint8,bool)[])", [(1, "x")], "item 0, item 1: 'x' is no bool"),
    ("f((uint8,bool))", (1,), "1 items, (uint8,bool) has 2"),
])
def test_what_does_not_fit_is_named(signature: str, value: Any, fault: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        calldata(Function.parse(signature), [value])
    assert fault in str(caught.value)
    assert str(caught.value).startswith("argument 1")


@pytest.mark.parametrize(("arguments", "fault"), [
    ([], "f(uint8) takes 1 argument, given are 0"), ([1, 2], "f(uint8) takes 1 argument, given are 2")])
def test_arguments_are_counted(arguments: list[int], fault: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        calldata(Function.parse("f(uint8)"), arguments)
    assert str(caught.value) == fault


def test_results() -> None:
    def returned(outputs: str, *values: Any) -> Any:
        function = Function.parse(f"f() returns ({outputs})")
        return result(function, encode(function.outputs or (), values))

    assert returned("") is None
    assert returned("uint256", 7) == 7
    assert returned("uint8,string", 1, "x") == (1, "x")
    assert returned("address", TEXT) == TEXT
    assert returned("(address,bool)[],bytes", [(TEXT, True)], b"x") == ([(TEXT, True)], b"x")
    assert result(Function.parse("f()"), b"as it is") == b"as it is"
    with pytest.raises(Undecodable, match=r"f\(\) returned 3 bytes that aren't \(uint256\)"):
        result(Function.parse("f() returns (uint256)"), b"abc")
    with pytest.raises(Undecodable):
        result(Function.parse("f() returns (string)"), encode(["bytes"], [b"\xff\xfe"]))


# The first text that hypothesis ever draws has it make a table of all characters.
@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(["uint256", "int64", "bool", "bytes", "string", "bytes3", "uint8[]", "(uint8,bool)"]), st.data())
def test_what_goes_in_comes_out(kind: str, data: st.DataObject) -> None:
    values: dict[str, st.SearchStrategy[Any]] = {
        "uint256": st.integers(0, 2**256 - 1), "int64": st.integers(-2**63, 2**63 - 1), "bool": st.booleans(),
        "bytes": st.binary(), "string": st.text(st.characters(codec="utf-8")), "bytes3": st.binary(min_size=3, max_size=3),
        "uint8[]": st.lists(st.integers(0, 255)), "(uint8,bool)": st.tuples(st.integers(0, 255), st.booleans())}
    value = data.draw(values[kind])
    function = Function.parse(f"f({kind} x) returns ({kind})")
    assert result(function, calldata(function, [value])[4:]) == value


def test_parts_of_a_tuple() -> None:
    assert parts("(uint8,(bool,(string,bytes)[2]),address[])") == ["uint8", "(bool,(string,bytes)[2])", "address[]"]
    assert parts("()") == []


def test_addresses() -> None:
    assert address_of(ADDRESS) == ADDRESS
    assert address_of(TEXT) == address_of(TEXT.lower()) == address_of(HasAddress()) == bytes.fromhex(TEXT[2:])
    assert address_of("0x" + TEXT[2:].upper()) == address_of(TEXT)
    # The examples of EIP-55.
    for text in (TEXT, "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359", "0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB"):
        assert checksummed(bytes.fromhex(text[2:])) == text
    for wrong in ("5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed", TEXT + "00", 7, ""):
        with pytest.raises(InvalidAddress):
            address_of(wrong)  # type: ignore[arg-type]
