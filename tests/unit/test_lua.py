"""The Lua machine through the EVM engine: the examples, calls between machines, and the form of a contract."""

import re
from typing import Any

import pytest
from coincurve import PrivateKey
from eth_abi.abi import encode as eth_encode

from executors.lua import Lua, limits
from executors.machine import InvalidCode, Missing, Status
from schemas.hashing import keccak
from schemas.keys import balance_key, entry_key, integer
from tests.lua_chain import (
    ALICE,
    BOB,
    CAROL,
    NOBODY,
    Chain,
    body,
    evaluate,
    evm_caller,
    example,
    failure,
    hexed,
    lua_token,
    payload,
    solidity_token,
    static_caller,
)

# ---- the examples ------------------------------------------------------------------------------------------------------


def test_the_lua_token_answers_as_the_solidity_one() -> None:
    chain = Chain()
    tokens = lua_token(chain), solidity_token(chain)
    steps: list[tuple[bytes, str, tuple[Any, ...]]] = [
        (ALICE, "name()", ()), (ALICE, "symbol()", ()), (ALICE, "decimals()", ()), (ALICE, "owner()", ()),
        (ALICE, "transfer(address,uint256)", (BOB, 300)), (ALICE, "transfer(address,uint256)", (ALICE, 50)),
        (ALICE, "transfer(address,uint256)", (BOB, 701)), (ALICE, "transfer(address,uint256)", (NOBODY, 1)),
        (BOB, "approve(address,uint256)", (CAROL, 100)), (CAROL, "transferFrom(address,address,uint256)", (BOB, ALICE, 60)),
        (CAROL, "transferFrom(address,address,uint256)", (BOB, ALICE, 41)), (CAROL, "allowance(address,address)", (BOB, CAROL)),
        (BOB, "approve(address,uint256)", (CAROL, 2**256 - 1)), (CAROL, "transferFrom(address,address,uint256)", (BOB, ALICE, 1)),
        (CAROL, "allowance(address,address)", (BOB, CAROL)), (BOB, "mint(address,uint256)", (BOB, 1)),
        (ALICE, "mint(address,uint256)", (BOB, 7)), (BOB, "burn(uint256)", (3,)), (BOB, "burn(uint256)", (2**256 - 1,)),
        (ALICE, "totalSupply()", ()), (ALICE, "balanceOf(address)", (ALICE,)), (ALICE, "balanceOf(address)", (BOB,)),
        (BOB, "approve(address,uint256)", (NOBODY, 1)),
    ]
    for sender, signature, values in steps:
        lua, solidity = (chain.send(token, signature, *values, sender=sender) for token in tokens)
        assert (lua.status, lua.output, lua.reason) == (solidity.status, solidity.output, solidity.reason), signature
        assert [(log.topics, log.data) for log in lua.logs] == [(log.topics, log.data) for log in solidity.logs], signature


def test_minting_beyond_the_largest_number_reverts() -> None:
    chain = Chain()
    token = lua_token(chain, supply=2**256 - 1)
    assert "overflow" in chain.send(token, "mint(address,uint256)", BOB, 1).reason


def test_a_transfer_does_not_read_its_receiver() -> None:
    chain = Chain()
    token = lua_token(chain)
    chain.ok(token, "transfer(address,uint256)", BOB, 5)
    receiver = entry_key(token, b"balance" + BOB)
    assert chain.view.deltas == {receiver: 5}
    assert receiver not in chain.view.reads


def test_payments() -> None:
    chain = Chain()
    contract = chain.deploy(example("payments"))
    keys = [PrivateKey(bytes([n]) * 32) for n in (1, 2)]
    publics = [key.public_key.format() for key in keys]
    names = [keccak(public) for public in publics]
    opened = chain.ok(contract, "open(bytes,uint256)", publics[0], 100)
    assert opened.output == names[0]
    assert chain.send(contract, "open(bytes,uint256)", publics[0], 0).reason.endswith("open already")
    assert chain.send(contract, "open(bytes,uint256)", publics[1], 1, sender=BOB).reason.endswith("only the bank gives")
    chain.ok(contract, "open(bytes,uint256)", publics[1], 0, sender=BOB)
    chain.ok(contract, "pay(bytes32,bytes32,uint256)", *names, 10)
    assert chain.send(contract, "pay(bytes32,bytes32,uint256)", *names, 10, sender=BOB).reason.endswith("not the holder")
    signed = chain.ok(contract, "hash(bytes32,bytes32,uint256,uint64)", *names, 25, 0).output
    assert signed == keccak(eth_encode(["address", "bytes32", "bytes32", "uint256", "uint64"], [hexed(contract), *names, 25, 0]))
    signature = keys[0].sign_recoverable(signed, hasher=None)[:64]
    pay_signed = "paySigned(bytes32,bytes32,uint256,bytes)"
    assert "isn't the payer's" in chain.send(contract, pay_signed, *names, 26, signature, sender=CAROL).reason
    result = chain.ok(contract, pay_signed, *names, 25, signature, sender=CAROL)
    assert result.logs[0].topics[1:] == (names[0], names[1])
    assert "isn't the payer's" in chain.send(contract, pay_signed, *names, 25, signature, sender=CAROL).reason
    assert [chain.read(contract, "balanceOf(bytes32)", name) for name in names] == [65, 35]
    assert chain.read(contract, "number(bytes32)", names[0]) == 1
    assert chain.send(contract, "pay(bytes32,bytes32,uint256)", names[0], bytes(32), 1).reason.endswith("no such account")


@pytest.mark.parametrize("make", [lua_token, solidity_token])
def test_an_escrow_in_lua_moves_tokens_of_either_machine(make: Any) -> None:
    chain = Chain()
    token, escrow = make(chain), chain.deploy(example("escrow"))
    def balances() -> Any:
        return [chain.read(token, "balanceOf(address)", who) for who in (ALICE, BOB, escrow)]
    deposit = "deposit(address,uint256,address,address)"
    assert chain.send(escrow, deposit, token, 40, BOB, CAROL).reason == "execution reverted: Token: insufficient allowance"
    assert balances() == [1_000, 0, 0]
    chain.ok(token, "approve(address,uint256)", escrow, 100)
    assert chain.read(escrow, deposit, token, 40, BOB, CAROL) == 1
    assert chain.read(escrow, deposit, token, 60, BOB, CAROL) == 2
    assert balances() == [900, 0, 100]
    assert chain.read(escrow, "held(address)", token) == 100
    assert chain.send(escrow, "release(uint256)", 1, sender=BOB).reason.endswith("not yours to decide")
    released = chain.ok(escrow, "release(uint256)", 1)
    assert [log.address for log in released.logs] == [token, escrow]
    assert chain.send(escrow, "release(uint256)", 1).reason.endswith("no open deal")
    chain.ok(escrow, "refund(uint256)", 2, sender=CAROL)
    assert balances() == [960, 40, 0]
    assert [chain.read(escrow, "status(uint256)", deal) for deal in (1, 2, 3)] == [2, 3, 0]


# ---- between machines --------------------------------------------------------------------------------------------------

FORWARD = """
local function both(token, to, amount)
  state.put("last", to)
  call(token, "transfer(address,uint256) returns (bool)", to, amount)
end
return {
  ["pay(address,address,uint256)"] = both,
  ["payThenFail(address,address,uint256)"] = function(token, to, amount) both(token, to, amount) revert("no") end,
  ["tryPay(address,address,uint256) returns (bool,bytes,string)"] = function(token, to, amount)
    local ok, data, message = try_call(token, "transfer(address,uint256) returns (bool)", to, amount)
    if ok then return data, "", "" end
    return ok, data, message
  end,
  ["tryOwn(address,address,uint256) returns (string)"] = function(token, to, amount)
    local ok, _, message = try_call(this, "payThenFail(address,address,uint256)", token, to, amount)
    return message
  end,
  ["last() view returns (bytes)"] = function() return state.get("last") end,
}
"""


def test_evm_to_lua_to_evm_and_one_revert_undoes_all() -> None:
    chain = Chain()
    token, forward = solidity_token(chain), chain.deploy(FORWARD)
    caller = chain.solidity(evm_caller(forward))
    chain.ok(token, "transfer(address,uint256)", forward, 100)
    result = chain.ok(caller, "pay(address,address,uint256)", token, BOB, 30)
    assert result.logs[0].address == token
    assert chain.read(token, "balanceOf(address)", BOB) == 30
    assert chain.read(caller, "last()", returns="bytes") == BOB
    failed = chain.send(caller, "payThenFail(address,address,uint256)", token, CAROL, 30)
    assert (failed.status, failed.reason) == (Status.FAILED, "execution reverted: no")
    assert failed.logs == ()
    assert chain.read(token, "balanceOf(address)", CAROL) == 0
    assert chain.read(forward, "last()", returns="bytes") == BOB


def test_a_failed_call_that_is_caught_undoes_what_it_did_alone() -> None:
    chain = Chain()
    token, forward = solidity_token(chain), chain.deploy(FORWARD)
    chain.ok(token, "transfer(address,uint256)", forward, 100)
    try_pay = "tryPay(address,address,uint256)"
    ok, data, message = chain.read(forward, try_pay, token, BOB, 101, returns="bool,bytes,string")
    assert (ok, message) == (False, "Token: insufficient balance")
    assert data[:4] == bytes.fromhex("08c379a0")
    assert chain.read(forward, try_pay, token, BOB, 1, returns="bool,bytes,string") == (True, b"", "")
    assert chain.read(forward, "tryOwn(address,address,uint256)", token, CAROL, 5, returns="string") == "no"
    assert chain.read(token, "balanceOf(address)", CAROL) == 0
    assert chain.read(forward, "last()", returns="bytes") == b""


def test_a_call_that_fails_ends_its_caller_with_its_data() -> None:
    chain = Chain()
    token = solidity_token(chain)
    contract = chain.deploy(body('call(a, "mint(address,uint256)", a, 1)', signature="f(address)"))
    result = chain.send(contract, "f(address)", token)
    assert result.output == keccak(b"NotOwner(address)")[:4] + contract.rjust(32, b"\0")


def test_a_call_without_a_reason_gets_one() -> None:
    chain = Chain()
    endless = chain.deploy(body("while true do end"))
    contract = chain.deploy(body('call(a, {"f()", gas = 50000})', signature="f(address)"))
    assert "failed without a reason" in chain.send(contract, "f(address)", endless).reason


def test_calls_nest_as_deep_as_the_host_allows() -> None:
    chain = Chain()
    contract = chain.deploy(body(
        'if a == 0 then return 0 end return call(this, "f(uint8) returns (uint8)", a - 1) + 1', signature="f(uint8) returns (uint8)"))
    assert chain.read(contract, "f(uint8)", 31, returns="uint8") == 31
    assert chain.send(contract, "f(uint8)", 32, gas_limit=30_000_000).status is Status.FAILED


def test_value_gas_and_raw_calls() -> None:
    chain = Chain()
    contract = chain.deploy("""return {
      ["receive() payable"] = function() state.add("got", msg.value) end,
      ["deposit(uint8 n) payable returns (uint256)"] = function(n) return msg.value * n end,
      ["fallback() payable"] = function(data) return data .. "!" end,
      ["send(address)"] = function(to) send(to, 7) end,
      ["through() returns (uint256,uint256)"] = function()
        return call(this, {"deposit(uint8) payable returns (uint256)", value = 5}, 3), balance(this)
      end,
      ["raw() returns (bytes,bool,bytes,bool,bytes)"] = function()
        local a = call_raw(this, "abcd", {value = 1})
        local ok, out = try_call_raw(this, "x")
        return a, ok, out, try_call_raw(this, "y", {gas = 10})
      end,
      ["got() view returns (uint256)"] = function() return state.get_uint("got") end,
    }""")
    chain.run(to=contract, value=100)
    assert chain.read(contract, "got()") == 100
    before = integer(chain.state[balance_key(BOB)])
    chain.ok(contract, "send(address)", BOB)
    assert integer(chain.state[balance_key(BOB)]) == before + 7
    assert chain.read(contract, "through()", returns="uint256,uint256") == (15, 93)
    assert chain.read(contract, "raw()", returns="bytes,bool,bytes,bool,bytes") == (b"abcd!", True, b"x!", False, b"")
    assert chain.run(to=contract, data=b"\1\2\3\4rest", value=3).output == b"\1\2\3\4rest!"
    assert "takes no wei" in chain.send(contract, "got()", value=1).reason
    assert chain.send(contract, "send(address)", BOB, value=0, sender=BOB).status is Status.SUCCESS


def test_a_payment_beyond_the_balance_fails_the_call() -> None:
    assert "not enough funds" in failure(f'send("{"a" * 20}", 1)').reason


def test_what_is_missing_comes_out_of_the_run_as_it_is() -> None:
    chain = Chain()
    token = solidity_token(chain)
    contract = chain.deploy(
        'return { ["f(address)"] = function(token) state.put("k", "1") '
        'local ok = try_call(token, "transfer(address,uint256)", token, 0) emit("E()") end }')
    chain.ok(contract, "f(address)", token)
    slots = frozenset(key for key in chain.view.reads if key.startswith(b"s" + token))
    for missing in (slots, frozenset({entry_key(contract, b"k")})):
        with pytest.raises(Missing) as caught:
            chain.send(contract, "f(address)", token, missing=missing)
        assert caught.value.keys <= missing
        assert chain.view.writes == {}


# ---- the form of a contract --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("source", "words"), [
    (b"\x1bLua", "bytecode"),
    (b"return {\n\xff}", "line 2: byte 9 isn't UTF-8"),
    (b"return {}" + b" " * limits.SOURCE_BYTES_MAX, "limit 32768"),
    (b"return {", "line 1: "),
    (b"return 5", "returns a number instead of a table"),
    (b"return nil", "returns a nil instead of a table"),
    (b"return { 1 }", "a key that is no string"),
    (b'return { ["f()"] = 5 }', "isn't a function but a number"),
    (b'return { ["f(uint7)"] = function() end }', "'uint7' isn't one of the types"),
    (b'return { ["f(uint8"] = function() end }', "a name is missing"),
    (b'return { ["f() often"] = function() end }', "often isn't known here"),
    (b'return { ["f(uint)"] = function() end, ["f(uint256)"] = function() end }', "same selector"),
    (b'return { constructor = function() end, ["constructor()"] = function() end }', "two functions constructor"),
    (b"return { receive = function() end }", "receive() payable"),
    (b'return { ["fallback() view"] = function() end }', "is no view"),
    (b"x = 1.5 return {}", "line 1: 1.5 is no integer"),
    (b"\n\nx = 1e3 return {}", "line 3: 1e3 is no integer"),
    (b"x = 0x1p4 return {}", "0x1p4 is no integer"),
    (b"x = 9223372036854775808 return {}", "above 2**63 - 1"),
    (b"x = " + b"9" * 20000 + b" return {}", "above 2**63 - 1"),
    (b"x = 0x" + b"90" * 10000 + b" return {}", "above 2**63 - 1"),
    (b'while true do u256("1") end return {}', "out of gas"),
    (b'return { b = 1, ["a()"] = function() end, a = {}, c = 2 }', "'a' isn't a function but a table"),
    (b"x = 1 / 2 return {}", "use '//'"),
    (b"x = 2 ^ 2 return {}", "'^' gives floats"),
    (b"local function f(...) end return {}", "variable number of arguments"),
    (b"local x <close> = nil return {}", "the attribute <close>"),
    (b"x = _ENV return {}", "the name _ENV is reserved"),
    (b"x = __add return {}", "the name __add is reserved"),
    (b"local function __f() end return {}", "the name __f is reserved"),
    (b"x = 1 < 2 == true return {}", "comparison of a comparison"),
    (b"x = 1 | 2 == 3 return {}", "'|' beside a comparison"),
    (b"while true do end return {}", "out of gas"),
    (b'local s = "x" while true do s = s .. s end return {}', "string limit"),
    (b"state.get('x') return {}", "line 1: the host can't be asked"),
    (b"x = os return {}", "the name os isn't defined"),
    (b"\nx = nil + 1 return {}", "line 2: attempt to perform arithmetic on a nil value"),
    (b"return " + b"{" * 250 + b"}" * 250, "too deeply nested"),
])  # fmt: skip
def test_what_cannot_be_deployed(source: bytes, words: str) -> None:
    with pytest.raises(InvalidCode, match=".") as caught:
        Lua().compile(source)
    assert words in str(caught.value)
    assert not re.search(r"/\w|0x[0-9a-f]*[a-f][0-9a-f]{4}|traceback", str(caught.value))
    assert "sandbox" not in str(caught.value)


def test_a_deployment_that_fails_says_where() -> None:
    result = Chain().try_deploy(b"return {\n x = 1 / 2 }")
    assert (result.status, result.contract) == (Status.FAILED, None)
    assert result.reason == "execution reverted: invalid lua code: line 2: division '/' gives floats; use '//'"


def test_what_is_stored_is_the_source() -> None:
    assert Lua().compile(example("token")) == example("token")


def test_a_contract_without_constructor_takes_nothing() -> None:
    chain = Chain()
    assert chain.try_deploy("return {}").status is Status.SUCCESS
    assert "no constructor" in chain.try_deploy("return {}", b"\0").reason
    assert "no constructor" in chain.try_deploy("return {}", value=1).reason


def test_a_constructor_that_reverts_leaves_no_contract() -> None:
    result = Chain().try_deploy('return { constructor = function() state.put("a", "b") revert("not today") end }')
    assert (result.contract, result.reason) == (None, "execution reverted: not today")


@pytest.mark.parametrize(("data", "words"), [
    (b"\1\2\3\4", "no function has the selector 0x01020304"),
    (b"\1", "no function has the selector 0x01"),
    (b"", "receive: there is none"),
    (keccak(b"f(bool,address)")[:4], "arguments of f(bool,address): 0 bytes are too short"),
    (keccak(b"f(bool,address)")[:4] + (2).to_bytes(32, "big") + bytes(32), "2 is no bool"),
    (keccak(b"f(bool,address)")[:4] + bytes(32) + b"\1" * 32, "an address of more than 20 bytes"),
])  # fmt: skip
def test_calldata_that_fits_nothing(data: bytes, words: str) -> None:
    chain = Chain()
    result = chain.run(to=chain.deploy(body("", signature="f(bool,address)")), data=data)
    assert result.status is Status.FAILED
    assert words in result.reason


@pytest.mark.parametrize("code", ["", "return 1, 2", "return nil", 'return "x"', "return {}", "return -1", "return 256", "return true"])
def test_results_have_to_fit_their_types(code: str) -> None:
    chain = Chain()
    result = chain.send(chain.deploy(body(code, signature="f() returns (uint8)")), "f()")
    assert "result of f()" in result.reason


def test_every_type_comes_in_and_goes_out() -> None:
    types = "address,bool,uint8,uint64,uint256,int8,int64,int256,bytes4,bytes32,bytes,string,uint256[],bytes[],int16[2][],string[2]"
    values = (
        "0x" + "ab" * 20, True, 255, 2**64 - 1, 2**256 - 1, -128, -2**63, -5, b"abcd", b"x" * 32, b"\0" * 33, "héllo",
        (0, 2**200), (b"", b"long" * 20), ((1, -2), (3, 4)), ("a", "b" * 40))
    names = ",".join(f"p{n}" for n in range(len(values)))
    chain = Chain()
    contract = chain.deploy(f'return {{ ["f({types}) returns ({types})"] = function({names}) return {names} end }}')
    listed = types.split(",")
    result = chain.run(to=contract, data=keccak(f"f({types})".encode())[:4] + eth_encode(listed, values))
    assert result.status is Status.SUCCESS, result.reason
    assert result.output == eth_encode(listed, values)


def test_types_of_values_depend_on_the_declared_types_alone() -> None:
    code = "return type(a) .. type(b) .. type(c)"
    assert evaluate(code, "string", parameters="uint56,uint64,int256", values=(1, 1, 1)) == "numberu256number"


def test_a_view_changes_nothing() -> None:
    for code in ('state.put("a", "b")', 'state.add("a", 1)', 'emit("E()")', 'log({}, "")', "send(this, 1)"):
        chain = Chain()
        result = chain.send(chain.deploy(body(code, signature="f() view")), "f()")
        assert result.status is Status.FAILED
        assert "view" in result.reason
    chain = Chain()
    contract = chain.deploy(body('call(this, "g()")', signature="f() view"))
    assert "isn't declared as a view" in chain.send(contract, "f()").reason


def test_what_a_view_calls_is_held_to_it() -> None:
    """That the caller takes a function for a view doesn't make it one."""
    chain = Chain()
    writes = chain.deploy(body('state.put("a", "b")', signature="g()"))
    asks = body(f'call(unhex("{writes.hex()}"), "g() view")', signature="f() view")
    assert chain.send(chain.deploy(asks), "f()").status is Status.FAILED
    may = body(f'call(unhex("{writes.hex()}"), "g()")', signature="f()")
    assert chain.send(chain.deploy(may), "f()").status is Status.SUCCESS


def test_nothing_is_written_below_a_static_call() -> None:
    chain = Chain()
    contract = chain.deploy(body('state.put("a", "b")'))
    caller = chain.solidity(static_caller(contract))
    assert chain.run(to=caller, data=payload("f()")).output == bytes(32)
