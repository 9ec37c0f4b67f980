"""The genesis file: what it sets, what is refused, and its hash."""

import json
import re
from typing import Any

import pytest

from ingest.accounts import development_accounts
from ingest.forks import transaction_rules
from schemas.errors import ConfigurationError
from schemas.genesis import DEVELOPMENT_ACCOUNTS, FORKS, Genesis, default_genesis
from schemas.hashing import keccak
from schemas.keys import balance_key, blob_key, code_key, nonce_key, slot_key, storage_key
from schemas.rules import Rules

A, B, C = ("0x" + letter * 40 for letter in "abc")
ADDRESS_A, ADDRESS_B, ADDRESS_C = (bytes.fromhex(each[2:]) for each in (A, B, C))


def parse(**fields: Any) -> Genesis:
    """A genesis with some fields."""
    return Genesis.parse(json.dumps({"config": {"chainId": 1}, "alloc": {}} | fields).encode())


def faults(**fields: Any) -> str:
    """What is wrong with a genesis with some fields."""
    with pytest.raises(ConfigurationError) as caught:
        parse(**fields)
    return str(caught.value)


def test_default() -> None:
    genesis = Genesis.parse(default_genesis())
    assert genesis.rules == Rules()
    assert (genesis.rules.chain_id, genesis.rules.base_fee, genesis.timestamp_ms) == (52188, 0, 0)
    entries = dict(genesis.entries())
    assert tuple(bytes.fromhex(account.address[2:]) for account in development_accounts()) == DEVELOPMENT_ACCOUNTS
    assert all(int.from_bytes(entries[balance_key(each)], "big") == 10_000 * 10**18 for each in DEVELOPMENT_ACCOUNTS)
    assert len([key for key in entries if key[:1] == b"b"]) == 10


def test_history_contract_is_the_one_of_ethereum() -> None:
    history = Genesis.parse(default_genesis()).accounts[0]
    # Created by a transaction whose signature nobody's key made; its hash is in EIP-2935.
    assert history.address.hex() == "0000f90827f1c53a10cb7a02335b175320002935"
    assert keccak(history.code).hex() == "6e49e66782037c0555897870e29fa5e552daf4719552131a0abce779daec0a5d"
    assert history.nonce == 1


def test_entries() -> None:
    code = "0x6001"
    genesis = parse(alloc={
        A: {"balance": "0x10", "nonce": "1", "code": code, "storage": {"0x0": "0x1", "0x02": "0x00"}},
        B[2:].upper(): {"balance": 16, "code": code},
        C: {"balance": "0", "storage": {"0x1": "0x0203"}}})
    assert dict(genesis.entries()) == {
        balance_key(ADDRESS_A): b"\x10", nonce_key(ADDRESS_A): b"\x01", code_key(ADDRESS_A): keccak(b"\x60\x01"),
        slot_key(ADDRESS_A, 0): b"\x01", balance_key(ADDRESS_B): b"\x10", code_key(ADDRESS_B): keccak(b"\x60\x01"),
        blob_key(keccak(b"\x60\x01")): b"\x60\x01", slot_key(ADDRESS_C, 1): b"\x02\x03", storage_key(ADDRESS_C): b"\x01"}
    assert len(list(genesis.entries())) == 9


def test_rules() -> None:
    genesis = parse(
        config={"chainId": "0x7", "homesteadBlock": 0, "osakaTime": None, "terminalTotalDifficulty": 0,
                "shanghaiTime": 0, "cancunTime": "0x5", "pragueTime": 5,
                "parsec": {"fork": "prague", "transactionGasMax": 5_000_000, "parkedMsMax": "0x10"}},
        coinbase=C, gasLimit="0x64", baseFeePerGas="9", timestamp="0x5", extraData="0x", difficulty="0x1")
    assert genesis.rules == Rules(
        chain_id=7, coinbase=ADDRESS_C, block_gas_limit=100, base_fee=9, transaction_gas_max=5_000_000, parked_ms_max=16)
    assert genesis.timestamp_ms == 5_000


def test_hash_ignores_layout_only() -> None:
    content = default_genesis()
    genesis = Genesis.parse(content)
    assert Genesis.parse(genesis.dumps()) == genesis
    turned = json.dumps(dict(reversed(json.loads(content).items())), separators=(",", ":")).encode()
    assert Genesis.parse(turned).hash == genesis.hash
    assert Genesis.parse(content.replace(b'"0x21e19e0c9bab2400000"', b'"0x21e19e0c9bab2400001"', 1)).hash != genesis.hash
    assert len(genesis.hash) == 32


def test_all_faults_at_once() -> None:
    message = faults(
        config={"osakaTime": 0, "pragueTime": 9, "homesteadBlock": 1, "parsec": {"chainId": 3, "speed": 1, "fork": "osaka"}},
        coinbase="0x12", gasLimit=0, timestamp="-1", nonsense=1,
        alloc={A: {"balance": "1.5", "code": "0xz"}, B: {"nonce": 2**64, "blance": 1}, B.upper()[2:]: {}, "0x12": 3})
    for fault in (
            "nonsense: unknown", "timestamp: '-1' is not in 0", "config.chainId: missing", "coinbase: 1 bytes instead of 20",
            "block_gas_limit: has to be above 0", "config.parsec.chainId: belongs into config.chainId",
            "config.parsec.speed: no such rule", "config.parsec.fork: 'osaka'", "config.osakaTime: the fork comes after",
            "config.pragueTime: 9 is after the genesis, at 0", "config.cancunTime: missing, and config.pragueTime asks",
            "config.homesteadBlock: 1", f"alloc.{A}.balance: '1.5' is not an integer",
            f"alloc.{A}.code: '0xz' is not hexadecimal", f"alloc.{B}.nonce: 18446744073709551616 is not in",
            f"alloc.{B}.blance: unknown", f"alloc: {B} stands there twice", "alloc.0x12: 1 bytes instead of 20",
            "alloc.0x12: an object is expected, found 3"):
        assert fault in message


def fork_of(timestamp: int = 0, parsec: dict[str, Any] | None = None, **times: Any) -> str:
    """The fork that the times of forks choose."""
    config = {"chainId": 1, "parsec": parsec or {}} | {f"{fork}Time": start for fork, start in times.items()}
    return parse(config=config, timestamp=timestamp).rules.fork


def test_fork() -> None:
    assert fork_of() == "prague"
    assert fork_of(shanghai=0) == "shanghai"
    assert fork_of(shanghai=0, cancun=0) == "cancun"
    assert fork_of(shanghai=0, cancun=0, prague=None) == "cancun"
    assert fork_of(shanghai=0, cancun=0, prague="0x0") == "prague"
    assert fork_of(shanghai=7, cancun=9, prague=10, timestamp=10) == "prague"
    assert fork_of(parsec={"fork": "shanghai"}) == "shanghai"
    assert fork_of(parsec={"fork": "cancun"}, shanghai=0, cancun=0) == "cancun"
    assert parse(config={"chainId": 1, "shanghaiTime": 0}).rules == Rules(chain_id=1, fork="shanghai")


@pytest.mark.parametrize(("times", "fault"), [
    ({"cancun": 0}, "config.shanghaiTime: missing, and config.cancunTime asks for it"),
    ({"prague": 0}, "config.cancunTime: missing, and config.pragueTime asks for it"),
    ({"shanghai": 0, "prague": 0}, "config.cancunTime: missing, and config.pragueTime asks for it"),
    ({"shanghai": 0, "cancun": 11}, "config.cancunTime: 11 is after the genesis, at 10; rules never change"),
    ({"shanghai": 6, "cancun": 5}, "config.cancunTime: 5 is before config.shanghaiTime, 6"),
    ({"shanghai": 0, "parsec": {"fork": "prague"}}, "config.parsec.fork: 'prague', but the times of the forks say 'shanghai'"),
    ({"parsec": {"fork": "london"}}, "config.parsec.fork: 'london'; there are shanghai, cancun, prague"),
    ({"parsec": {"blobs": True}, "shanghai": 0}, "config.parsec.blobs: the fork shanghai has no blobs"),
])
def test_forks_that_do_not_fit(times: dict[str, Any], fault: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(fault)):
        fork_of(timestamp=10, **times)


def test_faults_of_forks_come_together() -> None:
    message = faults(config={"chainId": 1, "shanghaiTime": "x", "pragueTime": 3, "londonBlock": 5, "osakaTime": 9})
    for fault in ("config.shanghaiTime: 'x' is not", "config.pragueTime: 3 is after", "config.cancunTime: missing",
                  "config.londonBlock: 5; forks before shanghai", "config.osakaTime: the fork comes after prague"):
        assert fault in message


def test_forks_are_those_of_transactions() -> None:
    for fork in FORKS:
        assert transaction_rules(fork).types


def test_blobs_and_machines() -> None:
    rules = parse(config={"chainId": 1, "parsec": {"blobs": True, "machines": ["move_2/0.1", "wasm/1"]}}).rules
    assert (rules.blobs, rules.machines) == (True, ("move_2/0.1", "wasm/1"))
    assert parse(config={"chainId": 1, "parsec": {"machines": []}}).rules.machines == ()
    message = faults(config={"chainId": 1, "parsec": {"blobs": 1, "machines": ["lua", "Lua/1", 5, "lua/1", "lua/2"]}})
    for fault in ("config.parsec.blobs: true or false is expected, found 1", "config.parsec.machines: 'lua' is no name",
                  "'Lua/1' is no name", "5 is no name", "config.parsec.machines: lua stands there twice"):
        assert fault in message
    assert "a list of names with versions" in faults(config={"chainId": 1, "parsec": {"machines": "lua/1"}})


def test_supply() -> None:
    half = hex(2**255)
    assert "the balances add up to" in faults(alloc={A: {"balance": half}, B: {"balance": half}})


@pytest.mark.parametrize(("content", "fault"), [
    (b"{", "not JSON"), (b"[]", "an object is expected, found list"), (b"\xff", "not JSON"),
    (b'{"config": {"chainId": 1, "chainId": 2}}', "chainId: given twice"),
    (b'{"config": {"chainId": true}}', "config.chainId: True is not an integer"),
    (b'{"config": {"chainId": 1}, "alloc": []}', "alloc: an object is expected"),
])
def test_not_a_genesis(content: bytes, fault: str) -> None:
    with pytest.raises(ConfigurationError, match=fault):
        Genesis.parse(content)
