"""The official state tests of the Prague fork, through decoding, admission and the engine.

By default a sample runs, the same one every time. ``STATE_TESTS_EVERY=1`` runs all of them, in two minutes.
"""

import gzip
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import rlp

from executors.evm import PyEvm
from executors.machine import Block, Rejected, Result
from ingest.transactions import decode
from schemas.errors import InvalidTransaction
from schemas.hashing import keccak
from schemas.keys import StateKey
from schemas.rules import Rules
from tests.views import DictView, account

FIXTURES = Path(__file__).parents[3] / "shared" / "fixtures" / "evm" / "state_tests_prague.jsonl.gz"
EVERY = int(os.environ.get("STATE_TESTS_EVERY", "5"))
SLOW = "full_discount_table"
"""In the names of cases that fill a transaction with multiplications on curves; only in a run of all."""
BLOB_TYPE = b"\x03"


def unhex(text: str) -> bytes:
    """Bytes of a hexadecimal string with its prefix."""
    return bytes.fromhex(text[2:])


def number(text: str) -> int:
    """An integer of a hexadecimal string with its prefix."""
    return int(text, 16)


def entries(accounts: dict[str, Any]) -> dict[StateKey, bytes]:
    """State keys and values of the accounts of a fixture."""
    state: dict[StateKey, bytes] = {}
    for address, fields in accounts.items():
        state |= account(
            unhex(address), balance=number(fields["balance"]), nonce=number(fields["nonce"]), code=unhex(fields["code"]),
            storage={number(slot): number(value) for slot, value in fields["storage"].items()})
    return state


def cases() -> Iterator[Any]:
    """One parameter for each expected result in the file."""
    if not FIXTURES.exists():
        return
    with gzip.open(FIXTURES, "rt") as lines:
        for index, line in enumerate(lines):
            if index % EVERY:
                continue
            name, case = json.loads(line)
            if SLOW in name and EVERY > 1:
                continue
            for post in case["post"]["Prague"]:
                if unhex(post["txbytes"])[:1] != BLOB_TYPE:  # refused by the pipeline: it has no blobs
                    yield pytest.param(case, post, id=name.removeprefix("tests/"))


def rules_of(case: dict[str, Any]) -> Rules:
    """Rules that say what the fixture's environment says."""
    environment = case["env"]
    return Rules(
        chain_id=number(case["config"]["chainid"]), coinbase=unhex(environment["currentCoinbase"]),
        base_fee=number(environment["currentBaseFee"]), block_gas_limit=number(environment["currentGasLimit"]),
        transaction_gas_max=number(environment["currentGasLimit"]), transaction_bytes_max=2**24, nonce_ahead_max=0)


def block_of(case: dict[str, Any]) -> Block:
    """The block of a fixture. Hashes of its ancestors are made from their numbers."""
    environment = case["env"]
    return Block(
        number=number(environment["currentNumber"]), timestamp_s=number(environment["currentTimestamp"]),
        prevrandao=unhex(environment["currentRandom"]), ancestor=lambda height: keccak(str(height).encode()))


def run(case: dict[str, Any], post: dict[str, Any], view: DictView) -> Result | str:
    """The result of a case, or why its transaction is invalid."""
    rules = rules_of(case)
    try:
        transaction = decode(unhex(post["txbytes"]), rules)
    except InvalidTransaction as error:
        return error.reason
    answer = PyEvm(rules).execute(transaction, block_of(case), view)
    if isinstance(answer, Rejected):
        return answer.reason
    assert isinstance(answer, Result), answer
    return answer


def state_only(view: DictView) -> dict[StateKey, bytes]:
    """What counts of a state: no empty values, no code that nobody has, no marks."""
    return {key: value for key, value in view.state.items() if value and key[:1] in b"bncs"}


@pytest.mark.skipif(not FIXTURES.exists(), reason="the file with the state tests is not here")
@pytest.mark.parametrize(("case", "post"), list(cases()))
def test_state(case: dict[str, Any], post: dict[str, Any]) -> None:
    """Accounts and logs are those of the specification."""
    view = DictView(entries(case["pre"]))
    result = run(case, post, view)
    if "expectException" in post:
        assert isinstance(result, str), "an invalid transaction was executed"
        assert not view.writes
        assert not view.deltas
        return
    assert isinstance(result, Result), result
    expected = DictView(entries(post["state"]))
    assert state_only(view) == state_only(expected)
    assert all(keccak(value) == key[1:] for key, value in view.writes.items() if key[:1] == b"h")
    logs = [[log.address, list(log.topics), log.data] for log in result.logs]
    assert keccak(rlp.encode(logs)) == unhex(post["logs"])
    # Whatever was written without a delta was read before; a blind write would lose what others add.
    assert {key for key in view.writes if key[:1] == b"b"} <= view.reads
