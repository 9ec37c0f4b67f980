"""Calls and estimates: messages that are run for their result, on the state of an epoch."""

import time
from collections.abc import Callable, Mapping
from typing import Final, TypeVar

from executors.evm import Call
from executors.machine import Block
from executors.trials import Scene, TrialFailed, Trials
from executors.view import Overlay
from ledger import BlockIndex
from schemas.chain import ANCESTORS
from schemas.hashing import keccak
from schemas.keys import balance_key, blob_key, code_key, minimal, nonce_key, slot_key
from schemas.rules import Rules
from streams.snapshots import Snapshot, Snapshots

from .errors import CallFailed, ExecutionReverted
from .moments import Moment
from .parameters import AccountOverride, CallRequest

T = TypeVar("T")
Overrides = Mapping[bytes, AccountOverride]
NO_OVERRIDES: Final[Overrides] = {}


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
        self._trials = Trials(rules)

    def call(self, request: CallRequest, moment: Moment, overrides: Overrides = NO_OVERRIDES) -> bytes:
        """What a message returns.

        Raises
        ------
        ExecutionReverted
            With the data of the revert.
        CallFailed
            It failed otherwise.
        """
        message = self._message(request)
        return _translated(lambda: self._trials.output(message, self._scene(moment, overrides)))

    def estimate(self, request: CallRequest, moment: Moment, overrides: Overrides = NO_OVERRIDES) -> int:
        """A gas limit at which a message succeeds: the lowest one, within a tolerance.

        Raises
        ------
        ExecutionReverted
            It reverts at any gas limit.
        CallFailed
            It fails otherwise, or its sender cannot pay for it.
        """
        message = self._message(request)
        price = request.gas_price or request.max_fee or 0
        return _translated(
            lambda: self._trials.lowest_gas(message, self._scene(moment, overrides), price=price))

    def _message(self, request: CallRequest) -> Call:
        known = [name.partition("/")[0] for name in self._rules.machines]
        if request.machine and request.machine not in known:
            raise CallFailed(f"no machine {request.machine!r}; this chain has {', '.join(known) or 'none'}")
        return Call(
            sender=request.sender,
            to=request.to,
            data=request.data,
            value=request.value,
            gas_limit=self._gas_max if request.gas is None else min(request.gas, self._gas_max),
            gas_price=self._price(request),
            access_list=request.access_list,
            machine=request.machine,
        )

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

    def _scene(self, moment: Moment, overrides: Overrides) -> Scene:
        """The state at an epoch in which some accounts are replaced.

        The block that a call sees is the one that was named, or for `pending` the next one at this time.
        """
        block = moment.block
        number, timestamp_s = block.number, block.timestamp_s
        if moment.pending:
            number, timestamp_s = number + 1, max(timestamp_s, int(time.time()))

        def ancestor(wanted: int) -> bytes:
            found = self._index.block(wanted) if 0 < number - wanted <= ANCESTORS else None
            return bytes(32) if found is None else found.hash

        snapshot = self._snapshots.at(moment.epoch)
        return Scene(
            block=Block(number=number, timestamp_s=timestamp_s, prevrandao=block.randomness, ancestor=ancestor),
            snapshot=snapshot,
            changes=_changes(overrides),
            base=_base(snapshot, overrides),
        )


def _translated(trial: Callable[[], T]) -> T:
    """Run a trial, with its failure in the terms of this room."""
    try:
        return trial()
    except TrialFailed as exc:
        if exc.reverted:
            raise ExecutionReverted(exc.reason, exc.output) from exc
        raise CallFailed(exc.reason) from exc


def _changes(overrides: Overrides) -> Overlay:
    overlay = Overlay()
    values = overlay.values
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
    return overlay


def _base(snapshot: Snapshot, overrides: Overrides) -> Callable[[bytes], bytes] | None:
    """The snapshot without the storage of accounts whose storage is replaced as a whole; None if there are none."""
    emptied = {b"s" + address for address, replaced in overrides.items() if replaced.replaces_storage}
    if not emptied:
        return None
    return lambda key: b"" if key[:21] in emptied else snapshot.read(key)


__all__ = ["NO_OVERRIDES", "Calls", "Overrides"]
