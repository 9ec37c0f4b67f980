"""The WebAssembly machine: what it takes, what contracts can ask for, and what that costs to the unit."""

import hashlib
import importlib.metadata
import struct
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import wasmtime
from coincurve import PrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from executors import gas
from executors.machine import InvalidCode, Missing, Status
from executors.machines import load
from executors.wasm import Wasm, limits, machine
from executors.wasm.imports import IMPORTS
from executors.wasm.library import Sandbox
from schemas.errors import ConfigurationError, InvariantViolation
from schemas.hashing import digest, keccak
from schemas.keys import balance_key, entry_key, integer, minimal
from tests.unit.test_wasm_chain import (
    BLOCK,
    ETHER,
    MACHINE,
    OTHER,
    PAYEE,
    SENDER,
    Chain,
    caller_of,
    data_segment,
    wat,
)

ROOT = Path(__file__).parents[2]
KEY = data_segment(0, b"key!")
ECHO = "(call $input (i32.const 0) (i32.const 0) (call $input_size)) (call $output (i32.const 0) (call $input_size))"
FIXED_GAS = 21_000 + gas.MESSAGE + limits.PAGE_GAS
"""Of a call without data to a contract with a page of memory, beside its code."""


def outcome(body: str, *, data: bytes = b"", more: str = "", **fields: Any) -> tuple[Any, Chain, bytes]:
    """Deploy a contract with some code, and call it."""
    chain = Chain()
    contract = chain.deploy(wat(body, more=more))
    return chain.run(to=contract, data=data, **fields), chain, contract


def output(body: str, **fields: Any) -> bytes:
    """What a contract with some code returns."""
    result, _, _ = outcome(body, **fields)
    assert result.status is Status.SUCCESS, result.reason
    return bytes(result.output)


def returned(call: str, size: int, **fields: Any) -> bytes:
    """What a function of the host writes to address 512."""
    return output(f"{call} (call $output (i32.const 512) (i32.const {size}))", **fields)


def number(call: str, **fields: Any) -> int:
    """What a function of the host returns as an integer."""
    kind = IMPORTS[call[7:].split()[0].rstrip(")")].type.results[0]
    return int.from_bytes(returned(f"({kind}.store (i32.const 512) {call})", 8, **fields), "little")


# ---- the message ------------------------------------------------------------------------------------------------


def test_input_and_output() -> None:
    assert output(ECHO, data=b"hello") == b"hello"
    assert output(ECHO) == b""
    assert number("(call $input_size)", data=b"hello") == 5
    assert returned("(call $input (i32.const 512) (i32.const 1) (i32.const 3))", 4, data=b"hello") == b"ell\0"


def test_the_last_output_counts() -> None:
    assert output(
        "(call $output (i32.const 0) (i32.const 4)) (call $output (i32.const 1) (i32.const 2))", more=KEY) == b"ey"


def test_revert_gives_data_and_the_rest_of_the_gas() -> None:
    result, chain, _ = outcome(
        "(call $write (i32.const 0) (i32.const 3) (i32.const 0) (i32.const 3))"
        "(call $revert (i32.const 0) (i32.const 4)) (unreachable)", more=KEY)
    assert (result.status, result.output, result.logs) == (Status.FAILED, b"key!", ())
    assert result.gas_used < 100_000
    assert not any(key[:1] == b"m" for key in chain.state)


def test_revert_pays_for_what_ran_before() -> None:
    """Instructions and memory, and not a gas more."""
    loop = "(local.set $i (i32.const 1000)) (loop (br_if 0 (local.tee $i (i32.sub (local.get $i) (i32.const 1)))))"
    text = wat(f"{loop} (drop (memory.grow (i32.const 2))) (call $revert (i32.const 0) (i32.const 0))")
    chain = Chain()
    result = chain.run(to=chain.deploy(text))
    fuel = 5_003 + 4 + 3
    assert result.reason == "execution reverted"
    assert result.gas_used == FIXED_GAS + code_gas(text) + 2 * limits.PAGE_GAS + limits.IMPORT_GAS + -(-fuel // limits.FUEL_PER_GAS)


@pytest.mark.parametrize(("name", "expected"), [("caller", SENDER), ("origin", SENDER)])
def test_addresses(name: str, expected: bytes) -> None:
    assert returned(f"(call ${name} (i32.const 512))", 20) == expected


def test_caller_and_origin_differ_below_another_contract() -> None:
    chain = Chain()
    contract = chain.deploy(wat(
        "(call $caller (i32.const 0)) (call $origin (i32.const 20)) (call $contract (i32.const 40))"
        "(call $output (i32.const 0) (i32.const 60))"))
    relay = chain.deploy(caller_of(contract))
    assert chain.run(to=relay).output == relay + SENDER + contract


def test_value() -> None:
    assert integer(returned("(call $value (i32.const 512))", 32, value=3 * ETHER)) == 3 * ETHER


def test_block() -> None:
    assert number("(call $block_number)") == BLOCK.number
    assert number("(call $block_timestamp)") == BLOCK.timestamp_s


def test_gas_left_is_exact() -> None:
    """Two looks at the gas differ by one import, and the instructions between."""
    body = "(i64.store (i32.const 512) (call $gas_left)) (i64.store (i32.const 520) (call $gas_left))"
    first, second = struct.unpack("<QQ", returned(body, 16))
    assert first - second == limits.IMPORT_GAS + 1
    result, _, _ = outcome(f"{body} (call $output (i32.const 512) (i32.const 16))", gas_limit=200_000)
    # What the last call and the way out cost is all that was used after the second look.
    left = struct.unpack("<QQ", result.output)[1]
    assert 200_000 - result.gas_used == left - limits.IMPORT_GAS - limits.COPY_WORD_GAS - 1


# ---- state ------------------------------------------------------------------------------------------------------

KEYED = "(i32.const 0) (i32.const 3)"


def test_read_and_write() -> None:
    chain = Chain()
    contract = chain.deploy(wat(
        f"""(call $input (i32.const 64) (i32.const 0) (call $input_size))
        (i32.store (i32.const 512) (call $read_size {KEYED}))
        (i32.store (i32.const 516) (call $read {KEYED} (i32.const 520) (i32.const 4)))
        (call $write {KEYED} (i32.const 64) (call $input_size)) (call $output (i32.const 512) (i32.const 16))""", more=KEY))
    assert chain.run(to=contract, data=b"abcdef").output == bytes(16)
    assert chain.entry(contract, b"key") == b"abcdef"
    # The whole size is told, but only as much as fits is written.
    assert chain.run(to=contract).output == struct.pack("<II", 6, 6) + b"abcd" + bytes(4)
    assert entry_key(contract, b"key") not in chain.state or not chain.entry(contract, b"key")
    assert chain.run(to=contract).output == bytes(16)


def test_add_doesnt_read() -> None:
    chain = Chain()
    contract = chain.deploy(wat(
        f"(call $input (i32.const 64) (i32.const 0) (i32.const 32)) (call $add {KEYED} (i32.const 64))", more=KEY))
    for amount in (5, 2**200):
        assert chain.run(to=contract, data=amount.to_bytes(32, "big")).status is Status.SUCCESS
        assert chain.view.deltas[entry_key(contract, b"key")] == amount
        assert entry_key(contract, b"key") not in chain.view.reads
    assert integer(chain.entry(contract, b"key")) == 2**200 + 5


def test_state_is_the_contracts_own() -> None:
    chain = Chain()
    writer = wat(f"(call $write {KEYED} (i32.const 0) (i32.const 4))", more=KEY)
    reader = wat(f"(call $output (i32.const 512) (call $read {KEYED} (i32.const 512) (i32.const 9)))", more=KEY)
    chain.run(to=chain.deploy(writer))
    assert chain.run(to=chain.deploy(reader)).output == b""


# ---- others -----------------------------------------------------------------------------------------------------


def test_log() -> None:
    topics = [bytes([byte]) * 32 for byte in range(4)]
    for count in range(5):
        result, _, contract = outcome(
            f"(call $log (i32.const 64) (i32.const {count}) (i32.const 0) (i32.const 4))",
            more=KEY + data_segment(64, b"".join(topics)))
        log, = result.logs
        assert (log.address, log.topics, log.data) == (contract, tuple(topics[:count]), b"key!")


def test_balance() -> None:
    chain = Chain()
    chain.state[balance_key(PAYEE)] = minimal(7 * ETHER)
    contract = chain.deploy(wat(
        "(call $balance (i32.const 0) (i32.const 512)) (call $output (i32.const 512) (i32.const 32))",
        more=data_segment(0, PAYEE)))
    assert integer(chain.run(to=contract).output) == 7 * ETHER


def test_call_pays_an_account() -> None:
    chain = Chain()
    contract = chain.deploy(wat(
        """(i32.store (i32.const 512) (call $call (i32.const 0) (i32.const 32) (i32.const 0) (i32.const 0) (i64.const 0)))
        (call $output (i32.const 512) (i32.const 4))""",
        more=data_segment(0, PAYEE) + data_segment(32, (5).to_bytes(32, "big"))))
    result = chain.run(to=contract, value=8)
    assert (result.status, result.output) == (Status.SUCCESS, b"\1\0\0\0")
    assert integer(chain.state[balance_key(PAYEE)]) == 5
    assert chain.run(to=contract).output == b"\0\0\0\0", "3 wei don't suffice"


def test_call_limits_the_gas() -> None:
    chain = Chain()
    endless = chain.deploy(wat("(loop (br 0))"))
    body = """(i32.store (i32.const 512) (call $call (i32.const 0) (i32.const 32) (i32.const 0) (i32.const 0)
        (i64.const {}))) (call $output (i32.const 512) (i32.const 4))"""
    contract = chain.deploy(wat(body.format(50_000), more=data_segment(0, endless)))
    result = chain.run(to=contract, gas_limit=1_000_000)
    assert (result.status, result.output) == (Status.SUCCESS, bytes(4))
    assert 81_000 < result.gas_used < 90_000
    # Without a limit all but a 64th goes with it, so that the caller can still go on.
    contract = chain.deploy(wat(body.format(-1), more=data_segment(0, endless)))
    result = chain.run(to=contract, gas_limit=1_000_000)
    assert (result.status, result.output) == (Status.SUCCESS, bytes(4))
    assert 980_000 < result.gas_used < 1_000_000


def test_return_data_of_the_last_call() -> None:
    chain = Chain()
    echo = chain.deploy(wat(ECHO))
    contract = chain.deploy(wat(
        """(drop (call $call (i32.const 0) (i32.const 32) (i32.const 64) (i32.const 8) (i64.const -1)))
        (call $return_data (i32.const 512) (i32.const 2) (i32.const 3))
        (i32.store (i32.const 516) (call $return_size)) (call $output (i32.const 512) (i32.const 8))""",
        more=data_segment(0, echo) + data_segment(64, b"abcdefgh")))
    assert chain.run(to=contract).output == b"cde\0" + struct.pack("<I", 8)


@pytest.mark.parametrize(("algorithm", "expected"), [
    (0, keccak(b"key!")), (1, hashlib.sha256(b"key!").digest()), (2, digest(b"key!"))])
def test_digest(algorithm: int, expected: bytes) -> None:
    assert returned(
        f"(call $digest (i32.const {algorithm}) (i32.const 0) (i32.const 4) (i32.const 512))", 32, more=KEY) == expected


def signatures() -> list[tuple[int, bytes, bytes, bytes]]:
    """Scheme, signed, signature and key."""
    secret = PrivateKey(b"\5" * 32)
    signed = keccak(b"message")
    edwards = Ed25519PrivateKey.from_private_bytes(b"\6" * 32)
    return [
        (0, signed, secret.sign_recoverable(signed, hasher=None)[:64], secret.public_key.format()),
        (0, signed, secret.sign_recoverable(signed, hasher=None)[:64], secret.public_key.format(compressed=False)),
        (1, b"a message", edwards.sign(b"a message"),
         edwards.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)),
        (2, signed, secret.sign_schnorr(signed), secret.public_key.format()[1:])]


@pytest.mark.parametrize(("scheme", "signed", "signature", "key"), signatures())
def test_verify(scheme: int, signed: bytes, signature: bytes, key: bytes) -> None:
    def verified(signed: bytes, signature: bytes, key: bytes) -> int:
        return number(
            f"(call $verify (i32.const {scheme}) (i32.const 0) (i32.const {len(signed)}) (i32.const 64) (i32.const 128) "
            f"(i32.const {len(key)}))",
            more=data_segment(0, signed) + data_segment(64, signature) + data_segment(128, key))

    assert verified(signed, signature, key) == 1
    assert verified(signed[:-1] + b"\xff", signature, key) == 0
    assert verified(signed, signature[:-1] + b"\xff", key) == 0
    assert verified(signed, signature, key + bytes(40)) == 0


def test_every_function_is_documented_with_its_signature() -> None:
    text = (ROOT / "docs" / "machines-wasm.md").read_text()
    for name, each in IMPORTS.items():
        result = f" -> {each.type.results[0]}" if each.type.results else ""
        names = each.run.__wrapped__.__code__.co_varnames[1:each.run.__wrapped__.__code__.co_argcount]  # type: ignore[attr-defined]
        parameters = ", ".join(f"{of}: {kind}" for of, kind in zip(names, each.type.parameters, strict=True))
        assert f"| `{name}({parameters}){result}` |" in text, name
    for name in ("FUEL_PER_GAS", "IMPORT_GAS", "COPY_WORD_GAS", "PAGE_GAS", "CODE_WORD_GAS"):
        assert f"{getattr(limits, name):,}" in text


# ---- constructors and instances ---------------------------------------------------------------------------------


def test_deploy_runs_once_with_its_arguments() -> None:
    chain = Chain()
    body = "(call $input (i32.const 64) (i32.const 0) (call $input_size)) (call $write (i32.const 0) (i32.const 3) (i32.const 64) (call $input_size))"
    read = f'(func (export "call") (call $output (i32.const 64) (call $read {KEYED} (i32.const 64) (i32.const 99))))'
    contract = chain.deploy(wat(body, name="deploy", more=KEY + read), b"arguments")
    assert chain.run(to=contract).output == b"arguments"
    assert chain.run(to=contract, data=b"others").output == b"arguments"


def test_a_failing_constructor_leaves_nothing() -> None:
    chain = Chain()
    body = "(call $write (i32.const 0) (i32.const 3) (i32.const 0) (i32.const 3)) (call $revert (i32.const 0) (i32.const 4))"
    result = chain.deploying(wat(body, name="deploy", more=KEY + '(func (export "call"))'))
    assert (result.status, result.contract, result.output) == (Status.FAILED, None, b"key!")
    assert not any(key[:1] == b"m" for key in chain.state)


def test_arguments_without_a_constructor_are_refused() -> None:
    result = Chain().deploying(wat(""), b"arguments")
    assert (result.status, result.reason) == (
        Status.FAILED, "execution reverted: 9 bytes of arguments for a module without 'deploy'")


def test_nothing_stays_in_an_instance() -> None:
    """Neither memory nor globals."""
    chain = Chain()
    contract = chain.deploy(wat(
        """(global.set 0 (i32.add (global.get 0) (i32.const 1))) (i32.store (i32.const 512) (global.get 0))
        (i32.store (i32.const 516) (i32.add (i32.load (i32.const 516)) (i32.const 1)))
        (call $output (i32.const 512) (i32.const 8))""", more="(global (mut i32) (i32.const 0))"))
    for _ in range(2):
        assert chain.run(to=contract).output == struct.pack("<II", 1, 1)


# ---- gas --------------------------------------------------------------------------------------------------------


def code_gas(text: str) -> int:
    """For the code of a module in each message."""
    return limits.CODE_WORD_GAS * gas.words(len(wasmtime.wat2wasm(text)))


@pytest.mark.parametrize(("body", "fuel", "host"), [
    ("", 1, 0),
    ("(drop (i32.add (i32.const 1) (i32.const 2)))", 4, 0),
    ("(nop) " * 50, 1, 0),
    ("(global.set 0 (i32.const 1))" * 4, 9, 0),
    ("(global.set 0 (i32.const 1))" * 4 + "(drop (i32.const 1))", 10, 0),
    ("(global.set 0 (i32.const 1))" * 5, 11, 0),
    ("(local.set $i (i32.const 1000)) (loop (br_if 0 (local.tee $i (i32.sub (local.get $i) (i32.const 1)))))", 5_003, 0),
    ("(memory.fill (i32.const 0) (i32.const 1) (i32.const 60000))", 60_005, 0),
    ("(drop (memory.grow (i32.const 3)))", 6, 3 * limits.PAGE_GAS),
    ("(drop (memory.grow (i32.const 1000)))", 3, 0),
    ("(call $caller (i32.const 0))", 3, limits.IMPORT_GAS + limits.COPY_WORD_GAS),
    ("(call $output (i32.const 0) (i32.const 33))", 4, limits.IMPORT_GAS + 2 * limits.COPY_WORD_GAS),
    ("(call $write (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 33))", 6,
     limits.IMPORT_GAS + 3 * limits.COPY_WORD_GAS + gas.READ_COLD + gas.WRITE_NEW + gas.WRITE_WORD),
])
def test_gas_is_exact(body: str, fuel: int, host: int) -> None:
    """A limit of what was used suffices, and one gas less doesn't."""
    text = wat(body, more="(global (mut i32) (i32.const 0))")
    chain = Chain()
    contract = chain.deploy(text)
    expected = FIXED_GAS + code_gas(text) + -(-fuel // limits.FUEL_PER_GAS) + host
    saved = dict(chain.state)
    assert chain.run(to=contract).gas_used == expected
    chain.state = saved | {key: value for key, value in chain.state.items() if key[1:21] == SENDER}
    result = chain.run(to=contract, gas_limit=expected)
    assert (result.status, result.gas_used) == (Status.SUCCESS, expected)
    chain.state = saved | {key: value for key, value in chain.state.items() if key[1:21] == SENDER}
    result = chain.run(to=contract, gas_limit=expected - 1)
    assert (result.status, result.gas_used, result.reason) == (Status.FAILED, expected - 1, "out of gas")


@pytest.mark.parametrize("before", [
    "", "(drop (call $call (i32.const 0) (i32.const 32) (i32.const 0) (i32.const 0) (i64.const 0)))"])
def test_straight_code_cant_run_further_than_its_gas(before: str) -> None:
    """The library looks at the fuel at loops and calls only; after a call of another contract it is granted anew."""
    chain = Chain()
    contract = chain.deploy(wat(
        before + "(global.set 0 (i32.add (global.get 0) (i32.const 1)))" * 1000, more="(global (mut i32) (i32.const 0))"))
    used = chain.run(to=contract).gas_used
    assert chain.run(to=contract, gas_limit=used).status is Status.SUCCESS
    for missing in (1, 200, 400):
        result = chain.run(to=contract, gas_limit=used - missing)
        assert (result.status, result.reason) == (Status.FAILED, "out of gas")


PROBE = """(module (import "parsec" "output" (func $output (param i32 i32)))
  (memory (export "memory") 1) (global $deep (mut i32) (i32.const 0))
  (func $down (param f64 i64) (result f64) (global.set $deep (i32.add (global.get $deep) (i32.const 1)))
    (if (result f64) (i64.eqz (local.get 1)) (then (local.get 0))
      (else (f64.add (f64.const 0.1) (call $down (f64.sqrt (f64.add (local.get 0) (f64.const 2))) (i64.sub (local.get 1) (i64.const 1)))))))
  (func (export "call") (local f32)
    (f64.store (i32.const 0) (call $down (f64.const 3) (i64.const 1000)))
    (local.set 0 (f32.div (f32.const 0) (f32.const 0)))
    (f32.store (i32.const 8) (local.get 0))
    (f32.store (i32.const 12) (f32.neg (f32.mul (f32.reinterpret_i32 (i32.const 0x7fa12345)) (f32.const 2))))
    (f64.store (i32.const 16) (f64.promote_f32 (f32.reinterpret_i32 (i32.const 0xffa12345))))
    (i32.store (i32.const 24) (memory.grow (i32.const 300)))
    (i32.store (i32.const 28) (memory.grow (i32.const 3)))
    (call $output (i32.const 0) (i32.const 32))))"""


def probe() -> str:
    """Output and gas of a run through floats, recursion and growth."""
    chain = Chain(machines={"wasm": Wasm()})
    result = chain.run(to=chain.deploy(PROBE))
    return f"{result.output.hex()} {result.gas_used}"


PROBED = "95ffffffff7f59400000c07f0000c0ff000000000000f87fffffffff01000000 34915"
"""What every process gets to on every processor. Another result needs another version of the machine."""


def test_results_and_gas_of_version_1() -> None:
    assert probe() == PROBED


def test_another_process_gets_the_same() -> None:
    program = "from tests.unit.test_wasm import probe; print(probe())"
    ran = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert (ran.stdout.strip(), ran.stderr) == (PROBED, ""), "and it ends without a word"


def test_the_stack_is_full_at_the_same_depth_everywhere() -> None:
    """The depth is counted in the state: what ran out is taken back, so the contract tells by a call of itself."""
    chain = Chain()
    contract = chain.deploy(wat(
        """(call $input (i32.const 0) (i32.const 0) (i32.const 4)) (call $down (i32.load (i32.const 0)))""",
        more="(func $down (param i32) (if (local.get 0) (then (call $down (i32.sub (local.get 0) (i32.const 1))))))"))
    low, high = 1, 100_000
    while high - low > 1:
        middle = (low + high) // 2
        if chain.run(to=contract, data=struct.pack("<I", middle)).status is Status.SUCCESS:
            low = middle
        else:
            high = middle
    assert low == DEPTH


DEPTH = 5_456


# ---- what comes out of the host ---------------------------------------------------------------------------------


def test_missing_values_stop_everything() -> None:
    chain = Chain()
    contract = chain.deploy(wat(
        f"(call $add {KEYED} (i32.const 32)) (drop (call $read_size {KEYED}))", more=data_segment(0, b"key!")))
    relay = chain.deploy(caller_of(contract))
    key = entry_key(contract, b"key")
    for to in (contract, relay):
        with pytest.raises(Missing) as raised:
            chain.run(to=to, missing=frozenset({key}))
        assert raised.value.keys == {key}
        assert (chain.view.writes, chain.view.deltas) == ({}, {})
        assert chain.run(to=to).status is Status.SUCCESS


def test_whatever_the_host_raises_comes_out_as_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    chain = Chain()
    contract = chain.deploy(wat(f"(drop (call $read_size {KEYED}))", more=KEY))
    relay = chain.deploy(caller_of(contract))
    monkeypatch.setattr("tests.views.DictView.read", failing(InvariantViolation("a fault"), entry_key(contract, b"key")))
    for to in (contract, relay):
        with pytest.raises(InvariantViolation, match="a fault"):
            chain.run(to=to)
    monkeypatch.setattr("tests.views.DictView.read", failing(KeyboardInterrupt(), entry_key(contract, b"key")))
    with pytest.raises(KeyboardInterrupt):
        chain.run(to=relay)
    monkeypatch.undo()
    assert chain.run(to=relay).status is Status.SUCCESS


def failing(error: BaseException, wanted: bytes) -> Any:
    """A `DictView.read` that raises at one key."""
    def read(view: Any, key: bytes) -> bytes:
        if key == wanted:
            raise error
        return bytes(view.state.get(key, b""))

    return read


def test_a_failing_call_is_a_status_but_its_gas_is_gone() -> None:
    chain = Chain()
    trap = chain.deploy(wat("(unreachable)"))
    relay = chain.deploy(caller_of(trap))
    result = chain.run(to=relay, gas_limit=3_000_000)
    assert (result.status, result.output) == (Status.SUCCESS, b"")
    assert chain.entry(relay, b"s") == b"\0"
    assert result.gas_used > 2_900_000


def test_threads_dont_meet() -> None:
    """Failures and successes in several threads at once stay with their own transaction."""
    wrong: list[object] = []

    def work(number: int) -> None:
        chain = Chain()
        bodies = [ECHO, "(unreachable)", "(call $output (i32.const -1) (i32.const 9))", "(loop (br 0))"]
        contracts = [chain.deploy(wat(body)) for body in bodies]
        for turn in range(60):
            which = (turn + number) % 4
            result = chain.run(to=contracts[which], data=bytes([number]), gas_limit=60_000)
            expected = [bytes([number]), "trap: unreachable", "output: 9 bytes at", "out of gas"][which]
            if result.output != expected if which == 0 else str(expected) not in result.reason:
                wrong.append((number, which, result))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


# ---- what can be deployed ---------------------------------------------------------------------------------------

CALL = '(func (export "call"))'
MEMORY = '(memory (export "memory") 1)'


def test_text_and_binary_are_stored_as_binary() -> None:
    binary = bytes(wasmtime.wat2wasm(wat(ECHO)))
    assert MACHINE.compile(wat(ECHO).encode()) == binary
    assert MACHINE.compile(binary) == binary


@pytest.mark.parametrize(("module", "message"), [
    ("(module", "text form, line and column 1:8"),
    ("", "text form"),
    (b"\0asm\2\0\0\0", "unknown binary version"),
    (b"\0asm\1\0\0\0\1", "unexpected end"),
    ("(module)", "no memory is exported as 'memory'"),
    (f'(module {CALL} (func (export "memory")))', "no memory is exported as 'memory'"),
    (f"(module {MEMORY})", "no function is exported as 'call'"),
    (f'(module {MEMORY} (func (export "call") (param i32)))', "export 'call' is a function (i32) -> () instead of a function () -> ()"),
    (f'(module {MEMORY} (global (export "call") i32 (i32.const 1)))', "export 'call' is a global instead of"),
    (f'(module {MEMORY} {CALL} (func (export "deploy") (result i32) (i32.const 1)))', "export 'deploy' is a function () -> (i32)"),
    (f'(module (import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32))) {MEMORY} {CALL})',
     "import wasi_snapshot_preview1.fd_write: only functions of the module parsec"),
    (f'(module (import "parsec" "caller" (func (param i32))) (import "parsec" "teleport" (func)) {MEMORY} {CALL})',
     "import parsec.teleport: there is no such function; there are input_size, input, output"),
    (f'(module (import "parsec" "caller" (func (param i64))) {MEMORY} {CALL})',
     "import parsec.caller has the type (i64) -> () instead of (i32) -> ()"),
    (f'(module (import "parsec" "memory" (memory 1)) (export "memory" (memory 0)) {CALL})', "import parsec.memory is a memory"),
    (f'(module (import "parsec" "x" (global i32)) {MEMORY} {CALL})', "import parsec.x is a global"),
    (f'(module (import "parsec" "x" (table 1 funcref)) {MEMORY} {CALL})', "import parsec.x is a table"),
    (f"(module {MEMORY} {CALL} (func $s) (start $s))", "a start function"),
    (f'(module (memory (export "memory") 257) {CALL})', "memory of 257 pages at the beginning, limit 256"),
    (f'(module (memory (export "memory") 1 2 shared) {CALL})', "threads must be enabled"),
    (f'(module (memory (export "memory") i64 1) {CALL})', "memory64 must be enabled"),
    (f"(module {MEMORY} (memory 1) {CALL})", "multiple memories"),
    (f"(module {MEMORY} {CALL} (table 4097 funcref))", "table of 4,097 elements at the beginning, limit 4,096"),
    (f"(module {MEMORY} {CALL} (table 1 funcref) (table 1 funcref))", "2 tables, limit 1"),
    (f"(module {MEMORY} {CALL} (table 1 funcref) (func (table.set (i32.const 0) (ref.null func))))", "function 1 uses table.set"),
    (f"(module {MEMORY} {CALL} (table 1 funcref) (func (drop (table.grow (ref.null func) (i32.const 9)))))", "function 1 uses table.grow"),
    (f"(module {MEMORY} {CALL} (elem declare func 0) (func (drop (ref.func 0))))", "function 1 uses ref.func"),
    (f"(module {MEMORY} {CALL} (func (result i32 i32) (i32.const 1) (i32.const 1)))", "multi-value"),
    (f"(module {MEMORY} {CALL} (func (drop (v128.const i32x4 0 0 0 0))))", "SIMD support is not enabled"),
    (f"(module {MEMORY} {CALL} (func (drop (i8x16.relaxed_swizzle (v128.const i32x4 0 0 0 0) (v128.const i32x4 0 0 0 0)))))", "SIMD"),
    (f"(module {MEMORY} {CALL} (func (drop (i32.atomic.load (i32.const 0)))))", "threads support is not enabled"),
    (f"(module {MEMORY} {CALL} (func $f (return_call $f)))", "tail calls support is not enabled"),
    (f"(module {MEMORY} {CALL} (tag))", "exceptions"),
    (f"(module {MEMORY} {CALL} (type (struct)))", "gc"),
    ("(component)", "component"),
])
def test_what_is_refused(module: str | bytes, message: str) -> None:
    with pytest.raises(InvalidCode) as raised:
        MACHINE.compile(module if isinstance(module, bytes) else module.encode())
    assert message in str(raised.value)
    result = Chain().deploying(module)
    assert result.status is Status.FAILED
    assert result.reason.startswith("execution reverted: invalid wasm code: ")
    assert message in result.reason


def test_a_module_that_is_too_long() -> None:
    padded = wat("", more=data_segment(0, bytes(gas.CODE_BYTES_MAX)), memory="3")
    with pytest.raises(InvalidCode, match=r"module of 131,\d+ bytes, limit 131,072"):
        MACHINE.compile(padded.encode())
    with pytest.raises(InvalidCode, match="text of 524,289 bytes, limit 524,288"):
        MACHINE.compile(b" " * (limits.TEXT_BYTES_MAX + 1))


def test_what_compilers_give_by_default_is_taken() -> None:
    """Sign extension, saturating conversion, mutable globals, bulk memory, references and long table numbers."""
    chain = Chain()
    contract = chain.deploy(wat(
        """(drop (i32.extend8_s (i32.const 200))) (drop (i32.trunc_sat_f32_s (f32.const nan)))
        (memory.copy (i32.const 512) (i32.const 0) (i32.const 4)) (memory.fill (i32.const 514) (i32.const 33) (i32.const 1))
        (memory.init 0 (i32.const 515) (i32.const 0) (i32.const 1)) (data.drop 0) (drop (ref.is_null (ref.null func)))
        (drop (table.size)) (drop (select (result i32) (i32.const 1) (i32.const 2) (i32.const 1)))
        (block (block (br_table 0 1 0 (i32.const 1))))
        (i32.store8 (i32.const 516) (call_indirect (result i32) (i32.const 0)))
        (call $output (i32.const 512) (i32.const 5))""",
        more='(func $f (result i32) (i32.const 57)) (table 1 funcref) (elem (i32.const 0) $f) (data "z") (global (export "g") (mut i64) (i64.const -9)) (data (i32.const 0) "key!")'))
    assert chain.run(to=contract).output == b"ke!z9"


def test_another_wasmtime_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The installed one is what version 1 stands for."""
    assert importlib.metadata.version("wasmtime").split(".")[0] == "50"
    assert load(("wasm/1",))["wasm"].name == "wasm"
    monkeypatch.setattr("executors.wasm.library.version", lambda _: "51.0.0")
    with pytest.raises(ConfigurationError, match=r"needs wasmtime 50; installed is 51\.0\.0"):
        Sandbox(())


def test_few_modules_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MODULES_MAX", 2)
    chain = Chain(machines={"wasm": (wasm := Wasm())})
    contracts = [chain.deploy(wat(f"(drop (i32.const {number}))")) for number in range(4)]
    kept = wasm._modules._modules
    assert len(kept) == 2
    assert chain.run(to=contracts[0]).status is Status.SUCCESS
    assert len(kept) == 2
    monkeypatch.setattr(limits, "MODULES_BYTES_MAX", machine._MODULE_BYTES_MIN)
    assert chain.run(to=contracts[1]).status is Status.SUCCESS
    assert len(kept) == 1
    assert OTHER not in chain.state
