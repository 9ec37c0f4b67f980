"""Calls and estimates: messages that are run for their result, on the state of an epoch."""

import time
from collections import OrderedDict
from collections.abc import Mapping
from typing import Final, NamedTuple

from executors.evm import Call, PyEvm
from executors.machine import Block, Rejected, Result, Status
from executors.view import Overlay, View
from ingest.admission import TRANSACTION_GAS
from ledger import BlockIndex
from schemas.chain import ANCESTORS
from schemas.hashing import keccak
from schemas.keys import balance_key, blob_key, code_key, integer, is_blob, minimal, nonce_key, slot_key
from schemas.rules import Rules

from .errors import CallFailed, ExecutionReverted
from .moments import Moment
from .parameters import AccountOverride, CallRequest
from .state import Snapshot, Snapshots

CALL_STIPEND: Final = 2_300
ESTIMATE_TOLERANCE: Final = 0.015
"""An estimate is at most so much above the lowest gas limit that succeeds."""
HINTS_MAX: Final = 1_024
HINT_KEYS_MAX: Final = 256
_REVERTED: Final = "execution reverted"

Overrides = Mapping[bytes, AccountOverride]
NO_OVERRIDES: Final[Overrides] = {}


class _Target(NamedTuple):
    """What calls of the same function have in common."""

    to: bytes | None
    selector: bytes


class Calls:
    """Runs calls on an engine.

    Parameters
    ----------
    rules
        What decides results.
    index
        For block hashes.
    snapshots
        The state.
    gas_max
        Gas limit of calls.
    """

    def __init__(self, rules: Rules, index: BlockIndex, snapshots: Snapshots, gas_max: int) -> None:
        self._rules = rules
        self._index = index
        self._snapshots = snapshots
        self._gas_max = gas_max
        self._machine = PyEvm(rules)
        # Keys that the last call of the same function read: asked for in one request ahead of the next one.
        self._hints: OrderedDict[_Target, frozenset[bytes]] = OrderedDict()

    def call(self, request: CallRequest, moment: Moment, overrides: Overrides = NO_OVERRIDES) -> bytes:
        """What a message returns.

        Raises
        ------
        ExecutionReverted
            With the data of the revert.
        CallFailed
            It failed otherwise.
        """
        answer = self._run(request, moment, self._gas_limit(request), overrides)
        if isinstance(answer, Rejected):
            raise CallFailed(answer.reason)
        if answer.status is Status.FAILED:
            raise _failure(answer)
        return answer.output

    def estimate(self, request: CallRequest, moment: Moment, overrides: Overrides = NO_OVERRIDES) -> int:
        """A gas limit at which a message succeeds: the lowest one, within a tolerance.

        Raises
        ------
        ExecutionReverted
            It reverts at any gas limit.
        CallFailed
            It fails otherwise, or its sender cannot pay for it.
        """
        high = self._affordable(request, moment, overrides)
        simple = request.to is not None and not request.data and not request.access_list
        if (
            simple
            and high >= TRANSACTION_GAS
            and self._succeeds(request, moment, TRANSACTION_GAS, overrides) is not None
        ):
            return TRANSACTION_GAS
        answer = self._run(request, moment, high, overrides)
        if isinstance(answer, Rejected):
            raise CallFailed(answer.reason)
        if answer.status is Status.FAILED:
            raise CallFailed(f"gas required exceeds allowance ({high})") if _exhausted(answer) else _failure(answer)
        low = answer.gas_used - 1
        # What is held back for calls (1/64) and refunded later is seldom more than this.
        guess = (answer.gas_used + CALL_STIPEND) * 64 // 63
        if guess < high:
            if self._succeeds(request, moment, guess, overrides) is None:
                low = guess
            else:
                high = guess
        while low + 1 < high and (high - low) / high > ESTIMATE_TOLERANCE:
            middle = min((low + high) // 2, 2 * low)
            if self._succeeds(request, moment, middle, overrides) is None:
                low = middle
            else:
                high = middle
        return high

    def _affordable(self, request: CallRequest, moment: Moment, overrides: Overrides) -> int:
        """The highest gas limit that the sender can pay for, if the request names a price."""
        limit = self._gas_limit(request)
        price = request.gas_price or request.max_fee or 0
        if not price:
            return limit
        replaced = overrides.get(request.sender)
        if replaced is not None and replaced.balance is not None:
            balance = replaced.balance
        else:
            balance = integer(self._snapshots.at(moment.epoch).read(balance_key(request.sender)))
        if balance < request.value:
            raise CallFailed(f"insufficient funds for transfer: balance {balance}, value {request.value}")
        return min(limit, (balance - request.value) // price)

    def _gas_limit(self, request: CallRequest) -> int:
        return self._gas_max if request.gas is None else min(request.gas, self._gas_max)

    def _succeeds(self, request: CallRequest, moment: Moment, gas_limit: int, overrides: Overrides) -> Result | None:
        answer = self._run(request, moment, gas_limit, overrides)
        return answer if isinstance(answer, Result) and answer.status is Status.SUCCESS else None

    def _run(self, request: CallRequest, moment: Moment, gas_limit: int, overrides: Overrides) -> Result | Rejected:
        snapshot = self._snapshots.at(moment.epoch)
        target = _Target(request.to, request.data[:4])
        self._prefetch(snapshot, request, self._hints.get(target, frozenset()))
        view = _view(snapshot, overrides)
        answer = self._machine.call(
            Call(
                sender=request.sender,
                to=request.to,
                data=request.data,
                value=request.value,
                gas_limit=gas_limit,
                gas_price=self._price(request),
                access_list=request.access_list,
            ),
            self._context(moment),
            view,
        )
        if request.to is not None:
            read = [key for key in view.seen if not is_blob(key)]
            self._hints[target] = frozenset(read[:HINT_KEYS_MAX])
            while len(self._hints) > HINTS_MAX:
                self._hints.popitem(last=False)
        return answer

    @staticmethod
    def _prefetch(snapshot: Snapshot, request: CallRequest, hints: frozenset[bytes]) -> None:
        keys: set[bytes] = {nonce_key(request.sender), code_key(request.sender), *hints}
        if request.value or request.gas_price or request.max_fee:
            keys.add(balance_key(request.sender))
        if request.to is not None:
            keys.add(code_key(request.to))
        for address, slots in request.access_list:
            keys |= {slot_key(address, slot) for slot in slots}
        snapshot.prefetch(keys)

    def _price(self, request: CallRequest) -> int:
        """Effective price per gas; 0 where none is named, as people ask without having funds."""
        base_fee = self._rules.base_fee
        if request.gas_price is not None:
            price = request.gas_price
        elif request.max_fee is None:
            return 0
        else:
            tip = request.max_priority_fee or 0
            if tip > request.max_fee:
                raise CallFailed(f"max priority fee per gas higher than max fee per gas: {tip} above {request.max_fee}")
            price = min(request.max_fee, base_fee + tip)
        if 0 < price < base_fee:
            raise CallFailed(f"max fee per gas less than block base fee: {price}, base fee {base_fee}")
        return price

    def _context(self, moment: Moment) -> Block:
        """The block that a call sees: the one that was named, or for `pending` the next one at this time."""
        block = moment.block
        number, timestamp_s = block.number, block.timestamp_s
        if moment.pending:
            number, timestamp_s = number + 1, max(timestamp_s, int(time.time()))

        def ancestor(wanted: int) -> bytes:
            found = self._index.block(wanted) if 0 < number - wanted <= ANCESTORS else None
            return bytes(32) if found is None else found.hash

        return Block(number=number, timestamp_s=timestamp_s, prevrandao=block.randomness, ancestor=ancestor)


def _failure(result: Result) -> ExecutionReverted | CallFailed:
    if result.reason.startswith(_REVERTED):
        return ExecutionReverted(result.reason, result.output)
    return CallFailed(result.reason)


def _exhausted(result: Result) -> bool:
    return result.reason == "out of gas"


def _view(snapshot: Snapshot, overrides: Overrides) -> View:
    """A view of a snapshot in which some accounts are replaced."""
    overlay = Overlay()
    values = overlay.values
    emptied = set()
    for address, replaced in overrides.items():
        if replaced.balance is not None:
            values[balance_key(address)] = minimal(replaced.balance)
        if replaced.nonce is not None:
            values[nonce_key(address)] = minimal(replaced.nonce)
        if replaced.code is not None:
            code_hash = keccak(replaced.code)
            values[code_key(address)] = code_hash if replaced.code else b""
            values[blob_key(code_hash)] = replaced.code
        for slot, value in replaced.slots.items():
            values[slot_key(address, slot)] = minimal(value)
        if replaced.replaces_storage:
            emptied.add(b"s" + address)
    if not emptied:
        return View(overlay, snapshot.read)
    return View(overlay, lambda key: b"" if key[:21] in emptied else snapshot.read(key))


__all__ = ["NO_OVERRIDES", "Calls", "Overrides"]
