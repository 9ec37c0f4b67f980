"""The specification runs here, and gives what `gold.json` says; small runs are compared with gas counted by hand."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.eels import gold
from tests.conformance.eels.engine import EelsEngine, EelsFailed, EelsUnavailable
from tests.conformance.eels.results import Result
from tests.conformance.eels.wallet import CHAIN_ID, Wallet, call_data, create_address, init_code

pytestmark = pytest.mark.timeout(600)

COINBASE = bytes.fromhex("c0" * 20)
CONTRACT = bytes.fromhex("cc" * 20)
ETHER = 10**18


def document(
    *transactions: bytes, alloc: Mapping[bytes, Mapping[str, Any]] | None = None, number: int = 1, base_fee: int = 0,
    block_hashes: Mapping[str, str] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """An input document with one block, in which the first two wallets are rich."""
    rich = {Wallet(index).address: {"balance": hex(ETHER)} for index in range(2)}
    return {
        "chain_id": CHAIN_ID,
        "coinbase": "0x" + COINBASE.hex(),
        "gas_limit": 30_000_000,
        "base_fee": base_fee,
        "blocks": [{
            "number": number, "timestamp": 1_700_000_000, "prevrandao": "0x" + "07" * 32,
            "transactions": ["0x" + raw.hex() for raw in transactions],
        }],
        "alloc": {"0x" + address.hex(): account for address, account in {**rich, **(alloc or {})}.items()},
        "block_hashes": block_hashes or {},
    }  # fmt: skip


def statuses(result: Result) -> list[int | None]:
    """Status of each transaction."""
    return [receipt.status for receipt in result.receipts]


def test_gold_is_what_the_specification_says(engine: EelsEngine) -> None:
    """Sign and run everything anew: the file is current to the byte."""
    assert gold.text(gold.documents(engine)) == gold.GOLD.read_text()


def test_gas_counted_by_hand(engine: EelsEngine) -> None:
    """Transfers, an access list, the calldata floor and fees, by the numbers of the EIPs."""
    one, two = Wallet(0), Wallet(1)
    result = engine.run(document(
        one.transaction(two.address, value=5, price=3),
        one.transaction(two.address, kind=1, price=4, access=[(two.address, [1, 2])]),
        one.transaction(two.address, b"\1" * 100 + b"\0" * 10, kind=2, price=9, tip=2),
        base_fee=3,
    ))  # fmt: skip
    gas = [receipt.gas_used for receipt in result.receipts]
    assert gas == [21_000, 21_000 + 2_400 + 2 * 1_900, 21_000 + 10 * (4 * 100 + 10)]
    assert result.accounts[COINBASE].balance == gas[1] * 1 + gas[2] * 2
    assert result.accounts[one.address].balance == ETHER - 5 - gas[0] * 3 - gas[1] * 4 - gas[2] * 5
    assert result.accounts[two.address].balance == ETHER + 5


def test_storage_gas_and_refund_by_hand(engine: EelsEngine) -> None:
    """One contract that stores its calldata word in slot 0: set, keep, change, clear."""
    one = Wallet(0)
    code = bytes.fromhex("5f355f55")  # PUSH0 CALLDATALOAD PUSH0 SSTORE: 2 + 3 + 2 and the store
    words = [bytes(31) + bytes([value]) for value in (1, 1, 2, 0)]
    result = engine.run(document(
        *(one.transaction(CONTRACT, word) for word in words), alloc={CONTRACT: {"code": "0x" + code.hex()}}
    ))  # fmt: skip
    base = [21_000 + 4 * word.count(0) + 16 * (32 - word.count(0)) + 7 for word in words]
    cold = 2_100
    cleared = base[3] + cold + 2_900
    assert [receipt.gas_used for receipt in result.receipts] == [
        base[0] + cold + 20_000, base[1] + cold + 100, base[2] + cold + 2_900, cleared - min(4_800, cleared // 5),
    ]  # fmt: skip
    assert result.accounts[CONTRACT].storage == {}


def test_contracts_deploy_trade_and_fail(engine: EelsEngine) -> None:
    """Two tokens and a pool from nothing: statuses, logs and a supply that stays."""
    one, two = Wallet(0), Wallet(1)
    first, second, pool = (create_address(one.address, nonce) for nonce in range(3))
    result = engine.run(document(
        one.transaction(None, init_code("Token", "A", "A", 18, 10**6), gas=2_000_000),
        one.transaction(None, init_code("Token", "B", "B", 18, 10**6), gas=2_000_000),
        one.transaction(None, init_code("Pool", first, second), gas=2_000_000),
        one.transaction(first, call_data("Token", "approve", pool, 10**6)),
        one.transaction(second, call_data("Token", "approve", pool, 10**6)),
        one.transaction(pool, call_data("Pool", "addLiquidity", 10**5, 10**5, 0, one.address)),
        one.transaction(pool, call_data("Pool", "swap", first, 1_000, 0, two.address)),
        two.transaction(second, call_data("Token", "transfer", one.address, 988)),
        two.transaction(second, call_data("Token", "transfer", one.address, 987)),
    ))  # fmt: skip
    # 997 * 1,000 * 100,000 // (100,000 * 1,000 + 997 * 1,000) is 987: one more is too many.
    assert statuses(result) == [1] * 7 + [0, 1]
    assert [receipt.created for receipt in result.receipts[:3]] == [first, second, pool]
    assert [len(receipt.logs) for receipt in result.receipts] == [1, 1, 0, 1, 1, 4, 4, 0, 1]
    assert result.accounts[first].storage[3] == result.accounts[second].storage[3] == 10**6


def test_rejected_transactions_leave_no_trace(engine: EelsEngine) -> None:
    """Bytes that are no transaction, another chain, and a nonce: the next one runs as if they weren't there."""
    one = Wallet(0)
    result = engine.run(document(
        b"", b"\x05\xc0", b"\xf8\x01", b"\x02\xc0", one.transaction(CONTRACT, kind=2, chainId=1, price=7),
        one.transaction(CONTRACT, nonce=1, price=7), one.transaction(CONTRACT, value=3),
    ))  # fmt: skip
    assert statuses(result) == [None] * 6 + [1]
    assert all(receipt.error for receipt in result.receipts[:6])
    assert result.accounts[one.address].nonce == 1
    assert result.accounts[one.address].balance == ETHER - 3
    assert COINBASE not in result.accounts


def test_genesis_accounts_and_block_values(engine: EelsEngine) -> None:
    """Nonce and storage of the alloc arrive, and a contract reads the hashes, the number and the randomness given."""
    one = Wallet(0)
    # Stores BLOCKHASH of the calldata word in slot 0, NUMBER in slot 1, PREVRANDAO in slot 2.
    code = bytes.fromhex("5f35405f5543600155446002555f5ff3")
    alloc: dict[bytes, dict[str, Any]] = {
        CONTRACT: {"code": "0x" + code.hex(), "nonce": "0x5", "balance": 7, "storage": {"0x9": "0x8"}},
        one.address: {"balance": 0, "nonce": 3},
    }
    one.nonce = 3
    known = {"299": "0x" + "ab" * 32}
    run = engine.run(document(
        one.transaction(CONTRACT, (299).to_bytes(32, "big")), alloc=alloc, number=300, block_hashes=known
    ))  # fmt: skip
    account = run.accounts[CONTRACT]
    assert (account.nonce, account.balance, account.code) == (5, 7, code)
    assert account.storage == {0: int("ab" * 32, 16), 1: 300, 2: int("07" * 32, 16), 9: 8}

    one.nonce = 3
    run = engine.run(document(
        one.transaction(CONTRACT, (300 - 257).to_bytes(32, "big")), alloc=alloc, number=300,
        block_hashes={"43": "0x" + "ab" * 32},
    ))  # fmt: skip
    assert 0 not in run.accounts[CONTRACT].storage


def test_a_malformed_document_is_an_error(engine: EelsEngine) -> None:
    """It isn't taken for a list of rejected transactions."""
    with pytest.raises(EelsFailed, match="chain_id"):
        engine.run({key: value for key, value in document(b"\x05").items() if key != "chain_id"})


def test_an_environment_that_cannot_be_made_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without uv there is a reason in words, and nothing half-made is left behind."""
    monkeypatch.setattr("tests.conformance.eels.engine.shutil.which", lambda *_args, **_kwargs: None)
    with pytest.raises(EelsUnavailable, match="uv"):
        EelsEngine(tmp_path / "venv")
    assert not (tmp_path / "venv").exists()


def test_documents_are_plain_json(engine: EelsEngine) -> None:
    """What goes in and what comes out can be stored as it is."""
    asked = document(Wallet(0).transaction(CONTRACT))
    assert json.loads(json.dumps(asked)) == asked
    answer = engine.run_document(asked)
    assert json.loads(json.dumps(answer)) == answer
