"""Blocks for the tests of ``parsec t8n``: states with the contracts of the system, and lists of transactions on them."""

from dataclasses import dataclass
from typing import Any

from eth_account import Account

SYSTEM_CONTRACTS = {
    # Beacon roots (EIP-4788), history (EIP-2935), withdrawal requests (EIP-7002), consolidations (EIP-7251).
    "0x000f3df6d732807ef1319fb7b8bb8522d0beac02": (
        "0x3373fffffffffffffffffffffffffffffffffffffffe14604d57602036146024575f5ffd5b5f35801560495762001fff8106908154"
        "14603c575f5ffd5b62001fff01545f5260205ff35b5f5ffd5b62001fff42064281555f359062001fff015500"),
    "0x0000f90827f1c53a10cb7a02335b175320002935": (
        "0x3373fffffffffffffffffffffffffffffffffffffffe14604657602036036042575f35600143038111604257611fff814303116042"
        "57611fff9006545f5260205ff35b5f5ffd5b5f35611fff60014303065500"),
    "0x00000961ef480eb55e80d19ad83579a64c007002": (
        "0x3373fffffffffffffffffffffffffffffffffffffffe1460cb5760115f54807fffffffffffffffffffffffffffffffffffffffffff"
        "ffffffffffffffffffffff146101f457600182026001905f5b5f82111560685781019083028483029004916001019190604d565b9093"
        "90049250505036603814608857366101f457346101f4575f5260205ff35b34106101f457600154600101600155600354806003026004"
        "013381556001015f35815560010160203590553360601b5f5260385f601437604c5fa0600101600355005b6003546002548082038060"
        "101160df575060105b5f5b8181146101835782810160030260040181604c02815460601b815260140181600101548152602001906002"
        "0154807fffffffffffffffffffffffffffffffff00000000000000000000000000000000168252906010019060401c908160381c8160"
        "0701538160301c81600601538160281c81600501538160201c81600401538160181c81600301538160101c81600201538160081c8160"
        "0101535360010160e1565b910180921461019557906002556101a0565b90505f6002555f6003555b5f54807fffffffffffffffffffff"
        "ffffffffffffffffffffffffffffffffffffffffffff14156101cd57505f5b6001546002828201116101e25750505f6101e8565b0160"
        "0290035b5f555f600155604c025ff35b5f5ffd"),
    "0x0000bbddc7ce488642fb579f8b00f3a590007251": (
        "0x3373fffffffffffffffffffffffffffffffffffffffe1460d35760115f54807fffffffffffffffffffffffffffffffffffffffffff"
        "ffffffffffffffffffffff1461019a57600182026001905f5b5f82111560685781019083028483029004916001019190604d565b9093"
        "900492505050366060146088573661019a573461019a575f5260205ff35b341061019a57600154600101600155600354806004026004"
        "013381556001015f358155600101602035815560010160403590553360601b5f5260605f60143760745fa0600101600355005b600354"
        "6002548082038060021160e7575060025b5f5b8181146101295782810160040260040181607402815460601b81526014018160010154"
        "8152602001816002015481526020019060030154905260010160e9565b910180921461013b5790600255610146565b90505f6002555f"
        "6003555b5f54807fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff141561017357505f5b6001546001"
        "828201116101885750505f61018e565b01600190035b5f555f6001556074025ff35b5f5ffd"),
}
HISTORY, BEACON_ROOTS = "0x0000f90827f1c53a10cb7a02335b175320002935", "0x000f3df6d732807ef1319fb7b8bb8522d0beac02"
WITHDRAWALS, CONSOLIDATIONS = (
    "0x00000961ef480eb55e80d19ad83579a64c007002", "0x0000bbddc7ce488642fb579f8b00f3a590007251")
DEPOSITS = "0x00000000219ab540356cbb839cbe05303d7705fa"

COUNTER = "0x" + "c0" * 20
"""Adds 1 to slot 0 and logs it."""
BLOCK_READER = "0x" + "b0" * 20
"""Stores what the instructions tell of the block, the hash of the parent first."""
HISTORY_READER = "0x" + "a0" * 20
"""Asks the history contract for the block before, and stores whether it succeeded, and the answer."""
BEACON_READER = "0x" + "90" * 20
"""The same with the contract of beacon roots and the time of the block."""
REVERTER = "0x" + "80" * 20
SLOW_HISTORY = "0x" + "70" * 20
"""Asks for the block whose number is in the calldata."""
BLOB_READER = "0x" + "50" * 20
"""Stores the hash of the second blob, and the price of blob gas."""
CODE = {
    BLOB_READER: "0x6001495f554a600155",
    COUNTER: "0x5f54600101805f555f5260205fa0",
    BLOCK_READER: "0x600143034060005543600155426002554460035548600455466005554160065545600755",
    HISTORY_READER: f"0x600143035f5260205f60205f73{HISTORY[2:]}5afa5f555f51600155",
    BEACON_READER: f"0x425f5260205f60205f73{BEACON_ROOTS[2:]}5afa5f555f51600155",
    REVERTER: "0x5f5ffd",
    SLOW_HISTORY: f"0x5f355f5260205f60205f73{HISTORY[2:]}5afa5f555f51600155",
    # Logs its calldata as the deposit contract does.
    DEPOSITS: "0x365f5f377f649bbc62d0e31342afea4e5cd82d4049e7e1ee912fc0889aa790803be39038c5365fa1",
}
INIT_CODE = "0x600160005360016000f3"
"""Makes a contract of one byte."""
COINBASE = "0x" + "fe" * 20
KEYS = [bytes([number]) * 32 for number in range(1, 9)]
ADDRESSES = [Account.from_key(key).address.lower() for key in KEYS]
FUNDS = 10**20
PARENT_HASH, BEACON_ROOT = "0x" + "77" * 32, "0x" + "88" * 32


def deposit_data(amount: int = 32 * 10**9) -> str:
    """The data of a deposit's log."""
    fields = [(160, b"\x11" * 48), (256, b"\x22" * 32), (320, amount.to_bytes(8, "little")), (384, b"\x33" * 96), (512, bytes(8))]
    data = b"".join(at.to_bytes(32, "big") for at, _ in fields)
    for _, content in fields:
        data += len(content).to_bytes(32, "big") + content + bytes(-len(content) % 32)
    return "0x" + data.hex()


def alloc(**more: dict[str, Any]) -> dict[str, Any]:
    """Eight accounts with funds, the contracts of the system, and those of the tests."""
    accounts: dict[str, Any] = {address: {"balance": hex(FUNDS)} for address in ADDRESSES}
    for address, code in (SYSTEM_CONTRACTS | CODE).items():
        accounts[address] = {"balance": "0x0", "nonce": "0x1", "code": code}
    return accounts | more


def env(fork: str = "Prague", **more: Any) -> dict[str, Any]:
    """The environment of a block that follows block 4."""
    fields: dict[str, Any] = {
        "currentCoinbase": COINBASE, "currentGasLimit": hex(30_000_000), "currentNumber": "0x5",
        "currentTimestamp": hex(5_000), "currentRandom": "0x" + "12" * 32, "currentBaseFee": "0x7", "withdrawals": [],
        "blockHashes": {hex(number): "0x" + f"{number:02x}" * 32 for number in range(5)} | {"0x4": PARENT_HASH}}
    if fork != "Shanghai":
        fields |= {"parentBeaconBlockRoot": BEACON_ROOT, "currentExcessBlobGas": "0x0"}
    return fields | more


def transaction(sender: int, nonce: int, to: str | None, *, value: int = 0, data: str = "0x", gas: int = 200_000, **more: Any) -> dict[str, Any]:
    """A transaction of a key, of type 2 unless it says otherwise."""
    fields = {
        "type": "0x2", "chainId": "0x1", "nonce": hex(nonce), "to": to, "value": hex(value), "input": data,
        "gas": hex(gas), "maxFeePerGas": "0x64", "maxPriorityFeePerGas": "0x2", "accessList": [],
        "secretKey": "0x" + KEYS[sender].hex(), "v": "0x0", "r": "0x0", "s": "0x0"} | more
    return {name: value for name, value in fields.items() if value is not None or name == "to"}


def legacy(sender: int, nonce: int, to: str | None, **more: Any) -> dict[str, Any]:
    """A legacy transaction."""
    fields = transaction(sender, nonce, to, **more)
    for name in ("type", "chainId", "maxFeePerGas", "maxPriorityFeePerGas", "accessList"):
        del fields[name]
    return fields | {"gasPrice": "0xa"}


def authorization(signer: int, address: str, nonce: int, chain_id: int = 1) -> dict[str, Any]:
    """An authorization as documents have it."""
    signed = Account.sign_authorization({"chainId": chain_id, "address": address, "nonce": nonce}, KEYS[signer])
    return {
        "chainId": hex(chain_id), "address": address, "nonce": hex(nonce), "v": hex(signed.y_parity),
        "r": hex(signed.r), "s": hex(signed.s)}


@dataclass(frozen=True)
class Block:
    """The three inputs of a transition."""

    name: str
    alloc: dict[str, Any]
    env: dict[str, Any]
    txs: list[dict[str, Any]]
    fork: str = "Prague"

    def document(self) -> dict[str, Any]:
        """The three as they come by standard input."""
        return {"alloc": self.alloc, "env": self.env, "txs": self.txs}


def _mixed(fork: str) -> Block:
    """Payments, calls, a creation, failures, and transactions that are rejected."""
    txs = [
        transaction(0, 0, ADDRESSES[1], value=5), transaction(1, 0, COUNTER), legacy(2, 0, COUNTER),
        transaction(0, 1, None, data=INIT_CODE), transaction(3, 0, REVERTER), transaction(4, 1, COUNTER),
        transaction(5, 0, COUNTER, gas=40_000_000), transaction(5, 0, COUNTER, maxFeePerGas="0x3"),
        transaction(1, 1, BLOCK_READER, gas=400_000), transaction(1, 1, COUNTER),
        transaction(6, 0, COUNTER, type="0x1", maxFeePerGas=None, maxPriorityFeePerGas=None, gasPrice="0x9",
                    accessList=[{"address": COUNTER, "storageKeys": ["0x" + "00" * 32]}]),
        legacy(7, 0, ADDRESSES[0], value=FUNDS), legacy(7, 0, "0x" + "dd" * 20, value=1, protected=False),
        transaction(2, 1, COINBASE, value=9)]
    return Block(f"mixed {fork}", alloc(), env(fork), txs, fork)


BLOCKS = [
    *map(_mixed, ("Shanghai", "Cancun", "Prague")),
    Block("empty", alloc(), env(), []),
    Block(
        "withdrawals", alloc(), env("Shanghai", withdrawals=[
            {"index": "0x1", "validatorIndex": "0x2", "address": ADDRESSES[0], "amount": "0x5"},
            {"index": "0x2", "validatorIndex": "0x3", "address": "0x" + "ee" * 20, "amount": "0x10"},
            {"index": "0x3", "validatorIndex": "0x4", "address": "0x" + "ef" * 20, "amount": "0x0"}]),
        [transaction(0, 0, "0x" + "ee" * 20, value=3)], "Shanghai"),
    Block("beacon roots", alloc(), env("Cancun"), [transaction(0, 0, BEACON_READER)], "Cancun"),
    Block(
        "history", alloc(), env(), [
            transaction(0, 0, HISTORY_READER), transaction(1, 0, BEACON_READER),
            transaction(2, 0, SLOW_HISTORY, data="0x" + "00" * 31 + "04"), transaction(3, 0, SLOW_HISTORY, data="0x" + "00" * 31 + "09")]),
    Block(
        "old history", alloc(**{HISTORY: {
            "nonce": "0x1", "balance": "0x0", "code": SYSTEM_CONTRACTS[HISTORY], "storage": {"0x02": "0x" + "99" * 32}}}),
        env(currentNumber="0x1000", blockHashes={"0xfff": PARENT_HASH}),
        [transaction(0, 0, SLOW_HISTORY, data="0x" + "00" * 31 + "02")]),
    Block(
        "requests", alloc(), env(), [
            transaction(0, 0, WITHDRAWALS, value=1, data="0x" + "11" * 48 + "00" * 7 + "05", gas=500_000),
            transaction(1, 0, CONSOLIDATIONS, value=1, data="0x" + "44" * 48 + "55" * 48, gas=500_000),
            transaction(2, 0, DEPOSITS, data=deposit_data(), gas=500_000), transaction(3, 0, COUNTER),
            transaction(4, 0, WITHDRAWALS, value=1, data="0x" + "12" * 48 + "00" * 8, gas=500_000)]),
    *(Block(
        f"deleted {fork}", alloc(**{"0x" + "60" * 20: {
            "nonce": "0x1", "balance": "0x9", "code": "0x600035ff", "storage": {"0x1": "0x2"}}}), env(fork), [
            transaction(0, 0, "0x" + "60" * 20, data="0x" + "00" * 31 + "33"), transaction(1, 0, "0x" + "60" * 20, value=4),
            transaction(2, 0, None, data="0x33ff")], fork) for fork in ("Shanghai", "Cancun")),
    Block(
        "delegation", alloc(), env(), [
            transaction(0, 0, ADDRESSES[1], type="0x4", gas=300_000, authorizationList=[authorization(1, COUNTER, 0)]),
            transaction(2, 0, ADDRESSES[1]), transaction(1, 1, REVERTER)]),
    Block("blobs", alloc(), env(currentExcessBlobGas=hex(40_000_000)), [
        transaction(sender, 0, BLOB_READER, type="0x3", maxFeePerBlobGas="0xffffff", gas=100_000,
                    blobVersionedHashes=["0x01" + f"{sender:02x}" * 31] * count)
        for sender, count in enumerate((2, 6, 2, 1, 10))] + [transaction(5, 0, BLOB_READER)]),
    Block(
        "full", alloc(), env(currentGasLimit=hex(150_000)), [
            transaction(0, 0, COUNTER, gas=100_000), transaction(1, 0, COUNTER, gas=120_000),
            transaction(2, 0, COUNTER, gas=90_000), transaction(3, 0, ADDRESSES[0], gas=21_000)]),
    Block(
        "base fee of the parent", alloc(), {name: value for name, value in env(
            parentBaseFee="0x64", parentGasUsed=hex(12_000_000), parentGasLimit=hex(30_000_000), currentBlobGas=None).items()
            if name != "currentBaseFee"},
        [transaction(0, 0, BLOCK_READER, gas=400_000, maxFeePerGas="0xffff")]),
]
"""Each has its expected result from a second implementation."""
