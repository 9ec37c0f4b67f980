"""A chain of one engine and one state, to run Lua contracts on; and what makes contracts in tests short."""

import json
from pathlib import Path
from typing import Any

from eth_abi.abi import decode as eth_decode
from eth_abi.abi import encode as eth_encode

from executors.evm import PyEvm
from executors.lua import Lua
from executors.machine import Block, Machine, Rejected, Result, Status, Waits
from ingest.rlp import write, write_list
from ingest.transactions import Transaction
from schemas.hashing import keccak
from schemas.keys import StateKey, balance_key, minimal
from schemas.rules import Rules
from tests.views import DictView

ROOT = Path(__file__).parents[1]
ALICE, BOB, CAROL = b"\x11" * 20, b"\x22" * 20, b"\x33" * 20
NOBODY = bytes(20)
RULES = Rules(base_fee=0)
BLOCK = Block(number=1000, timestamp_s=1_700_000_000, prevrandao=b"\x05" * 32, ancestor=lambda n: n.to_bytes(32, "big"))
SOLIDITY_TOKEN = bytes.fromhex(json.loads((ROOT / "examples/contracts/artifacts/Token.json").read_text())["bytecode"][2:])
ETHER = 10**18


def example(name: str) -> bytes:
    """The source of an example."""
    return (ROOT / "examples/lua" / f"{name}.lua").read_bytes()


def hexed(address: bytes) -> str:
    return "0x" + address.hex()


def payload(signature: str, *values: Any) -> bytes:
    """Calldata by another ABI library than ours."""
    types = signature[signature.index("(") + 1:-1]
    listed = [item for item in types.split(",") if item]
    given = [hexed(v) if t == "address" else [hexed(x) for x in v] if t == "address[]" else v for t, v in zip(listed, values, strict=True)]
    return keccak(signature.encode())[:4] + eth_encode(listed, given)


class Chain:
    """A state that transactions are run on, one after the other."""

    def __init__(self, machines: dict[str, Machine] | None = None) -> None:
        self.engine = PyEvm(RULES, machines or {"lua": Lua()})
        self.state: dict[StateKey, bytes] = {balance_key(who): minimal(100 * ETHER) for who in (ALICE, BOB, CAROL)}
        self.nonces = dict.fromkeys((ALICE, BOB, CAROL), 0)
        self.view = DictView({})

    def run(self, *, sender: bytes = ALICE, missing: frozenset[StateKey] = frozenset(), **fields: Any) -> Result:
        defaults: dict[str, Any] = {
            "raw": b"", "hash": b"", "type": 2, "chain_id": RULES.chain_id, "nonce": self.nonces[sender], "sender": sender,
            "to": None, "value": 0, "data": b"", "gas_limit": 5_000_000, "gas_price": None, "max_fee": 1,
            "max_priority_fee": 0, "access_list": (), "authorizations": (), "v": 0, "r": 0, "s": 0,
            "intrinsic_gas": 21_000, "floor_gas": 21_000}
        self.view = DictView(self.state, missing)
        answer = self.engine.execute(Transaction(**defaults | fields), BLOCK, self.view)
        assert not isinstance(answer, Rejected | Waits), answer
        self.state = self.view.state
        self.nonces[sender] += 1
        return answer

    def try_deploy(self, source: bytes | str, arguments: bytes = b"", **fields: Any) -> Result:
        code = source.encode() if isinstance(source, str) else source
        fields = {"gas_limit": 30_000_000} | fields
        return self.run(type=0x50, machine="lua", data=write_list((write(code), write(arguments))), **fields)

    def deploy(self, source: bytes | str, arguments: bytes = b"", **fields: Any) -> bytes:
        result = self.try_deploy(source, arguments, **fields)
        assert result.status is Status.SUCCESS, result.reason
        assert result.contract is not None
        return result.contract

    def solidity(self, init_code: bytes) -> bytes:
        result = self.run(data=init_code)
        assert result.contract is not None, result.reason
        return result.contract

    def send(self, to: bytes, signature: str, *values: Any, **fields: Any) -> Result:
        return self.run(to=to, data=payload(signature, *values), **fields)

    def ok(self, to: bytes, signature: str, *values: Any, **fields: Any) -> Result:
        result = self.send(to, signature, *values, **fields)
        assert result.status is Status.SUCCESS, result.reason
        return result

    def read(self, to: bytes, signature: str, *values: Any, returns: str = "uint256") -> Any:
        result = self.ok(to, signature, *values)
        found = eth_decode(returns.split(","), result.output)
        return found[0] if len(found) == 1 else found


def body(code: str, *, signature: str = "f()", extra: str = "") -> str:
    """A contract with one function."""
    return f'{extra}\nreturn {{ ["{signature}"] = function(a, b, c) {code} end }}'


def evaluate(code: str, returns: str, *, parameters: str = "", values: tuple[Any, ...] = (), extra: str = "") -> Any:
    """What the body of a function returns."""
    chain = Chain()
    contract = chain.deploy(body(code, signature=f"f({parameters}) returns ({returns})", extra=extra))
    return chain.read(contract, f"f({parameters})", *values, returns=returns)


def failure(code: str, **fields: Any) -> Result:
    """How a function with that body fails."""
    chain = Chain()
    result = chain.send(chain.deploy(body(code)), "f()", **fields)
    assert result.status is Status.FAILED
    return result


def lua_token(chain: Chain, supply: int = 1_000) -> bytes:
    return chain.deploy(example("token"), eth_encode(["string", "string", "uint8", "uint256"], ["Example", "EXD", 18, supply]))


def solidity_token(chain: Chain, supply: int = 1_000) -> bytes:
    return chain.solidity(SOLIDITY_TOKEN + eth_encode(["string", "string", "uint8", "uint256"], ["Example", "EXD", 18, supply]))


def init_code(code: bytes) -> bytes:
    """Code that deploys code."""
    size = bytes([0x60, len(code)])
    return size + bytes.fromhex("600c600039") + size + bytes.fromhex("6000f3") + code


def evm_caller(target: bytes) -> bytes:
    """Init code of a contract that passes its calldata on to a target, and what comes back to its caller."""
    return init_code(
        bytes.fromhex("365f5f37")  # copy the calldata
        + bytes.fromhex("5f5f365f5f73") + target + bytes.fromhex("5af1")  # no output yet, all input, no value
        + bytes.fromhex("3d5f5f3e602a57")  # copy what came back; where did it end?
        + bytes.fromhex("3d5ffd5b3d5ff3"))  # revert with it, or return it


def static_caller(target: bytes) -> bytes:
    """As above by STATICCALL, which returns whether that succeeded."""
    return init_code(
        bytes.fromhex("365f5f375f5f365f73") + target + bytes.fromhex("5afa") + bytes.fromhex("5f5260205ff3"))
