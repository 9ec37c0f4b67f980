"""`parsec statetest`: state tests from files of every kind, what passes, what fails and with which words."""

import gzip
import json
import os
import signal
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cluster.cli import main
from conformance.accounts import Account, accounts_of, entries_of
from conformance.cases import Case
from conformance.roots import state_root
from conformance.statetest import Subtest, Verdict, judge, subtests
from conformance.suite import Chunk, Selection, Suite, ended
from conformance.workers import Workers
from tests.transitions import ADDRESSES, COINBASE, INIT_CODE, KEYS

TO = "0x" + "aa" * 20
CONTRACT = "0x" + "cc" * 20
LOGGER = "0x6001545f52602a60205fa1600160015500"
"""Logs slot 1 with the topic 42 and sets it to 1."""
NO_LOGS = "0x1dcc4de8dec75d7aab85b567b6ccd41ad312451b948a7413f0a142fd40d49347"
FUNDS = 10**18
ENV = {
    "currentCoinbase": COINBASE, "currentGasLimit": "0x989680", "currentNumber": "0x1", "currentTimestamp": "0x3e8",
    "currentRandom": "0x0", "currentDifficulty": "0x0", "currentBaseFee": "0x7", "currentExcessBlobGas": "0x0"}


def root_of(accounts: dict[str, Any]) -> str:
    """The root that a state has. That of a public test is checked below."""
    return "0x" + state_root({
        bytes.fromhex(address[2:]): Account(
            balance=int(fields.get("balance", "0x0"), 16), nonce=int(fields.get("nonce", "0x0"), 16),
            code=bytes.fromhex(fields.get("code", "0x")[2:]),
            storage={int(slot, 16): int(value, 16) for slot, value in fields.get("storage", {}).items()})
        for address, fields in accounts.items()}).hex()


def payment() -> dict[str, Any]:
    """A case: 5 wei from the first account at 10 wei per gas, of which 3 are the recipient's of the fees."""
    pre = {ADDRESSES[0]: {"nonce": "0x00", "balance": hex(FUNDS), "code": "0x", "storage": {}}}
    state = {
        ADDRESSES[0]: {"nonce": "0x01", "balance": hex(FUNDS - 5 - 210_000), "code": "0x", "storage": {}},
        TO: {"nonce": "0x00", "balance": "0x05", "code": "0x", "storage": {}},
        COINBASE: {"nonce": "0x00", "balance": hex(63_000), "code": "0x", "storage": {}}}
    return {
        "_info": {"comment": "made for this test"}, "env": dict(ENV), "pre": pre,
        "transaction": {
            "nonce": "0x0", "gasPrice": "0xa", "gasLimit": ["0x5208"], "to": TO, "value": ["0x5"], "data": ["0x"],
            "sender": ADDRESSES[0], "secretKey": "0x" + KEYS[0].hex()},
        "post": {"Prague": [{
            "hash": root_of(state), "logs": NO_LOGS, "indexes": {"data": 0, "gas": 0, "value": 0}, "state": state}]},
        "config": {"chainid": "0x1"}}


def call() -> dict[str, Any]:
    """A case: the first account calls a contract that logs and writes."""
    case = payment()
    contract = {"nonce": "0x01", "balance": "0x00", "code": LOGGER, "storage": {"0x01": "0x07"}}
    case["pre"][CONTRACT] = contract
    case["transaction"] |= {"to": CONTRACT, "value": ["0x0"], "gasLimit": ["0x186a0"]}
    gas = 21_000 + 3 + 2_100 + 2 + 3 + 3 + 3 + 3 + 2 + 375 * 2 + 8 * 32 + 3 + 3 + 2_900  # SLOAD, memory, LOG1, SSTORE
    del case["post"]["Prague"][0]["state"][TO]
    state = case["post"]["Prague"][0]["state"] | {
        ADDRESSES[0]: {"nonce": "0x01", "balance": hex(FUNDS - 10 * gas), "code": "0x", "storage": {}},
        CONTRACT: contract | {"storage": {"0x01": "0x01"}}, COINBASE: {"balance": hex(3 * gas)}}
    return case | {"post": {"Prague": [{
        "hash": root_of(state), "logs": "0xd82f04c9b85cb77d142b3d1fe2c0752941b2e7204f7b73e4742dc9b666421628",
        "indexes": {"data": 0, "gas": 0, "value": 0}, "state": state}]}}


def judged(case: Any, fork: str | None = None) -> list[Verdict]:
    """The verdicts on all results of a case."""
    found = subtests(Case(file="here.json", name="it", document=case), fork)
    return [judge(each, "py-evm") if isinstance(each, Subtest) else each for each in found]


def only(case: Any, fork: str | None = None) -> Verdict:
    (verdict,) = judged(case, fork)
    return verdict


@pytest.fixture
def statetest() -> Callable[..., Result]:
    def run(*arguments: object) -> Result:
        return CliRunner().invoke(main, ["statetest", *map(str, arguments)])

    return run


def expected(case: dict[str, Any]) -> dict[str, Any]:
    post: dict[str, Any] = case["post"]["Prague"][0]
    return post


# ---- what passes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [payment, call])
def test_a_case_passes(make: Callable[[], dict[str, Any]]) -> None:
    verdict = only(make())
    assert verdict.error == ""
    assert verdict.passed
    assert verdict.state_root.hex() == expected(make())["hash"][2:]
    assert verdict.title == "it[Prague][0,0,0]"


def test_the_root_of_a_public_test() -> None:
    # tests/berlin/eip2929_gas_cost_increases/test_call.py::test_call_insufficient_balance, Prague
    assert root_of({
        "0x5f78cefb39f7ab074718cacd54ef0b4d0eb0a52e": {"balance": "0x01"},
        "0x1257767465d91292f29c15df1e25e063daed8b59": {
            "nonce": "0x01", "storage": {"0x01": "0x64"},
            "code": "0x60006000600060006001735f78cefb39f7ab074718cacd54ef0b4d0eb0a52e5af16000555a735f78cefb39f7ab0747"
                    "18cacd54ef0b4d0eb0a52e315a905090036005900360015500"},
        "0xae32ae2ec09b1a1521de4dbc0a846fcd40d9e1fd": {"nonce": "0x01", "balance": "0x3635c9adc5de97a536"},
        "0x2adc25665018aa1fe0e6bc666dac8fc2697ff9ba": {"balance": "0x0281a3"},
    }) == "0x5fd30bb61fb5034fff14954f12e4d26b89be16689f72f0bc93856f03cd1baaa4"


def test_a_case_with_the_root_alone() -> None:
    case = call()
    del expected(case)["state"]
    assert only(case).passed


def test_the_signed_bytes_are_taken_where_they_are_given() -> None:
    case = payment()
    from conformance.fields import Fields
    from conformance.transactions import signed
    chosen = case["transaction"] | {"gasLimit": "0x5208", "value": "0x5", "data": "0x"}
    expected(case)["txbytes"] = "0x" + signed(Fields(chosen, "transaction"), 1).hex()
    del case["transaction"]["secretKey"]
    assert only(case).passed
    expected(case)["txbytes"] = expected(case)["txbytes"][:-2] + "00"
    assert not only(case).passed


def test_subtests_are_told_apart() -> None:
    case = payment()
    case["transaction"] |= {"value": ["0x5", "0x6"], "gasLimit": ["0x5208", "0x5000"], "data": ["0x", "0x01"]}
    first = expected(case)
    more = {**first["state"], TO: {"balance": "0x6"}, ADDRESSES[0]: {"nonce": "0x1", "balance": hex(FUNDS - 6 - 210_000)}}
    case["post"]["Prague"] += [
        {**first, "indexes": {"data": 0, "gas": 0, "value": 1}, "state": more, "hash": root_of(more)},
        {**first, "indexes": {"data": 1, "gas": 0, "value": 0}},
        {"indexes": {"data": 0, "gas": 1, "value": 0}, "logs": NO_LOGS, "state": case["pre"], "hash": root_of(case["pre"]),
         "expectException": "TransactionException.INTRINSIC_GAS_TOO_LOW"}]
    verdicts = judged(case)
    assert [verdict.passed for verdict in verdicts] == [True, True, False, True]
    assert [verdict.indexes for verdict in verdicts] == [(0, 0, 0), (0, 0, 1), (1, 0, 0), (0, 1, 0)]
    assert verdicts[2].error.startswith("the transaction was rejected (intrinsic gas too low")


@pytest.mark.parametrize("fees", [
    {"accessLists": [[{"address": TO, "storageKeys": ["0x1"]}]]},
    {"maxFeePerGas": "0xa", "maxPriorityFeePerGas": "0x3", "accessLists": [[{"address": TO, "storageKeys": ["0x1"]}]]}])
def test_transactions_of_other_types_are_built(fees: dict[str, Any]) -> None:
    case = payment()
    case["transaction"] |= fees | {"gasLimit": ["0x7530"]}
    if "maxFeePerGas" in fees:
        del case["transaction"]["gasPrice"]
    gas = 21_000 + 2_400 + 1_900
    expected(case)["state"] |= {
        ADDRESSES[0]: {"nonce": "0x01", "balance": hex(FUNDS - 5 - 10 * gas)}, COINBASE: {"balance": hex(3 * gas)}}
    expected(case)["hash"] = root_of(expected(case)["state"])
    assert only(case).error == ""


def test_a_creation_has_no_recipient() -> None:
    case = payment()
    case["transaction"] |= {"to": "", "data": [INIT_CODE], "value": ["0x0"], "gasLimit": ["0x186a0"]}
    verdict = only(case)
    assert "account 0x" in verdict.error
    assert "code 0x01, expected 0x" in verdict.error


def test_forks_differ() -> None:
    case = payment()
    case["pre"][CONTRACT] = {"nonce": "0x1", "balance": "0x0", "code": "0x5f5c5f5500", "storage": {"0x0": "0x9"}}  # TLOAD
    case["transaction"] |= {"to": CONTRACT, "value": ["0x0"], "gasLimit": ["0x186a0"]}
    case["post"] = {
        fork: [{"logs": NO_LOGS, "indexes": {"data": 0, "gas": 0, "value": 0}, "state": {}}]
        for fork in ("Shanghai", "Cancun")}
    shanghai, cancun = judged(case)
    assert "slot 0x0 is 0x9, expected 0x0" in shanghai.error  # the instruction is invalid there
    assert "slot 0x0" not in cancun.error


def test_the_environment_is_seen() -> None:
    case = payment()
    # BLOCKHASH(0), NUMBER, TIMESTAMP, PREVRANDAO, BASEFEE, CHAINID, GASLIMIT, COINBASE into slots 0 to 7
    case["pre"][CONTRACT] = {
        "nonce": "0x1", "balance": "0x0", "storage": {},
        "code": "0x5f405f5543600155426002554460035548600455466005554560065541600755"}
    case["env"] = ENV | {"currentRandom": "0x1234"}
    case["transaction"] |= {"to": CONTRACT, "value": ["0x0"], "gasLimit": ["0x7a120"]}
    storage = {
        "0x0": "0x044852b2a670ade5407e78fb2863c51de9fcb96542a07186fe3aeda6bb8a116d", "0x1": "0x1", "0x2": "0x3e8",
        "0x3": "0x1234", "0x4": "0x7", "0x5": "0x1", "0x6": "0x989680", "0x7": COINBASE}
    expected(case)["state"] |= {CONTRACT: case["pre"][CONTRACT] | {"storage": storage}}
    assert CONTRACT not in only(case).error


def test_a_gas_limit_above_that_of_the_block_is_rejected() -> None:
    case = payment()
    case["transaction"]["gasLimit"] = [hex(int(ENV["currentGasLimit"], 16) + 1)]
    expected(case).update(
        expectException="TransactionException.GAS_ALLOWANCE_EXCEEDED", state=case["pre"], hash=root_of(case["pre"]))
    assert only(case).passed


def test_a_blob_transaction_runs() -> None:
    case = payment()
    case["transaction"] |= {
        "maxFeePerGas": "0xa", "maxPriorityFeePerGas": "0x3", "maxFeePerBlobGas": "0x1",
        "blobVersionedHashes": ["0x01" + "00" * 31]}
    del case["transaction"]["gasPrice"]
    expected(case)["state"][ADDRESSES[0]]["balance"] = hex(FUNDS - 5 - 210_000 - 131_072)
    expected(case)["hash"] = root_of(expected(case)["state"])
    assert only(case).error == ""


def test_accounts_without_anything_that_stay_are_in_the_root() -> None:
    case, nobody = payment(), "0x" + "ab" * 20
    case["pre"][nobody] = {"balance": "0x0", "nonce": "0x0", "code": "0x", "storage": {}}
    accounts = {bytes.fromhex(address[2:]): Account(balance=int(fields["balance"], 16), nonce=int(fields["nonce"], 16))
                for address, fields in expected(case)["state"].items()}
    expected(case)["hash"] = "0x" + state_root(accounts, {bytes.fromhex(nobody[2:])}).hex()
    assert not only(case).passed
    expected(case)["state"][nobody] = case["pre"][nobody]
    assert only(case).passed
    del expected(case)["state"]
    assert only(case).passed


def test_accounts_of_a_state() -> None:
    accounts = {b"\1" * 20: Account(balance=1, nonce=2, code=b"\3", storage={4: 5}, entries={b"key": b"\0\7"}), b"\2" * 20: Account(storage={1: 1})}
    state = entries_of(accounts)
    assert accounts_of(state) == accounts
    # A contract that came back after a deletion has its slots under keys of their own.
    state |= {b"r" + b"\1" * 20: b"\2\1", b"s" + b"\1" * 20 + bytes(31) + b"\7" + b"\1": b"\6"}
    assert accounts_of(state)[b"\1" * 20].storage == {7: 6}


# ---- what fails -------------------------------------------------------------------------------------------------


def changed(path: str, value: Any, *, make: Callable[[], dict[str, Any]] = call) -> dict[str, Any]:
    """A case in which one expectation is another one."""
    case = make()
    *parents, last = path.split("/")
    table = expected(case)
    for name in parents:
        table = table[name]
    if value is None:
        del table[last]
    else:
        table[last] = value
    return case


@pytest.mark.parametrize(("path", "value", "error"), [
    (f"state/{COINBASE}/balance", "0x5", f"account {COINBASE}: balance 81093, expected 5"),
    (f"state/{ADDRESSES[0]}/nonce", "0x2", f"account {ADDRESSES[0]}: nonce 1, expected 2"),
    (f"state/{CONTRACT}/code", "0x00", f"account {CONTRACT}: code {LOGGER}, expected 0x00"),
    (f"state/{CONTRACT}/storage", {"0x1": "0x3"}, f"account {CONTRACT}: slot 0x1 is 0x1, expected 0x3"),
    (f"state/{CONTRACT}/storage", {"0x1": "0x1", "0x2": "0x9"}, f"account {CONTRACT}: slot 0x2 is 0x0, expected 0x9"),
    (f"state/{TO}", {"balance": "0x1"}, f"account {TO} is missing"),
    (f"state/{COINBASE}", None, f"account {COINBASE} is not expected"),
    ("logs", NO_LOGS, f"hash of the logs 0xd82f04c9b85cb77d142b3d1fe2c0752941b2e7204f7b73e4742dc9b666421628, expected {NO_LOGS}"),
    ("hash", "0x" + "11" * 32, f"expected 0x{'11' * 32}"),
    ("receipt", {"status": "0x0"}, "status 1, expected 0"),
    ("receipt", {"cumulativeGasUsed": "0x1"}, "cumulativeGasUsed 27031, expected 1"),
    ("expectException", "TransactionException.NONCE_MISMATCH_TOO_LOW",
     "the transaction was executed, expected it to be rejected (TransactionException.NONCE_MISMATCH_TOO_LOW)"),
])
def test_a_changed_expectation_fails(path: str, value: Any, error: str) -> None:
    verdict = only(changed(path, value))
    assert not verdict.passed
    assert error in verdict.error


def test_a_rejection_that_nobody_expects_fails() -> None:
    case = payment()
    case["transaction"]["nonce"] = "0x1"
    verdict = only(case)
    assert not verdict.passed
    assert verdict.error.startswith("the transaction was rejected (nonce too high")


def test_what_is_expected_of_a_rejection_is_compared() -> None:
    case = payment()
    case["transaction"]["nonce"] = "0x1"
    expected(case)["expectException"] = "TransactionException.NONCE_MISMATCH_TOO_HIGH"
    assert f"account {TO} is missing" in only(case).error
    expected(case).update(state=case["pre"], hash=root_of(case["pre"]))
    assert only(case).passed


def without(*path: str) -> Callable[[], Any]:
    def make() -> Any:
        case = payment()
        table: Any = case
        for name in path[:-1]:
            table = table[int(name) if isinstance(table, list) else name]
        del table[path[-1]]
        return case

    return make


def with_(value: Any, *path: str) -> Callable[[], Any]:
    def make() -> Any:
        case = payment()
        table: Any = case
        for name in path[:-1]:
            table = table[int(name) if isinstance(table, list) else name]
        table[path[-1]] = value
        return case

    return make


@pytest.mark.parametrize(("make", "error"), [
    (lambda: 5, "case: an object is expected, found 5"),
    (lambda: {"blocks": []}, "case.post: missing"),
    (without("post"), "case.post: missing"),
    (with_({}, "post"), "case.post: empty"),
    (with_([], "post", "Prague"), "case.post.Prague: empty"),
    (with_([7], "post", "Prague"), "case.post.Prague[0]: an object is expected, found 7"),
    (without("post", "Prague", "0", "indexes"), "case.post.Prague[0].indexes: missing"),
    (without("env"), "case.env: missing"),
    (without("env", "currentNumber"), "case.env.currentNumber: missing"),
    (with_("ten", "env", "currentBaseFee"), "case.env.currentBaseFee: 'ten' is not an integer"),
    (with_("0x1" + "0" * 64, "transaction", "gasPrice"), "is not in 0 … 2**256 - 1"),
    (without("transaction"), "case.transaction: missing"),
    (without("transaction", "gasLimit"), "case.transaction.gasLimit: 0 of them, number 0 is asked for"),
    (with_({"data": 3, "gas": 0, "value": 0}, "post", "Prague", "0", "indexes"), "case.transaction.data: 1 of them, number 3"),
    (with_(["0xzz"], "transaction", "data"), "case.transaction.data: '0xzz' is not hexadecimal"),
    (without("transaction", "secretKey"), "the transaction was rejected (invalid signature"),
    (with_("0x0", "transaction", "secretKey"), "case.transaction.secretKey: no private key"),
    (with_("0x" + "ff" * 32, "transaction", "secretKey"), "case.transaction.secretKey: no private key"),
    (with_("0x1234", "post", "Prague", "0", "hash"), "case.post.Prague[0].hash: 2 bytes instead of 32"),
    (with_({"0x12": {}}, "pre"), "case.pre.0x12: the name is no address"),
    (with_({TO: {"storage": {"0x1": "0xyy"}}}, "pre"), "storage.0x1: '0xyy' is not an integer"),
])
def test_a_malformed_case_fails_with_its_place(make: Callable[[], Any], error: str) -> None:
    case = make()
    verdict = only(json.loads(json.dumps(case)))
    assert not verdict.passed
    assert error in verdict.error
    assert "runner failed" not in verdict.error


def test_neither_root_nor_state() -> None:
    case = payment()
    del expected(case)["hash"], expected(case)["state"]
    assert "neither hash nor state" in only(case).error


def test_an_engine_that_breaks_fails_its_case_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    from conformance import engines

    class Broken:
        def execute(self, *_: object) -> None:
            raise ZeroDivisionError("in the engine")

    monkeypatch.setitem(engines.ENGINES, "broken", lambda _rules: Broken())
    (subtest,) = subtests(Case(file="f", name="n", document=payment()), None)
    assert isinstance(subtest, Subtest)
    verdict = judge(subtest, "broken")
    assert not verdict.passed
    assert verdict.error == "the runner failed: ZeroDivisionError('in the engine')"


# ---- the command ------------------------------------------------------------------------------------------------


def test_files_of_every_kind(tmp_path: Path, statetest: Callable[..., Result]) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "no.json").write_text("broken")
    (tmp_path / "notes.md").write_text("no case")
    (tmp_path / "a.json").write_text(json.dumps({"one": payment(), "two": call()}))
    (tmp_path / "deep" / "b.json.gz").write_bytes(gzip.compress(json.dumps({"three": call()}).encode()))
    lines = json.dumps(["four", payment()]) + "\n\n" + json.dumps({"five": call()}) + "\n"
    (tmp_path / "deep" / "er" / "c.jsonl").write_text(lines)
    (tmp_path / "deep" / "er" / "d.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    done = statetest(tmp_path, "--jobs", 1, "--json")
    assert done.exit_code == 0, done.output
    documents = [json.loads(line) for line in done.stdout.splitlines()]
    assert [document["name"] for document in documents] == ["one", "two", "three", "four", "five", "four", "five"]
    assert all(document["pass"] and document["fork"] == "Prague" for document in documents)
    assert documents[0]["stateRoot"] == expected(payment())["hash"]
    assert documents[0]["indexes"] == {"data": 0, "gas": 0, "value": 0}
    assert done.stderr.strip() == "7 passed, 0 failed, 0 skipped"


def test_failures_are_listed_and_make_the_status_1(tmp_path: Path, statetest: Callable[..., Result]) -> None:
    broken = changed(f"state/{COINBASE}/balance", "0x5")
    other = payment()
    other["post"] = {"Osaka": other["post"]["Prague"]}
    (tmp_path / "a.json").write_text(json.dumps({"good": payment(), "bad": broken, "later": other, "none": {"blocks": []}}))
    done = statetest(tmp_path / "a.json", "--jobs", 1)
    assert done.exit_code == 1
    assert done.stdout.splitlines() == [
        f"failed {tmp_path}/a.json: bad[Prague][0,0,0]: account {COINBASE}: balance 81093, expected 5",
        f"skipped {tmp_path}/a.json: later[Osaka]: no fork 'Osaka'; there are Shanghai, Cancun, Prague",
        f"failed {tmp_path}/a.json: none: case.post: missing",
        "1 passed, 2 failed, 1 skipped"]
    documents = [json.loads(line) for line in statetest(tmp_path / "a.json", "--jobs", 1, "--json").stdout.splitlines()]
    assert [document["pass"] for document in documents] == [True, False, None, False]
    assert documents[1]["error"] == f"account {COINBASE}: balance 81093, expected 5"
    assert documents[2]["skipped"].startswith("no fork 'Osaka'")


def test_what_cannot_be_read_is_a_failure_and_the_rest_runs(tmp_path: Path, statetest: Callable[..., Result]) -> None:
    (tmp_path / "a.json").write_text("{")
    (tmp_path / "b.json").write_text("[" * 100_000)
    (tmp_path / "c.json.gz").write_bytes(b"no gzip")
    (tmp_path / "d.jsonl").write_text(json.dumps(["one", payment()]) + "\n{\n[1, 2]\n" + json.dumps(["two", payment()]))
    (tmp_path / "e.jsonl.gz").write_bytes(gzip.compress(json.dumps(["three", payment()]).encode() * 9)[:-20])
    (tmp_path / "f.json").write_text("[]")
    (tmp_path / "g.json").write_bytes(b"\xff\xfe{")
    (tmp_path / "z").mkdir()
    (tmp_path / "x.txt").write_text("{}")
    done = statetest(tmp_path, tmp_path / "z", tmp_path / "x.txt", "--jobs", 1)
    assert done.exit_code == 1
    assert done.exception is None or isinstance(done.exception, SystemExit)
    lines = done.stdout.splitlines()
    starts = [
        f"failed {tmp_path}/a.json: not JSON: ", f"failed {tmp_path}/b.json: not JSON: ",
        f"failed {tmp_path}/c.json.gz: can't be read: ", f"failed {tmp_path}/d.jsonl: line 2: not JSON: ",
        f"failed {tmp_path}/d.jsonl: line 3: neither an array", f"failed {tmp_path}/e.jsonl.gz: can't be read: ",
        f"failed {tmp_path}/f.json: no object with a case", f"failed {tmp_path}/g.json: not JSON: ",
        f"failed {tmp_path}/z: no file in this directory ends with", f"failed {tmp_path}/x.txt: the name ends with none of",
        "2 passed, 10 failed, 0 skipped"]
    assert len(lines) == len(starts)
    for line, start in zip(lines, starts, strict=True):
        assert line.startswith(start)


def test_a_fork_and_a_pattern_select(tmp_path: Path, statetest: Callable[..., Result]) -> None:
    both = payment()
    both["post"]["Cancun"] = both["post"]["Prague"]
    (tmp_path / "a.json").write_text(json.dumps({"first": both, "second": payment()}))

    def names(*arguments: object) -> list[str]:
        done = statetest(tmp_path, "--jobs", 1, "--json", *arguments)
        assert done.exit_code == 0, done.output
        return [f"{each['name']} {each['fork']}" for each in map(json.loads, done.stdout.splitlines())]

    assert names() == ["first Prague", "first Cancun", "second Prague"]
    assert names("--fork", "Cancun") == ["first Cancun"]
    assert names("--fork", "prague", "--run", "^sec") == ["second Prague"]
    done = statetest(tmp_path, "--jobs", 1, "--fork", "Praha")
    assert done.exit_code == 1
    assert done.stdout.splitlines() == [
        f"failed {tmp_path}/a.json: {name}[Praha]: no fork 'Praha'; there are Shanghai, Cancun, Prague"
        for name in ("first", "second")] + ["0 passed, 2 failed, 0 skipped"]


@pytest.mark.parametrize(("arguments", "words"), [
    (("--engine", "revm"), "no engine 'revm'; there are py-evm"),
    (("--run", "("), "'(' is no regular expression"),
    (("--run", "nothing has this name"), "nothing to run"),
    (("--jobs", "0"), "--jobs"),
])
def test_bad_usage_is_status_2(tmp_path: Path, statetest: Callable[..., Result], arguments: tuple[str, ...], words: str) -> None:
    (tmp_path / "a.json").write_text(json.dumps({"one": payment()}))
    done = statetest(tmp_path, *arguments)
    assert done.exit_code == 2
    assert words in done.output


def test_a_path_that_is_not_there_is_bad_usage(tmp_path: Path, statetest: Callable[..., Result]) -> None:
    assert statetest(tmp_path / "a.json").exit_code == 2
    assert statetest().exit_code == 2


def test_several_processes_give_the_same_in_the_same_order(tmp_path: Path, statetest: Callable[..., Result]) -> None:
    many = payment()
    many["post"]["Prague"] *= 40  # more than a chunk
    (tmp_path / "a.jsonl").write_text("\n".join(
        json.dumps([f"case {number}", [payment(), call(), {"post": {"Osaka": [{}]}}, many, 3][number % 5]]) for number in range(10)))
    alone, several = (statetest(tmp_path, "--jobs", jobs, "--json") for jobs in (1, 2))
    assert alone.stdout == several.stdout
    assert alone.exit_code == several.exit_code == 1
    assert alone.stderr.strip() == "84 passed, 2 failed, 2 skipped"


def test_verdicts_come_while_files_are_read(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / f"{name}.json").write_text(json.dumps({name: payment()}))
    opened: list[str] = []
    verdicts = Suite(Selection(paths=(tmp_path,), engine="py-evm"), 1, lambda path: opened.append(path.name)).verdicts()
    assert next(verdicts).name == "a"
    assert opened == ["a.json"]
    assert [verdict.name for verdict in verdicts] == ["b", "c"]


# ---- processes --------------------------------------------------------------------------------------------------


def test_a_process_that_ends_fails_its_job_alone() -> None:
    def lost(job: int, status: int) -> tuple[list[int], list[tuple[int, int]]]:
        return [], [(job, status)]

    done = list(Workers(partial(ends_at, 3), 2, lost).results(range(8)))
    assert sorted(done) == sorted([(number, 0) for number in range(8) if number != 3] + [(3, 7)])


def ends_at(last: int, job: int) -> tuple[int, int]:
    """What a worker of the test does."""
    if job == last:
        os._exit(7)
    return job, 0


def test_what_was_lost_is_run_in_other_pieces() -> None:
    def lost(job: int, _status: int) -> tuple[list[int], list[tuple[int, int]]]:
        return [job + 100, job + 101], []

    assert sorted(Workers(partial(ends_at, 3), 2, lost).results([2, 3])) == [(2, 0), (103, 0), (104, 0)]


def test_a_chunk_whose_process_ended_is_run_one_by_one() -> None:
    subtest = Subtest(case=Case(file="f", name="n", document={}), fork="Prague", number=0)
    again, told = ended(Chunk(number=5, subtests=(subtest, subtest)), -signal.SIGSEGV)
    assert [chunk.number for chunk in again] == [5, 6]
    assert told == []
    again, told = ended(again[1], -signal.SIGSEGV)
    assert again == []
    assert told[0][0][0] == 6
    assert told[0][0][1].error == "the process that ran it has ended with status -11"


def test_jobs_are_taken_when_a_process_is_free() -> None:
    taken = 0

    def source() -> Iterator[int]:
        nonlocal taken
        for number in range(20):
            taken += 1
            yield number

    results = Workers(partial(ends_at, -1), 2, lambda _job, _status: ([], [])).results(source())
    assert taken == 0
    next(results)
    assert taken <= 4
    results.close()
