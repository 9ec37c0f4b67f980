"""Blocks of several transactions through ``parsec t8n``, and through the same tool of the Ethereum specification.

The specification keeps a place in the tries for transactions that it rejects, so that their roots are compared for the
list without those. ``GOLD_WRITE=1`` writes what the specification says to the file that the unit tests compare with.
"""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from cluster.cli import main
from tests.conformance.eels.engine import EelsEngine, EelsUnavailable
from tests.transitions import BLOCKS, Block

GOLD = Path(__file__).parents[1] / "unit" / "t8n_gold.json"
COMPARED = (
    "stateRoot", "txRoot", "receiptsRoot", "logsHash", "logsBloom", "gasUsed", "currentBaseFee", "withdrawalsRoot",
    "currentExcessBlobGas", "requestsHash", "requests")


@pytest.fixture(scope="module")
def python() -> Path:
    """The interpreter of the environment where the specification is."""
    try:
        return EelsEngine().python
    except EelsUnavailable as exc:
        if os.environ.get("REQUIRE_EELS"):
            raise
        pytest.skip(f"the specification cannot be installed here: {exc}")


def by_eels(python: Path, block: Block, txs: list[dict[str, Any]], directory: Path) -> dict[str, Any]:
    """What the specification says."""
    directory.mkdir()  # it removes files in there
    done = subprocess.run(
        [str(python), "-I", "-m", "ethereum_spec_tools.evm_tools", "t8n", "--input.alloc", "stdin", "--input.env", "stdin",
         "--input.txs", "stdin", "--output.result", "stdout", "--output.alloc", "stdout", "--output.basedir",
         str(directory), "--state.fork", block.fork],
        input=json.dumps(block.document() | {"txs": txs}), capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def by_parsec(block: Block, *arguments: str) -> dict[str, Any]:
    """What this project says."""
    done = CliRunner().invoke(main, [
        "t8n", "--input.alloc", "stdin", "--input.env", "stdin", "--input.txs", "stdin", "--output.result", "stdout",
        "--output.alloc", "stdout", "--state.fork", block.fork, *arguments], input=json.dumps(block.document()))
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def state(alloc: dict[str, Any]) -> dict[str, Any]:
    """Accounts in one notation."""
    return {address: {
        "balance": int(fields.get("balance", "0x0"), 16), "nonce": int(fields.get("nonce", "0x0"), 16),
        "code": fields.get("code", "0x"),
        "storage": {int(slot, 16): int(value, 16) for slot, value in fields.get("storage", {}).items()},
    } for address, fields in alloc.items()}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.name)
def test_a_block_by_the_specification(block: Block, python: Path, tmp_path: Path) -> None:
    theirs = by_eels(python, block, block.txs, tmp_path / "all")
    rejected = [each["index"] for each in theirs["result"]["rejected"]]
    expected = theirs["result"]
    if rejected:
        kept = [tx for index, tx in enumerate(block.txs) if index not in rejected]
        expected = by_eels(python, block, kept, tmp_path / "kept")["result"]
    ours = by_parsec(block)
    result = ours["result"]
    assert [each["index"] for each in result["rejected"]] == rejected
    assert state(ours["alloc"]) == state(theirs["alloc"])
    assert {name: result.get(name) for name in COMPARED} == {name: expected.get(name) for name in COMPARED}
    assert [(each["transactionHash"], each["status"] == "0x1", each["cumulativeGasUsed"]) for each in result["receipts"]] == [
        (each["transactionHash"], each["succeeded"], each["cumulativeGasUsed"]) for each in expected["receipts"]]
    gold = json.loads(GOLD.read_text()) if GOLD.exists() else {}
    said = {name: expected[name] for name in COMPARED if expected.get(name) is not None} | {"rejected": rejected}
    if os.environ.get("GOLD_WRITE"):
        GOLD.write_text(json.dumps(gold | {block.name: said}, indent=1) + "\n")
    else:
        assert gold[block.name] == said
