"""Arguments as people type them on the command line."""

from typing import Any

import pytest

from client import Function, InvalidArgument
from client.arguments import calldata
from cluster.commands.values import print_values, typed
from ingest.accounts import development_accounts

SECOND = development_accounts(2)[1].address


@pytest.mark.parametrize(("kind", "text", "value"), [
    ("uint256", "12", 12), ("uint256", "0xff", 255), ("int8", "-12", -12), ("int16", "-0x10", -16),
    ("bool", "true", True), ("bool", "False", False), ("address", "dev:1", SECOND), ("address", SECOND.lower(), SECOND.lower()),
    ("bytes", "0x0102", "0x0102"), ("string", "12", "12"), ("string", "", ""), ("uint8[]", "[1, 2]", [1, 2]),
    ("uint256[]", '["0x10", 5]', [16, 5]), ("address[2]", '["dev:1","dev:1"]', [SECOND, SECOND]),
    ("(bool,string)", '[true, "x"]', [True, "x"]), ("(uint8,bytes)[]", '[[1,"0x02"]]', [[1, "0x02"]]),
    ("bool[]", '["true", false]', [True, False]), ("uint256[]", "[" + str(2**255) + "]", [2**255]),
])
def test_values(kind: str, text: str, value: Any) -> None:
    function = Function.parse(f"f({kind})")
    assert typed(function, [text]) == [value]
    assert calldata(function, typed(function, [text]))


@pytest.mark.parametrize(("kind", "text", "fault"), [
    ("uint256", "1.5", "'1.5' is no integer"), ("uint256", "", "'' is no integer"), ("uint256", "0x", "is no integer"),
    ("uint256", "1_000", "is no integer"), ("bool", "1", "'1' is no bool: true or false"),
    ("address", "dev:10", "dev:10: there are dev:0 to dev:9"), ("uint8[]", "1,2", "'1,2' is no JSON for uint8[]"),
    ("uint8[]", "5", "'5' is no list for uint8[]"), ("(uint8,bool)", "[1]", "1 items, (uint8,bool) has 2"),
    ("uint8[]", '[1, "x"]', "item 1: 'x' is no integer"),
])
def test_what_is_wrong_is_named(kind: str, text: str, fault: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        typed(Function.parse(f"f({kind} name)"), [text])
    assert str(caught.value).startswith("argument 1 (name) of f(")
    assert fault in str(caught.value)


@pytest.mark.parametrize("value", ["uint8[]", "bool", "address"])
def test_what_json_has_made_of_it_is_checked_too(value: str) -> None:
    function = Function.parse(f"f({value}[])")
    with pytest.raises(InvalidArgument, match="item 0"):
        calldata(function, typed(function, ["[1.5]"]))


def test_too_few() -> None:
    with pytest.raises(InvalidArgument, match=r"f\(uint8,bool\) takes 2 arguments, given are 1"):
        typed(Function.parse("f(uint8,bool)"), ["1"])


def test_results_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    print_values((1, b"\1", "x", [True, (SECOND,)]), several=True)
    print_values([1, 2], several=False)
    print_values(None, several=False)
    assert capsys.readouterr().out.splitlines() == ["1", "0x01", "x", f'[true, ["{SECOND}"]]', "[1, 2]"]
