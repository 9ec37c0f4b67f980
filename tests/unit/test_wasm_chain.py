"""WebAssembly contracts through the engine: transactions and calls between machines, in one journal.

`Chain` and `wat` serve the other tests of this machine, too.
"""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from eth_abi.abi import decode, encode

from executors import gas
from executors.evm import PyEvm
from executors.machine import Block, Machine, Result, Status
from executors.wasm import Wasm, limits
from executors.wasm.imports import IMPORTS
from ingest.rlp import write, write_list
from ingest.transactions import Transaction
from schemas.hashing import keccak
from schemas.keys import StateKey, balance_key, entry_key, integer, minimal
from schemas.rules import Rules
from tests.views import DictView, account

EXAMPLES = Path(__file__).parents[2] / "examples"
TOKEN = (EXAMPLES / "wasm" / "token.wasm").read_bytes()
SENDER, PAYEE, OTHER = (bytes([byte]) * 20 for byte in (0x11, 0x22, 0x33))
ETHER = 10**18
BLOCK = Block(number=1000, timestamp_s=1_700_000_000, prevrandao=bytes(32), ancestor=lambda number: bytes(32))
MACHINE: Wasm = Wasm()


class Chain:
    """A state, and an engine that runs transactions on it."""

    def __init__(self, state: dict[StateKey, bytes] | None = None, machines: dict[str, Machine] | None = None) -> None:
        self.state = state if state is not None else account(SENDER, balance=1000 * ETHER)
        self._engine = PyEvm(Rules(), machines or {"wasm": MACHINE})
        self._nonces: dict[bytes, int] = {}
        self.view = DictView({})

    def run(self, *, sender: bytes = SENDER, gas_limit: int = 10_000_000, missing: frozenset[StateKey] = frozenset(), **fields: Any) -> Result:
        """Execute a transaction; its view is kept for a look at reads, writes and deltas."""
        if sender != SENDER and balance_key(sender) not in self.state:
            self.state[balance_key(sender)] = minimal(ETHER)
        self.view = DictView(self.state, missing)
        transaction: dict[str, Any] = {
            "raw": b"", "hash": b"", "type": 2, "chain_id": 1, "nonce": self._nonces.get(sender, 0), "sender": sender,
            "to": None, "value": 0, "data": b"", "gas_limit": gas_limit, "gas_price": None, "max_fee": 1,
            "max_priority_fee": 1, "access_list": (), "authorizations": (), "v": 0, "r": 0, "s": 0,
            "intrinsic_gas": 21_000, "floor_gas": 21_000}
        result = self._engine.execute(Transaction(**(transaction | fields)), BLOCK, self.view)
        assert isinstance(result, Result), result
        self._nonces[sender] = self._nonces.get(sender, 0) + 1
        self.state = self.view.state
        return result

    def deploying(self, code: bytes | str, arguments: bytes = b"", **fields: Any) -> Result:
        """Try to deploy a module, in binary or in text form."""
        code = code.encode() if isinstance(code, str) else code
        return self.run(type=0x50, machine="wasm", data=write_list((write(code), write(arguments))), **fields)

    def deploy(self, code: bytes | str, arguments: bytes = b"", **fields: Any) -> bytes:
        """Deploy a module."""
        result = self.deploying(code, arguments, **fields)
        assert result.contract is not None, result.reason
        return result.contract

    def deploy_solidity(self, name: str, arguments: bytes = b"") -> bytes:
        """Deploy an example of the EVM."""
        code = json.loads((EXAMPLES / "contracts" / "artifacts" / f"{name}.json").read_text())["bytecode"]
        result = self.run(data=bytes.fromhex(code[2:]) + arguments)
        assert result.contract is not None, result.reason
        return result.contract

    def call(self, to: bytes, function: str, *arguments: Any, **fields: Any) -> Result:
        """Call a function by its signature in Solidity."""
        return self.run(to=to, data=calldata(function, *arguments), **fields)

    def ask(self, to: bytes, function: str, *arguments: Any) -> int:
        """What a function that returns an integer gives."""
        result = self.call(to, function, *arguments)
        assert result.status is Status.SUCCESS, result.reason
        return int(decode(["uint256"], result.output)[0])

    def entry(self, contract: bytes, key: bytes) -> bytes:
        """What a contract of a machine has under a key."""
        return self.state.get(entry_key(contract, key), b"")


def calldata(function: str, *arguments: Any) -> bytes:
    """Selector and arguments."""
    types = [each for each in function[function.index("(") + 1:-1].split(",") if each]
    return keccak(function.encode())[:4] + encode(types, list(arguments))


def wat(body: str, *, more: str = "", memory: str = "1", name: str = "call") -> str:
    """A module with a body for `call`, and an import for each function of the host that is called in it."""
    declared = []
    for used in sorted(set(re.findall(r"\(call \$(\w+)", body + more)) & IMPORTS.keys()):
        of_function = IMPORTS[used].type
        parts = [f"(param {' '.join(of_function.parameters)})"] if of_function.parameters else []
        parts += [f"(result {result})" for result in of_function.results]
        declared.append(f'(import "parsec" "{used}" (func ${used} {" ".join(parts)}))')
    return f"""(module {' '.join(declared)} (memory (export "memory") {memory}) {more} (func (export "{name}")
        (local $i i32) (local $j i32) {body}))"""


def hexadecimal(address: bytes) -> str:
    """An address as libraries take it."""
    return "0x" + address.hex()


def data_segment(at: int, data: bytes) -> str:
    """Bytes that are in the memory at the beginning."""
    return f'(data (i32.const {at}) "{"".join(f"{chr(92)}{byte:02x}" for byte in data)}")'


def token_arguments(supply: int, name: str = "Example Dollar") -> bytes:
    """What the constructors of both tokens take."""
    return encode(["string", "string", "uint8", "uint256"], [name, "EXD", 18, supply])


def caller_of(target: bytes, *, fails: bool = False) -> str:
    """A contract that gives its data to another one, keeps the status under "s", and fails then if asked to."""
    end = "(call $revert (i32.const 0) (i32.const 0))" if fails else ""
    return wat(
        f"""(call $input (i32.const 1024) (i32.const 0) (call $input_size))
        (i32.store8 (i32.const 200) (call $call (i32.const 0) (i32.const 32) (i32.const 1024) (call $input_size)
          (i64.const -1)))
        (call $write (i32.const 201) (i32.const 1) (i32.const 200) (i32.const 1))
        (call $return_data (i32.const 1024) (i32.const 0) (call $return_size))
        (call $output (i32.const 1024) (call $return_size)) {end}""",
        more=data_segment(0, target) + data_segment(201, b"s"))


def evm_caller_of(target: bytes, *, static: bool = False, fails: bool = False) -> bytes:
    """Init code of an EVM contract that gives its data to another one, and returns or reverts with what comes."""
    call = "5f5f365f" + ("" if static else "5f") + "73" + target.hex() + "5a" + ("fa" if static else "f1")
    head = "365f5f37" + call + "3d5f5f3e"
    jump = len(bytes.fromhex(head)) + 7
    tail = f"60{jump:02x}57" + "3d5ffd" + "00" * (jump - len(bytes.fromhex(head)) - 6) + "5b" + ("3d5ffd" if fails else "3d5ff3")
    runtime = bytes.fromhex(head + tail)
    assert runtime[jump] == 0x5B
    return bytes.fromhex(f"60{len(runtime):02x}80600a5f395ff300") + runtime


def test_the_evm_calls_wasm_and_gets_its_answer() -> None:
    chain = Chain()
    token = chain.deploy(TOKEN, token_arguments(100))
    proxy = chain.run(data=evm_caller_of(token)).contract
    assert proxy is not None
    assert chain.call(token, "transfer(address,uint256)", hexadecimal(proxy), 40).status is Status.SUCCESS
    result = chain.call(proxy, "transfer(address,uint256)", hexadecimal(PAYEE), 30)
    assert result.status is Status.SUCCESS, result.reason
    assert integer(result.output) == 1
    # To the token its caller is the EVM contract.
    assert [chain.ask(token, "balanceOf(address)", hexadecimal(each)) for each in (SENDER, proxy, PAYEE)] == [60, 10, 30]
    log, = result.logs
    assert log.address == token
    result = chain.call(proxy, "transfer(address,uint256)", hexadecimal(PAYEE), 11)
    assert (result.status, result.reason) == (Status.FAILED, "execution reverted: insufficient balance")


def test_a_static_call_may_read_but_not_write() -> None:
    chain = Chain()
    token = chain.deploy(TOKEN, token_arguments(100))
    proxy = chain.run(data=evm_caller_of(token, static=True)).contract
    assert proxy is not None
    assert chain.ask(proxy, "balanceOf(address)", hexadecimal(SENDER)) == 100
    result = chain.call(proxy, "approve(address,uint256)", hexadecimal(PAYEE), 1)
    assert result.status is Status.FAILED
    assert not chain.view.writes.keys() & {key for key in chain.state if key[1:21] == token}


def test_wasm_calls_a_solidity_token() -> None:
    chain = Chain()
    token = chain.deploy_solidity("Token", token_arguments(100))
    relay = chain.deploy(caller_of(token))
    chain.call(token, "transfer(address,uint256)", hexadecimal(relay), 50)
    result = chain.call(relay, "transfer(address,uint256)", hexadecimal(PAYEE), 20)
    assert result.status is Status.SUCCESS, result.reason
    assert integer(result.output) == 1
    assert chain.ask(token, "balanceOf(address)", hexadecimal(PAYEE)) == 20
    assert chain.entry(relay, b"s") == b"\x01"
    # A revert below is a status to the caller, with the data of the revert.
    result = chain.call(relay, "transfer(address,uint256)", hexadecimal(PAYEE), 31)
    assert result.status is Status.SUCCESS
    assert chain.entry(relay, b"s") == b"\x00"
    assert decode(["string"], result.output[4:]) == ("Token: insufficient balance",)
    assert chain.ask(token, "balanceOf(address)", hexadecimal(PAYEE)) == 20


@pytest.mark.parametrize("caller", ["wasm", "evm"])
def test_one_revert_undoes_both_machines(caller: str) -> None:
    chain = Chain()
    if caller == "wasm":
        token = chain.deploy_solidity("Token", token_arguments(100))
        relay: bytes | None = chain.deploy(caller_of(token, fails=True))
    else:
        token = chain.deploy(TOKEN, token_arguments(100))
        relay = chain.run(data=evm_caller_of(token, fails=True)).contract
    assert relay is not None
    chain.call(token, "transfer(address,uint256)", hexadecimal(relay), 50)
    before = dict(chain.state)
    result = chain.call(relay, "transfer(address,uint256)", hexadecimal(PAYEE), 20)
    assert result.status is Status.FAILED
    assert result.logs == ()
    changed = {key for key in chain.state if chain.state[key] != before.get(key)}
    assert changed == {key for key in changed if key[1:21] in {SENDER, Rules().coinbase}}, "fees and nonce only"


def test_a_solidity_pool_swaps_a_wasm_token_for_a_solidity_token() -> None:
    """The pool takes the one for the other by the interface alone; where one side fails, both are as before."""
    chain = Chain()
    tokens = [chain.deploy(TOKEN, token_arguments(10**24)), chain.deploy_solidity("Token", token_arguments(10**24))]
    pool = chain.deploy_solidity("Pool", encode(["address", "address"], [hexadecimal(each) for each in tokens]))
    for each in tokens:
        assert chain.call(each, "approve(address,uint256)", hexadecimal(pool), 2**256 - 1).status is Status.SUCCESS
    result = chain.call(pool, "addLiquidity(uint256,uint256,uint256,address)", 10**21, 10**21, 0, hexadecimal(SENDER))
    assert result.status is Status.SUCCESS, result.reason
    swap = "swap(address,uint256,uint256,address)"
    wasm_token = tokens[0]
    before = [chain.ask(each, "balanceOf(address)", hexadecimal(SENDER)) for each in tokens]
    result = chain.call(pool, swap, hexadecimal(wasm_token), 10**18, 0, hexadecimal(SENDER))
    assert result.status is Status.SUCCESS, result.reason
    assert {log.address for log in result.logs} >= set(tokens)
    after = [chain.ask(each, "balanceOf(address)", hexadecimal(SENDER)) for each in tokens]
    assert before[0] - after[0] == 10**18
    assert after[1] > before[1]
    # Nobody can be paid at the zero address. The pool finds out after it has taken the other token.
    for taken in tokens:
        result = chain.call(pool, swap, hexadecimal(taken), 10**18, 0, hexadecimal(bytes(20)))
        assert (result.status, result.logs) == (Status.FAILED, ())
        assert "transfer to the zero address" in result.reason
        assert [chain.ask(each, "balanceOf(address)", hexadecimal(SENDER)) for each in tokens] == after


def recursive(target: str = "(call $contract (i32.const 0))", *, static: bytes = b"") -> str:
    """A contract that calls itself, or the contract before it, one level less deep, and returns the depth reached."""
    return wat(
        f"""{target if not static else ""}
        (call $input (i32.const 64) (i32.const 0) (i32.const 32))
        (if (i32.eqz (i32.load8_u (i32.const 95))) (then (call $output (i32.const 64) (i32.const 32)) (return)))
        (i32.store8 (i32.const 95) (i32.sub (i32.load8_u (i32.const 95)) (i32.const 1)))
        (if (i32.eqz (call $call (i32.const 0) (i32.const 32) (i32.const 64) (i32.const 32) (i64.const -1)))
          (then (call $return_data (i32.const 256) (i32.const 0) (call $return_size))
            (call $revert (i32.const 256) (call $return_size))))
        (call $return_data (i32.const 128) (i32.const 0) (i32.const 32))
        (i32.store8 (i32.const 159) (i32.add (i32.load8_u (i32.const 159)) (i32.const 1)))
        (call $output (i32.const 128) (i32.const 32))""",
        more=data_segment(0, static) if static else "")


def test_contracts_nest_to_the_limit() -> None:
    chain = Chain()
    contract = chain.deploy(recursive())
    deepest = gas.DEPTH_MAX - 1
    result = chain.run(to=contract, data=deepest.to_bytes(32, "big"))
    assert (result.status, integer(result.output)) == (Status.SUCCESS, deepest)
    result = chain.run(to=contract, data=gas.DEPTH_MAX.to_bytes(32, "big"))
    assert result.status is Status.FAILED
    assert chain.run(to=contract, data=bytes(32)).status is Status.SUCCESS


def test_machines_nest_in_one_another_to_the_limit() -> None:
    """WebAssembly calls the EVM, which calls it again, and so on; only the one counts against the limit."""
    chain = Chain()
    # The two need each other's address: the EVM contract is told it in its data.
    proxy = chain.run(data=bytes.fromhex("601780600a5f395ff300") + bytes.fromhex(
        "365f5f37" "60205f365f5f335af1" "60205ff3").ljust(23, b"\0")).contract
    assert proxy is not None
    contract = chain.deploy(recursive(static=proxy))
    deepest = gas.DEPTH_MAX - 1
    result = chain.run(to=contract, data=deepest.to_bytes(32, "big"))
    assert (result.status, integer(result.output)) == (Status.SUCCESS, deepest), result.reason
    assert chain.run(to=contract, data=bytes(32)).status is Status.SUCCESS


def test_each_nested_message_has_a_memory_of_its_own() -> None:
    """All levels grow to the limit at once, and one after the other ends."""
    chain = Chain()
    grow = f"(drop (memory.grow (i32.const {limits.MEMORY_PAGES_MAX - 1}))) (i32.store (i32.const 16777212) (i32.const 7))"
    contract = chain.deploy(recursive("(call $contract (i32.const 0)) " + grow))
    result = chain.run(to=contract, data=(gas.DEPTH_MAX - 1).to_bytes(32, "big"), gas_limit=30_000_000)
    assert (result.status, integer(result.output)) == (Status.SUCCESS, gas.DEPTH_MAX - 1)
