"""The examples for WebAssembly: the committed modules are those that are tested, and they do what they say."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from eth_abi.abi import decode, encode

from executors.machine import Status
from executors.wasm import binary
from executors.wasm.imports import IMPORTS
from schemas.hashing import keccak
from schemas.keys import entry_key, integer, minimal
from tests.unit.test_wasm_chain import (
    EXAMPLES,
    OTHER,
    PAYEE,
    SENDER,
    TOKEN,
    Chain,
    calldata,
    hexadecimal,
    token_arguments,
)

HERE = EXAMPLES / "wasm"
MANIFEST = json.loads((HERE / "manifest.json").read_text())
TRANSFER = keccak(b"Transfer(address,address,uint256)")
APPROVAL = keccak(b"Approval(address,address,uint256)")
SUPPLY = 10**24
LARGEST = 2**256 - 1


def deployed() -> tuple[Chain, bytes]:
    """A chain with a token whose supply is the sender's."""
    chain = Chain()
    return chain, chain.deploy(TOKEN, token_arguments(SUPPLY))


def balance(chain: Chain, token: bytes, account: bytes) -> int:
    """What an account holds."""
    return chain.ask(token, "balanceOf(address)", hexadecimal(account))


def allowance(chain: Chain, token: bytes, spender: bytes) -> int:
    """What the sender has allowed."""
    return chain.ask(token, "allowance(address,address)", hexadecimal(SENDER), hexadecimal(spender))


# ---- the files --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(MANIFEST))
def test_the_committed_module_is_the_one_in_the_manifest(name: str) -> None:
    code = (HERE / name).read_bytes()
    assert hashlib.sha256(code).hexdigest() == MANIFEST[name]["sha256"]
    assert (HERE / MANIFEST[name]["source"]).is_file()
    readme = (HERE / "README.md").read_text()
    assert MANIFEST[name]["sha256"] in readme
    assert MANIFEST[name]["compiler"] in readme
    if name == "token.wasm":
        assert code == TOKEN


def test_every_module_is_in_the_manifest() -> None:
    assert {path.name for path in HERE.glob("*.wasm")} == MANIFEST.keys()


@pytest.mark.parametrize("name", sorted(MANIFEST))
def test_a_module_tells_nothing_of_the_machine_that_built_it(name: str) -> None:
    assert not re.search(rb"/(home|root|work|tmp|Users)/", (HERE / name).read_bytes())


@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", sorted(MANIFEST))
def test_rebuilding_gives_the_same_bytes(name: str, tmp_path: Path) -> None:
    if name == "token.wasm":
        why = compiler_missing(MANIFEST[name]["compiler"])
        if why:
            if os.environ.get("REQUIRE_RUST") == "1":
                pytest.fail(f"REQUIRE_RUST=1, but {why}")
            pytest.skip(why)
    for file in ("Makefile", MANIFEST[name]["source"]):
        shutil.copy(HERE / file, tmp_path)
    ran = subprocess.run(["make", name, f"PYTHON={sys.executable}"], cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False)
    assert ran.returncode == 0, ran.stderr
    assert (tmp_path / name).read_bytes() == (HERE / name).read_bytes(), f"{name}: build it again, and change the manifest"


def compiler_missing(wanted: str) -> str:
    """Why the Rust example can't be built here, if so."""
    rustc = shutil.which("rustc")
    if rustc is None:
        return "rustc isn't installed"
    version = subprocess.run([rustc, "--version"], capture_output=True, text=True, check=False).stdout.strip()
    if version != wanted:
        return f"rustc here is {version or 'broken'}, not {wanted}"
    root = subprocess.run([rustc, "--print", "sysroot"], capture_output=True, text=True, check=False).stdout.strip()
    if not (Path(root) / "lib/rustlib/wasm32-unknown-unknown").is_dir():
        return "the target wasm32-unknown-unknown isn't installed"
    return ""


def test_the_source_declares_what_the_host_has() -> None:
    """Names in the Rust source are those of the machine."""
    declared = re.findall(r"pub fn (\w+)\(", (HERE / "token.rs").read_text())
    assert declared
    assert set(declared) <= IMPORTS.keys()
    assert {each.name for each in binary.read(TOKEN).imports} == set(declared)


# ---- the token --------------------------------------------------------------------------------------------------


def test_what_the_constructor_sets() -> None:
    chain, token = deployed()
    assert decode(["string"], chain.call(token, "name()").output) == ("Example Dollar",)
    assert decode(["string"], chain.call(token, "symbol()").output) == ("EXD",)
    assert chain.ask(token, "decimals()") == 18
    assert chain.ask(token, "totalSupply()") == SUPPLY
    assert chain.call(token, "owner()").output == SENDER.rjust(32, b"\0")
    assert balance(chain, token, SENDER) == SUPPLY


@pytest.mark.parametrize("name", ["", "x" * 32, "ü" * 32, "y" * 64])
def test_names_of_every_length(name: str) -> None:
    chain = Chain()
    token = chain.deploy(TOKEN, token_arguments(1, name))
    assert chain.call(token, "name()").output == encode(["string"], [name])


@pytest.mark.parametrize(("arguments", "reason"), [
    (b"", "execution reverted"),
    (token_arguments(1, "z" * 65), "execution reverted: Token: text too long"),
    (token_arguments(1)[:-32], "execution reverted"),
    (b"\xff" * 32 + token_arguments(1)[32:], "execution reverted"),
    ((1000).to_bytes(32, "big") + token_arguments(1)[32:], "execution reverted"),
])
def test_wrong_arguments_deploy_nothing(arguments: bytes, reason: str) -> None:
    result = Chain().deploying(TOKEN, arguments)
    assert (result.status, result.contract, result.reason) == (Status.FAILED, None, reason)


def test_transfer() -> None:
    chain, token = deployed()
    result = chain.call(token, "transfer(address,uint256)", hexadecimal(PAYEE), 30)
    assert (result.status, integer(result.output)) == (Status.SUCCESS, 1)
    log, = result.logs
    assert (log.address, log.topics) == (token, (TRANSFER, SENDER.rjust(32, b"\0"), PAYEE.rjust(32, b"\0")))
    assert integer(log.data) == 30
    assert [balance(chain, token, each) for each in (SENDER, PAYEE)] == [SUPPLY - 30, 30]


def test_a_payment_doesnt_read_its_receiver() -> None:
    """So that payments to one account don't wait for each other."""
    chain, token = deployed()
    chain.call(token, "transfer(address,uint256)", hexadecimal(PAYEE), 30)
    key = entry_key(token, b"b" + PAYEE)
    assert chain.view.deltas[key] == 30
    assert key not in chain.view.reads
    assert entry_key(token, b"b" + SENDER) in chain.view.reads


@pytest.mark.parametrize("amount", [0, 1, 255, 256, 2**64, 10**23, SUPPLY])
def test_amounts(amount: int) -> None:
    chain, token = deployed()
    assert chain.call(token, "transfer(address,uint256)", hexadecimal(PAYEE), amount).status is Status.SUCCESS
    assert [balance(chain, token, each) for each in (SENDER, PAYEE)] == [SUPPLY - amount, amount]
    assert chain.call(token, "transfer(address,uint256)", hexadecimal(SENDER), SUPPLY - amount).status is Status.SUCCESS
    assert balance(chain, token, SENDER) == SUPPLY - amount, "a transfer to oneself changes nothing"


@pytest.mark.parametrize(("function", "arguments", "reason"), [
    ("transfer(address,uint256)", (PAYEE, SUPPLY + 1), "insufficient balance"),
    ("transfer(address,uint256)", (PAYEE, LARGEST), "insufficient balance"),
    ("transfer(address,uint256)", (bytes(20), 1), "transfer to the zero address"),
    ("approve(address,uint256)", (bytes(20), 1), "approve to the zero address"),
    ("mint(address,uint256)", (PAYEE, LARGEST), "supply too large"),
    ("mint(address,uint256)", (bytes(20), 1), "mint to the zero address"),
])
def test_failures(function: str, arguments: tuple[bytes, int], reason: str) -> None:
    chain, token = deployed()
    result = chain.call(token, function, hexadecimal(arguments[0]), arguments[1])
    assert (result.status, result.reason, result.logs) == (Status.FAILED, f"execution reverted: {reason}", ())
    assert decode(["string"], result.output[4:]) == (reason,)
    assert [balance(chain, token, each) for each in (SENDER, PAYEE)] == [SUPPLY, 0]
    assert chain.ask(token, "totalSupply()") == SUPPLY


def test_approve_and_transfer_from() -> None:
    chain, token = deployed()
    result = chain.call(token, "approve(address,uint256)", hexadecimal(OTHER), 100)
    log, = result.logs
    assert log.topics == (APPROVAL, SENDER.rjust(32, b"\0"), OTHER.rjust(32, b"\0"))
    assert allowance(chain, token, OTHER) == 100
    move = "transferFrom(address,address,uint256)"
    result = chain.call(token, move, hexadecimal(SENDER), hexadecimal(PAYEE), 60, sender=OTHER)
    assert (result.status, integer(result.output)) == (Status.SUCCESS, 1)
    assert (allowance(chain, token, OTHER), balance(chain, token, PAYEE)) == (40, 60)
    result = chain.call(token, move, hexadecimal(SENDER), hexadecimal(PAYEE), 41, sender=OTHER)
    assert (result.status, result.reason) == (Status.FAILED, "execution reverted: insufficient allowance")
    assert allowance(chain, token, OTHER) == 40
    # What is allowed is taken back, too, where there is too little to take.
    chain.call(token, "approve(address,uint256)", hexadecimal(OTHER), SUPPLY)
    result = chain.call(token, move, hexadecimal(SENDER), hexadecimal(PAYEE), SUPPLY, sender=OTHER)
    assert (result.status, result.reason) == (Status.FAILED, "execution reverted: insufficient balance")
    assert allowance(chain, token, OTHER) == SUPPLY


def test_an_allowance_without_limit_isnt_written() -> None:
    chain, token = deployed()
    chain.call(token, "approve(address,uint256)", hexadecimal(OTHER), LARGEST)
    chain.call(token, "transferFrom(address,address,uint256)", hexadecimal(SENDER), hexadecimal(PAYEE), 60, sender=OTHER)
    assert entry_key(token, b"a" + SENDER + OTHER) not in chain.view.writes
    assert allowance(chain, token, OTHER) == LARGEST


def test_minting() -> None:
    chain, token = deployed()
    result = chain.call(token, "mint(address,uint256)", hexadecimal(PAYEE), 5)
    assert result.status is Status.SUCCESS
    assert result.logs[0].topics[1] == bytes(32)
    assert (chain.ask(token, "totalSupply()"), balance(chain, token, PAYEE)) == (SUPPLY + 5, 5)
    result = chain.call(token, "mint(address,uint256)", hexadecimal(PAYEE), 5, sender=OTHER)
    assert (result.status, result.reason) == (Status.FAILED, "execution reverted: not the owner")


@pytest.mark.parametrize("data", [
    b"", b"\xa9\x05\x9c", b"\1\2\3\4", calldata("transfer(address,uint256)", hexadecimal(PAYEE), 1)[:-1],
    keccak(b"transfer(address,uint256)")[:4] + b"\1" + bytes(63)])
def test_undecodable_calls_revert(data: bytes) -> None:
    chain, token = deployed()
    result = chain.run(to=token, data=data)
    assert (result.status, result.output) == (Status.FAILED, b"")
    assert result.gas_used < 60_000


def test_it_takes_no_payment() -> None:
    chain, token = deployed()
    result = chain.call(token, "transfer(address,uint256)", hexadecimal(PAYEE), 1, value=1)
    assert (result.status, result.reason) == (Status.FAILED, "execution reverted")


def test_arithmetic_of_256_bits() -> None:
    """Sums and differences through the contract are those of Python."""
    chain, token = deployed()
    key = entry_key(token, b"a" + SENDER + OTHER)
    for number in (1, 255, 2**8, 2**16 - 1, 2**128 - 1, 2**128, 2**255, LARGEST - 1):
        for taken in {0, 1, number // 3, number - 1, number} - {-1}:
            chain.state[key] = minimal(number)
            chain.state[entry_key(token, b"b" + SENDER)] = minimal(LARGEST)
            result = chain.call(token, "transferFrom(address,address,uint256)", hexadecimal(SENDER), hexadecimal(SENDER), taken, sender=OTHER)
            assert result.status is Status.SUCCESS, result.reason
            assert allowance(chain, token, OTHER) == number - taken
            assert balance(chain, token, SENDER) == LARGEST


def test_a_transfer_costs_less_than_twice_that_of_solidity() -> None:
    chain, token = deployed()
    solidity = chain.deploy_solidity("Token", token_arguments(SUPPLY))
    used = []
    for each in (token, solidity):
        chain.call(each, "transfer(address,uint256)", hexadecimal(PAYEE), 1)
        used.append(chain.call(each, "transfer(address,uint256)", hexadecimal(PAYEE), 1).gas_used)
    assert used[0] < 2 * used[1]


# ---- the counter ------------------------------------------------------------------------------------------------


def test_counter() -> None:
    chain = Chain()
    counter = chain.deploy((HERE / "counter.wasm").read_bytes())
    assert chain.ask(counter, "count()") == 0
    for _ in range(3):
        assert chain.call(counter, "increment()").status is Status.SUCCESS
    assert entry_key(counter, b"count") in chain.view.deltas
    assert entry_key(counter, b"count") not in chain.view.reads
    assert chain.ask(counter, "count()") == 3
    chain.state[entry_key(counter, b"count")] = minimal(LARGEST - 1)
    chain.call(counter, "increment()")
    assert chain.ask(counter, "count()") == LARGEST
    for data in (b"", b"abc", b"abcd"):
        result = chain.run(to=counter, data=data)
        assert (result.status, result.output) == (Status.FAILED, b"")


def test_the_text_form_can_be_deployed_as_it_is() -> None:
    chain = Chain()
    counter = chain.deploy((HERE / "counter.wat").read_bytes())
    assert chain.call(counter, "increment()").status is Status.SUCCESS
    assert chain.ask(counter, "count()") == 1
