"""Decoding of signed transactions: all types, every refusal, and any bytes."""

import math
from typing import Any

import pytest
import rlp
from eth_account import Account
from hypothesis import given
from hypothesis import strategies as st

from ingest.accounts import deployment, sign_for_machine
from ingest.admission import intrinsic_gas
from ingest.blobs import GAS_PER_BLOB, blob_base_fee, blob_gas
from ingest.rlp import NotCanonical, read_list, write, write_list
from ingest.signatures import CURVE_ORDER, HALF_ORDER, recover
from ingest.transactions import Transaction, decode, decode_many
from schemas.errors import ConfigurationError, InvalidTransaction
from schemas.hashing import keccak
from schemas.rules import Rules

RULES = Rules(chain_id=52188, base_fee=7)
KEY = Account.from_key(b"\x01" * 32)
SENDER = bytes.fromhex(KEY.address[2:])
TO = bytes.fromhex("11" * 20)

LEGACY = {"chainId": 52188, "nonce": 3, "to": TO, "value": 5, "gas": 30_000, "gasPrice": 9, "data": b"\x00\x01"}
ACCESS = {**LEGACY, "type": 1, "accessList": [{"address": "0x" + "22" * 20, "storageKeys": ["0x" + "00" * 31 + "07"]}]}
FEES: dict[str, Any] = {key: value for key, value in ACCESS.items() if key != "gasPrice"}
FEES |= {"type": 2, "maxFeePerGas": 9, "maxPriorityFeePerGas": 2}


def signed(fields: dict[str, Any]) -> bytes:
    """A transaction signed by `KEY`."""
    return bytes(KEY.sign_transaction(fields).raw_transaction)


def delegation(**changes: Any) -> dict[str, Any]:
    """Fields of a set code transaction with one authorization."""
    authorization = KEY.sign_authorization({"chainId": 52188, "address": "0x" + "33" * 20, "nonce": 4} | changes)
    return {**FEES, "type": 4, "gas": 100_000, "authorizationList": [authorization]}


def refused(raw: bytes, rules: Rules = RULES) -> str:
    """Why a transaction is refused."""
    with pytest.raises(InvalidTransaction) as caught:
        decode(raw, rules)
    return caught.value.reason


def resigned(fields: list[Any], kind: bytes = b"\x02") -> bytes:
    """Fields that eth_account would not sign, signed."""
    unsigned = kind + rlp.encode(fields)
    signature = KEY.unsafe_sign_hash(keccak(unsigned))
    encoded: bytes = rlp.encode([*fields, signature.v - 27, signature.r, signature.s])
    return kind + encoded


def fee_fields(**changes: Any) -> list[Any]:
    """The unsigned fields of a transaction of type 2."""
    fields = {
        "chain_id": 52188, "nonce": 0, "tip": 1, "fee": 9, "gas": 60_000, "to": TO, "value": 0, "data": b"",
        "access_list": []}
    return list((fields | changes).values())


@pytest.mark.parametrize(("fields", "kind"), [(LEGACY, 0), (ACCESS, 1), (FEES, 2), (delegation(), 4)])
def test_types(fields: dict[str, Any], kind: int) -> None:
    raw = signed(fields)
    transaction = decode(raw, RULES)
    assert transaction.raw == raw
    assert transaction.hash == keccak(raw)
    assert transaction.type == kind
    assert transaction.chain_id == 52188
    assert (transaction.sender, transaction.to) == (SENDER, TO)
    assert (transaction.nonce, transaction.value, transaction.data) == (3, 5, b"\x00\x01")
    assert transaction.gas_limit == fields["gas"]
    assert transaction.max_fee == 9
    assert transaction.max_priority_fee == (2 if kind in (2, 4) else 9)
    assert transaction.gas_price == (None if kind in (2, 4) else 9)
    assert transaction.access_list == ((((b"\x22" * 20), (7,)),) if kind else ())
    gas = 21_000 + 4 + 16 + (2_400 + 1_900 if kind else 0) + (25_000 if kind == 4 else 0)
    assert (transaction.intrinsic_gas, transaction.floor_gas) == (gas, 21_000 + 50)


def test_authority() -> None:
    entry, = decode(signed(delegation()), RULES).authorizations
    assert (entry.chain_id, entry.address, entry.nonce, entry.authority) == (52188, b"\x33" * 20, 4, SENDER)
    any_chain, = decode(signed(delegation(chainId=0)), RULES).authorizations
    assert any_chain.authority == SENDER


@pytest.mark.parametrize("changes", [{"chainId": 1}, {"nonce": 2**64 - 1}])
def test_authorization_without_effect(changes: dict[str, int]) -> None:
    entry, = decode(signed(delegation(**changes)), RULES).authorizations
    assert entry.authority is None


def test_authorization_with_bad_signature() -> None:
    fields = [*fee_fields(), [[52188, b"\x33" * 20, 0, 0, 5, CURVE_ORDER - 1]]]
    entry, = decode(resigned(fields, b"\x04"), Rules(chain_id=52188, transaction_gas_max=10**6)).authorizations
    assert entry.authority is None


def test_creation() -> None:
    transaction = decode(signed({**LEGACY, "to": b"", "data": b"\x60" * 33, "gas": 100_000}), RULES)
    assert transaction.to is None
    assert transaction.intrinsic_gas == 21_000 + 32_000 + 33 * 16 + 2 * 2


def test_unprotected_legacy() -> None:
    fields = [0, 9, 21_000, TO, 1, b""]
    signature = KEY.unsafe_sign_hash(keccak(rlp.encode(fields)))
    transaction = decode(rlp.encode([*fields, signature.v, signature.r, signature.s]), RULES)
    assert transaction.chain_id is None
    assert transaction.sender == SENDER


@pytest.mark.parametrize(("changes", "reason"), [
    ({"chainId": 1}, "invalid chain id: 1, this chain has 52188"),
    ({"gas": 20_000}, "intrinsic gas too low: gas limit 20000, needed 25320"),
    ({"gas": 30_000_001}, "gas limit 30000001 exceeds the highest allowed, 30000000"),
    ({"maxFeePerGas": 6, "maxPriorityFeePerGas": 0}, "max fee per gas less than block base fee: 6, base fee 7"),
    ({"maxPriorityFeePerGas": 10}, "max priority fee per gas higher than max fee per gas: 10 above 9"),
    ({"nonce": 2**64 - 1}, f"nonce has max value: {2**64 - 1}, the highest allowed is {2**64 - 2}"),
    ({"accessList": [], "data": b"\x01" * 1000, "gas": 40_000},
     "gas limit below the floor for its calldata: gas limit 40000, needed 61000"),
    ({"to": b"", "data": bytes(49_153), "gas": 10**7}, "max initcode size exceeded: 49153 bytes, limit 49152"),
    ({"data": bytes(131_072), "gas": 10**7}, f"oversized data: {131_072 + 166} bytes, limit 131072"),
])
def test_static_rules(changes: dict[str, Any], reason: str) -> None:
    assert refused(signed(FEES | changes)) == reason


@pytest.mark.parametrize(("fields", "reason"), [
    (fee_fields(to=b"\x11" * 19), "undecodable: recipient of 19 bytes instead of 20"),
    (fee_fields(value=2**256), "undecodable: value of 33 bytes, limit 32"),
    (fee_fields(nonce=b"\x00\x01"), "undecodable: nonce with leading zeros"),
    (fee_fields(nonce=2**64), "undecodable: nonce of 9 bytes, limit 8"),
    (fee_fields(gas=[]), "undecodable: gas limit is a list"),
    (fee_fields(data=[b""]), "undecodable: data is a list"),
    (fee_fields(access_list=b""), "undecodable: access list is not a list"),
    (fee_fields(access_list=[[TO]]), "undecodable: 1 fields in an entry of the access list; it has 2"),
    (fee_fields(access_list=[[TO, [b"\x01"]]]), "undecodable: slot in the access list of 1 bytes instead of 32"),
    (fee_fields(access_list=[[TO, [[[[]]]]]]), "undecodable: RLP lists nested deeper than 4"),
    (fee_fields()[1:], "undecodable: 11 fields in a transaction of type 0x02; it has 12"),
])
def test_malformed_fields(fields: list[Any], reason: str) -> None:
    assert refused(resigned(fields)) == reason


def test_set_code_needs_authorizations_and_recipient() -> None:
    assert refused(resigned([*fee_fields(), []], b"\x04")).startswith("empty authorization list")
    entry = [52188, TO, 0, 0, 1, 1]
    assert "cannot create" in refused(resigned([*fee_fields(to=b""), [entry]], b"\x04"))


def test_signatures() -> None:
    fields = fee_fields()
    unsigned = b"\x02" + rlp.encode(fields)
    signature = KEY.unsafe_sign_hash(keccak(unsigned))
    parity, r, s = signature.v - 27, signature.r, signature.s

    def reason(*signature: int) -> str:
        return refused(b"\x02" + rlp.encode([*fields, *signature]))

    assert reason(2, r, s) == "invalid signature: y parity 2; it is 0 or 1"
    assert "above half of the curve's order" in reason(1 - parity, r, CURVE_ORDER - s)
    for bad in ((parity, 0, s), (parity, r, 0), (parity, CURVE_ORDER, s), (parity, 5, s)):
        assert "no key signs" in reason(*bad)
    legacy = [0, 9, 21_000, TO, 1, b""]
    assert "v 29 is neither" in refused(rlp.encode([*legacy, 29, r, s]))
    assert recover(bytes(32), 0, 1, HALF_ORDER) is not None


# Blobs.

BLOB_RULES = Rules(chain_id=52188, base_fee=7, blobs=True)
HASH = b"\x01" + bytes(31)


def blob_fields(blob_fee: Any = 3, hashes: Any = (HASH,), **changes: Any) -> bytes:
    """A signed blob transaction."""
    return resigned([*fee_fields(**changes), blob_fee, list(hashes)], b"\x03")


def test_blob_transaction() -> None:
    second = b"\x01" + b"\xff" * 31
    transaction = decode(blob_fields(hashes=(HASH, second), access_list=[[TO, []]]), BLOB_RULES)
    assert (transaction.type, transaction.sender, transaction.to) == (3, SENDER, TO)
    assert (transaction.max_fee_per_blob_gas, transaction.blob_hashes) == (3, (HASH, second))
    assert (transaction.max_fee, transaction.max_priority_fee, transaction.gas_price) == (9, 1, None)
    assert transaction.intrinsic_gas == 21_000 + 2_400
    signed_by_library = bytes(KEY.sign_transaction({
        **FEES, "type": 3, "maxFeePerBlobGas": 3, "blobVersionedHashes": [HASH]}).raw_transaction)
    assert decode(signed_by_library, BLOB_RULES).sender == SENDER


@pytest.mark.parametrize(("raw", "reason"), [
    (blob_fields(hashes=()), "a blob transaction without blobs; it needs at least 1 blob hash"),
    (blob_fields(hashes=(HASH,) * 10), "too many blobs in transaction: 10, limit 9"),
    (blob_fields(hashes=(b"\x02" + bytes(31),)), f"blob hash 0x02{'00' * 31} of version 0x02; it has to be 0x01"),
    (blob_fields(hashes=(HASH[1:],)), "undecodable: blob hash of 31 bytes instead of 32"),
    (blob_fields(hashes=(HASH, [])), "undecodable: blob hash is a list"),
    (blob_fields(blob_fee=b"\x00"), "undecodable: max fee per blob gas with leading zeros"),
    (blob_fields(to=b""), "a blob transaction cannot create a contract; it needs a recipient"),
    (b"\x03" + rlp.encode([[*fee_fields()], [], [], []]),
     "a blob transaction in network form is not accepted: send it without blobs, commitments and proofs"),
    (b"\x03\xc0", "undecodable: 0 fields in a transaction of type 0x03; it has 14"),
])
def test_blob_transactions_refused(raw: bytes, reason: str) -> None:
    assert refused(raw, BLOB_RULES) == reason


def test_blobs_by_fork() -> None:
    cancun = Rules(chain_id=52188, blobs=True, fork="cancun")
    assert len(decode(blob_fields(hashes=(HASH,) * 6), cancun).blob_hashes) == 6
    assert refused(blob_fields(hashes=(HASH,) * 7), cancun) == "too many blobs in transaction: 7, limit 6"
    assert refused(blob_fields(), Rules(chain_id=52188, blobs=True, fork="shanghai")) == (
        "unknown transaction type 0x03; known are legacy, 0x01, 0x02 and 0x50")
    assert "not supported: this chain has no blobs" in refused(blob_fields(), RULES)


@pytest.mark.parametrize(("excess", "fork", "fee"), [
    (0, "cancun", 1), (2_314_057, "cancun", 1), (2_314_058, "cancun", 2), (10 * 2**20, "cancun", 23),
    (0, "prague", 1), (5_007_716, "prague", 2),
])
def test_blob_base_fee(excess: int, fork: str, fee: int) -> None:
    assert blob_base_fee(excess, fork) == fee
    assert blob_gas(6) == 6 * GAS_PER_BLOB == 786_432


@given(st.integers(0, 2 * 10**8), st.sampled_from([("cancun", 3_338_477), ("prague", 5_007_716)]))
def test_blob_base_fee_is_exponential(excess: int, fork: tuple[str, int]) -> None:
    name, fraction = fork
    exact = math.exp(excess / fraction)
    assert exact * (1 - 1e-9) - 1.01 <= blob_base_fee(excess, name) <= exact * (1 + 1e-9)


# Forks.


def test_fork_without_floor_and_set_code() -> None:
    cancun = Rules(chain_id=52188, fork="cancun")
    raw = signed(FEES | {"accessList": [], "data": b"\x01" * 1000, "gas": 40_000})
    assert "below the floor" in refused(raw)
    assert decode(raw, cancun).floor_gas == 0
    for fork in ("shanghai", "cancun"):
        assert refused(signed(delegation()), Rules(chain_id=52188, fork=fork)).startswith("unknown transaction type 0x04")
    assert refused(b"\x05\xc0", BLOB_RULES) == (
        "unknown transaction type 0x05; known are legacy, 0x01, 0x02, 0x03, 0x04 and 0x50")
    with pytest.raises(ConfigurationError, match="no fork 'london'; there are shanghai, cancun, prague"):
        decode(signed(FEES), Rules(chain_id=52188, fork="london"))


# Machines beside the EVM.


def for_machine(**changes: Any) -> bytes:
    """A signed transaction of type 0x50."""
    fields: dict[str, Any] = {
        "chain_id": 52188, "nonce": 3, "machine": "lua", "to": TO, "value": 5, "data": b"\x00\x01", "gas_limit": 30_000,
        "max_fee": 9, "max_priority_fee": 2}
    return sign_for_machine(KEY, **(fields | changes))


def test_call_of_a_machine() -> None:
    raw = for_machine()
    assert raw[:1] == b"\x50"
    assert rlp.decode(raw[1:])[:9] == [
        (52188).to_bytes(2, "big"), b"\x03", b"\x02", b"\x09", b"\x75\x30", b"lua", TO, b"\x05", b"\x00\x01"]
    transaction = decode(raw, RULES)
    assert (transaction.type, transaction.machine, transaction.sender, transaction.to) == (0x50, "lua", SENDER, TO)
    assert (transaction.nonce, transaction.value, transaction.data) == (3, 5, b"\x00\x01")
    assert (transaction.max_fee, transaction.max_priority_fee, transaction.gas_price) == (9, 2, None)
    assert (transaction.gas_limit, transaction.access_list) == (30_000, ())
    assert (transaction.intrinsic_gas, transaction.floor_gas) == (21_000 + 4 + 16, 21_000 + 50)
    assert decode(signed(FEES), RULES).machine == ""
    assert decode(raw, Rules(chain_id=52188, fork="shanghai")).floor_gas == 0


def test_deployment_on_a_machine() -> None:
    data = deployment(b"\x01" * 50_000, b"\x02")  # more than init code of the EVM may have
    assert rlp.decode(data) == [b"\x01" * 50_000, b"\x02"]
    transaction = decode(for_machine(to=None, data=data, gas_limit=10**7, machine="wasm"), RULES)
    assert (transaction.to, transaction.machine, transaction.data) == (None, "wasm", data)
    assert transaction.intrinsic_gas == intrinsic_gas(data, creates=True)[0]


@pytest.mark.parametrize(("changes", "reason"), [
    ({"machine": ""}, "undecodable: machine 0x; it is a name of 1 to 16 characters out of a-z, 0-9 and _"),
    ({"machine": "Lua"}, "undecodable: machine 0x4c7561; it is a name of 1 to 16 characters out of a-z, 0-9 and _"),
    ({"machine": "a" * 17},
     f"undecodable: machine 0x{'61' * 17}; it is a name of 1 to 16 characters out of a-z, 0-9 and _"),
    ({"machine": "lua\n"}, "undecodable: machine 0x6c75610a; it is a name of 1 to 16 characters out of a-z, 0-9 and _"),
    ({"machine": "move"}, "unknown machine 'move'; this chain has lua, wasm"),
    ({"chain_id": 1}, "invalid chain id: 1, this chain has 52188"),
    ({"gas_limit": 20_000}, "intrinsic gas too low: gas limit 20000, needed 21020"),
    ({"max_priority_fee": 10}, "max priority fee per gas higher than max fee per gas: 10 above 9"),
    ({"max_fee": 6}, "max fee per gas less than block base fee: 6, base fee 7"),
    ({"nonce": 2**64 - 1}, f"nonce has max value: {2**64 - 1}, the highest allowed is {2**64 - 2}"),
    ({"to": b"\x11" * 19}, "undecodable: recipient of 19 bytes instead of 20"),
    ({"to": None, "data": bytes(131_072), "gas_limit": 10**7}, f"oversized data: {131_072 + 92} bytes, limit 131072"),
])
def test_machine_rules(changes: dict[str, Any], reason: str) -> None:
    assert refused(for_machine(**changes)) == reason


def test_chain_without_machines() -> None:
    assert refused(for_machine(), Rules(chain_id=52188, machines=())) == "unknown machine 'lua'; this chain has none"


@pytest.mark.parametrize(("raw", "reason"), [
    (b"", "empty transaction"),
    (b"\x03\xc0", "blob transactions (type 3) are not supported: this chain has no blobs"),
    (b"\x05\xc0", "unknown transaction type 0x05; known are legacy, 0x01, 0x02, 0x04 and 0x50"),
    (b"\x80", "unknown transaction type 0x80; known are legacy, 0x01, 0x02, 0x04 and 0x50"),
    (b"\x02", "undecodable: RLP list expected"),
    (b"\xc0", "undecodable: 0 fields in a legacy transaction; it has 9"),
    (signed(FEES) + b"\x00", "undecodable: 1 bytes after the end of the RLP list"),
    (signed(FEES)[:-1], "undecodable: RLP item runs past its list"),
])
def test_undecodable(raw: bytes, reason: str) -> None:
    assert refused(raw) == reason


@pytest.mark.parametrize("encoded", [
    "c28101", "f801c0", "f90001c0", "f838" + "00" * 55, "c1b8", "c2b801", "c3b80100", "c181", "c2c2c0", "f8", "ff" * 9, "bf"])
def test_only_canonical(encoded: str) -> None:
    with pytest.raises(NotCanonical):
        read_list(bytes.fromhex(encoded))


ITEMS = st.recursive(st.binary(max_size=80), lambda items: st.lists(items, max_size=4), max_leaves=20)


@given(st.lists(ITEMS, max_size=6))
def test_reader_agrees_with_another_codec(items: list[Any]) -> None:
    encoded = rlp.encode(items)
    try:
        assert read_list(encoded) == items
    except NotCanonical as error:
        assert "nested" in str(error)  # noqa: PT017  # only one reason is allowed


@given(st.integers(0, 2**300), st.binary(max_size=70))
def test_writer_agrees_with_another_codec(number: int, data: bytes) -> None:
    assert write_list((write(number), write(data))) == rlp.encode([number, data])


SAMPLES = (signed(LEGACY), signed(ACCESS), signed(FEES), signed(delegation()), blob_fields(), for_machine())


@given(st.one_of(st.binary(max_size=300), st.sampled_from((b"\x01", b"\x02", b"\x03", b"\x04", b"\x50")).flatmap(
    lambda kind: st.lists(ITEMS, min_size=9, max_size=14).map(lambda items: kind + rlp.encode(items)))))
def test_any_bytes(raw: bytes) -> None:
    try:
        decode(raw, BLOB_RULES)
    except InvalidTransaction as error:
        assert error.reason


@given(st.sampled_from(SAMPLES), st.integers(0, 10**6), st.integers(1, 255), st.booleans())
def test_mutated_bytes(raw: bytes, place: int, change: int, cut: bool) -> None:
    place %= len(raw)
    mutated = raw[:place] if cut else raw[:place] + bytes((raw[place] ^ change,)) + raw[place + 1:]
    try:
        transaction = decode(mutated, BLOB_RULES)
    except InvalidTransaction as error:
        assert error.reason
    else:
        assert transaction.hash != keccak(raw)
        assert transaction.sender != SENDER  # nobody can change what was signed


def test_many() -> None:
    raws = [signed(FEES | {"nonce": nonce}) for nonce in range(70)]
    raws[5], raws[66] = b"\x03", raws[66][:-1] + b"\x00"
    decoded = decode_many(raws, RULES)
    assert [index for index, each in enumerate(decoded) if isinstance(each, InvalidTransaction)][0] == 5
    for index, each in enumerate(decoded):
        if index in (5, 66):
            continue
        assert isinstance(each, Transaction)
        assert (each.nonce, each.sender) == (index, SENDER)
    assert not isinstance(decoded[66], Transaction) or decoded[66].sender != SENDER


def test_intrinsic_gas_of_a_call_without_anything() -> None:
    assert intrinsic_gas(b"", creates=False) == (21_000, 21_000)
