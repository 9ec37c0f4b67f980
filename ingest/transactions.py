"""Signed transactions: from bytes to a checked `Transaction`.

Types 0 (legacy), 1 (access list), 2 (fee market) and, by the fork of the rules, 3 (blobs) and 4 (set code) are read,
and 0x50, a type of our own for contracts of machines beside the EVM::

    0x50 || rlp([chain_id, nonce, max_priority_fee, max_fee, gas_limit, machine, to, value, data, y_parity, r, s])

signed over Keccak-256 of ``0x50 || rlp([the fields before the signature])``. `machine` is the name in ASCII. Without a
recipient it deploys a contract, and `data` is ``rlp([code, arguments])``; with one it calls, and `data` are the
arguments. Blobs need a market, which a log without consensus has no use for: type 3 is refused unless the rules ask for
it. What needs no state is checked in here; nothing that gets through can be wrong whatever the state is.

A legacy transaction without a chain id (before EIP-155) is accepted: it is valid under the fork's rules, and widely
used deployments rely on it. Whether it comes in by RPC is the gateway's decision.

References
----------
EIP-155, EIP-2718, EIP-2930, EIP-1559, EIP-4844, EIP-7702.
"""

import os
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, NamedTuple

from schemas.errors import InvalidTransaction
from schemas.hashing import keccak
from schemas.rules import Rules

from .admission import NONCE_MAX, AccessList, check_fees, check_gas
from .blobs import check_blobs
from .fields import fixed, recipient, record, sequence, string, uint
from .forks import ACCESS_LIST, BLOB, FEE_MARKET, MACHINE, SET_CODE, TransactionRules, transaction_rules
from .rlp import Item, NotCanonical, read_list, write, write_list
from .signatures import HALF_ORDER, recover

_FIELDS: Final = {ACCESS_LIST: 11, FEE_MARKET: 12, BLOB: 14, SET_CODE: 13, MACHINE: 12}
"""Items in the list of each typed transaction, signature included."""
_AUTHORIZATION_MAGIC: Final = b"\x05"
_MACHINE_NAME: Final = re.compile(rb"[a-z0-9_]{1,16}")
_CHUNK: Final = 32
"""Signatures that a thread recovers at a time; a list of less than two of these isn't worth a thread."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Authorization:
    """One entry of a set code transaction: an account that takes over another one's code."""

    chain_id: int
    """0 for any chain."""
    address: bytes
    """Where the code is, 20 bytes; zero to clear a delegation."""
    nonce: int
    y_parity: int
    r: int
    s: int
    authority: bytes | None
    """The account that signed, or None if the entry has no effect: other chain, exhausted nonce or bad signature."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transaction:
    """A transaction that no state makes wrong."""

    raw: bytes
    """The signed bytes as they came."""
    hash: bytes
    """Keccak-256 of `raw`."""
    type: int
    chain_id: int | None
    """None for a legacy transaction without replay protection."""
    nonce: int
    sender: bytes
    to: bytes | None
    """20 bytes, or None to create a contract."""
    value: int
    """Wei."""
    data: bytes
    gas_limit: int
    gas_price: int | None
    """Wei per gas of types 0 and 1."""
    max_fee: int
    """Wei per gas, effective for all types: the gas price of types 0 and 1."""
    max_priority_fee: int
    """Wei per gas, effective for all types."""
    access_list: AccessList
    authorizations: tuple[Authorization, ...]
    v: int
    """As signed: parity for typed transactions, with the chain id in it for legacy ones."""
    r: int
    s: int
    intrinsic_gas: int
    """Gas charged before the first instruction."""
    floor_gas: int
    """Least gas that the transaction pays for (EIP-7623); 0 in forks without it."""
    machine: str = ""
    """Of a transaction of type 0x50: the machine whose contract it deploys or calls. Empty for the EVM."""
    max_fee_per_blob_gas: int = 0
    """Wei."""
    blob_hashes: tuple[bytes, ...] = ()
    """Versioned hashes of the blobs of a transaction of type 3, 32 bytes each."""


def decode(raw: bytes, rules: Rules) -> Transaction:
    """Read one signed transaction, check it and recover its sender.

    Raises
    ------
    InvalidTransaction
        For any bytes that aren't a valid transaction; the reason names the thing, the value and the limit. Nothing else
        is ever raised.
    """
    unsigned = _parse(raw, rules)
    return unsigned.signed_by(_sender(*unsigned.signature))


def decode_many(raws: Sequence[bytes], rules: Rules) -> list[Transaction | InvalidTransaction]:
    """Decode a list, with recovery on several threads.

    Parsing comes first and on one thread: mixed with it, threads wait for the interpreter lock for longer than they
    save.

    Returns
    -------
    list
        In the order of `raws`, with the error in the place of each invalid one.
    """
    parsed: list[_Unsigned | InvalidTransaction] = []
    for raw in raws:
        try:
            parsed.append(_parse(raw, rules))
        except InvalidTransaction as error:
            parsed.append(error)
    if len(parsed) < 2 * _CHUNK or _workers() == 1:
        return _recover_chunk(parsed)
    chunks = [parsed[start:start + _CHUNK] for start in range(0, len(parsed), _CHUNK)]
    return [each for chunk in _pool().map(_recover_chunk, chunks) for each in chunk]


class _Unsigned(NamedTuple):
    """A checked transaction of which only the sender is still to be found."""

    signature: tuple[bytes, int, int, int]
    """The hash that was signed, parity, r and s."""
    fields: dict[str, Any]
    """All fields of `Transaction` but the sender."""

    def signed_by(self, sender: bytes) -> Transaction:
        return Transaction(sender=sender, **self.fields)


def _recover_chunk(parsed: Sequence[_Unsigned | InvalidTransaction]) -> list[Transaction | InvalidTransaction]:
    decoded: list[Transaction | InvalidTransaction] = []
    for each in parsed:
        if isinstance(each, InvalidTransaction):
            decoded.append(each)
            continue
        try:
            decoded.append(each.signed_by(_sender(*each.signature)))
        except InvalidTransaction as error:
            decoded.append(error)
    return decoded


def _workers() -> int:
    return min(os.cpu_count() or 1, 8)


@cache
def _pool() -> ThreadPoolExecutor:
    """Threads for recovery, made on first use and kept."""
    return ThreadPoolExecutor(_workers(), thread_name_prefix="recovery")


def _parse(raw: bytes, rules: Rules) -> _Unsigned:
    """Everything of `decode` but recovery."""
    if len(raw) > rules.transaction_bytes_max:
        raise InvalidTransaction(f"oversized data: {len(raw)} bytes, limit {rules.transaction_bytes_max}")
    if not raw:
        raise InvalidTransaction("empty transaction")
    raw = bytes(raw)
    kind = raw[0]
    try:
        if kind >= 0xC0:
            return _legacy(raw, read_list(raw), rules)
        fork = transaction_rules(rules.fork)
        if kind not in fork.types or kind not in _FIELDS:
            raise InvalidTransaction(f"unknown transaction type {kind:#04x}; known are {_known(rules, fork)}")
        if kind == BLOB and not rules.blobs:
            raise InvalidTransaction("blob transactions (type 3) are not supported: this chain has no blobs")
        items = read_list(raw[1:])
        if kind == BLOB and items and isinstance(items[0], list):
            raise InvalidTransaction(
                "a blob transaction in network form is not accepted: send it without blobs, commitments and proofs")
        if len(items) != _FIELDS[kind]:
            raise InvalidTransaction(
                f"undecodable: {len(items)} fields in a transaction of type {kind:#04x}; it has {_FIELDS[kind]}")
        return _for_machine(raw, items, rules, fork) if kind == MACHINE else _typed(raw, kind, items, rules, fork)
    except NotCanonical as exc:
        raise InvalidTransaction(f"undecodable: {exc}") from exc


def _legacy(raw: bytes, items: list[Item], rules: Rules) -> _Unsigned:
    if len(items) != 9:
        raise InvalidTransaction(f"undecodable: {len(items)} fields in a legacy transaction; it has 9")
    nonce = _nonce(items[0])
    gas_price = uint(items[1], "gas price", 32)
    gas_limit = uint(items[2], "gas limit", 8)
    to = recipient(items[3])
    value = uint(items[4], "value", 32)
    data = string(items[5], "data")
    v, r, s = uint(items[6], "v", 32), uint(items[7], "r", 32), uint(items[8], "s", 32)
    unsigned = _signed_part(raw, 0, v, r, s)
    if v in (27, 28):
        chain_id, parity = None, v - 27
    elif v >= 35:
        chain_id, parity = (v - 35) >> 1, (v - 35) & 1
        _check_chain(chain_id, rules)
        unsigned += write(chain_id) + b"\x80\x80"
    else:
        raise InvalidTransaction(f"invalid signature: v {v} is neither 27, 28 nor at least 35")
    check_fees(gas_limit, gas_price, gas_price, rules)
    gas, floor = check_gas(
        gas_limit, data, creates=to is None, access_list=(), authorizations=0,
        floored=transaction_rules(rules.fork).floored)
    return _Unsigned((keccak(write_list((unsigned,))), parity, r, s), {
        "raw": raw, "hash": keccak(raw), "type": 0, "chain_id": chain_id, "nonce": nonce, "to": to, "value": value,
        "data": data, "gas_limit": gas_limit, "gas_price": gas_price, "max_fee": gas_price,
        "max_priority_fee": gas_price, "access_list": (), "authorizations": (), "v": v, "r": r, "s": s,
        "intrinsic_gas": gas, "floor_gas": floor})


def _typed(raw: bytes, kind: int, items: list[Item], rules: Rules, fork: TransactionRules) -> _Unsigned:
    _check_chain(items[0], rules)
    nonce = _nonce(items[1])
    gas_price: int | None
    if kind == ACCESS_LIST:
        gas_price = max_fee = max_priority_fee = uint(items[2], "gas price", 32)
        rest = items[3:]
    else:
        gas_price = None
        max_priority_fee, max_fee = uint(items[2], "max priority fee", 32), uint(items[3], "max fee", 32)
        rest = items[4:]
    gas_limit = uint(rest[0], "gas limit", 8)
    to = recipient(rest[1])
    value = uint(rest[2], "value", 32)
    data = string(rest[3], "data")
    access_list = _access_list(rest[4])
    authorizations = _authorizations(rest[5], to, rules) if kind == SET_CODE else ()
    max_fee_per_blob_gas, blob_hashes = _blobs(rest[5], rest[6], to, fork) if kind == BLOB else (0, ())
    parity, r, s = _signature(rest)
    check_fees(gas_limit, max_fee, max_priority_fee, rules)
    gas, floor = check_gas(
        gas_limit, data, creates=to is None, access_list=access_list, authorizations=len(authorizations),
        floored=fork.floored)
    message_hash = keccak(raw[:1] + write_list((_signed_part(raw, 1, parity, r, s),)))
    return _Unsigned((message_hash, parity, r, s), {
        "raw": raw, "hash": keccak(raw), "type": kind, "chain_id": rules.chain_id, "nonce": nonce, "to": to,
        "value": value, "data": data, "gas_limit": gas_limit, "gas_price": gas_price, "max_fee": max_fee,
        "max_priority_fee": max_priority_fee, "access_list": access_list, "authorizations": authorizations,
        "v": parity, "r": r, "s": s, "intrinsic_gas": gas, "floor_gas": floor,
        "max_fee_per_blob_gas": max_fee_per_blob_gas, "blob_hashes": blob_hashes})


def _for_machine(raw: bytes, items: list[Item], rules: Rules, fork: TransactionRules) -> _Unsigned:
    """Read a transaction of type 0x50."""
    _check_chain(items[0], rules)
    nonce = _nonce(items[1])
    max_priority_fee, max_fee = uint(items[2], "max priority fee", 32), uint(items[3], "max fee", 32)
    gas_limit = uint(items[4], "gas limit", 8)
    machine = _machine(items[5], rules)
    to = recipient(items[6])
    value = uint(items[7], "value", 32)
    data = string(items[8], "data")
    parity, r, s = _signature(items)
    check_fees(gas_limit, max_fee, max_priority_fee, rules)
    gas, floor = check_gas(
        gas_limit, data, creates=to is None, access_list=(), authorizations=0, floored=fork.floored,
        init_code_bytes_max=None)
    message_hash = keccak(raw[:1] + write_list((_signed_part(raw, 1, parity, r, s),)))
    return _Unsigned((message_hash, parity, r, s), {
        "raw": raw, "hash": keccak(raw), "type": MACHINE, "chain_id": rules.chain_id, "nonce": nonce, "to": to,
        "value": value, "data": data, "gas_limit": gas_limit, "gas_price": None, "max_fee": max_fee,
        "max_priority_fee": max_priority_fee, "access_list": (), "authorizations": (), "v": parity, "r": r, "s": s,
        "intrinsic_gas": gas, "floor_gas": floor, "machine": machine})


def _signed_part(raw: bytes, start: int, *signature: int) -> bytes:
    """The encoded fields before the signature, cut out of the canonical bytes instead of encoding them again."""
    prefix = raw[start]
    start += 1 if prefix <= 0xF7 else prefix - 0xF7 + 1
    # An integer below 128 is encoded as one byte, another one as a prefix and its bytes.
    tail = sum(1 if number < 0x80 else 1 + ((number.bit_length() + 7) >> 3) for number in signature)
    return raw[start:len(raw) - tail]


def _sender(message_hash: bytes, parity: int, r: int, s: int) -> bytes:
    if parity > 1:
        raise InvalidTransaction(f"invalid signature: y parity {parity}; it is 0 or 1")
    if s > HALF_ORDER:
        raise InvalidTransaction(f"invalid signature: s {s:#x} is above half of the curve's order")
    sender = recover(message_hash, parity, r, s)
    if sender is None:
        raise InvalidTransaction(f"invalid signature: no key signs with r {r:#x} and s {s:#x}")
    return sender


def _known(rules: Rules, fork: TransactionRules) -> str:
    """The types of transactions that a chain has, for people."""
    names = ["legacy", *(f"{kind:#04x}" for kind in sorted(fork.types & _FIELDS.keys()) if kind != BLOB or rules.blobs)]
    return f"{', '.join(names[:-1])} and {names[-1]}"


def _check_chain(item: Item | int, rules: Rules) -> None:
    chain_id = item if isinstance(item, int) else uint(item, "chain id", 32)
    if chain_id != rules.chain_id:
        raise InvalidTransaction(f"invalid chain id: {chain_id}, this chain has {rules.chain_id}")


def _signature(items: list[Item]) -> tuple[int, int, int]:
    """Parity, r and s at the end of a typed transaction."""
    return uint(items[-3], "y parity", 32), uint(items[-2], "r", 32), uint(items[-1], "s", 32)


def _machine(item: Item, rules: Rules) -> str:
    """The name of a machine that the chain has."""
    name = string(item, "machine")
    if not _MACHINE_NAME.fullmatch(name):
        raise InvalidTransaction(
            f"undecodable: machine 0x{name[:32].hex()}; it is a name of 1 to 16 characters out of a-z, 0-9 and _")
    machine = name.decode("ascii")
    names = [entry.partition("/")[0] for entry in rules.machines]
    if machine not in names:
        raise InvalidTransaction(f"unknown machine {machine!r}; this chain has {', '.join(names) or 'none'}")
    return machine


def _blobs(fee: Item, hashes: Item, to: bytes | None, fork: TransactionRules) -> tuple[int, tuple[bytes, ...]]:
    """The highest price of blob gas, and the hashes of the blobs."""
    blob_hashes = tuple(fixed(each, "blob hash", 32) for each in sequence(hashes, "blob hashes"))
    check_blobs(blob_hashes, to, fork)
    return uint(fee, "max fee per blob gas", 32), blob_hashes


def _access_list(item: Item) -> AccessList:
    entries = []
    for entry in sequence(item, "access list"):
        address, slots = record(entry, 2, "entry of the access list")
        entries.append((fixed(address, "address in the access list", 20), tuple(
            int.from_bytes(fixed(slot, "slot in the access list", 32), "big")
            for slot in sequence(slots, "slots in the access list"))))
    return tuple(entries)


def _authorizations(item: Item, to: bytes | None, rules: Rules) -> tuple[Authorization, ...]:
    entries = sequence(item, "authorization list")
    if not entries:
        raise InvalidTransaction("empty authorization list in a set code transaction; it needs at least 1 entry")
    if to is None:
        raise InvalidTransaction("a set code transaction cannot create a contract; it needs a recipient")
    return tuple(_authorization(record(entry, 6, "authorization"), rules) for entry in entries)


def _authorization(items: list[Item], rules: Rules) -> Authorization:
    chain_id = uint(items[0], "chain id of an authorization", 32)
    address = fixed(items[1], "address of an authorization", 20)
    nonce = uint(items[2], "nonce of an authorization", 8)
    parity = uint(items[3], "y parity of an authorization", 1)
    r, s = uint(items[4], "r of an authorization", 32), uint(items[5], "s of an authorization", 32)
    authority = None
    if chain_id in (0, rules.chain_id) and nonce <= NONCE_MAX and s <= HALF_ORDER:
        message = _AUTHORIZATION_MAGIC + write_list((write(chain_id), write(address), write(nonce)))
        authority = recover(keccak(message), parity, r, s)
    return Authorization(
        chain_id=chain_id, address=address, nonce=nonce, y_parity=parity, r=r, s=s, authority=authority)


def _nonce(item: Item) -> int:
    nonce = uint(item, "nonce", 8)
    if nonce > NONCE_MAX:
        raise InvalidTransaction(f"nonce has max value: {nonce}, the highest allowed is {NONCE_MAX}")
    return nonce
