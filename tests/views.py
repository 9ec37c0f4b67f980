"""A state view over a dictionary, that notes what a transaction did with each key."""

from collections.abc import Mapping

from executors.machine import Missing
from schemas.hashing import keccak
from schemas.keys import StateKey, balance_key, blob_key, code_key, integer, minimal, nonce_key, slot_key, storage_key


class DictView:
    """All of the state in a dictionary, with the reads, writes and deltas of what ran on it."""

    def __init__(self, state: Mapping[StateKey, bytes], missing: frozenset[StateKey] = frozenset()) -> None:
        self.state = dict(state)
        self.missing = missing
        """Keys that have to be fetched before they can be read."""
        self.reads: set[StateKey] = set()
        self.writes: dict[StateKey, bytes] = {}
        self.deltas: dict[StateKey, int] = {}

    def read(self, key: StateKey) -> bytes:
        """The value now."""
        if key in self.missing:
            raise Missing(frozenset({key}))
        self.reads.add(key)
        return self.state.get(key, b"")

    def write(self, key: StateKey, value: bytes) -> None:
        """Set a value."""
        self.writes[key] = value
        self.state[key] = value

    def add(self, key: StateKey, amount: int) -> None:
        """Add to an integer."""
        self.deltas[key] = self.deltas.get(key, 0) + amount
        self.state[key] = minimal(integer(self.state.get(key, b"")) + amount)


def account(
    address: bytes, *, balance: int = 0, nonce: int = 0, code: bytes = b"", storage: Mapping[int, int] | None = None,
) -> dict[StateKey, bytes]:
    """The entries of one account, as a genesis writes them."""
    entries = {balance_key(address): minimal(balance), nonce_key(address): minimal(nonce)}
    if code:
        entries |= {code_key(address): keccak(code), blob_key(keccak(code)): code}
    for slot, value in (storage or {}).items():
        entries[slot_key(address, slot)] = minimal(value)
    if storage and not code:
        entries[storage_key(address)] = b"\x01"
    return {key: value for key, value in entries.items() if value}
