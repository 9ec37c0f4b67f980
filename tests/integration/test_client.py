"""Contracts from a Python program, through a pipeline that runs: no gateway is there."""

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from client import Client, Code, Contract, ExecutionFailed, InvalidArgument, InvalidSignature, TransactionFailed
from cluster import cli
from cluster.supervisor import Supervisor
from ingest.accounts import development_accounts
from schemas.errors import ConfigurationError, GenesisRefused, InvalidTransaction, Unavailable
from schemas.genesis import Genesis, default_genesis
from schemas.hashing import keccak
from streams.kafka import KafkaSettings
from tests.broker_fixture import RunningBroker
from tests.running_pipeline import genesis_file, running_pipeline

pytestmark = pytest.mark.timeout(300)

EXAMPLES = Path(__file__).parents[2] / "examples"
ARTIFACTS = EXAMPLES / "contracts" / "artifacts"
OWNER, HOLDER, OTHER, *MORE = development_accounts(10)
BASE_FEE = 7


@pytest.fixture(scope="module")
def pipeline(broker: RunningBroker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Supervisor]:
    folder = tmp_path_factory.mktemp("client")
    file = genesis_file(folder / "genesis.json")
    file.write_text(json.dumps(json.loads(file.read_text()) | {"baseFeePerGas": hex(BASE_FEE)}))
    with running_pipeline(
        broker.bootstrap, folder / "data", genesis=file, partitions=3, shards=2, executors=2
    ) as supervisor:
        yield supervisor


@pytest.fixture(scope="module")
def client(pipeline: Supervisor) -> Iterator[Client]:
    with Client.connect(pipeline.config.settings, genesis=pipeline.config.cluster.genesis) as connected:
        yield connected


@pytest.fixture(scope="module")
def token(client: Client) -> Contract:
    return client.deploy(ARTIFACTS / "Token.json", OWNER, "Example", "EXM", 18, 10**24)


@pytest.fixture(scope="module")
def store(client: Client) -> Contract:
    return client.deploy(ARTIFACTS / "Store.json", OWNER)


def test_a_token(client: Client, token: Contract) -> None:
    assert token.receipt is not None
    assert f"0x{token.receipt.contract.hex()}" == token.address.lower()
    assert token.call("name() returns (string)") == "Example"
    before = token.call("balanceOf", HOLDER)
    receipt = token.send(OWNER, "transfer(address,uint256)", HOLDER, 5)
    assert (receipt.status, receipt.sender) == ("success", bytes.fromhex(OWNER.address[2:]))
    # What a receipt says can be read at once.
    assert token.call("balanceOf(address) returns (uint256)", HOLDER) == before + 5
    assert token.call("owner") == OWNER.address
    # By the signature alone, somebody who has no artifact can do the same.
    other = client.contract(token.address, ["totalSupply() returns (uint256)"])
    assert other.call("totalSupply") == 10**24
    assert client.call(other, "balanceOf(address)", HOLDER) == (before + 5).to_bytes(32, "big")


def test_gas_is_estimated_with_a_margin(token: Contract, client: Client) -> None:
    sent = token.submit(OWNER, "transfer(address,uint256)", OTHER, 7)
    used = sent.receipt().gas_used
    assert used < sent.transaction.gas_limit < used * 1.3
    assert sent.transaction.max_fee == BASE_FEE
    assert client.submit(OWNER, HOLDER, value=1).transaction.gas_limit == 21_000


def test_a_payment(client: Client) -> None:
    before = client.balance(OTHER)
    receipt = client.send(HOLDER, OTHER, value=10**15)
    assert client._chain._seen >= receipt.epoch, "whichever shard answers, nothing older is read"
    assert client.balance(OTHER) == before + 10**15


def test_what_would_fail_is_not_sent(client: Client, token: Contract, store: Contract) -> None:
    nonce = client.nonce(HOLDER)
    with pytest.raises(ExecutionFailed, match="^execution reverted: no luck$") as caught:
        store.send(HOLDER, "fail(string)", "no luck")
    assert caught.value.output[:4] == keccak(b"Error(string)")[:4]
    with pytest.raises(ExecutionFailed, match="no luck"):
        store.call("fail(string)", "no luck")
    with pytest.raises(ExecutionFailed, match="insufficient funds for transfer"):
        client.send(HOLDER, OTHER, value=10**30)
    with pytest.raises(ExecutionFailed, match="Token: transfer to the zero address"):
        token.send(OWNER, "transfer", "0x" + "00" * 20, 1)
    with pytest.raises(InvalidArgument, match=r"argument 2 \(value\) of transfer\(address,uint256\): -1 doesn't fit"):
        token.send(OWNER, "transfer", OTHER, -1)
    with pytest.raises(InvalidTransaction, match="gas limit"):
        client.send(HOLDER, OTHER, value=1, gas=100)
    assert client.nonce(HOLDER) == nonce
    client.send(HOLDER, OTHER, value=1)
    assert client.nonce(HOLDER) == nonce + 1


def test_a_transaction_that_fails_has_reason_and_receipt(client: Client, store: Contract) -> None:
    with pytest.raises(TransactionFailed, match="failed: execution reverted: no luck") as caught:
        store.send(HOLDER, "fail(string)", "no luck", gas=100_000)
    receipt = caught.value.receipt
    assert (receipt.status, receipt.reason) == ("failed", "execution reverted: no luck")
    assert receipt.block is not None
    with pytest.raises(TransactionFailed, match="rejected: insufficient funds") as caught:
        client.send(MORE[6], OTHER, value=10**30, gas=21_000)
    assert (caught.value.receipt.status, caught.value.receipt.block) == ("rejected", None)
    # The nonce that was not used is free again.
    assert client.send(MORE[6], OTHER, value=1).nonce == caught.value.receipt.nonce


def test_many_in_flight_have_nonces_that_follow_each_other(client: Client, token: Contract) -> None:
    before, start = token.call("balanceOf", MORE[0]), client.nonce(OWNER)
    sent = [token.submit(OWNER, "transfer", MORE[0], 1, gas=100_000) for _ in range(30)]
    assert [each.transaction.nonce for each in sent] == list(range(start, start + 30))
    assert {each.receipt().status for each in sent} == {"success"}
    assert token.call("balanceOf", MORE[0]) == before + 30


def test_threads_share_a_client(client: Client, token: Contract) -> None:
    failures: list[BaseException] = []

    def work(account: Any) -> None:
        try:
            for _ in range(5):
                token.send(account, "approve(address,uint256)", OTHER, 1)
        except BaseException as exc:  # told by the test
            failures.append(exc)

    accounts = [MORE[1], MORE[1], MORE[2], MORE[3]]
    threads = [threading.Thread(target=work, args=(account,)) for account in accounts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert [client.nonce(account) for account in MORE[1:4]] == [10, 5, 5]


def test_a_constructor_is_asked_for(client: Client) -> None:
    code = Code.read(ARTIFACTS / "Token.json")
    bare = Code(machine="evm", data=code.data)
    with pytest.raises(InvalidSignature, match=r"give its signature, as 'constructor\("):
        client.deploy(bare, OWNER, "Example", "EXM", 18, 5)
    made = client.deploy(bare, OWNER, "Example", "EXM", 18, 5, constructor="constructor(string,string,uint8,uint256)")
    assert made.call("totalSupply() returns (uint256)") == 5
    with pytest.raises(ConfigurationError, match="this chain has no machine 'cobol'; it has lua, wasm"):
        client.deploy(ARTIFACTS / "Token.json", OWNER, machine="cobol")


def test_another_genesis_prefix_or_broker_is_refused(pipeline: Supervisor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("client.chain.ANSWER_S", 1.0)
    settings = pipeline.config.settings
    with pytest.raises(GenesisRefused, match="another genesis file"):
        Client.connect(settings, genesis=Genesis.parse(default_genesis()))
    with pytest.raises(ConfigurationError, match="has no topic elsewhere.transactions"):
        Client.connect(replace(settings, prefix="elsewhere."))
    with pytest.raises(Unavailable, match="no broker answers"):
        Client.connect(KafkaSettings(bootstrap="127.0.0.1:1", security={"log_level": "0"}))


def test_a_receipt_that_was_long_in_coming_is_found(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("client.sending.IDLE_S", 0.0)
    first = client.submit(MORE[4], OTHER, value=1)
    deadline = time.monotonic() + 30
    while client.nonce(MORE[4]) <= first.transaction.nonce:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(1)  # it is published now
    client.send(MORE[5], OTHER, value=1)
    assert first.receipt(5).status == "success"


# ---- from the shell ---------------------------------------------------------------------------------------------


@pytest.fixture
def parsec(pipeline: Supervisor) -> Callable[..., Result]:
    """The command, on the data of what runs."""

    def run(*arguments: object) -> Result:
        options = ["--data", str(pipeline.config.cluster.data)]
        return CliRunner().invoke(cli.main, [str(arguments[0]), *options, *map(str, arguments[1:])])

    return run


CONSTRUCTOR = ("--constructor", "constructor(string,string,uint8,uint256)")


@pytest.mark.parametrize(("file", "options"), [
    (ARTIFACTS / "Token.json", ()), (EXAMPLES / "lua" / "token.lua", ()), (EXAMPLES / "wasm" / "token.wasm", CONSTRUCTOR)],
    ids=["evm", "lua", "wasm"])
def test_a_token_from_the_shell(
    parsec: Callable[..., Result], client: Client, file: Path, options: tuple[str, ...]
) -> None:
    made = parsec("deploy", file, "Example", "EXM", 18, 1000, "--from", "dev:3", *options)
    assert (made.exit_code, made.stderr) == (0, "")
    address = made.stdout.strip()
    assert client.contract(address).call("owner() returns (address)") == MORE[0].address
    balance = "balanceOf(address) returns (uint256)"
    assert parsec("call", address, balance, "dev:3").stdout == "1000\n"
    sent = parsec("call", address, "transfer(address,uint256)", "dev:4", "0x10", "--from", "dev:3", "--send")
    assert (sent.exit_code, sent.stdout.split()[0]) == (0, "success")
    assert json.loads(parsec("call", address, balance, "dev:4", "--json").stdout) == {"result": 16}
    assert parsec("call", address, "symbol() returns (string)").stdout == "EXM\n"
    told = json.loads(parsec("deploy", file, "a", "b", 1, 2, "--from", "dev:3", "--json", *CONSTRUCTOR).stdout)
    assert (told["status"], told["address"]) == ("success", told["contract"])


def test_what_fails_from_the_shell(parsec: Callable[..., Result], store: Contract, tmp_path: Path) -> None:
    failing = ("call", store.address, "fail(string)", "no luck")
    reads = parsec(*failing)
    assert (reads.exit_code, reads.stdout, reads.stderr) == (1, "", "fails: execution reverted: no luck\n")
    tried = parsec(*failing, "--from", "dev:1", "--send", "--json")
    assert tried.exit_code == 1
    assert json.loads(tried.stdout)["error"] == "execution reverted: no luck"
    sent = parsec(*failing, "--from", "dev:1", "--send", "--gas", 100_000)
    assert (sent.exit_code, sent.stdout.split()[0]) == (1, "failed")
    assert "no luck" in sent.stdout
    for name, content, reason in (
        ("broken.hex", "fe", "invalid opcode"), ("broken.wat", "(module", "execution reverted: invalid wasm code: "),
    ):
        (tmp_path / name).write_text(content)
        done = parsec("deploy", tmp_path / name, "--from", "dev:1")
        assert (done.exit_code, done.stdout) == (1, "")
        assert done.stderr.startswith(f"fails: {reason}"), done.stderr
    (tmp_path / "broken.lua").write_text("return {\n  x")
    done = parsec("deploy", tmp_path / "broken.lua", "--from", "dev:1")
    assert done.exit_code == 2
    assert "broken.lua: line 2: " in done.stderr


@pytest.mark.parametrize(("arguments", "fault"), [
    (("call", "0x12", "f()"), "'0x12' is no address"),
    (("call", "dev:1", "f(uint7)"), "signature 'f(uint7)': 'uint7' is no type"),
    (("call", "dev:1", "f(uint8 count)", "x"), "argument 1 (count) of f(uint8): 'x' is no integer"),
    (("call", "dev:1", "f(uint8 count)", "256"), "argument 1 (count) of f(uint8): 256 doesn't fit uint8"),
    (("call", "dev:1", "f(uint8)"), "f(uint8) takes 1 argument, given are 0"),
    (("call", "dev:1", "f()", "--send"), "--from: the account that sends is missing"),
    (("call", "dev:1", "f()", "--from", "dev:99"), "--from: dev:99: there are dev:0 to dev:9"),
    (("call", "dev:1", "f()", "--from", "dev:99", "--send"), "--from dev:99: there are dev:0 to dev:9"),
    (("deploy", ARTIFACTS / "Token.json", "a", "--from", "dev:0"), "takes 4 arguments, given are 1"),
    (("deploy", EXAMPLES / "README.md", "--from", "dev:0"), "README.md: the ending tells no machine"),
    (("deploy", EXAMPLES / "README.md", "1", "--machine", "wasm", "--from", "dev:0"), "give its signature"),
    (("deploy", EXAMPLES / "README.md", "--machine", "lua", "--from", "dev:0"), "README.md: line 1: "),
    (("deploy", EXAMPLES / "README.md", "--machine", "cobol", "--from", "dev:0"), "no machine 'cobol'; it has lua, wasm"),
])
def test_bad_input_is_named(parsec: Callable[..., Result], arguments: tuple[object, ...], fault: str) -> None:
    done = parsec(*arguments)
    assert done.exit_code == 2
    assert fault in done.stderr
    assert done.stdout == ""


def test_a_shard_that_moved_is_found_again(pipeline: Supervisor, client: Client) -> None:
    """Last in this file: a shard is killed."""
    before, addresses = client.balance(OTHER), client._chain._reader.addresses()
    os.kill(int((pipeline.config.cluster.data / "shard-1.pid").read_text()), signal.SIGKILL)
    deadline = time.monotonic() + 60
    while "shard-1" not in pipeline.restart_dead():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    client.send(HOLDER, OTHER, value=3)
    assert client.balance(OTHER) == before + 3
    assert client._chain._reader.addresses()[1] != addresses[1]
