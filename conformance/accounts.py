"""Accounts as whole things: from documents to state keys, from state keys back, and what differs between two sets.

The state of this platform has no accounts, only keys; one whose keys all are empty doesn't exist in it. Ethereum knows
such empty accounts: their difference is handled where roots are compared.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from schemas.hashing import keccak
from schemas.keys import (
    balance_key,
    blob_key,
    code_key,
    entry_key,
    generation,
    integer,
    is_entry,
    minimal,
    nonce_key,
    slot_key,
    storage_key,
)

from .fields import Fields, Malformed, data, hexadecimal, number

_SLOT_KEY_BYTES: Final = 53
"""Prefix, address and slot."""
DIFFERENCES_MAX: Final = 10
"""So many are told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """All of an account."""

    balance: int = 0
    """Wei."""
    nonce: int = 0
    code: bytes = b""
    storage: Mapping[int, int] = field(default_factory=dict)
    """Slots and values other than zero."""
    entries: Mapping[bytes, bytes] = field(default_factory=dict)
    """Of a contract of a machine beside the EVM, which Ethereum doesn't have: no root counts them."""

    @property
    def empty(self) -> bool:
        """Whether nothing of it is in the state."""
        return not (self.balance or self.nonce or self.code or self.storage or self.entries)


NOBODY: Final = Account()

Accounts = Mapping[bytes, Account]
"""By address of 20 bytes."""


def read_accounts(table: Fields) -> dict[bytes, Account]:
    """The accounts of an ``alloc``, a ``pre`` or a ``post.state``, empty ones as well."""
    accounts: dict[bytes, Account] = {}
    for name in table:
        fields = table.table(name)
        try:
            address = bytes.fromhex(name.removeprefix("0x"))
        except ValueError:
            address = b""
        if len(address) != 20:
            raise Malformed(f"{fields.where}: the name is no address of 20 bytes")
        if address in accounts:
            raise Malformed(f"{fields.where}: the account stands there twice")
        storage = fields.table("storage") if "storage" in fields else Fields({}, "")
        slots = ((number(slot, storage.at(slot)), storage.number(slot)) for slot in storage)
        entries = fields.table("entries") if "entries" in fields else Fields({}, "")
        accounts[address] = Account(
            balance=fields.number("balance", 0), nonce=fields.number("nonce", 0, bits=64),
            code=fields.data("code", default=b""), storage={slot: value for slot, value in slots if value},
            entries={data(key, entries.at(key)): entries.data(key) for key in entries})
    return accounts


def entries_of(accounts: Accounts) -> dict[bytes, bytes]:
    """Keys and values of accounts, as a genesis has them."""
    state: dict[bytes, bytes] = {}
    for address, account in accounts.items():
        if account.balance:
            state[balance_key(address)] = minimal(account.balance)
        if account.nonce:
            state[nonce_key(address)] = minimal(account.nonce)
        if account.code:
            code_hash = keccak(account.code)
            state[code_key(address)] = code_hash
            state[blob_key(code_hash)] = account.code
        for slot, value in account.storage.items():
            state[slot_key(address, slot)] = minimal(value)
        for key, content in account.entries.items():
            state[entry_key(address, key)] = content
        if account.storage and not account.code:
            state[storage_key(address)] = b"\x01"
    return state


def accounts_of(state: Mapping[bytes, bytes]) -> dict[bytes, Account]:
    """The accounts in a state, none of them empty, by address.

    Raises
    ------
    Malformed
        If the code of one isn't there, or isn't what its hash says.
    """
    balances: dict[bytes, int] = {}
    nonces: dict[bytes, int] = {}
    codes: dict[bytes, bytes] = {}
    storages: defaultdict[bytes, dict[int, int]] = defaultdict(dict)
    entries: defaultdict[bytes, dict[bytes, bytes]] = defaultdict(dict)
    for key, value in state.items():
        kind, address = key[:1], key[1:21]
        if not value:
            continue
        if kind == b"b":
            balances[address] = integer(value)
        elif kind == b"n":
            nonces[address] = integer(value)
        elif kind == b"c":
            codes[address] = _code(state, address, value)
        elif kind == b"s" and key[_SLOT_KEY_BYTES:] == generation(state.get(storage_key(address), b"")):
            storages[address][integer(key[21:_SLOT_KEY_BYTES])] = integer(value)
        elif is_entry(key):
            entries[address][key[21:]] = value
    return {
        address: Account(
            balance=balances.get(address, 0), nonce=nonces.get(address, 0), code=codes.get(address, b""),
            storage=storages.get(address, {}), entries=entries.get(address, {}))
        for address in sorted({*balances, *nonces, *codes, *storages, *entries})}


def _code(state: Mapping[bytes, bytes], address: bytes, code_hash: bytes) -> bytes:
    code = state.get(blob_key(code_hash), b"")
    if keccak(code) != code_hash:
        raise Malformed(f"account {hexadecimal(address)}: under {hexadecimal(code_hash)} lies code of another hash")
    return code


def differences(found: Accounts, expected: Accounts) -> list[str]:
    """Where two sets of accounts differ, with both values; an account that is empty is as one that isn't there."""
    told: list[str] = []
    for address in sorted({*found, *expected}):
        mine, theirs = found.get(address, NOBODY), expected.get(address, NOBODY)
        if mine != theirs:
            told += _account_differences(hexadecimal(address), mine, theirs)
    more = len(told) - DIFFERENCES_MAX
    return told if more <= 0 else [*told[:DIFFERENCES_MAX], f"and {more} more"]


def _account_differences(name: str, mine: Account, theirs: Account) -> Iterator[str]:
    if mine.empty:
        yield f"account {name} is missing"
    elif theirs.empty:
        yield f"account {name} is not expected"
    if mine.balance != theirs.balance:
        yield f"account {name}: balance {mine.balance}, expected {theirs.balance}"
    if mine.nonce != theirs.nonce:
        yield f"account {name}: nonce {mine.nonce}, expected {theirs.nonce}"
    if mine.code != theirs.code:
        yield f"account {name}: code {_shortened(mine.code)}, expected {_shortened(theirs.code)}"
    for slot in sorted({*mine.storage, *theirs.storage}):
        is_, should = mine.storage.get(slot, 0), theirs.storage.get(slot, 0)
        if is_ != should:
            yield f"account {name}: slot {slot:#x} is {is_:#x}, expected {should:#x}"


    for key in sorted({*mine.entries, *theirs.entries}):
        has, wanted = mine.entries.get(key, b""), theirs.entries.get(key, b"")
        if has != wanted:
            yield f"account {name}: entry {hexadecimal(key)} is {_shortened(has)}, expected {_shortened(wanted)}"


def _shortened(code: bytes) -> str:
    return hexadecimal(code) if len(code) <= 32 else f"{hexadecimal(code[:32])}… ({len(code)} bytes)"


def alloc_document(accounts: Accounts) -> dict[str, Any]:
    """Accounts as an ``alloc``: what is zero is left out, except for balances."""
    return {hexadecimal(address): _account_document(account) for address, account in sorted(accounts.items())}


def _account_document(account: Account) -> dict[str, Any]:
    document: dict[str, Any] = {}
    if account.code:
        document["code"] = hexadecimal(account.code)
    if account.storage:
        document["storage"] = {f"{slot:#066x}": f"{value:#066x}" for slot, value in sorted(account.storage.items())}
    if account.entries:
        document["entries"] = {
            hexadecimal(key): hexadecimal(value) for key, value in sorted(account.entries.items())}
    document["balance"] = hex(account.balance)
    if account.nonce:
        document["nonce"] = hex(account.nonce)
    return document

