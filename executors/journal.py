"""The state of one transaction: read at first use, changed under one undo log, written out at the end.

All machines share it, so that one revert takes back what any of them changed.

Balance, nonce, code and slot are separate keys, and each is read from the view only when something depends on it, so
that what the view records is exactly what the transaction depended on. A credit to a balance that nothing reads stays a
credit and becomes a delta.
"""

from typing import Any, Final

from schemas.errors import InvariantViolation
from schemas.hashing import EMPTY_CODE_HASH, keccak
from schemas.keys import (
    STORAGE_DELETED,
    STORAGE_GIVEN,
    StateKey,
    balance_key,
    blob_key,
    code_key,
    generation,
    integer,
    minimal,
    nonce_key,
    storage_key,
)

from .machine import Log, StateView

_ABSENT: Final = object()
_REFUND: Final = "refund"


def read_blob(view: StateView, code_hash: bytes) -> bytes:
    """The code under a hash that an account has.

    Raises
    ------
    InvariantViolation
        If the state doesn't hold it: code is written together with the hash.
    """
    code = view.read(blob_key(code_hash))
    if not code:
        raise InvariantViolation(f"no code under its hash 0x{code_hash.hex()}")
    return code


class Journal:
    """State as one transaction sees it.

    Everything that a failing call takes back is a dictionary, and every change of one is noted in the same log: values,
    transient storage, warm addresses and slots, created and doomed accounts, logs, and the refund counter.
    """

    __slots__ = (
        "_undo", "_view", "blobs", "counters", "created", "credits", "current", "doomed", "logs", "original",
        "transient", "warm", "warm_slots")

    def __init__(self, view: StateView) -> None:
        self._view = view
        self.original: dict[StateKey, Any] = {}
        """What was read from the view: integers, and code hashes and entries as bytes."""
        self.current: dict[StateKey, Any] = {}
        """What was set."""
        self.credits: dict[StateKey, int] = {}
        """What was added to balances and entries that weren't known then."""
        self.blobs: dict[bytes, bytes] = {}
        """New code by hash. Not taken back: without an account that has the hash it isn't written."""
        self.transient: dict[tuple[bytes, int], int] = {}
        self.warm: dict[bytes, bool] = {}
        self.warm_slots: dict[StateKey, bool] = {}
        self.created: dict[bytes, bool] = {}
        self.doomed: dict[bytes, bool] = {}
        """Accounts that go at the end of the transaction."""
        self.logs: dict[int, Log] = {}
        self.counters: dict[str, int] = {_REFUND: 0}
        self._undo: list[tuple[dict[Any, Any], Any, Any]] = []

    # The undo log.

    def mark(self) -> int:
        """A point to revert to."""
        return len(self._undo)

    def revert(self, mark: int) -> None:
        """Take back all changes since a mark. What was read stays read."""
        undo = self._undo
        while len(undo) > mark:
            mapping, key, before = undo.pop()
            if before is _ABSENT:
                del mapping[key]
            else:
                mapping[key] = before

    def put(self, mapping: dict[Any, Any], key: object, value: object) -> None:
        """Change an entry of one of the dictionaries so that it can be taken back."""
        self._undo.append((mapping, key, mapping.get(key, _ABSENT)))
        mapping[key] = value

    # Balances.

    def balance(self, address: bytes) -> int:
        """The balance in wei, read if it isn't known."""
        key = balance_key(address)
        value: int | None = self.current.get(key)
        return self._number(key) + self.credits.get(key, 0) if value is None else value

    def set_balance(self, address: bytes, amount: int) -> None:
        """Set a balance that is known."""
        self.put(self.current, balance_key(address), amount)

    def credit(self, address: bytes, amount: int) -> None:
        """Add to a balance without reading it."""
        if not amount:
            return
        key = balance_key(address)
        if key in self.original or key in self.current:
            self.put(self.current, key, self.balance(address) + amount)
        else:
            self.put(self.credits, key, self.credits.get(key, 0) + amount)

    def move(self, sender: bytes, recipient: bytes, amount: int) -> None:
        """Transfer wei that the sender is known to have."""
        if amount and sender != recipient:
            self.set_balance(sender, self.balance(sender) - amount)
            self.credit(recipient, amount)

    # Nonces, code and emptiness.

    def nonce(self, address: bytes) -> int:
        """The nonce, read if it isn't known."""
        key = nonce_key(address)
        value: int | None = self.current.get(key)
        return self._number(key) if value is None else value

    def set_nonce(self, address: bytes, nonce: int) -> None:
        """Set a nonce."""
        self.put(self.current, nonce_key(address), nonce)

    def code_hash(self, address: bytes) -> bytes:
        """The hash of the code, empty without code."""
        key = code_key(address)
        value: bytes | None = self.current.get(key)
        if value is None:
            value = self.original.get(key)
            if value is None:
                value = self.original[key] = self._view.read(key)
        return value

    def blob(self, code_hash: bytes) -> bytes:
        """The code under a hash that an account has."""
        code = self.blobs.get(code_hash)
        return read_blob(self._view, code_hash) if code is None else code

    def code(self, address: bytes) -> bytes:
        """The code of an account."""
        code_hash = self.code_hash(address)
        return self.blob(code_hash) if code_hash else b""

    def set_code(self, address: bytes, code: bytes) -> None:
        """Give an account code, or none."""
        code_hash = b""
        if code:
            code_hash = keccak(code)
            self.blobs[code_hash] = code
        self.put(self.current, code_key(address), code_hash)

    def is_empty(self, address: bytes) -> bool:
        """Whether an account has no code, nonce or balance; each is read only if the ones before leave it open."""
        if self.code_hash(address) or self.nonce(address):
            return False
        return not (self.credits.get(balance_key(address)) or self.balance(address))

    def visible_code_hash(self, address: bytes) -> bytes:
        """The hash as EXTCODEHASH gives it to accounts that aren't empty."""
        return self.code_hash(address) or EMPTY_CODE_HASH

    def collides(self, address: bytes) -> bool:
        """Whether a contract can't be created at an address: it has code, a nonce or storage (EIP-684, EIP-7610)."""
        if self.code_hash(address) or self.nonce(address):
            return True
        return self._view.read(storage_key(address)) == STORAGE_GIVEN

    def create(self, address: bytes) -> None:
        """Begin an account for a new contract."""
        self.put(self.created, address, True)
        self.set_nonce(address, 1)

    # Storage.

    def slot(self, key: StateKey, address: bytes) -> int:
        """The value of a slot by its state key. A contract that the transaction created has no slots to be read."""
        value: int | None = self.current.get(key)
        return self.original_slot(key, address) if value is None else value

    def original_slot(self, key: StateKey, address: bytes) -> int:
        """The value of a slot at the start of the transaction."""
        return 0 if address in self.created else self._number(key)

    def renewed_key(self, address: bytes, key: StateKey) -> StateKey:
        """Where the value of a slot is in forks that delete contracts for good.

        The slots of a deleted contract stay where they are, since nobody knows which ones there are. One that comes
        back at its address has its slots under other keys: with the number of deletions at the end.
        """
        return StateKey(key + self._generation(address))

    def _generation(self, address: bytes) -> bytes:
        """How often a contract at an address was deleted before the transaction."""
        key = storage_key(address)
        mark: bytes | None = self.original.get(key)
        if mark is None:
            mark = self.original[key] = self._view.read(key)
        return generation(mark)

    # Entries of machines beside the EVM.

    def entry(self, key: StateKey) -> bytes:
        """The value of an entry, read if it isn't known."""
        value: bytes | None = self.current.get(key)
        if value is None:
            value = self.original.get(key)
            if value is None:
                value = self.original[key] = self._view.read(key)
            added = self.credits.get(key)
            if added:
                value = minimal(integer(value) + added)
        return value

    def set_entry(self, key: StateKey, value: bytes) -> None:
        """Set an entry that is known."""
        self.put(self.current, key, value)

    def add_to_entry(self, key: StateKey, amount: int) -> None:
        """Add to the integer in an entry without reading it."""
        if not amount:
            return  # whether the entry is known or not: its zeros in front, if it has some, stay
        if key in self.original or key in self.current:
            self.put(self.current, key, minimal(integer(self.entry(key)) + amount))
        else:
            self.put(self.credits, key, self.credits.get(key, 0) + amount)

    # Logs and refunds.

    def add_log(self, log: Log) -> None:
        """Emit an event."""
        self.put(self.logs, len(self.logs), log)

    @property
    def refund(self) -> int:
        """The refund counter of storage and delegations, gas."""
        return self.counters[_REFUND]

    def add_refund(self, gas: int) -> None:
        """Change the refund counter; `gas` may be negative."""
        self.put(self.counters, _REFUND, self.counters[_REFUND] + gas)

    # The end.

    def destroy_doomed(self) -> None:
        """Delete the accounts that destroyed themselves; whatever they received since is burned with them."""
        for address in self.doomed:
            # Only what is known is compared at the end: the nonce of a contract that was there before may not be yet.
            self.nonce(address)
            self.set_balance(address, 0)
            self.set_nonce(address, 0)
            self.set_code(address, b"")
            prefix = b"s" + address
            for key in [key for key in self.current if key.startswith(prefix)]:
                self.current[key] = 0
            if address not in self.created:
                # It was there before, and may have slots that this transaction knows nothing of.
                self.current[storage_key(address)] = STORAGE_DELETED + minimal(integer(self._generation(address)) + 1)

    def flush(self) -> None:
        """Write to the view what differs from what was read, and add what was added to what isn't known."""
        view, original = self._view, self.original
        for key, value in self.current.items():
            if value == original.get(key, b"" if isinstance(value, bytes) else 0):
                continue
            if isinstance(value, bytes):
                view.write(key, value)
                if value and key[:1] == b"c":  # a code hash
                    view.write(blob_key(value), self.blobs[value])
            else:
                view.write(key, minimal(value))
        for key, amount in self.credits.items():
            if key in self.current:
                continue  # the value that was set contains it
            if key in original:
                before = original[key]
                view.write(key, minimal((integer(before) if isinstance(before, bytes) else before) + amount))
            else:
                view.add(key, amount)

    def _number(self, key: StateKey) -> int:
        value: int | None = self.original.get(key)
        if value is None:
            value = self.original[key] = int.from_bytes(self._view.read(key), "big")
        return value
