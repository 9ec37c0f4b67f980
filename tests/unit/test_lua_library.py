"""What Lua contracts can use, and how they tell what went wrong."""

from typing import Any

import pytest
from coincurve import PrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from eth_abi.abi import decode as eth_decode
from eth_abi.abi import encode as eth_encode

from executors.lua.source import rewritten
from schemas.hashing import digest, keccak
from schemas.keys import entry_key
from tests.lua_chain import ALICE, NOBODY, Chain, body, evaluate, evm_caller, failure, hexed, payload


def test_message_and_block() -> None:
    chain = Chain()
    contract = chain.deploy("""return { ["f() payable returns (address,address,uint256,bytes,address,uint64,uint64,bytes32,bytes32,bytes32)"] =
      function() return msg.sender, msg.origin, msg.value, msg.data, this, block.number, block.timestamp, block.prevrandao,
        block.hash(999), block.hash(3) end }""")
    caller = chain.solidity(evm_caller(contract))
    result = chain.ok(caller, "f()")
    assert eth_decode(["address", "address", "uint256", "bytes", "address", "uint64", "uint64", "bytes32", "bytes32", "bytes32"], result.output) == (
        hexed(caller), hexed(ALICE), 0, payload("f()"), hexed(contract), 1000, 1_700_000_000, b"\5" * 32,
        (999).to_bytes(32, "big"), bytes(32))
    assert chain.ok(contract, "f()", value=9).output[64:96] == (9).to_bytes(32, "big")


def test_state() -> None:
    chain = Chain()
    contract = chain.deploy("""return {
      ["put()"] = function() state.put("a", "1\\0") state.put_uint("n", 256) state.add("n", u256("0x100")) state.put("gone", "") end,
      ["all() returns (bytes,uint256,bytes,uint256)"] = function()
        return state.get("a"), state.get_uint("n"), state.get("none"), state.get_uint("none") end,
      ["clear()"] = function() state.put_uint("n", 0) end,
      ["bad(uint8)"] = function(n)
        if n == 0 then state.put("", "x") elseif n == 1 then state.put(string.rep("k", 129), "x")
        elseif n == 2 then state.put("k", string.rep("v", 65537)) elseif n == 3 then state.put("a", string.rep("x", 33)) state.get_uint("a")
        elseif n == 4 then state.put_uint("n", -1) elseif n == 5 then state.put("n", 5) else state.put(5, "n") end end,
    }""")
    chain.ok(contract, "put()")
    assert chain.state[entry_key(contract, b"n")] == b"\2\0"
    assert chain.read(contract, "all()", returns="bytes,uint256,bytes,uint256") == (b"1\0", 512, b"", 0)
    chain.ok(contract, "clear()")
    assert chain.state[entry_key(contract, b"n")] == b""
    words = [
        "key of 0 bytes", "key of 129 bytes", "value of 65537 bytes, limit 65536", "is no number", "below 0",
        "where a string is expected", "where a string is expected"]
    for number, expected in enumerate(words):
        assert expected in chain.send(contract, "bad(uint8)", number).reason


def test_events() -> None:
    chain = Chain()
    contract = chain.deploy(body("""
      emit("A(uint8 indexed,string indexed,bytes32,uint256[])", 7, "name", string.rep("z", 32), {1, u256(2)})
      log({string.rep("t", 32)}, "data")
      emit("event B()")"""))
    first, second, third = chain.ok(contract, "f()").logs
    assert first.topics == (keccak(b"A(uint8,string,bytes32,uint256[])"), (7).to_bytes(32, "big"), keccak(b"name"))
    assert first.data == eth_encode(["bytes32", "uint256[]"], [b"z" * 32, [1, 2]])
    assert (second.topics, second.data) == ((b"t" * 32,), b"data")
    assert (third.topics, third.data) == ((keccak(b"B()"),), b"")


@pytest.mark.parametrize(("code", "words"), [
    ('emit("A(uint8)", 256)', "256 is out of the range of uint8"),
    ('emit("A(uint8)")', "0 values for A(uint8)"),
    ('emit("A(uint8[] indexed)", {})', "an array that is indexed"),
    ('emit("A(bool indexed,bool indexed,bool indexed,bool indexed)", true, true, true, true)', "4 inputs are indexed, limit 3"),
    ('emit("A(uint8) or so", 1)', "or isn't known here"),
    ('emit("A(bool)", print)', "the name print isn't defined"),
    ('emit("A(bool)", emit)', "a function can't leave the contract"),
    ('log({"x"}, "")', "a topic of 1 bytes"),
    ('log({"", "", "", "", ""}, "")', "5 topics, limit 4"),
    ('call("short", "f()")', "an address of 5 bytes"),
    ('balance("short")', "an address of 5 bytes"),
    ('verify("rsa", "", "", "")', "no signature scheme 'rsa'"),
    ("error('words')", "execution reverted: words"),
    ("revert()", "execution reverted: reverted"),
    ("revert(u256(12))", "execution reverted: 12"),
    ("require(1 < 0, 'words')", "execution reverted: words"),
    ("require(false)", "a requirement isn't met"),
    ("assert(nil)", "assertion failed"),
    ("\n\nlocal t = nil\nt.x = 5", "contract:5: attempt to index a nil value (local 't')"),
    ("\nundefined()", "contract:3: the name undefined isn't defined"),
    ("\nstring.rep({}, 2)", "contract:3: string.rep: a table where a string is expected"),
    ("local u = u256(1) u.x = 1", "a u256 can't be changed"),
    ("local t = {} t[u256(1)] = 1", "a u256 can't be a key"),
    ("local t = {} t[{}] = 1", "a table can't be a key"),
    ("return 1 // 0", "contract:2: attempt to divide by zero"),
    ("for i = 'a', 2 do end", "a string where an integer is expected"),
    ("for i = 1, '2' do end", "a string where an integer is expected"),
])  # fmt: skip
def test_errors_are_told_with_their_place(code: str, words: str) -> None:
    assert words in failure(code).reason


def test_custom_errors() -> None:
    assert failure('revert_with("Bad(uint256,string)", 5, "x")').output == payload("Bad(uint256,string)", 5, "x")
    assert failure('revert_raw("\\1\\2\\3\\4")').output == b"\1\2\3\4"
    assert failure('revert_raw("")').output == b""


def test_a_revert_leaves_the_rest_of_the_gas() -> None:
    assert failure("revert('x')").gas_used < 40_000
    assert failure("while true do end").gas_used == 5_000_000


def test_digests_and_signatures() -> None:
    message = keccak(b"m")
    key = PrivateKey(b"\7" * 32)
    edwards = Ed25519PrivateKey.from_private_bytes(b"\7" * 32)
    recoverable = key.sign_recoverable(message, hasher=None)
    address = keccak(key.public_key.format(compressed=False)[1:])[12:]
    chain = Chain()
    contract = chain.deploy("""return {
      ["digests(bytes) returns (bytes32,bytes32,bytes32)"] = function(x) return keccak256(x), sha256(x), blake2b256(x) end,
      ["check(string,bytes,bytes,bytes) returns (bool)"] = verify,
      ["who(bytes32,bytes) returns (address)"] = function(h, s) return recover(h, s) or string.rep("\\0", 20) end,
    }""")
    import hashlib
    assert chain.ok(contract, "digests(bytes)", b"abc").output == keccak(b"abc") + hashlib.sha256(b"abc").digest() + digest(b"abc")
    def check(*values: Any) -> Any:
        return chain.read(contract, "check(string,bytes,bytes,bytes)", *values, returns="bool")
    assert check("secp256k1", message, recoverable[:64], key.public_key.format())
    assert not check("secp256k1", keccak(b"n"), recoverable[:64], key.public_key.format())
    assert check("ed25519", b"any length", edwards.sign(b"any length"), edwards.public_key().public_bytes_raw())
    assert not check("ed25519", b"other", edwards.sign(b"any length"), edwards.public_key().public_bytes_raw())
    xonly = key.public_key.format()[1:]
    assert check("bip340", message, key.sign_schnorr(message), xonly)
    assert not check("bip340", keccak(b"n"), key.sign_schnorr(message), xonly)
    def who(signature: Any) -> Any:
        return chain.read(contract, "who(bytes32,bytes)", message, signature, returns="address")
    assert who(recoverable) == hexed(address)
    assert who(recoverable[:64] + bytes([27 + recoverable[64]])) == hexed(address)
    assert who(recoverable[:64]) == hexed(NOBODY)
    assert who(bytes(65)) == hexed(NOBODY)


def test_abi_functions() -> None:
    code = """
      local data = abi.encode("uint256,string,int8[]", 7, "x", {1, -2})
      local n, s, list = abi.decode("uint256,string,int8[]", data)
      return data, n + #list + list[1], s"""
    data, number, text = evaluate(code, "bytes,uint256,string")
    assert data == eth_encode(["uint256", "string", "int8[]"], [7, "x", [1, -2]])
    assert (number, text) == (10, "x")
    assert "a number out" in failure('abi.decode("uint64", string.rep("\\255", 32))').reason


@pytest.mark.parametrize(("code", "expected"), [
    ('return string.len("abc") .. #"abcd" .. ("x"):len()', "341"),
    ('return string.sub("hello", 2, -2) .. ("hello"):sub(-3) .. ("a"):sub(5)', "ellllo"),
    ('local a, b = string.byte("AB", 1, 2) return a .. "," .. b .. "," .. ("z"):byte()', "65,66,122"),
    ('return string.char(72, 105) .. ("ab"):rep(3) .. ("abc"):reverse()', "Hiabababcba"),
    ('return ("aZ-é"):upper() .. ("aZ-é"):lower()', "AZ-éaz-é"),
    ('local a, b = ("a.b.c"):find(".b") return a .. b .. tostring(("abc"):find("x")) .. ("aXa"):find("a", 2)', "23nil3"),
    ('return table.concat(("a,b,,c"):split(","), "|")', "a|b||c"),
    ('return string.format("%d|%5d|%-4s|%s|%x|%04X|%%|%s", 7, -3, "ab", u256(2), 255, 255, true)', "7|   -3|ab  |2|ff|00FF|%|true"),
    ('return hex("\\0\\255az") .. unhex("0x6869") .. unhex("")', "00ff617ahi"),
    ('local t = {} table.insert(t, "b") table.insert(t, 1, "a") table.insert(t, 3, "c") return table.concat(t)', "abc"),
    ('local t = {"a", "b", "c"} return table.remove(t, 1) .. table.remove(t) .. #t .. tostring(table.remove({}))', "ac1nil"),
    ('return table.concat({1, "x", u256(3)}, "-", 2, 3)', "x-3"),
    ("local a, b, c = table.unpack({1, 2, 3}, 2) return a .. b .. tostring(c)", "23nil"),
    ("local t = {3, 1, 2} table.sort(t) return table.concat(t)", "123"),
    ('local t = {"bb", "a", "ccc", "d"} table.sort(t, function(x, y) return #x > #y end) return table.concat(t, ",")', "ccc,bb,a,d"),
    ("local t = {u256(3), 2, u256(1)} table.sort(t) return table.concat(t)", "123"),
    ('local s = "" for k, v in pairs({b = 1, a = 2, 30, [5] = 4, [-1] = 5, [true] = 6}) do s = s .. tostring(k) .. v .. " " end return s', "-15 130 54 a2 b1 true6 "),
    ('local s = "" for i, v in ipairs({"x", "y", nil, "z"}) do s = s .. i .. v end return s', "1x2y"),
    ('local t, s = {a = 1, b = 2, c = 3}, "" for k in pairs(t) do s = s .. k t.b = nil t.z = 1 end return s', "ac"),
    ("return math.abs(-5) .. math.max(1, 7, 3) .. math.min(4, u256(2)) .. tostring(math.ult(1, -1))", "572true"),
    ('return tostring(math.tointeger(u256(5))) .. tostring(math.tointeger("5")) .. tostring(math.type(1)) .. tostring(math.type(u256(1)))', "5nilintegeru256"),
    ('return math.maxinteger .. "," .. math.mininteger', "9223372036854775807,-9223372036854775808"),
    ('return tostring(tonumber("12")) .. tostring(tonumber(" -7 ")) .. tostring(tonumber("0xff")) .. tostring(tonumber("1.5")) .. tostring(tonumber("9223372036854775808")) .. tostring(tonumber("0xffffffffffffffff"))', "12-7255nilnilnil"),
    ('return type(nil) .. type(1) .. type("") .. type({}) .. type(type) .. type(u256(1)) .. type(true)', "nilnumberstringtablefunctionu256boolean"),
    ("return tostring({}) .. tostring(type) .. tostring(nil)", "tablefunctionnil"),
    ("return 7 // 2 .. 7 % 4 .. -7 // 2 .. (1 << 4) .. (6 & 3) .. (6 | 1) .. (5 ~ 1) .. ~0 .. (256 >> 4)", "33-416274-116"),
    ('return tostring(1 == 1) .. tostring(1 ~= 2) .. tostring("a" < "b") .. tostring("a\\0b" <= "a\\0a") .. tostring(not (3 >= 4))', "truetruetruefalsetrue"),
    ('local function f(x) return {x}, x end local t = {f"s"} return t[1][1] .. t[2] .. #f{1, 2}[1]', "ss2"),
    ("local o = {n = 1} function o:inc(k) self.n = self.n + k return self end function o.get() return o.n end return o:inc(2):inc(3).n .. o.get()", "66"),
    ('local s = 0 for i = 10, 1, -3 do s = s + i end for i = u256(1), u256(2) do s = s + i end return s .. ""', "25"),
    ('local i = 0 repeat local j = i i = i + 1 if i == 3 then goto done end until j > 5 ::done:: return i .. ""', "3"),
    ("local x <const> = 4 local y return x .. tostring(y)", "4nil"),
    ("local long = [==[\n]] -- #{ ]==] --[[ x = 1 / 2 ]] return long .. #long", "]] -- #{ 9"),
    ('return ("x" .. 1 .. u256(2) .. -3):rep(1)', "x12-3"),
    ('if 2 > 1 and not (1 > 2) or false then return "yes" end return "no"', "yes"),
    ('local t = {[1] = "a", x = {y = {z = "deep"}}, f = function() return "called" end; "b"} return t[1] .. t.x["y"].z .. t.f()', "bdeepcalled"),
])  # fmt: skip
def test_the_language_and_its_library(code: str, expected: str) -> None:
    assert evaluate(code, "string") == expected


def test_the_numbers_of_lines_stay() -> None:
    source = 'local function\n\n  f\n(a) return {\n a } end\n--[[\n]] local s = "a\\\nb" .. [[\n]]\nfunction g.h:i() end -- #..'
    assert rewritten(source).count("\n") == source.count("\n")
    assert [at for at, line in enumerate(rewritten(source).split("\n")) if "(self)" in line] == [9]
