"""The machine inside of the platform's engine: deployed, called, out of gas, reverted, called by EVM code.

The machine comes in as in a process of a pipeline, by its entry point: install the package first.
"""

from collections.abc import Callable
from pathlib import Path

import pytest
from eth_abi import decode, encode

from executors.evm import PyEvm
from executors.machine import Block, InvalidCode, Missing, Result, Status
from executors.machines import load, opened
from executors.view import Overlay, View
from ingest.accounts import deployment, development_accounts, sign_for_machine, sign_transfer
from ingest.transactions import decode as decoded
from schemas.hashing import keccak
from schemas.keys import balance_key, blob_key, code_key, entry_key, integer, minimal
from schemas.rules import Rules as ChainRules

CHAIN = ChainRules(machines=("rules/1",))
TILL = (Path(__file__).parents[1] / "till.rules").read_bytes()
BLOCK = Block(number=7, timestamp_s=1_700_000_000, prevrandao=bytes(32), ancestor=lambda _: bytes(32))
OWNER, MEMBER, PAYER = development_accounts(3)


def address(account: object) -> bytes:
    return bytes.fromhex(account.address[2:])


def calldata(signature: str, *values: int) -> bytes:
    return keccak(signature.encode())[:4] + encode(["uint256"] * len(values), values)


class Chain:
    """A state, and transactions one after the other."""

    def __init__(self) -> None:
        self.state = {balance_key(address(each)): minimal(10**20) for each in (OWNER, MEMBER, PAYER)}
        self.engine = PyEvm(CHAIN)
        self.nonces = dict.fromkeys((OWNER.address, MEMBER.address, PAYER.address), 0)
        self.reads: frozenset[bytes] = frozenset()

    def run(self, raw: bytes, base: Callable[[bytes], bytes] | None = None) -> Result:
        view = View(Overlay(), base or (lambda key: self.state.get(key, b"")))
        answer = self.engine.execute(decoded(raw, CHAIN), BLOCK, view)
        assert isinstance(answer, Result), answer
        run = view.finish(answer)
        self.state |= run.writes
        for key, amount in run.deltas.items():
            self.state[key] = minimal(integer(self.state.get(key, b"")) + amount)
        self.reads = run.reads
        return answer

    def nonce(self, account: object) -> int:
        self.nonces[account.address] += 1
        return self.nonces[account.address] - 1

    def deploy(self, source: bytes, arguments: bytes = b"", gas: int = 5_000_000) -> Result:
        return self.run(sign_for_machine(
            OWNER, chain_id=CHAIN.chain_id, nonce=self.nonce(OWNER), machine="rules", to=None,
            data=deployment(source, arguments), gas_limit=gas, max_fee=0))

    def call(self, account: object, to: bytes, data: bytes, value: int = 0, gas: int = 500_000) -> Result:
        return self.run(self.signed(account, to, data, value, gas))

    def signed(self, account: object, to: bytes, data: bytes, value: int = 0, gas: int = 500_000) -> bytes:
        return sign_transfer(
            account, chain_id=CHAIN.chain_id, nonce=self.nonce(account), to=to, value=value, data=data,
            gas_limit=gas, max_fee=0)


@pytest.fixture
def chain() -> Chain:
    return Chain()


@pytest.fixture
def till(chain: Chain) -> bytes:
    made = chain.deploy(TILL, encode(["uint256"], [1_000]))
    assert made.status is Status.SUCCESS, made.reason
    return made.contract


def test_the_entry_point_gives_the_machine() -> None:
    assert load(("rules/1",))["rules"].version == 1


def test_a_contract_is_stored_in_its_container(chain: Chain, till: bytes) -> None:
    assert opened(chain.state[blob_key(chain.state[code_key(till)])]) == ("rules", TILL)
    assert chain.state[entry_key(till, b"limit")] == minimal(1_000)
    assert chain.state[entry_key(till, b"owner")] == address(OWNER)


def test_the_till(chain: Chain, till: bytes) -> None:
    paid = chain.call(PAYER, till, calldata("deposit()"), value=5_000)
    assert (paid.status, len(paid.logs)) == (Status.SUCCESS, 1)
    assert paid.logs[0].topics == (keccak(b"Deposited(uint256,uint256)"),)
    before = integer(chain.state[balance_key(address(MEMBER))])
    taken = chain.call(MEMBER, till, calldata("take(uint256)", 600))
    assert decode(["uint256"], taken.output) == (400,)
    assert integer(chain.state[balance_key(address(MEMBER))]) == before + 600
    left = chain.call(PAYER, till, calldata("left(uint256)", int.from_bytes(address(MEMBER), "big")))
    assert decode(["uint256"], left.output) == (400,)
    assert decode(["uint256"], chain.call(PAYER, till, calldata("total()")).output) == (5_000,)


def test_a_requirement_reverts_with_its_words(chain: Chain, till: bytes) -> None:
    chain.call(PAYER, till, calldata("deposit()"), value=5_000)
    before = dict(chain.state)
    failed = chain.call(MEMBER, till, calldata("take(uint256)", 1_001))
    assert (failed.status, failed.reason) == (Status.FAILED, "execution reverted: over the limit")
    assert failed.gas_used < 100_000
    assert {key for key in chain.state if chain.state[key] != before.get(key)} == {b"n" + address(MEMBER)}
    assert chain.call(MEMBER, till, calldata("raise_limit(uint256)", 1)).reason == "execution reverted: not the owner"
    assert chain.call(OWNER, till, calldata("raise_limit(uint256)", 1)).status is Status.SUCCESS
    assert chain.call(MEMBER, till, calldata("take(uint256)", 1_001)).status is Status.SUCCESS


def test_a_payment_that_cannot_be_made_takes_all_back(chain: Chain, till: bytes) -> None:
    failed = chain.call(MEMBER, till, calldata("take(uint256)", 600))
    assert failed.status is Status.FAILED
    assert entry_key(till, b"taken[" + address(MEMBER).rjust(32, b"\0")) not in chain.state


@pytest.mark.parametrize(("data", "reason"), [
    (b"", "no rule has the selector 0x"),
    (b"\1\2\3\4", "no rule has the selector 0x01020304"),
    (calldata("take(uint256)", 1)[:-1], "take takes 1 numbers of 32 bytes, found 31 bytes"),
    (calldata("left(uint256)", 1) + b"\0", "left takes 1 numbers of 32 bytes, found 33 bytes"),
])
def test_calldata_that_is_wrong(chain: Chain, till: bytes, data: bytes, reason: str) -> None:
    assert chain.call(MEMBER, till, data).reason == f"execution reverted: {reason}"


@pytest.mark.parametrize(("body", "reason"), [
    ("x = 1 - 2", "line 3: - leaves the numbers from 0 to 2**256 - 1"),
    ("x = 0xffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff + 1", "line 3: + leaves the numbers"),
    ("x = 5 / x", "line 3: division by zero"),
    ("pay 1 to 0x" + "f" * 41, "line 3: 0x" + "f" * 41 + " is no address"),
])
def test_arithmetic(chain: Chain, body: str, reason: str) -> None:
    made = chain.deploy(f"state x\nrule go()\n  {body}\n".encode())
    assert chain.call(MEMBER, made.contract, calldata("go()")).reason.startswith(f"execution reverted: {reason}")


def test_expressions(chain: Chain) -> None:
    source = b"""
state x
rule go(a, b)
    x = (a + b * 2 == 7 and not (a > b)) + 10 * (a % 2) + 100 * (b / 2)
    return x + 1000 * (a != b or 1 / 0)  # what needn't be known isn't computed
"""
    made = chain.deploy(source)
    done = chain.call(MEMBER, made.contract, calldata("go(uint256,uint256)", 1, 3))
    assert decode(["uint256"], done.output) == (1_111,)


@pytest.mark.parametrize(("source", "fault"), [
    (b"rule f()\n  x = 1", "line 2: x is no state"),
    (b"state x\nx = 1", "line 2: a statement before the first rule"),
    (b"rule f()\n  return y", "line 2: y is neither a parameter nor a state"),
    (b"rule f()\nrule f()", "line 2: rule f stands there twice"),
    (b"rule f(caller)", "line 1: a name is expected, found 'caller'"),
    (b"rule f(a, a)", "line 1: a parameter has the name of another one"),
    (b"rule f()\n  return 1 +", "line 2: a name is expected, found ''"),
    (b"rule f()\n  return 1 1", "line 2: unexpected '1'"),
    (b"rule f()\n  return ;", "line 2: unexpected ';'"),
    (b"rule f()\n  require 1, no", "line 2: words in quotation marks"),
    (b"rule f()\n  return " + b"(" * 40 + b"1" + b")" * 40, "line 2: more than 16 expressions in one another"),
    (b"rule f()\n  return 1" + b"+1" * 60, "line 2: more than 100 words and signs"),
    (b"rule f()\n  return 2" + b"0" * 90, "line 2: a number above 2**256 - 1"),
    (b"rule f()\n  return " + b"1" * 5_000, "line 2: a number above 2**256 - 1"),
    (b"rule f()\n  return " + b"not " * 20 + b"1", "line 2: more than 16 expressions in one another"),
    (b"state x\nrule f()\n  return " + b"x[" * 20 + b"1" + b"]" * 20, "line 3: more than 16 expressions in one another"),
    (b"# \xe9", "line 1: only ASCII"),
    (b"#" * 20_000, "a source of 20000 bytes, limit 16384"),
])
def test_code_that_is_wrong(chain: Chain, source: bytes, fault: str) -> None:
    with pytest.raises(InvalidCode) as caught:
        load(("rules/1",))["rules"].compile(source)
    assert fault in str(caught.value)
    failed = chain.deploy(source, gas=10_000_000)
    assert failed.status is Status.FAILED
    assert failed.reason == f"execution reverted: invalid rules code: {caught.value}"


def test_gas_is_the_same_every_time_and_may_run_out(till: bytes, chain: Chain) -> None:
    chain.call(PAYER, till, calldata("deposit()"), value=5_000)
    used = [chain.call(account, till, calldata("take(uint256)", 1)).gas_used for account in (MEMBER, PAYER)]
    assert used[0] == used[1]
    before = dict(chain.state)
    failed = chain.call(OWNER, till, calldata("take(uint256)", 1), gas=used[0] - 1)
    assert (failed.status, failed.reason, failed.gas_used) == (Status.FAILED, "out of gas", used[0] - 1)
    assert {key for key in chain.state if chain.state[key] != before.get(key)} == {b"n" + address(OWNER)}


def test_adding_does_not_read(chain: Chain, till: bytes) -> None:
    chain.call(PAYER, till, calldata("deposit()"), value=5)
    assert entry_key(till, b"deposits") not in chain.reads
    assert chain.state[entry_key(till, b"deposits")] == b"\5"


def test_a_missing_value_leaves_nothing_behind(chain: Chain, till: bytes) -> None:
    """A run that stops for a value is run again, with the same result as if it had been there."""
    raw = chain.signed(MEMBER, till, calldata("left(uint256)", 5))
    known: set[bytes] = set()

    def base(key: bytes) -> bytes:
        if key not in known:
            raise Missing(frozenset({key}))
        return chain.state.get(key, b"")

    for _ in range(100):
        try:
            answer = chain.run(raw, base)
        except Missing as missing:
            known |= missing.keys
        else:
            break
    assert decode(["uint256"], answer.output) == (1_000,)
    assert len(known) > 4


def test_evm_code_calls_it(chain: Chain, till: bytes) -> None:
    """A contract of the EVM hands its calldata on, and what comes back to its caller."""
    code = bytes.fromhex(f"36600060003760006000366000600073{till.hex()}5af13d6000803e602f573d6000fd5b3d6000f3")
    jump = code.index(b"\x5b")
    code = code.replace(b"\x60\x2f\x57", bytes([0x60, jump, 0x57]))
    proxy = b"\x33" * 20
    chain.state |= {code_key(proxy): keccak(code), blob_key(keccak(code)): code}
    done = chain.call(MEMBER, proxy, calldata("left(uint256)", 5))
    assert decode(["uint256"], done.output) == (1_000,)
    failed = chain.call(OWNER, proxy, calldata("raise_limit(uint256)", 5))
    assert failed.reason == "execution reverted: not the owner", "the caller is the proxy, and its words come through"
