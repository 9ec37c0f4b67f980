"""Hints of what a transaction touches."""

from typing import Any

import pytest
from eth_abi.abi import encode
from eth_account import Account

from ingest.hints import mapping_slot, parties, routing_keys, touched
from ingest.transactions import Transaction, decode
from schemas.hashing import keccak
from schemas.keys import balance_key, code_key, nonce_key
from schemas.rules import Rules

KEY = Account.from_key(b"\x01" * 32)
SENDER = bytes.fromhex(KEY.address[2:])
OTHER = Account.from_key(b"\x02" * 32)
TOKEN, PAYEE, OWNER = (letter * 20 for letter in (b"\xaa", b"\xbb", b"\xcc"))


def transaction(**fields: Any) -> Transaction:
    """A signed transaction with some fields."""
    defaults: dict[str, Any] = {
        "chainId": 52188, "nonce": 0, "to": TOKEN, "value": 0, "gas": 200_000, "maxFeePerGas": 1,
        "maxPriorityFeePerGas": 1, "data": b""}
    return decode(bytes(KEY.sign_transaction(defaults | fields).raw_transaction), Rules())


def calldata(signature: str, *arguments: Any) -> bytes:
    """Calldata of a call."""
    types = signature[signature.index("(") + 1:-1].split(",")
    return keccak(signature.encode())[:4] + encode(types, arguments)


def test_touched() -> None:
    own = {balance_key(SENDER), nonce_key(SENDER), code_key(SENDER)}
    assert set(touched(transaction())) == own | {code_key(TOKEN)}
    assert set(touched(transaction(value=1))) == own | {code_key(TOKEN), balance_key(TOKEN)}
    assert set(touched(transaction(to=b""))) == own
    authorization = OTHER.sign_authorization({"chainId": 52188, "address": TOKEN, "nonce": 0})
    authority = bytes.fromhex(OTHER.address[2:])
    assert set(touched(transaction(type=4, accessList=[], authorizationList=[authorization]))) == own | {
        code_key(TOKEN), nonce_key(authority), code_key(authority)}


@pytest.mark.parametrize(("data", "expected"), [
    (calldata("transfer(address,uint256)", PAYEE, 1), (PAYEE,)),
    (calldata("transferFrom(address,address,uint256)", OWNER, PAYEE, 1), (OWNER, PAYEE)),
    (calldata("transferFrom(address,address,uint256)", PAYEE, PAYEE, 1), (PAYEE,)),
    (calldata("approve(address,uint256)", OWNER, 1), (OWNER,)),
    (calldata("mint(address,uint256)", PAYEE, 1), (PAYEE,)),
    (calldata("burn(uint256)", 1), ()),
    (calldata("transfer(address,uint256)", SENDER, 1), ()),
    (calldata("swap(uint256)", 1), None),
    (calldata("transfer(address,uint256)", PAYEE, 1)[:20], None),
    (keccak(b"transfer(address,uint256)")[:4] + b"\xff" * 64, None),
])
def test_parties(data: bytes, expected: tuple[bytes, ...] | None) -> None:
    made = transaction(data=data)
    assert parties(made) == expected
    if expected is None:
        assert routing_keys(made) == (SENDER, TOKEN)
    else:
        assert routing_keys(made) == (SENDER, *(TOKEN + account for account in expected))


def test_routing_of_payments_and_creations() -> None:
    assert routing_keys(transaction(to=PAYEE, value=1)) == (SENDER, PAYEE)
    assert routing_keys(transaction(to=SENDER, value=1)) == (SENDER,)
    assert routing_keys(transaction(to=b"", data=b"\x00")) == (SENDER,)


def test_mapping_slot() -> None:
    assert mapping_slot(PAYEE, 3) == int.from_bytes(keccak(bytes(12) + PAYEE + (3).to_bytes(32, "big")), "big")
