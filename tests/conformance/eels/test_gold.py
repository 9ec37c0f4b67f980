"""The committed gold file: a third engine agrees with it, and so does arithmetic that no engine did."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from eth_abi.abi import decode
from eth_utils.crypto import keccak

from tests.conformance.eels import py_evm
from tests.conformance.eels.gold import GoldCase, load
from tests.conformance.eels.results import Account, Log, Receipt
from tests.conformance.eels.scenario import PAYEE
from tests.conformance.eels.wallet import Wallet, artifact, create_address

CASES = load()
MAIN = CASES[0]

TRANSFER = keccak(text="Transfer(address,address,uint256)")
SYNC = keccak(text="Sync(uint112,uint112)")
SWAP = keccak(text="Swap(address,address,address,uint256,uint256)")

OWNER = Wallet(0).address
FIRST, SECOND, POOL, STORE = (create_address(OWNER, nonce) for nonce in range(4))


def labelled(gold: GoldCase) -> Iterator[tuple[str, Receipt]]:
    """Each transaction's label with its receipt."""
    return zip(gold.case.labels, gold.expected.receipts, strict=True)


def by_label(gold: GoldCase) -> Mapping[str, Receipt]:
    """Receipts by label; of those with the same label, the last."""
    return dict(labelled(gold))


def logs(topic: bytes, *, of: bytes) -> Iterator[Log]:
    """All logs of one event of one contract in the main case, in order."""
    for receipt in MAIN.expected.receipts:
        for log in receipt.logs:
            if log.address == of and log.topics[:1] == (topic,):
                yield log


def slot(name: str, label: str) -> int:
    """Slot of a state variable, from the artifact's layout."""
    return next(int(entry["slot"]) for entry in artifact(name)["storageLayout"] if entry["label"] == label)


def mapped(key: bytes, at: int) -> int:
    """Slot of a mapping's entry for an address."""
    return int.from_bytes(keccak(key.rjust(32, b"\0") + at.to_bytes(32, "big")), "big")


def balance_of(token: bytes, holder: bytes) -> int:
    """A holder's balance in the last state's storage."""
    return MAIN.expected.accounts[token].storage.get(mapped(holder, slot("Token", "balanceOf")), 0)


@pytest.mark.filterwarnings("ignore:SELFDESTRUCT:DeprecationWarning")
@pytest.mark.parametrize("gold", CASES, ids=lambda gold: gold.case.name)
def test_stock_py_evm_agrees(gold: GoldCase) -> None:
    """Status, gas, logs, output, created address, and the whole state by its root."""
    expected = gold.expected
    rejected = {index for index, receipt in enumerate(expected.receipts) if receipt.status is None}
    receipts, root = py_evm.run(gold.case.document, rejected)
    for label, wanted, got in zip(gold.case.labels, expected.receipts, receipts, strict=True):
        if got is not None:
            for field in ("hash", "status", "gas_used", "logs", "output", "created"):
                assert getattr(got, field) == getattr(wanted, field), f"{label}: {field}"
    first = py_evm.context(gold.case.document, gold.case.document["blocks"][0])
    assert root == py_evm.root(py_evm.new_state(expected.accounts, first))


def test_the_cases_hold_what_they_are_for() -> None:
    """Enough of each kind, and every transaction type, so that nobody thins the file out unseen."""
    kinds: Counter[str] = Counter()
    for block in MAIN.case.document["blocks"]:
        for raw in block["transactions"]:
            kinds[raw[2:4] if int(raw[2:4], 16) < 0xC0 else "legacy"] += 1
    assert kinds["legacy"] > 100
    assert min(kinds["01"], kinds["02"], kinds["04"]) >= 12
    statuses = Counter(receipt.status for receipt in MAIN.expected.receipts)
    assert statuses[1] > 150
    assert statuses[0] >= 30
    assert statuses[None] >= 12


@pytest.mark.parametrize("gold", CASES, ids=lambda gold: gold.case.name)
def test_only_what_is_labelled_rejected_is_rejected(gold: GoldCase) -> None:
    """A rejected transaction has no gas and no logs, and its label says so."""
    for label, receipt in labelled(gold):
        assert (receipt.status is None) == label.startswith("rejected"), label
        assert (receipt.error is None) == (receipt.status == 1), label
        if receipt.status != 1:
            assert receipt.logs == (), label
        if receipt.status is None:
            assert receipt.gas_used == 0, label


def test_reasons_and_custom_errors() -> None:
    """What failing calls return, decoded by hand."""
    receipts = by_label(MAIN)
    for label, reason in {
        "revert: balance": "Token: insufficient balance",
        "revert: allowance": "Token: insufficient allowance",
        "revert: zero address": "Token: transfer to the zero address",
        "swap with too high a minimum": "Pool: too little output",
        "swap without approval": "Token: insufficient allowance",
        "remove more than held": "Pool: insufficient shares",
        "deployment reverts": "Pool: identical tokens",
        "revert with a reason": "as you wish: ä€😀",
        "write, log and revert": "Store: set and failed",
        "call itself and fail": "Store: set and failed",
        "create that fails": "Child: refused",
        "payment refused": "Store: payment refused",
        "take out more than put in": "Store: insufficient deposit",
    }.items():
        assert receipts[label].output[:4] == keccak(text="Error(string)")[:4], label
        assert decode(["string"], receipts[label].output[4:]) == (reason,), label
    for label, error in {
        "custom error: not the owner": "NotOwner(address)",
        "swap of an unknown token": "UnknownToken(address)",
        "reentered": "Reentered()",
        "revert with a custom error": "Failure(address,uint256)",
        "panic: the supply overflows": "Panic(uint256)",
        "panic: division by zero": "Panic(uint256)",
        "no such child": "Panic(uint256)",
    }.items():
        assert receipts[label].output[:4] == keccak(text=error)[:4], label
    for label, receipt in labelled(MAIN):
        if label.startswith("out of gas"):
            assert (receipt.status, receipt.error) == (0, "OutOfGasError"), label


@pytest.mark.parametrize("token", [FIRST, SECOND], ids=["first", "second"])
def test_transfer_logs_explain_all_balances(token: bytes) -> None:
    """Replaying the logs gives every balance in storage and the total supply."""
    balances: Counter[bytes] = Counter()
    supply = 0
    for log in logs(TRANSFER, of=token):
        source, target = log.topics[1][12:], log.topics[2][12:]
        amount = int.from_bytes(log.data, "big")
        if source == bytes(20):
            supply += amount
        else:
            balances[source] -= amount
        if target == bytes(20):
            supply -= amount
        else:
            balances[target] += amount
    assert min(balances.values()) >= 0
    assert sum(balances.values()) == supply
    assert MAIN.expected.accounts[token].storage[slot("Token", "totalSupply")] == supply
    for holder, amount in balances.items():
        assert balance_of(token, holder) == amount


def test_swaps_pay_by_the_formula_and_the_product_never_falls() -> None:
    """Each swap's output from the reserves before it; the reserves at the end are what the pool holds."""
    reserves = (0, 0)
    swaps = 0
    token0 = min(FIRST, SECOND)
    for receipt in MAIN.expected.receipts:
        for log in receipt.logs:
            if log.address != POOL:
                continue
            if log.topics[0] == SYNC:
                before, reserves = reserves, decode(["uint112", "uint112"], log.data)
            elif log.topics[0] == SWAP:
                amount_in, amount_out = decode(["uint256", "uint256"], log.data)
                side = 0 if log.topics[3][12:] == token0 else 1
                fee_kept = amount_in * 997
                assert amount_out == fee_kept * before[1 - side] // (before[side] * 1000 + fee_kept)
                assert reserves[side] == before[side] + amount_in
                assert reserves[1 - side] == before[1 - side] - amount_out
                assert reserves[0] * reserves[1] > before[0] * before[1]
                swaps += 1
    assert swaps == 20
    held = (balance_of(FIRST, POOL), balance_of(SECOND, POOL))
    assert reserves == (held if token0 == FIRST else held[::-1])
    shares = MAIN.expected.accounts[POOL].storage
    holders = (bytes(20), OWNER, Wallet(3).address)
    at = slot("Pool", "sharesOf")
    assert sum(shares[mapped(holder, at)] for holder in holders) == shares[slot("Pool", "totalShares")]


@pytest.mark.parametrize("gold", CASES, ids=lambda gold: gold.case.name)
def test_ether_is_neither_made_nor_lost(gold: GoldCase) -> None:
    """Only the base fee leaves the world."""
    before = sum(int(entry["balance"], 16) for entry in gold.case.document["alloc"].values())
    burned = gold.case.document["base_fee"] * sum(receipt.gas_used for receipt in gold.expected.receipts)
    assert sum(account.balance for account in gold.expected.accounts.values()) == before - burned


def test_a_contract_sees_the_fees_of_earlier_transactions() -> None:
    """The balance that `seeBalance` logs, from prices and gas written out here."""
    gwei = 10**9
    receipts = by_label(MAIN)

    def seen(label: str) -> int:
        return int.from_bytes(receipts[label].logs[0].data, "big")

    assert seen("before") == 3 * 10**18 + 1  # its balance in the genesis, and one wei that it was sent
    by_type_0 = seen("before") + 3 * gwei * 21_000
    assert seen("after type 0") == by_type_0
    by_type_2 = by_type_0 + gwei * (receipts["a fee by type 1"].gas_used + receipts["a fee by type 2"].gas_used)
    assert seen("after type 2, paying itself") == by_type_2
    assert MAIN.expected.accounts[PAYEE].balance > seen("at the end") > by_type_2


def test_delegations_at_the_end() -> None:
    """Which accounts have which delegation, and nonces that count each authorization."""

    def delegate(account: Account) -> bytes:
        assert account.code[:3] == b"\xef\x01\x00"
        return account.code[3:]

    accounts = MAIN.expected.accounts
    one, two, nobody = (Wallet(index).address for index in (5, 6, 10))
    assert delegate(accounts[one]) == two
    assert delegate(accounts[two]) == STORE
    assert delegate(accounts[nobody]) == FIRST
    assert accounts[nobody].nonce == 2
    counters = mapped(Wallet(7).address, slot("Store", "counters"))
    assert accounts[nobody].storage == {slot("Store", "counter"): 1, counters: 1}


def test_creations_and_destructions() -> None:
    """A child destroyed by its own transaction is gone; one destroyed later keeps its code."""
    receipts, accounts = by_label(MAIN), MAIN.expected.accounts
    created = keccak(text="ChildCreated(address,uint256)")

    def child(label: str) -> bytes:
        return next(log.topics[1][12:] for log in receipts[label].logs if log.topics[0] == created)

    assert child("create and destroy") not in accounts
    assert child("create and destroy for itself") not in accounts
    assert accounts[child("create with ether")].balance == 0
    assert accounts[child("create with ether")].code != b""
    assert accounts[child("create with ether")].storage == {0: 12}
    assert accounts[child("create")].storage == {}


def test_labels_name_every_transaction() -> None:
    """As many labels as transactions, in each case."""
    for gold in CASES:
        blocks: list[dict[str, Any]] = gold.case.document["blocks"]
        assert sum(len(block["transactions"]) for block in blocks) == len(gold.case.labels)
