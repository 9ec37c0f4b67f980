"""Learned hints: which storage slots a call will touch, so that they are fetched in one batch ahead of the epoch.

For each contract and function it remembers how the slots of earlier runs came about: a slot that stays the same, or an
entry of a mapping, by the account that is its key and the mapping's position. Nothing rests on it: a wrong guess costs
a read, a missing one a round trip.

References
----------
Solidity documentation, layout of state variables in storage: entry k of the mapping at p is at keccak(pad(k) + pad(p)).
"""

from collections import OrderedDict
from collections.abc import Iterator
from typing import Final, NamedTuple

from ingest.hints import touched
from ingest.transactions import Transaction
from schemas.hashing import keccak
from schemas.keys import is_blob

from .view import Run
from .walk import Item

POSITIONS: Final = 16
"""Mappings are looked for at so many slot numbers."""
ARGUMENTS_MAX: Final = 8
RUNS_LEARNED: Final = 8
"""So many runs of a function are looked at."""
RECIPES_MAX: Final = 64
FUNCTIONS_MAX: Final = 4_096


class Recipe(NamedTuple):
    """How a key follows from a call: `prefix` as it is, or followed by the slot of a mapping's entry."""

    prefix: bytes
    """The whole key where it stays the same, else what stands before the slot."""
    outer: int = -1
    """Which of the call's accounts is the key of the mapping; -1 for a key that stays the same."""
    inner: int = -1
    """For a mapping in a mapping, the account that is the key of the outer one."""
    position: int = 0
    """Slot number of the mapping."""


class Function:
    """What is known of one function of one contract."""

    __slots__ = ("recipes", "runs")

    def __init__(self) -> None:
        self.recipes: set[Recipe] = set()
        self.runs = 0


class Foresight:
    """The hints of one executor: fixed ones of the transaction, and those that were learned."""

    def __init__(self) -> None:
        self._functions: OrderedDict[tuple[bytes, bytes], Function] = OrderedDict()

    def touched(self, item: Item) -> Iterator[bytes]:
        """The keys that a transaction is expected to touch."""
        if not isinstance(item, Transaction):
            return
        yield from touched(item)
        function = self._functions.get((item.to or b"", item.data[:4])) if item.data else None
        if function is not None:
            accounts = _accounts(item)
            for recipe in function.recipes:
                key = _key(recipe, accounts)
                if key is not None:
                    yield key

    def learn(self, item: Item, run: Run) -> None:
        """Take note of what a call has read."""
        if not isinstance(item, Transaction) or item.to is None or not item.data:
            return
        of = (item.to, item.data[:4])
        function = self._functions.get(of)
        if function is None:
            function = self._functions[of] = Function()
            if len(self._functions) > FUNCTIONS_MAX:
                self._functions.popitem(last=False)
        if function.runs >= RUNS_LEARNED:
            return
        function.runs += 1
        known = frozenset(touched(item))
        slots = [key for key in run.reads if key not in known and not is_blob(key)]
        entries = _entries(item)
        for key in slots:
            recipe = entries.get(key[21:]) if key[:1] == b"s" else None
            if len(function.recipes) < RECIPES_MAX:
                function.recipes.add(Recipe(key) if recipe is None else recipe._replace(prefix=key[:21]))
        if function.runs == RUNS_LEARNED:
            self._functions.move_to_end(of)


def _accounts(item: Transaction) -> list[bytes]:
    """The accounts of a call as words: its sender, its contract, and the arguments that look like one."""
    data = item.data
    words = [item.sender.rjust(32, b"\0"), (item.to or b"").rjust(32, b"\0")]
    words += [data[at : at + 32].ljust(32, b"\0") for at in range(4, min(len(data), 4 + 32 * ARGUMENTS_MAX), 32)]
    return words


def _entries(item: Transaction) -> dict[bytes, Recipe]:
    """The slots of all entries that the accounts of a call could have in mappings, with how they come about."""
    accounts = _accounts(item)
    named = [index for index, word in enumerate(accounts) if not any(word[:12]) and any(word[12:20])]
    found: dict[bytes, Recipe] = {}
    for position in range(POSITIONS):
        number = position.to_bytes(32, "big")
        for inner in named:
            first = keccak(accounts[inner] + number)
            for outer in named:
                found.setdefault(keccak(accounts[outer] + first), Recipe(b"", outer, inner, position))
            found[first] = Recipe(b"", inner, -1, position)
    return found


def _key(recipe: Recipe, accounts: list[bytes]) -> bytes | None:
    """The key that a recipe gives for these accounts."""
    if recipe.outer < 0:
        return recipe.prefix
    if max(recipe.outer, recipe.inner) >= len(accounts):
        return None
    slot = recipe.position.to_bytes(32, "big")
    if recipe.inner >= 0:
        slot = keccak(accounts[recipe.inner] + slot)
    return recipe.prefix + keccak(accounts[recipe.outer] + slot)
