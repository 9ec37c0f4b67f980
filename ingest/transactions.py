"""Signed transactions: from bytes to a checked `Transaction`.

Types 0 (legacy), 1 (access list), 2 (fee market) and 4 (set code) are read; type 3 needs a blob market, which a log
without consensus has no use for, and is refused. What needs no state is checked in here; nothing that gets through can
be wrong whatever the state is.

A legacy transaction without a chain id (before EIP-155) is accepted: it is valid under the fork's rules, and widely
used deployments rely on it. Whether it comes in by RPC is the gateway's decision.

References
----------
EIP-155, EIP-2718, EIP-2930, EIP-1559, EIP-7702.
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, NamedTuple

from schemas.errors import InvalidTransaction
from schemas.hashing import keccak
from schemas.rules import Rules

from .admission import NONCE_MAX, AccessList, check_fees, check_gas
from .rlp import Item, NotCanonical, read_list, write, write_list
from .signatures import HALF_ORDER, recover

_BLOB_TYPE: Final = 3
_SET_CODE_TYPE: Final = 4
_FIELDS: Final = {1: 11, 2: 12, 4: 13}
"""Items in the list of each typed transaction, signature included."""
_AUTHORIZATION_MAGIC: Final = b"\x05"
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
    """Least gas that the transaction pays for (EIP-7623)."""
    machine: str = ""
    """Of a transaction of type 0x50: the machine whose contract it deploys or calls. Empty for the EVM."""


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
        if kind == _BLOB_TYPE:
            raise InvalidTransaction("blob transactions (type 3) are not supported")
        if kind not in _FIELDS:
            raise InvalidTransaction(f"unknown transaction type {kind:#04x}; known are legacy, 0x01, 0x02 and 0x04")
        return _typed(raw, kind, read_list(raw[1:]), rules)
    except NotCanonical as exc:
        raise InvalidTransaction(f"undecodable: {exc}") from exc


def _legacy(raw: bytes, items: list[Item], rules: Rules) -> _Unsigned:
    if len(items) != 9:
        raise InvalidTransaction(f"undecodable: {len(items)} fields in a legacy transaction; it has 9")
    nonce = _nonce(items[0])
    gas_price = _uint(items[1], "gas price", 32)
    gas_limit = _uint(items[2], "gas limit", 8)
    to = _recipient(items[3])
    value = _uint(items[4], "value", 32)
    data = _bytes(items[5], "data")
    v, r, s = _uint(items[6], "v", 32), _uint(items[7], "r", 32), _uint(items[8], "s", 32)
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
    gas, floor = check_gas(gas_limit, data, creates=to is None, access_list=(), authorizations=0)
    return _Unsigned((keccak(write_list((unsigned,))), parity, r, s), {
        "raw": raw, "hash": keccak(raw), "type": 0, "chain_id": chain_id, "nonce": nonce, "to": to, "value": value,
        "data": data, "gas_limit": gas_limit, "gas_price": gas_price, "max_fee": gas_price,
        "max_priority_fee": gas_price, "access_list": (), "authorizations": (), "v": v, "r": r, "s": s,
        "intrinsic_gas": gas, "floor_gas": floor})


def _typed(raw: bytes, kind: int, items: list[Item], rules: Rules) -> _Unsigned:
    if len(items) != _FIELDS[kind]:
        raise InvalidTransaction(
            f"undecodable: {len(items)} fields in a transaction of type {kind}; it has {_FIELDS[kind]}")
    chain_id = _uint(items[0], "chain id", 32)
    _check_chain(chain_id, rules)
    nonce = _nonce(items[1])
    gas_price: int | None
    if kind == 1:
        gas_price = max_fee = max_priority_fee = _uint(items[2], "gas price", 32)
        rest = items[3:]
    else:
        gas_price = None
        max_priority_fee = _uint(items[2], "max priority fee", 32)
        max_fee = _uint(items[3], "max fee", 32)
        rest = items[4:]
    gas_limit = _uint(rest[0], "gas limit", 8)
    to = _recipient(rest[1])
    value = _uint(rest[2], "value", 32)
    data = _bytes(rest[3], "data")
    access_list = _access_list(rest[4])
    authorizations = _authorizations(rest[5], to, rules) if kind == _SET_CODE_TYPE else ()
    parity, r, s = _uint(rest[-3], "y parity", 32), _uint(rest[-2], "r", 32), _uint(rest[-1], "s", 32)
    check_fees(gas_limit, max_fee, max_priority_fee, rules)
    gas, floor = check_gas(
        gas_limit, data, creates=to is None, access_list=access_list, authorizations=len(authorizations))
    message_hash = keccak(raw[:1] + write_list((_signed_part(raw, 1, parity, r, s),)))
    return _Unsigned((message_hash, parity, r, s), {
        "raw": raw, "hash": keccak(raw), "type": kind, "chain_id": chain_id, "nonce": nonce, "to": to, "value": value,
        "data": data, "gas_limit": gas_limit, "gas_price": gas_price, "max_fee": max_fee,
        "max_priority_fee": max_priority_fee, "access_list": access_list, "authorizations": authorizations,
        "v": parity, "r": r, "s": s, "intrinsic_gas": gas, "floor_gas": floor})


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


def _check_chain(chain_id: int, rules: Rules) -> None:
    if chain_id != rules.chain_id:
        raise InvalidTransaction(f"invalid chain id: {chain_id}, this chain has {rules.chain_id}")


def _access_list(item: Item) -> AccessList:
    entries = []
    for entry in _list(item, "access list"):
        address, slots = _fields(entry, 2, "entry of the access list")
        entries.append((_fixed(address, "address in the access list", 20), tuple(
            int.from_bytes(_fixed(slot, "slot in the access list", 32), "big")
            for slot in _list(slots, "slots in the access list"))))
    return tuple(entries)


def _authorizations(item: Item, to: bytes | None, rules: Rules) -> tuple[Authorization, ...]:
    entries = _list(item, "authorization list")
    if not entries:
        raise InvalidTransaction("empty authorization list in a set code transaction; it needs at least 1 entry")
    if to is None:
        raise InvalidTransaction("a set code transaction cannot create a contract; it needs a recipient")
    return tuple(_authorization(_fields(entry, 6, "authorization"), rules) for entry in entries)


def _authorization(items: list[Item], rules: Rules) -> Authorization:
    chain_id = _uint(items[0], "chain id of an authorization", 32)
    address = _fixed(items[1], "address of an authorization", 20)
    nonce = _uint(items[2], "nonce of an authorization", 8)
    parity = _uint(items[3], "y parity of an authorization", 1)
    r, s = _uint(items[4], "r of an authorization", 32), _uint(items[5], "s of an authorization", 32)
    authority = None
    if chain_id in (0, rules.chain_id) and nonce <= NONCE_MAX and s <= HALF_ORDER:
        message = _AUTHORIZATION_MAGIC + write_list((write(chain_id), write(address), write(nonce)))
        authority = recover(keccak(message), parity, r, s)
    return Authorization(
        chain_id=chain_id, address=address, nonce=nonce, y_parity=parity, r=r, s=s, authority=authority)


def _nonce(item: Item) -> int:
    nonce = _uint(item, "nonce", 8)
    if nonce > NONCE_MAX:
        raise InvalidTransaction(f"nonce has max value: {nonce}, the highest allowed is {NONCE_MAX}")
    return nonce


def _uint(item: Item, name: str, width: int) -> int:
    """An integer of at most `width` bytes without leading zeros."""
    if isinstance(item, list):
        raise InvalidTransaction(f"undecodable: {name} is a list")
    if len(item) > width:
        raise InvalidTransaction(f"undecodable: {name} of {len(item)} bytes, limit {width}")
    if item[:1] == b"\x00":
        raise InvalidTransaction(f"undecodable: {name} with leading zeros")
    return int.from_bytes(item, "big")


def _recipient(item: Item) -> bytes | None:
    return None if item == b"" else _fixed(item, "recipient", 20)


def _fixed(item: Item, name: str, length: int) -> bytes:
    data = _bytes(item, name)
    if len(data) != length:
        raise InvalidTransaction(f"undecodable: {name} of {len(data)} bytes instead of {length}")
    return data


def _bytes(item: Item, name: str) -> bytes:
    if isinstance(item, list):
        raise InvalidTransaction(f"undecodable: {name} is a list")
    return item


def _list(item: Item, name: str) -> list[Item]:
    if not isinstance(item, list):
        raise InvalidTransaction(f"undecodable: {name} is not a list")
    return item


def _fields(item: Item, count: int, name: str) -> list[Item]:
    items = _list(item, name)
    if len(items) != count:
        raise InvalidTransaction(f"undecodable: {len(items)} fields in an {name}; it has {count}")
    return items
