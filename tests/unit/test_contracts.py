"""The artifacts of the example contracts are well-formed, and are what their sources compile to."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, NoReturn

import pytest
from eth_utils.crypto import keccak

CONTRACTS = Path(__file__).resolve().parents[2] / "examples" / "contracts"
NAMES = ("Token", "Pool", "Store")
CODE_BYTES_MAX = 24_576

FUNCTIONS = {
    "Token": {
        "name()", "symbol()", "decimals()", "owner()", "totalSupply()", "balanceOf(address)",
        "allowance(address,address)", "transfer(address,uint256)", "approve(address,uint256)",
        "transferFrom(address,address,uint256)", "mint(address,uint256)", "burn(uint256)",
    },
    "Pool": {
        "token0()", "token1()", "reserves()", "quote(address,uint256)", "totalShares()", "sharesOf(address)",
        "addLiquidity(uint256,uint256,uint256,address)", "removeLiquidity(uint256,uint256,uint256,address)",
        "swap(address,uint256,uint256,address)", "FEE_KEEP()", "LOCKED_SHARES()",
    },
    "Store": {
        "increment()", "incrementOwn()", "set(uint256,uint256)", "fail(string)", "failCustom(uint256)", "halt()",
        "ping(uint256,bytes)", "create(uint256)", "create2(bytes32,uint256)", "callSelf(bytes)", "tryCallSelf(bytes)",
    },
}  # fmt: skip


def artifact(name: str) -> dict[str, Any]:
    """Read a committed artifact."""
    loaded: dict[str, Any] = json.loads((CONTRACTS / "artifacts" / f"{name}.json").read_text())
    return loaded


def code(text: str) -> bytes:
    """Bytes of a 0x-prefixed hex field."""
    assert re.fullmatch(r"0x([0-9a-f]{2})+", text)
    return bytes.fromhex(text[2:])


def signatures(name: str, kind: str) -> set[str]:
    """Canonical signatures in an ABI, such as ``transfer(address,uint256)``."""
    return {
        f"{entry['name']}({','.join(argument['type'] for argument in entry['inputs'])})"
        for entry in artifact(name)["abi"]
        if entry["type"] == kind
    }


def without_node(reason: str) -> NoReturn:
    """Skip, or fail where Node is required."""
    if os.environ.get("REQUIRE_NODE") == "1":
        pytest.fail(f"REQUIRE_NODE=1, but {reason}")
    pytest.skip(reason)


@pytest.mark.parametrize("name", NAMES)
def test_an_artifact_has_the_documented_fields(name: str) -> None:
    """The fields that the README names, and code that a chain accepts."""
    loaded = artifact(name)
    assert set(loaded) == {
        "contractName", "sourceName", "compiler", "abi", "bytecode", "deployedBytecode", "storageLayout",
    }  # fmt: skip
    assert loaded["contractName"] == name
    assert (CONTRACTS / loaded["sourceName"]).is_file()
    assert 0 < len(code(loaded["deployedBytecode"])) <= CODE_BYTES_MAX
    for slot in loaded["storageLayout"]:
        assert set(slot) == {"label", "slot", "offset", "type", "bytes"}


@pytest.mark.parametrize("name", NAMES)
def test_init_code_holds_the_deployed_code_unchanged(name: str) -> None:
    """Without immutable values the deployed code can be put into a genesis file as it is."""
    loaded = artifact(name)
    assert code(loaded["deployedBytecode"]) in code(loaded["bytecode"])


@pytest.mark.parametrize("name", NAMES)
def test_functions_are_in_abi_and_dispatcher(name: str) -> None:
    """Each function is in the ABI, and its selector in the code behind a PUSH4 or a shorter push."""
    declared = signatures(name, "function")
    assert FUNCTIONS[name] <= declared
    deployed = code(artifact(name)["deployedBytecode"])
    for signature in declared:
        selector = keccak(text=signature)[:4].lstrip(b"\0")
        assert bytes([0x5F + len(selector)]) + selector in deployed, signature


def test_token_is_an_erc_20() -> None:
    """Selectors and topics as wallets know them, written out, so that a typo in a type is seen."""
    deployed = code(artifact("Token")["deployedBytecode"])
    for selector in ("a9059cbb", "23b872dd", "095ea7b3", "70a08231", "dd62ed3e", "18160ddd"):
        assert bytes.fromhex("63" + selector) in deployed
    for topic in (
        "ddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef",
        "8c5be1e5ebec7d5bd14f71427d1e84f3dd0314c0f7b2291e5b200ac8c7c3b925",
    ):
        assert bytes.fromhex("7f" + topic) in deployed


@pytest.mark.parametrize("name", NAMES)
def test_the_code_names_the_pinned_compiler(name: str) -> None:
    """package.json, the artifact and the three version bytes at the end of the code say the same."""
    pinned = json.loads((CONTRACTS / "package.json").read_text())["dependencies"]["solc"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", pinned), "the compiler is pinned to one version"
    loaded = artifact(name)
    assert loaded["compiler"]["version"].split("+")[0] == pinned
    assert loaded["compiler"]["settings"] == {
        "evmVersion": "prague",
        "optimizer": {"enabled": True, "runs": 200},
        "metadata": {"bytecodeHash": "none"},
    }
    # CBOR of {"solc": three bytes}, then the length of that as two bytes: no hash of the sources.
    version = bytes(int(part) for part in pinned.split("."))
    assert code(loaded["deployedBytecode"]).endswith(b"\xa1\x64solc\x43" + version + b"\x00\x0a")


def test_the_lock_names_no_registry() -> None:
    """Versions and integrity hashes only: it serves behind any mirror."""
    lock = json.loads((CONTRACTS / "package-lock.json").read_text())
    packages = {path: package for path, package in lock["packages"].items() if path}
    assert "node_modules/solc" in packages
    for path, package in packages.items():
        assert "resolved" not in package, path
        assert package["integrity"].startswith("sha512-"), path


@pytest.mark.timeout(300)
def test_rebuilding_gives_the_same_bytes(tmp_path: Path) -> None:
    """Compile a copy of the sources with the locked compiler, and compare byte for byte."""
    npm, node = shutil.which("npm"), shutil.which("node")
    if npm is None or node is None:
        without_node("node and npm aren't installed")
    for name in ("package.json", "package-lock.json", ".npmrc", "build.mjs", *(f"{name}.sol" for name in NAMES)):
        shutil.copy(CONTRACTS / name, tmp_path)
    try:
        installed = subprocess.run(
            [npm, "ci", "--prefer-offline"], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
        )
    except subprocess.TimeoutExpired:
        without_node("npm ci got no answer within 120 s")
    if installed.returncode != 0:
        without_node(f"npm ci failed: {installed.stderr[-500:]}")

    built = subprocess.run([node, "build.mjs"], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert built.returncode == 0, built.stderr
    for name in NAMES:
        fresh = (tmp_path / "artifacts" / f"{name}.json").read_bytes()
        assert fresh == (CONTRACTS / "artifacts" / f"{name}.json").read_bytes(), f"{name}: run npm run build"
