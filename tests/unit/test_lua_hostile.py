"""Contracts that try to get out, to hang, to eat the memory, or to give one result here and another there.

Each ends as a failed receipt that names what stopped it, and the engine goes on with the next transaction.
"""

import gc
import resource
import time
from typing import Any

import pytest

from executors.lua import Lua, limits, machine
from executors.lua.sandbox import Sandbox
from executors.machine import InvalidCode, LimitExceeded, Missing, OutOfGas, Reverted, Status
from schemas.errors import InvariantViolation
from tests.lua_chain import ALICE, BOB, Chain, body, evaluate, failure, lua_token, payload

GAS = 30_000_000
"""The most that a transaction may have."""


def hostile(code: str, *, extra: str = "") -> str:
    """Run a hostile contract; why it failed. A good one runs before and after it."""
    chain = Chain()
    token = lua_token(chain)
    contract = chain.deploy(body(code, extra=extra))
    result = chain.send(contract, "f()", gas_limit=GAS)
    assert result.status is Status.FAILED, result.output
    assert chain.ok(token, "transfer(address,uint256)", BOB, 1).status is Status.SUCCESS
    return result.reason


# ---- time --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [
    "while true do end",
    "repeat until false",
    "::again:: goto again",
    "for i = 1, math.maxinteger do end",
    "local function f() return f() end f()",
    "local x = 1 while true do x = x ~ 1 end",
    "table.sort({3, 2, 1}, function() while true do end end)",
    "table.sort({3, 2, 1}, function() return true end) while true do table.sort({3, 2, 1}, function() return true end) end",
    "while true do local ok = type({1}) == 'x' end",
])  # fmt: skip
def test_what_never_ends_runs_out_of_gas_or_memory(code: str) -> None:
    assert hostile(code) in ("out of gas", f"memory limit: a message may allocate {limits.MEMORY_BYTES_MAX} bytes")


# What is cheap to say and dear to do: each has to be charged for what it does, so that a second of it costs much.
DEAR = {
    "strings of zero bytes compared": 'local a = ("\\0"):rep(60000) local b = a .. "b" a = a .. "a" while true do local x = a < b end',
    "long equal strings compared": 'local a = ("x"):rep(60000) .. "y" local b = ("x"):rep(60000) .. "y" while true do local x = a == b end',
    "long strings as keys": 'local t, a, b = {}, ("x"):rep(60000) .. "y", ("x"):rep(60000) .. "y" t[a] = 1 while true do local x = t[b] end',
    "searches": 'local a, b = ("a"):rep(60000), ("a"):rep(30000) .. "b" while true do a:find(b) end',
    "splits": 'local a = ("a"):rep(60000) while true do a:split("b") end',
    "upper": 'local a = ("a"):rep(60000) while true do a:upper() end',
    "reverse": 'local a = ("a"):rep(60000) while true do a:reverse() end',
    "hex": 'local a = ("a"):rep(60000) while true do hex(a) end',
    "unhex": 'local a = ("a"):rep(60000) while true do unhex(a) end',
    "empty rep": 'while true do (""):rep(1 << 60) end',
    "negative rep": 'while true do ("x"):rep(-(1 << 60)) end',
    "format": 'local a = ("a"):rep(60000) while true do string.format("%s", a) end',
    "format without values": 'local a = ("%%"):rep(30000) while true do string.format(a) end',
    "tables that move at each insertion":
        'local t = {} for i = 1, 4096 do t["k" .. i] = 1 end local n = 0 while true do n = n + 1 t["x" .. n] = 1 t["x" .. n] = nil end',
    "tables of integers that move at each insertion":
        "local t = {} for i = 1, 4095 do t[i * 7] = 1 end local n = 1 << 20 while true do n = n + 1 t[n] = 1 t[n] = nil end",
    "pairs over room that is free": "local t = {} for i = 1, 10000 do t[i] = i end for i = 1, 10000 do t[i] = nil end while true do pairs(t) end",
    "closures over many": "local " + ",".join(f"v{n}" for n in range(150)) + " while true do local f = function() return "
        + ",".join(f"v{n}" for n in range(150)) + " end end",
    "fresh variables": "while true do local " + ",".join(f"v{n}" for n in range(120)) + " local f = function() return "
        + ",".join(f"v{n}" for n in range(120)) + " end end",
    "long constructors": "while true do local t = {" + "nil," * 200 + "} end",
    "unpack": "local t = {} for i = 1, 200 do t[i] = i end while true do table.unpack(t) end",
    "insertions at the front": "local t = {} while true do table.insert(t, 1, 1) end",
    "sorting": "local t = {} for i = 1, 3000 do t[i] = -i end while true do table.sort(t) end",
    "lengths": "local t = {} for i = 1, 3000 do t[i] = i end while true do local n = #t end",
    "powers": "local x = u256(3) while true do local y = x:pow(161) end",
    "quotients": 'local x = u256("0x" .. ("ff"):rep(32)) while true do local y = x // 3 end',
    "numbers as text": 'local x = u256("0x" .. ("ff"):rep(32)) while true do tostring(x) end',
    "encoding": 'local t = {} for i = 1, 1000 do t[i] = i end while true do abi.encode("uint256[]", t) end',
    "decoding": 'local d = ("\\0"):rep(31) .. " " .. ("\\0"):rep(30) .. "\\3\\232" .. ("\\0"):rep(32000) while true do abi.decode("uint256[]", d) end',
    "signatures": 'local n = 0 while true do n = n + 1 abi.decode(("uint8[9][9],"):rep(60) .. "uint256[" .. n % 9000 + 1 .. "]", "") end',
    "caught reverts": 'while true do try_call(this, "g()") end',
    "digests": 'local a = ("a"):rep(60000) while true do keccak256(a) end',
    "signatures that are checked": 'local a = ("a"):rep(32) while true do verify("bip340", a, a .. a, a) end',
    "reads": 'local n = 0 while true do n = n + 1 state.get("k" .. n) end',
    "events": 'while true do emit("E(uint256)", 1) end',
    "messages of errors": "local function f(n) if n == 0 then error(('x'):rep(100000)) end f(n - 1) end f(300)",
}  # fmt: skip


@pytest.mark.parametrize("name", DEAR)
def test_gas_bounds_the_time(name: str) -> None:
    """No more than 2 microseconds of the processor for a unit of gas, whatever a contract does; far from that."""
    chain = Chain()
    contract = chain.deploy(body(DEAR[name]))
    gas = 1_500_000
    start = time.process_time()
    result = chain.send(contract, "f()", gas_limit=gas)
    spent = time.process_time() - start
    assert result.status is Status.FAILED
    assert spent < 2e-6 * result.gas_used + 0.2, (spent, result.gas_used, result.reason)


def test_pairs_pays_for_the_room_that_a_table_has_not_given_back() -> None:
    code = "local t = {} for i = 1, 4000 do t[i] = i end for i = 1, 4000 do t[i] = nil end for i = 1, 1000 do pairs(%s) end"
    chain = Chain()
    own, other = (chain.send(chain.deploy(body(code % which)), "f()").gas_used for which in ("t", "math"))
    assert own > 500_000
    assert other > 500_000  # as nothing tells which table it was


# ---- memory ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("code", "words"), [
    ('local s = "x" while true do s = s .. s end', "string limit: 131072 bytes"),
    ('string.rep("x", 1 << 40)', "string limit"),
    ('string.rep("xy", 1 << 62)', "string limit"),
    ('local t, s = {}, ("x"):rep(65536) for i = 1, 1000 do t[i] = s .. i end', "memory limit: a message may allocate 8388608 bytes"),
    ('local t, s = {}, ("x"):rep(65536) for i = 1, 100 do t[i] = s end table.concat(t)', "string limit"),
    ('table.concat({}, "x", 1, 1 << 40)', "memory limit"),
    ('table.concat({}, "x", math.mininteger, math.maxinteger)', "a nil at -9223372036854775808"),
    ("table.unpack({}, 1, 1 << 40)", "more than 200 values"),
    ("table.unpack({}, math.mininteger, math.maxinteger)", "more than 200 values"),
    ("table.unpack({}, -1, math.maxinteger)", "more than 200 values"),
    ('string.byte(("x"):rep(1000), 1, -1)', "more than 200 bytes"),
    ('string.format("%99999d", 1)', "isn't known"),
    ('string.format("%.999s", "x")', "isn't known"),
    ("local t = {} while true do t = {t} end", "memory limit"),
    ("local t = {} local n = 0 while true do n = n + 1 t[n] = {} end", "out of gas|memory limit"),
    ("local f while true do local g = f f = function() return g end end", "memory limit"),
    ("local t = {} for i = 1, 1 << 40 do t[i] = i end", "out of gas|memory limit"),
    ('local t = {} for i = 1, 1 << 40 do t["k" .. i] = i end', "out of gas|memory limit"),
    ('local s = "" for i = 1, 1 << 40 do s = s .. "xxxxxxxx" end', "out of gas|memory limit|string limit"),
    ("local x = u256(0) while true do x = x + 1 end", "out of gas|memory limit"),
    ('while true do ("a"):split("") end', "empty separator"),
    ('local t = {} for i = 1, 5000 do t[i] = 1 end abi.encode("uint8[]", t)', "more than 4096 values"),
    ('local t = {} t[1] = t abi.encode("uint8[]", t)', "more than 6 dimensions"),
    ('emit("E(bytes)", ("x"):rep(1 << 30))', "string limit"),
])  # fmt: skip
def test_memory_ends_at_a_limit_that_is_named(code: str, words: str) -> None:
    reason = hostile(code)
    assert any(word in reason for word in words.split("|")), reason


def test_the_limit_of_memory_is_met_at_the_same_instruction_everywhere() -> None:
    # How often tables move depends on addresses. What is counted doesn't.
    code = 'local t, n = {}, 0 while true do n = n + 1 t["k" .. n % 977] = n t["k" .. (n * 31) % 977] = nil if n % 64 == 0 then state.put_uint("n", n) end end'
    ends = set()
    for _ in range(5):
        chain = Chain()
        result = chain.send(chain.deploy(body(code)), "f()", gas_limit=GAS)
        ends.add((result.gas_used, result.reason))
    assert len(ends) == 1


def test_a_key_that_no_order_has_is_refused_at_the_same_cost_everywhere() -> None:
    code = "for k in pairs({[{}] = 1, [emit] = 2, [log] = 3, a = 4, b = 5, 6}) do end"
    results = {(r.gas_used, r.reason) for r in (failure(code) for _ in range(20))}
    assert {reason for _, reason in results} == {"execution reverted: contract:2: pairs: a key that is no integer, string or boolean"}
    assert len(results) == 1


def test_real_memory_stays_near_what_is_counted() -> None:
    """Each of these allocates what the limits let it; the process needs a small multiple of the limit."""
    chain = Chain()
    contracts = [chain.deploy(body(code)) for code in (
        "local t, n = {}, 0 while true do n = n + 1 t[n] = {} end",
        'local t, n = {}, 0 while true do n = n + 1 t["k" .. n] = n end',
        'local t, s, n = {}, ("x"):rep(65536), 0 while true do n = n + 1 t[n] = s .. n end',
        "local t, n = {}, 0 while true do n = n + 1 t[n] = u256(n) end",
        "local t, n = {}, 0 while true do n = n + 1 local " + ",".join(f"v{k}" for k in range(100)) + " t[n] = function() return "
        + ",".join(f"v{k}" for k in range(100)) + " end end",
        "local t, n = {}, 0 while true do n = n + 1 t[n] = {" + "nil," * 100 + "} end",
        "local function f(" + ",".join(f"v{k}" for k in range(200)) + ") return f(1) + 1 end f(1)",
        "local function f() return f() + 1 end f()",
    )]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for contract in contracts:
        assert chain.send(contract, "f()", gas_limit=GAS).status is Status.FAILED
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 64 * 1024, f"{grown} KiB"


def test_runs_leave_nothing_behind_in_the_process() -> None:
    chain = Chain()
    contract = chain.deploy(body('local t = {} for i = 1, 500 do t[i] = {("x"):rep(1000) .. i} end error("x")'))
    sizes = []
    for _ in range(4):
        for _ in range(60):
            chain.send(contract, "f()")
        gc.collect()
        sizes.append(resident())
    assert sizes[-1] - sizes[0] < 8 * 2**20, sizes


def resident() -> int:
    """Bytes of the process that are in memory."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


# ---- depth -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [
    "local function f() return 1 + f() end f()",
    "local function f(x) local y = f(x) return y end f(1)",
    "local f, g f = function() local x = g() return x end g = function() local x = f() return x end f()",
    "local function f() table.sort({2, 1}, function() f() return true end) end f()",
    "local function f() for _ in f do f() end end f()",
    "local function f() return ({f})[1]() .. '' end f()",
])  # fmt: skip
def test_endless_recursion_ends_at_the_depth(code: str) -> None:
    assert hostile(code) == f"call depth limit: {limits.DEPTH_MAX} levels within a contract"


def test_recursion_between_messages_is_bounded_by_the_host() -> None:
    chain = Chain()
    contract = chain.deploy(body('call(this, "f()")'))
    result = chain.send(contract, "f()", gas_limit=GAS)
    assert result.status is Status.FAILED
    assert chain.send(contract, "f()", gas_limit=300_000).status is Status.FAILED


# ---- ways out ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [
    "os", "io", "debug", "package", "require_", "load", "loadstring", "loadfile", "dofile", "collectgarbage", "print", "rawset", "rawget",
    "rawequal", "rawlen", "getmetatable", "setmetatable", "coroutine", "pcall", "xpcall", "next", "select", "warn", "utf8", "_G",
    "_VERSION", "python", "module", "newproxy", "setfenv", "getfenv", "bit32", "jit", "ffi",
])  # fmt: skip
def test_nothing_of_lua_or_python_is_there(name: str) -> None:
    assert f"the name {name} isn't defined" in hostile(f"local x = {name}")


@pytest.mark.parametrize(("table", "names"), [
    ("string", {"len", "sub", "byte", "char", "rep", "reverse", "upper", "lower", "find", "split", "format"}),
    ("table", {"insert", "remove", "concat", "unpack", "sort"}),
    ("math", {"maxinteger", "mininteger", "abs", "max", "min", "ult", "tointeger", "type"}),
    ("state", {"get", "put", "get_uint", "put_uint", "add"}), ("abi", {"encode", "decode"}),
    ("msg", {"sender", "origin", "value", "data"}), ("block", {"number", "timestamp", "prevrandao", "hash"}),
])  # fmt: skip
def test_the_tables_hold_what_is_documented(table: str, names: set[str]) -> None:
    found = evaluate(f'local s = "" for k in pairs({table}) do s = s .. k .. " " end return s', "string")
    assert set(found.split()) == names


def test_the_environment_holds_nothing_else() -> None:
    """The names that a runtime binds, looked at from outside."""
    documented = {
        "string", "table", "math", "state", "abi", "msg", "block", "type", "tostring", "tonumber", "pairs", "ipairs",
        "error", "assert", "require", "revert", "revert_with", "revert_raw", "u256", "u256_from_bytes", "hex", "unhex",
        "emit", "log", "call", "try_call", "call_raw", "try_call_raw", "send", "balance", "gas_left", "keccak256",
        "sha256", "blake2b256", "verify", "recover"}
    text = (machine.__file__.rpartition("/")[0]) + "/prelude/6_main.lua"
    with open(text) as file:
        block = file.read().split("local environment = {")[1].split("\n}")[0]
    import re
    assert set(re.findall(r"(\w+) = ", block)) == documented


@pytest.mark.parametrize(("code", "words"), [
    ("local x = ('').format.x", "attempt to index a function value"),
    ("local x = type.__class__", "the name __class__ is reserved"),
    ("local x = type['__class__']", "attempt to index a function value"),
    ("local x = emit['__globals__']", "attempt to index a function value"),
    ("for k in pairs(emit) do end", "pairs: a function where a table is expected"),
    ("for k in emit do end", "where a string is expected"),
    ("for k in pairs('x') do end", "pairs: a string where a table is expected"),
    ("for k in pairs(u256(1)) do end", "pairs: a u256 where a table is expected"),
    ("string.dump(function() end)", "attempt to call a nil value (field 'dump')"),
    ("('x'):gsub('x', 'y')", "attempt to call a nil value (method 'gsub')"),
    ("('x'):match('x')", "attempt to call a nil value (method 'match')"),
    ("local x = 'a' + 1", "attempt to perform arithmetic on a string value"),
    ("local x = '10' // 2", "attempt to perform arithmetic on a string value"),
    ("local x = -'10'", "attempt to perform arithmetic on a string value"),
    ("local x = {} .. 'x'", "attempt to concatenate a table value"),
    ("local x = {} < {}", "attempt to compare table with table"),
    ("local x = 1 < 'x'", "attempt to compare number with string"),
    ("local x = u256(1) | u256(2)", "bitwise operation on a u256 value"),
    ("local x = {} | 1", "attempt to perform bitwise operation on a table value"),
    ("local x = u256(1) & 1", "attempt to perform bitwise operation on a table value"),
    ("local x = -u256(1)", "attempt to perform arithmetic on a table value"),
    ("local x = #5", "attempt to get length of a number value"),
    ("local x = #u256(1)", "attempt to get length of a u256 value"),
    ("u256(1)()", "attempt to call a table value"),
    ("error({})", "execution reverted: table"),
    ("error(error)", "execution reverted: function"),
    ("error()", "execution reverted: reverted"),
    ("error('\\0\\255')", "execution reverted: "),
    ("call(this)", "where a string is expected"),
    ("call()", "where a string is expected"),
    ("call(this, {})", "where a string is expected"),
    ("call(this, {'f()', value = -1})", "-1 is below 0"),
    ("call(this, {'f()', gas = -1})", "gas below 0"),
    ("send(this, u256('0x' .. ('ff'):rep(32)))", "not enough funds"),
    ("state.add('k', u256('0x' .. ('ff'):rep(32))) state.add('k', 1) state.get_uint('k')", "a value of 33 bytes is no number"),
])  # fmt: skip
def test_ways_out_that_lead_nowhere(code: str, words: str) -> None:
    try:
        reason = hostile(code)
    except AssertionError as refused:
        reason = str(refused)  # when it was deployed
    assert words in reason


def test_no_object_of_python_is_in_a_runtime() -> None:
    """The two Python tables that the library puts into each runtime are out of reach: contracts have an environment of
    their own, and no function here takes one out of the registry."""
    sandbox = Sandbox()
    for name in (b"python", b"debug", b"package"):
        with pytest.raises(InvalidCode, match="isn't defined"):
            Lua().compile(b"x = " + name + b" return {}")
    assert "function" in repr(sandbox._start)


def test_what_a_contract_changes_in_its_library_ends_with_the_message() -> None:
    chain = Chain()
    contract = chain.deploy("""return {
      ["spoil()"] = function() string.rep = nil state.get = nil msg.sender = "x" type = nil table.concat = error helper = 1 pairs = nil
        require(("x").rep == nil, "own library") end,
      ["f() returns (string)"] = function() return string.rep("x", 3) .. type(1) .. table.concat({1}) .. hex(msg.sender) end,
      ["g()"] = function() return helper end }""")
    before = chain.read(contract, "f()", returns="string")
    chain.ok(contract, "spoil()")
    assert chain.read(contract, "f()", returns="string") == before
    assert "helper isn't defined" in chain.send(contract, "g()").reason


def test_the_library_of_the_sandbox_is_not_the_contracts() -> None:
    # What the operators and the host functions use can't be replaced from within.
    code = """
      string.len, string.sub, table.concat, math.ult, tostring, type = nil, nil, nil, nil, nil, nil
      local a = u256(5) + 3 .. "x" .. 1
      return a == "8x1" and #a == 3 and u256(3) < u256(4)"""
    assert evaluate(code, "bool") is True


@pytest.mark.parametrize("code", [
    'try_call(this, "g()") local x = {} x.y.z = 1',
    "while true do try_call(this, 'g()') end",
    "local function f() try_call(this, 'f()') f() end f()",
])  # fmt: skip
def test_nothing_is_caught_but_reverts_of_calls(code: str) -> None:
    hostile(code)


class FailingHost:
    """A host all of whose answers are one exception."""

    def __init__(self, inner: Any, problem: BaseException) -> None:
        self.message, self.block, self.gas = inner.message, inner.block, inner.gas
        self._problem = problem

    def charge(self, gas: int) -> None:
        self.gas -= gas

    def __getattr__(self, name: str) -> Any:
        def fail(*_arguments: object, **_options: object) -> None:
            raise self._problem
        return fail


ASKING = {
    "read": 'state.get("k")', "write": 'state.put("k", "v")', "add": 'state.add("k", 1)', "log": 'log({}, "x")',
    "emit": 'emit("E()")', "balance": "balance(this)", "call": 'call(this, "f()")', "try_call": 'try_call(this, "f()")',
    "call_raw": 'call_raw(this, "")', "try_call_raw": 'try_call_raw(this, "")', "send": "send(this, 0)",
    "digest": 'keccak256("x")', "verify": 'verify("bip340", "", "", "")', "recover": 'recover(("x"):rep(32), ("\\1"):rep(65))',
    "sort": 'table.sort({2, 1}, function() return state.get("k") == "" end)',
    "loop": 'for i, v in function() return state.get("k") end do end',
}  # fmt: skip
PROBLEMS = [Missing(frozenset()), OutOfGas(), LimitExceeded("some limit"), InvariantViolation("broken"), KeyboardInterrupt()]


@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda problem: type(problem).__name__)
@pytest.mark.parametrize("name", ASKING)
def test_errors_of_the_host_come_out_as_they_are(name: str, problem: BaseException) -> None:
    from executors.machine import Block, Message

    class Inner:
        message = Message(contract=b"c" * 20, caller=ALICE, origin=ALICE, value=0, data=payload("f()"))
        block = Block(number=1, timestamp_s=1, prevrandao=bytes(32), ancestor=lambda n: bytes(32))
        gas = 1_000_000

    code = Lua().compile(body(f"{ASKING[name]} while true do end").encode())
    with pytest.raises(type(problem)) as caught:
        Lua().run(code, FailingHost(Inner, problem))
    assert caught.value is problem


def test_a_revert_of_the_host_is_caught_by_try_call_alone() -> None:
    from executors.machine import Block, Message

    class Inner:
        message = Message(contract=b"c" * 20, caller=ALICE, origin=ALICE, value=0, data=payload("f()"))
        block = Block(number=1, timestamp_s=1, prevrandao=bytes(32), ancestor=lambda n: bytes(32))
        gas = 1_000_000

    problem = Reverted(b"data")
    for name in ("read", "call", "call_raw", "send", "balance"):
        with pytest.raises(Reverted) as caught:
            Lua().run(Lua().compile(body(ASKING[name]).encode()), FailingHost(Inner, problem))
        assert caught.value.output == b"data"
    for name in ("try_call", "try_call_raw"):
        assert Lua().run(Lua().compile(body(ASKING[name]).encode()), FailingHost(Inner, problem)) == b""


# ---- the gas counter ---------------------------------------------------------------------------------------------


def test_every_gas_limit_ends_in_one_of_two_ways() -> None:
    """At every limit below the need a transaction is out of gas, wherever that happens; nothing of it stays."""
    chain = Chain()
    token = lua_token(chain)
    need = chain.ok(token, "transfer(address,uint256)", BOB, 1).gas_used
    state, nonces = dict(chain.state), dict(chain.nonces)
    for gas in range(31_000, need + 40, 211):
        chain.state, chain.nonces = dict(state), dict(nonces)
        result = chain.send(token, "transfer(address,uint256)", BOB, 1, gas_limit=gas)
        if gas >= need:
            assert (result.status, result.gas_used) == (Status.SUCCESS, need)
        else:
            assert (result.status, result.gas_used, result.reason) == (Status.FAILED, gas, "out of gas")
            assert not any(key.startswith(b"m") for key in chain.view.writes)


def test_instructions_are_counted_within_one_step() -> None:
    chain = Chain()
    contract = chain.deploy(body("for i = 1, a do end", signature="f(uint32)"))
    used = [chain.ok(contract, "f(uint32)", n).gas_used for n in (0, 100_000, 200_000)]
    for before, after in zip(used, used[1:], strict=False):
        assert after - before in range(100_000, 104_001)
        assert (after - before) % limits.INSTRUCTIONS_STEP in (0, 1)  # by a gas of calldata


def test_no_step_is_lost_wherever_it_ends() -> None:
    """Steps end in the middle of whatever is done then, of an addition to the gas, too. More instructions before never
    make a message cheaper."""
    used = []
    for before in range(40):
        chain = Chain()
        code = body("local x " + "x = 1 " * before + "for i = 1, 2000 do x = 'a' .. 'b' end")
        used.append(chain.ok(chain.deploy(code), "f()").gas_used - len(code) // limits.LOAD_BYTES_PER_GAS)
    assert max(used) - min(used) <= limits.INSTRUCTIONS_STEP
    assert used == sorted(used)


def test_gas_left_goes_down_and_is_the_hosts() -> None:
    assert evaluate("local a = gas_left() local s = ('x'):rep(8000) local b = gas_left() return a > b and a - b < 3000 and a - b >= 1000", "bool")


def test_what_is_stored_is_never_taken_for_bytecode() -> None:
    for code in (b"\x1bLuaT\0\x19\x93\r\n\x1a\n", b"\x1b"):
        with pytest.raises(InvalidCode, match="bytecode"):
            Lua().compile(code)


def test_reasons_name_no_address_and_no_path() -> None:
    import re
    for code in ("error({})", "local x = nil x()", "local t = {} t.x.y = 1", "error(tostring(type) .. tostring({}))", "state.get({})"):
        assert not re.search(r"0x[0-9a-f]{4}|/\w|\.lua|\.py", failure(code).reason)


def test_an_example_has_the_same_gas_in_each_of_many_runtimes() -> None:
    chain = Chain()
    token = lua_token(chain)
    chain.ok(token, "transfer(address,uint256)", BOB, 1)
    assert len({chain.ok(token, "transfer(address,uint256)", BOB, 1).gas_used for _ in range(30)}) == 1
