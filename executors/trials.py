"""Trials: messages that are run for their result only, and the lowest gas limit at which they succeed.

What asks is not in the pipeline: the gateway for `eth_call` and estimates, clients before they send.
"""

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple, Protocol

from ingest.admission import TRANSACTION_GAS
from schemas.errors import RejectedInput
from schemas.keys import balance_key, code_key, integer, is_blob, nonce_key, slot_key
from schemas.rules import Rules

from .evm import Call, PyEvm
from .machine import Block, Rejected, Result, Status
from .view import Base, Overlay, View

CALL_STIPEND: Final = 2_300
ESTIMATE_TOLERANCE: Final = 0.015
"""An estimate is at most so much above the lowest gas limit that succeeds."""
HINTS_MAX: Final = 1_024
HINT_KEYS_MAX: Final = 256
_REVERTED: Final = "execution reverted"


class Snapshot(Protocol):
    """State at one epoch, as `streams.snapshots` reads it."""

    def read(self, key: bytes) -> bytes:
        """The value of a key, empty if there is none."""

    def prefetch(self, keys: Iterable[bytes]) -> None:
        """Read keys in one request, so that reading them one by one costs nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """Where a message is tried."""

    block: Block
    """What it sees of its block."""
    snapshot: Snapshot
    changes: Overlay = field(default_factory=Overlay)
    """What differs from the snapshot."""
    base: Base | None = None
    """Reads in the place of the snapshot, if some of it is to be hidden."""

    def view(self) -> View:
        """A fresh view of it."""
        return View(self.changes, self.base or self.snapshot.read)


class TrialFailed(RejectedInput):
    """A message that doesn't succeed, or that its sender can't pay for."""

    def __init__(self, reason: str, *, output: bytes = b"", reverted: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        """In words."""
        self.output = output
        """The data of the revert, if it is one."""
        self.reverted = reverted
        """Whether the code gave up by itself."""


class _Target(NamedTuple):
    """What calls of the same function have in common."""

    to: bytes | None
    selector: bytes


class Trials:
    """Runs messages on an engine. Any thread may use it.

    Parameters
    ----------
    rules
        What decides results.
    """

    def __init__(self, rules: Rules) -> None:
        self._machine = PyEvm(rules)
        # Keys that the last call of the same function read: asked for in one request ahead of the next one.
        self._hints: OrderedDict[_Target, frozenset[bytes]] = OrderedDict()

    def output(self, call: Call, scene: Scene) -> bytes:
        """What a message returns.

        Raises
        ------
        TrialFailed
            It doesn't succeed.
        """
        return _succeeded(self.run(call, scene)).output

    def lowest_gas(self, call: Call, scene: Scene, *, price: int = 0) -> int:
        """A gas limit at which a message succeeds: the lowest one, within a tolerance.

        Parameters
        ----------
        call
            With the highest gas limit that is to be tried.
        price
            Wei per gas that the sender has to be able to pay, 0 to leave it out of consideration.

        Raises
        ------
        TrialFailed
            It succeeds at none, or at none that the sender can pay for.
        """
        high = min(call.gas_limit, affordable(call, scene, price)) if price else call.gas_limit
        simple = call.to is not None and not call.data and not call.access_list
        if simple and high >= TRANSACTION_GAS and self._succeeds(call, scene, TRANSACTION_GAS):
            return TRANSACTION_GAS
        answer = self.run(replace(call, gas_limit=high), scene)
        if isinstance(answer, Result) and answer.reason == "out of gas":
            raise TrialFailed(f"gas required exceeds allowance ({high})")
        used = _succeeded(answer).gas_used
        low = used - 1
        # What is held back for calls (1/64) and refunded later is seldom more than this.
        guess = (used + CALL_STIPEND) * 64 // 63
        if guess < high:
            if self._succeeds(call, scene, guess):
                high = guess
            else:
                low = guess
        while low + 1 < high and (high - low) / high > ESTIMATE_TOLERANCE:
            middle = min((low + high) // 2, 2 * low)
            if self._succeeds(call, scene, middle):
                high = middle
            else:
                low = middle
        return high

    def run(self, call: Call, scene: Scene) -> Result | Rejected:
        """Run a message to its end, whatever that is."""
        target = _Target(call.to, call.data[:4])
        scene.snapshot.prefetch(_named(call) | self._hints.get(target, frozenset()))
        view = scene.view()
        answer = self._machine.call(call, scene.block, view)
        if call.to is not None:
            read = [key for key in view.seen if not is_blob(key)]
            self._hints[target] = frozenset(read[:HINT_KEYS_MAX])
            while len(self._hints) > HINTS_MAX:
                self._hints.popitem(last=False)
        return answer

    def _succeeds(self, call: Call, scene: Scene, gas_limit: int) -> bool:
        answer = self.run(replace(call, gas_limit=gas_limit), scene)
        return isinstance(answer, Result) and answer.status is Status.SUCCESS


def affordable(call: Call, scene: Scene, price: int) -> int:
    """The highest gas limit that the sender of a message can pay for, besides its value.

    Raises
    ------
    TrialFailed
        The sender lacks even the value.
    """
    balance = integer(scene.view().read(balance_key(call.sender)))
    if balance < call.value:
        raise TrialFailed(f"insufficient funds for transfer: balance {balance}, value {call.value}")
    return (balance - call.value) // price


def _named(call: Call) -> set[bytes]:
    """The keys that a message reads by what it says of itself."""
    keys: set[bytes] = {nonce_key(call.sender), code_key(call.sender)}
    if call.value or call.gas_price:
        keys.add(balance_key(call.sender))
    if call.to is not None:
        keys.add(code_key(call.to))
    for address, slots in call.access_list:
        keys |= {slot_key(address, slot) for slot in slots}
    return keys


def _succeeded(answer: Result | Rejected) -> Result:
    if isinstance(answer, Rejected):
        raise TrialFailed(answer.reason)
    if answer.status is Status.FAILED:
        raise TrialFailed(answer.reason, output=answer.output, reverted=answer.reason.startswith(_REVERTED))
    return answer


__all__ = ["Scene", "Snapshot", "TrialFailed", "Trials", "affordable"]
