"""Modules that mean harm: each ends as a failed receipt that names the limit, and the next transaction runs."""

import random
import threading
import time

import pytest

from executors import gas
from executors.machine import InvalidCode, Status
from executors.wasm import limits
from executors.wasm.imports import IMPORTS
from tests.unit.test_wasm_chain import MACHINE, TOKEN, Chain, calldata, data_segment, hexadecimal, token_arguments, wat

GAS = 300_000
MEMORY_EXPORT = b"\6memory\2\0"


def fails(chain: Chain, contract: bytes, reason: str, **fields: object) -> None:
    """A call fails for a reason, takes all its gas, and the next transaction is as ever."""
    result = chain.run(to=contract, gas_limit=GAS, **fields)
    assert (result.status, result.gas_used) == (Status.FAILED, GAS), result
    assert reason in result.reason, result.reason
    assert result.output == b""
    healthy = chain.deploy(wat("(call $output (i32.const 0) (i32.const 2))", more=data_segment(0, b"ok")))
    assert chain.run(to=healthy).output == b"ok"


@pytest.mark.parametrize(("body", "reason"), [
    ("(loop (br 0))", "out of gas"),
    ("(loop (memory.fill (i32.const 0) (i32.const 1) (i32.const 65536)) (br 0))", "out of gas"),
    ("(loop (memory.copy (i32.const 0) (i32.const 1) (i32.const 65535)) (br 0))", "out of gas"),
    ("(loop (drop (memory.grow (i32.const 1))) (br 0))", "out of gas"),
    ("(loop (drop (memory.grow (i32.const 65536))) (br 0))", "out of gas"),
    ("(loop (drop (call $input_size)) (br 0))", "out of gas"),
    ("(loop (call $digest (i32.const 0) (i32.const 0) (i32.const 65536) (i32.const 0)) (br 0))", "out of gas"),
    ("(loop (call $output (i32.const 0) (i32.const 65536)) (br 0))", "out of gas"),
    ("(loop (call $log (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 65536)) (br 0))", "out of gas"),
    ("(call $f)", "trap: stack overflow, limit 262,144 bytes"),
    ("(call_indirect (type $t) (i32.const 0))", "trap: stack overflow"),
    ("(call_indirect (type $t) (i32.const 1))", "trap: indirect call of an empty table element"),
    ("(call_indirect (type $t) (i32.const 2))", "trap: table access out of bounds"),
    ("(drop (call_indirect (type $u) (i32.const 3) (i32.const 0)))", "trap: indirect call of a function of another type"),
    ("(unreachable)", "trap: unreachable"),
    ("(drop (i32.div_s (i32.const 1) (local.get $i)))", "trap: integer division by zero"),
    ("(drop (i64.rem_u (i64.const 1) (i64.extend_i32_u (local.get $i))))", "trap: integer division by zero"),
    ("(drop (i32.div_s (i32.const 0x80000000) (i32.const -1)))", "trap: integer overflow"),
    ("(drop (i32.trunc_f32_s (f32.div (f32.const 0) (f32.const 0))))", "trap: conversion of a float"),
    ("(drop (i32.trunc_f64_u (f64.const 1e20)))", "trap: integer overflow"),
    ("(drop (i32.load (i32.const 65533)))", "trap: memory access out of bounds"),
    ("(i64.store offset=4294967295 (i32.const -1) (i64.const 1))", "trap: memory access out of bounds"),
    ("(memory.fill (i32.const 65535) (i32.const 1) (i32.const 2))", "trap: memory access out of bounds"),
])
def test_running(body: str, reason: str) -> None:
    chain = Chain()
    more = "(type $t (func)) (type $u (func (param i32) (result i32))) (table 2 funcref) (elem (i32.const 0) $f) (func $f (call $f))"
    fails(chain, chain.deploy(wat(body, more=more)), reason)


@pytest.mark.parametrize("body", [
    "(call $f (i32.const 3))",
    "(drop (call $f2 (i64.const 1) (i64.const 2) (f64.const 3)))",
])
def test_recursion_with_locals(body: str) -> None:
    """Large frames fill the stack early, but it's the same stack."""
    more = f"""(func $f (param i32) (local {'i64 ' * 200}) (local.set 7 (i64.extend_i32_u (local.get 0)))
        (call $f (i32.wrap_i64 (local.get 7))) (drop (local.get 150)))
        (func $f2 (param i64 i64 f64) (result f64) (f64.add (local.get 2) (call $f2 (local.get 1) (local.get 0) (local.get 2))))"""
    chain = Chain()
    fails(chain, chain.deploy(wat(body, more=more)), "trap: stack overflow")


def test_deep_recursion_in_nested_messages() -> None:
    """Each of them fills its stack, in a thread with little of its own."""
    chain = Chain()
    contract = chain.deploy(wat(
        """(call $contract (i32.const 0))
        (if (i32.eqz (call $call (i32.const 0) (i32.const 32) (i32.const 0) (i32.const 0) (i64.const -1))) (then (call $f)))
        (call $f)""",
        more="(func $f (call $f))"))
    threading.stack_size(1024 * 1024)
    try:
        thread = threading.Thread(target=fails, args=(chain, contract, "trap: stack overflow"))
        thread.start()
        thread.join()
    finally:
        threading.stack_size(0)


def test_failing_calls_give_no_time_for_nothing() -> None:
    """What a nested call has used can't be used again by its caller: all of them together run as long as one."""
    chain = Chain()
    endless = "(loop (br 0))"
    alone = chain.deploy(wat(endless))
    nested = chain.deploy(wat(
        f"""(call $contract (i32.const 0))
        (drop (call $call (i32.const 0) (i32.const 32) (i32.const 0) (i32.const 0) (i64.const -1))) {endless}"""))
    took = []
    for contract in (alone, nested):
        chain.run(to=contract, gas_limit=GAS)
        began = time.process_time()
        assert chain.run(to=contract, gas_limit=3_000_000).reason == "out of gas"
        took.append(time.process_time() - began)
    assert took[1] < 5 * took[0]


def test_all_of_the_memory() -> None:
    """It can be had and used to its end, and not a byte more; the price is known."""
    chain = Chain()
    contract = chain.deploy(wat(
        """(block (loop (br_if 1 (i32.eq (memory.grow (i32.const 1)) (i32.const -1))) (br 0)))
        (i32.store8 (i32.const 16777215) (i32.const 7)) (i32.store (i32.const 0) (memory.size))
        (call $output (i32.const 0) (i32.const 4))"""))
    result = chain.run(to=contract)
    assert result.output == limits.MEMORY_PAGES_MAX.to_bytes(4, "little")
    assert limits.MEMORY_PAGES_MAX * limits.PAGE_GAS < result.gas_used - 31_000 < limits.MEMORY_PAGES_MAX * limits.PAGE_GAS + 1_000
    result = chain.run(to=contract, gas_limit=100_000)
    assert (result.status, result.reason) == (Status.FAILED, "out of gas")


def test_segments_outside() -> None:
    for segment in (data_segment(65_535, b"ab"), "(table 1 funcref) (elem (i32.const 1) $f) (func $f)", '(data (i32.const -1) "a")'):
        result = Chain().deploying(wat("", more=segment), gas_limit=GAS)
        assert (result.status, result.contract, result.gas_used) == (Status.FAILED, None, GAS)
        assert "access out of bounds" in result.reason


# ---- pointers ---------------------------------------------------------------------------------------------------

POINTERS = {"to", "start", "topics", "key", "amount", "address", "value", "signature"}
USUAL = {"size": 32, "key_size": 32, "most": 32, "count": 1, "offset": 0, "gas_limit": -1}


def parameters(name: str) -> list[tuple[str, str]]:
    """Names and types of the parameters of an import."""
    code = IMPORTS[name].run.__wrapped__.__code__  # type: ignore[attr-defined]
    return list(zip(code.co_varnames[1:code.co_argcount], IMPORTS[name].type.parameters, strict=True))


@pytest.mark.parametrize("address", [65_536, 65_529, 2**31, 2**32 - 1])
@pytest.mark.parametrize(("name", "pointer"), [
    (name, each) for name in IMPORTS for each, _ in parameters(name) if each in POINTERS])
def test_pointers_that_lead_out(name: str, pointer: str, address: int) -> None:
    """Whatever else is right."""
    arguments = " ".join(
        f"({kind}.const {address if each == pointer else USUAL.get(each, 0)})" for each, kind in parameters(name))
    before = "(call $write (i32.const 0) (i32.const 32) (i32.const 0) (i32.const 32))" if name == "read" else ""
    call = f"(call ${name} {arguments})"
    chain = Chain()
    data = bytes(32)
    if name == "return_data":
        echo = chain.deploy(wat("(call $output (i32.const 0) (i32.const 32))"))
        before = "(drop (call $call (i32.const 64) (i32.const 0) (i32.const 0) (i32.const 0) (i64.const -1)))"
        more = data_segment(64, echo)
    else:
        more = data_segment(4096, b"x")
    contract = chain.deploy(wat(f"{before} {f'(drop {call})' if IMPORTS[name].type.results else call}", more=more))
    fails(chain, contract, f"{name}: ", data=data)
    result = chain.run(to=contract, gas_limit=GAS, data=data)
    assert f" bytes at {address:,} are outside of the memory of 65,536 bytes" in result.reason


@pytest.mark.parametrize(("body", "reason"), [
    ("(call $output (i32.const 0) (i32.const -1))", "output of 4,294,967,295 bytes, limit 131,072"),
    ("(call $output (i32.const 0) (i32.const 65537))", "output: 65,537 bytes at 0 are outside of the memory"),
    ("(call $revert (i32.const 0) (i32.const -1))", "revert of 4,294,967,295 bytes, limit 131,072"),
    ("(call $input (i32.const 0) (i32.const 0) (i32.const 5))", "input: bytes 0 to 5 of 4"),
    ("(call $input (i32.const 0) (i32.const -1) (i32.const -1))", "input: bytes 4,294,967,295 to 8,589,934,590 of 4"),
    ("(call $return_data (i32.const 0) (i32.const 0) (i32.const 1))", "return_data: bytes 0 to 1 of 0"),
    ("(call $write (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 1))", "write: key of 0 bytes, it has 1 to 128"),
    ("(call $write (i32.const 0) (i32.const 129) (i32.const 0) (i32.const 1))", "write: key of 129 bytes, it has 1 to 128"),
    ("(call $write (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 65537))", "value of 65,537 bytes, limit 65,536"),
    ("(drop (call $read (i32.const 0) (i32.const -1) (i32.const 0) (i32.const 0)))", "read: key of 4,294,967,295 bytes"),
    ("(call $log (i32.const 0) (i32.const 5) (i32.const 0) (i32.const 0))", "log with 5 topics, limit 4"),
    ("(call $log (i32.const 0) (i32.const -1) (i32.const 0) (i32.const 0))", "log with 4,294,967,295 topics, limit 4"),
    ("(call $log (i32.const 0) (i32.const 0) (i32.const 0) (i32.const -1))", "log of 4,294,967,295 bytes, limit 131,072"),
    ("(call $digest (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 0))", "digest: no algorithm 3; there are 0 to 2"),
    ("(call $digest (i32.const -1) (i32.const 0) (i32.const 0) (i32.const 0))", "digest: no algorithm 4,294,967,295"),
    ("(call $digest (i32.const 0) (i32.const 0) (i32.const -1) (i32.const 0))", "digest: 4,294,967,295 bytes at 0 are outside"),
    ("(drop (call $verify (i32.const 3) (i32.const 0) (i32.const 32) (i32.const 0) (i32.const 0) (i32.const 33)))", "verify: no scheme 3"),
    ("(drop (call $call (i32.const 0) (i32.const 0) (i32.const 0) (i32.const -1) (i64.const -1)))", "call of 4,294,967,295 bytes"),
])
def test_lengths_and_numbers_that_lie(body: str, reason: str) -> None:
    chain = Chain()
    fails(chain, chain.deploy(wat(body)), reason, data=b"abcd")


def test_a_read_beyond_the_end_of_the_memory_is_cut_to_what_is_there() -> None:
    """Only what is written has to fit."""
    chain = Chain()
    contract = chain.deploy(wat("(drop (call $read (i32.const 0) (i32.const 1) (i32.const 65536) (i32.const -1)))"))
    assert chain.run(to=contract).status is Status.SUCCESS


# ---- compilation ------------------------------------------------------------------------------------------------


def leb(number: int) -> bytes:
    """An integer of variable length."""
    encoded = b""
    while number >= 128:
        encoded, number = encoded + bytes((number & 127 | 128,)), number >> 7
    return encoded + bytes((number,))


def vector(items: list[bytes]) -> bytes:
    """A list with its length."""
    return leb(len(items)) + b"".join(items)


def section(number: int, content: bytes) -> bytes:
    """A section with its length."""
    return bytes((number,)) + leb(len(content)) + content


def body(code: bytes, variables: int = 1, kind: int = 0x7F) -> bytes:
    """A function with local variables of one type."""
    content = b"\1" + leb(variables) + bytes((kind,)) + code + b"\x0b"
    return leb(len(content)) + content


def binary(bodies: list[bytes], *, types: list[bytes] | None = None, of: list[int] | None = None) -> bytes:
    """A module with functions, the last of which is `call`; type 0 has neither parameters nor results."""
    bodies = [*bodies, body(b"")]
    indexes = [*(of or [0] * (len(bodies) - 1)), 0]
    return (
        b"\0asm\1\0\0\0" + section(1, vector([b"\x60\0\0", *(types or [])])) + section(3, vector([leb(i) for i in indexes]))
        + section(4, vector([b"\x70\0\1"])) + section(5, vector([b"\0\1"])) + section(6, vector([b"\x7f\1\x41\0\x0b"]))
        + section(7, vector([MEMORY_EXPORT, b"\4call\0" + leb(len(bodies) - 1)])) + section(10, vector(bodies)))


def get(number: int) -> bytes:
    """Read a local variable, and drop it."""
    return b"\x20" + leb(number) + b"\x1a"


LOOPS, ENDS = b"\x03\x40" * 127, b"\x0b" * 127
CALL, INDIRECT = b"\x10\0", b"\x41\0\x11\0\0"


@pytest.mark.parametrize(("module", "reason"), [
    (binary([body(b"")] * 2_048), "2,049 functions, limit 2,048"),
    (binary([body(b"", 513)]), "function 0 with 513 local variables, limit 512"),
    (binary([body(b"", 50_000)] * 9), "function 0 with 50,000 local variables, limit 512"),
    (binary([body(CALL * 16_384)]), "function 0 of 32,772 bytes, limit 32,768"),
    (binary([body(b"\x02\x40" * 10_000 + b"\x0b" * 10_000)]), "function 0 with 10,000 branches, limit 1,500"),
    (binary([body(b"\x03\x40" * 129 + b"\x0b" * 129)]), "function 0 with 129 loops, limit 128"),
    (binary([body(b"\x20\0\x0e" + leb(30_000) + bytes(30_001))]), "function 0 with 30,001 branches, limit 1,500"),
    (binary([body(b"\x20\0\x04\x40\x0b" * 1_500)] * 7), "10,500 branches, limit 10,000"),
    (binary([body(INDIRECT * 1_025)] * 2), "2,050 indirect calls and instructions that copy, fill or grow, limit 2,048"),
    (binary([body(b"\x20\0\x40\0\x1a" * 2_049)]), "2,049 indirect calls and instructions that copy, fill or grow, limit 2,048"),
    (binary([body(LOOPS + b"".join(map(get, range(400))) + ENDS, 400)] * 2), "101,600 as the sum of loops times local variables, limit 100,000"),
    (binary([body(b"\x20\0\x04\x40\x0b" * 1_000, 501)] * 2), "1,002,000 as the sum of branches times local variables, limit 1,000,000"),
    (binary([], types=[b"\x60\0\0"] * 1_024), "1,025 types, limit 1,024"),
    (binary([], types=[b"\x60" + vector([b"\x7f"] * 65) + b"\0"]), "type of functions with 65 parameters, limit 64"),
    (binary([body(b"\x02\1\x0b")], types=[b"\x60" + vector([b"\x7f"] * 999) + vector([b"\x7f"] * 999)]), "multi-value"),
    (wat("", more="(global i32 (i32.const 0))" * 1_025), "1,025 globals, limit 1,024"),
    (wat("", more='(data (i32.const 0) "a")' * 1_025), "1,025 data segments, limit 1,024"),
    (wat("", more="(table 1 funcref)" + "(elem (i32.const 0) func)" * 1_025), "1,025 element segments, limit 1,024"),
    (wat("", more="(table 4294967295 funcref)"), "table of 4,294,967,295 elements"),
    (wat("", memory="65536"), "memory of 65,536 pages at the beginning, limit 256"),
    ("(" * 100_000, "text form, line and column"),
    ("(component " * 30_000, "text form, line and column"),
    (wat("(block " * 9_000 + ")" * 9_000), "9,000 branches, limit 1,500"),
])
def test_what_would_take_long_to_compile(module: bytes | str, reason: str) -> None:
    code = module.encode() if isinstance(module, str) else module
    began = time.process_time()
    with pytest.raises(InvalidCode) as raised:
        MACHINE.compile(code)
    assert time.process_time() - began < 1, "it is refused before it is compiled"
    assert reason in str(raised.value)


@pytest.mark.parametrize("module", [
    binary([body(CALL * 16_300)] * 4),
    binary([body(LOOPS + b"\x20\0" + b"\x9e" * 32_000 + b"\x21\0" + ENDS, kind=0x7C)] * 4),
    binary([body(LOOPS + b"\x20\0\x40\0\x1a" * 2_000 + ENDS)]),
    binary([body(b"".join(b"\x20\0\x04\x40\x10\0\x41\1\x21" + leb(i % 110) + b"\x0b" for i in range(1_400))
                 + b"".join(map(get, range(110))), 110)] * 6),
], ids=["calls", "floats in loops", "growing in loops", "branches and variables"])
def test_the_worst_that_is_taken(module: bytes) -> None:
    """About a second on a slow core; the bound leaves room for one that is busy."""
    began = time.process_time()
    assert MACHINE.compile(module) == module
    assert time.process_time() - began < 8


def test_a_refused_module_costs_its_sender_only() -> None:
    chain = Chain()
    result = chain.deploying(binary([body(b"", 513)]))
    assert (result.status, result.contract) == (Status.FAILED, None)
    assert result.reason == "execution reverted: invalid wasm code: function 0 with 513 local variables, limit 512"
    assert chain.deploying(wat("")).status is Status.SUCCESS


@pytest.mark.parametrize("seed", range(8))
def test_mutilated_modules(seed: int) -> None:
    """Bytes of a token are changed: it is refused, or it runs and ends, and nothing else happens."""
    chance = random.Random(seed)
    chain = Chain()
    taken = 0
    for _ in range(25):
        code = bytearray(TOKEN)
        for _ in range(chance.choice((1, 1, 2, 4))):
            at = chance.randrange(8, len(code))
            change = chance.randrange(4)
            if change == 0:
                code[at] = chance.randrange(256)
            elif change == 1:
                code[at] ^= 1 << chance.randrange(8)
            elif change == 2:
                del code[at:at + chance.randrange(1, 4)]
            else:
                code[at:at] = chance.randbytes(chance.randrange(1, 4))
        result = chain.deploying(bytes(code), token_arguments(1000), gas_limit=5_000_000)
        if result.contract is None:
            continue
        taken += 1
        for function in ("transfer(address,uint256)", "approve(address,uint256)", "mint(address,uint256)"):
            chain.run(to=result.contract, data=calldata(function, hexadecimal(b"\x22" * 20), 5), gas_limit=GAS)
    assert taken, f"seed {seed}: nothing got through, so nothing was tried"


def test_a_module_of_the_largest_size_can_be_deployed() -> None:
    filler = gas.CODE_BYTES_MAX - len(binary([])) - 4
    module = binary([]) + b"\0" + leb(filler) + b"\1x" + bytes(filler - 2)
    assert len(module) == gas.CODE_BYTES_MAX
    chain = Chain()
    contract = chain.deploy(module, gas_limit=40_000_000)
    assert chain.run(to=contract).status is Status.SUCCESS
