"""Signatures as people and artifacts write them."""

import json
from pathlib import Path

import pytest
from eth_utils.abi import function_abi_to_4byte_selector

from client.functions import Function, Functions, InvalidSignature

ARTIFACTS = Path(__file__).parents[2] / "examples" / "contracts" / "artifacts"


@pytest.mark.parametrize(("text", "signature", "outputs"), [
    ("transfer(address,uint256)", "transfer(address,uint256)", None),
    ("transfer(address to, uint256 amount) returns (bool)", "transfer(address,uint256)", ("bool",)),
    ("function f(uint a, int b) external view returns (uint, string memory name)", "f(uint256,int256)",
     ("uint256", "string")),
    ("f()", "f()", None),
    ("f() returns ()", "f()", ()),
    ("  f ( uint8 [ ] [ 3 ] x , bytes calldata y ) ", "f(uint8[][3],bytes)", None),
    ("swap((address token, uint112 amount)[] legs, address payable to)", "swap((address,uint112)[],address)", None),
    ("f(tuple(bool, (bytes32,string)) t)", "f((bool,(bytes32,string)))", None),
    ("constructor(address,uint256) payable", "constructor(address,uint256)", None),
    ("$weird_1(function)", "$weird_1(function)", None),
])
def test_signatures_that_people_write(text: str, signature: str, outputs: tuple[str, ...] | None) -> None:
    found = Function.parse(text)
    assert (found.signature, found.outputs) == (signature, outputs)


def test_names_are_kept_for_messages() -> None:
    assert Function.parse("f(address to, uint256, bytes memory data)").names == ("to", "", "data")


@pytest.mark.parametrize(("text", "fault"), [
    ("", "it ends too early"),
    ("transfer", "'(' is missing"),
    ("transfer(address", "',' is missing"),
    ("transfer(address,)", "a name is expected, found ')'"),
    ("transfer(adress)", "'adress' is no type"),
    ("f(uint7)", "'uint7' is no type"),
    ("f(uint264)", "'uint264' is no type"),
    ("f(uint08)", "'uint08' is no type"),
    ("f(bytes33)", "'bytes33' is no type"),
    ("f(bytes0)", "'bytes0' is no type"),
    ("f(uint8[)", "']' is expected, found ')'"),
    ("f(uint8[x])", "']' is expected, found 'x'"),
    ("f(uint8 a b)", "unexpected 'b'"),
    ("f(uint8) return (bool)", "unexpected 'return'"),
    ("f(uint8) returns bool", "'(' is expected, found 'bool'"),
    ("f(uint8) returns (bool) returns (bool)", "unexpected 'returns'"),
    ("f(uint8) ; drop", "unexpected ';'"),
    ("5(uint8)", "a name is expected, found '5'"),
])
def test_signatures_that_are_wrong(text: str, fault: str) -> None:
    with pytest.raises(InvalidSignature) as caught:
        Function.parse(text)
    assert fault in str(caught.value)
    assert repr(text) in str(caught.value)


def test_selectors_are_those_of_another_library() -> None:
    entries = [
        each for name in ("Token", "Pool", "Store") for each in json.loads((ARTIFACTS / f"{name}.json").read_text())["abi"]
        if each["type"] == "function"]
    assert len(entries) > 30
    for entry in entries:
        assert Function.of_abi(entry).selector == function_abi_to_4byte_selector(entry)


def test_tuples_of_an_abi_are_written_out() -> None:
    found = Function.of_abi({
        "type": "function", "name": "f", "inputs": [{
            "name": "legs", "type": "tuple[2][]", "components": [
                {"name": "a", "type": "uint8"}, {"name": "b", "type": "tuple", "components": [{"type": "bool"}]}]}],
        "outputs": []})
    assert found == Function(name="f", inputs=("(uint8,(bool))[2][]",), names=("legs",), outputs=())


def test_a_constructor_has_no_selector() -> None:
    assert Function.parse("constructor(uint256)").selector == b""
    assert Functions(json.loads((ARTIFACTS / "Token.json").read_text())["abi"]).constructor == Function(
        name="constructor", inputs=("string", "string", "uint8", "uint256"),
        names=("name_", "symbol_", "decimals_", "supply"), outputs=())
    assert Functions(["f()"]).constructor is None


def test_functions_are_found_by_name_or_signature() -> None:
    known = Functions(["f(uint256) returns (bool)", "g()", "g(address)", {"type": "event", "name": "h", "inputs": []}])
    assert known.find("f").outputs == ("bool",)
    assert known.find("f(uint)").outputs == ("bool",), "what is known tells what a bare signature leaves out"
    assert known.find("f(uint256) returns (int8)").outputs == ("int8",)
    assert known.find("unknown(bool)").outputs is None
    with pytest.raises(InvalidSignature, match=r"several functions g: g\(\), g\(address\)"):
        known.find("g")
    with pytest.raises(InvalidSignature, match=r"no function h is known \(f, g\)"):
        known.find("h")
