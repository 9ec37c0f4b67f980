"""The engine: one transaction or call from admission to the changes of state.

References
----------
EIP-1559 (fees), EIP-3529 (refunds), EIP-3651 (warm fee recipient), EIP-4844 (blobs), EIP-7623 (floor), EIP-7702
(delegations).
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from executors.journal import Journal
from executors.machine import (
    Answer,
    Block,
    Machine,
    Missing,
    Rejected,
    Result,
    StateView,
    Status,
)
from executors.machines import load, opened
from ingest.admission import AccessList, intrinsic_gas
from ingest.blobs import blob_gas
from ingest.transactions import Authorization, Transaction
from schemas.errors import InvariantViolation, ParsecError
from schemas.keys import balance_key, nonce_key, slot_key
from schemas.rules import Rules

from .admission import DELEGATION_PREFIX, Admitted, admit, delegate
from .call import Call
from .calls import contract_address, process, process_creation, process_deployment, resolve
from .code import CodeCache
from .foreign import error_data
from .forks import fork_named
from .frame import EMPTY, Frame, Message, World
from .library import ContractCreationCollision, Revert
from .reasons import reason

_CODES_MAX: Final = 1_024
_REFUND_QUOTIENT: Final = 5
_DELEGATION_REFUND: Final = 12_500
"""Of the price of an authorization, where its account exists already."""


class PyEvm:
    """The virtual machine in Python.

    Parameters
    ----------
    rules
        Of the chain.
    machines
        The machines beside the EVM; by default those that the rules name, loaded when one is needed first.
    stored_history
        Whether the slots of the history contract are state, as on Ethereum, instead of answering from the chain.
    """

    def __init__(
        self, rules: Rules, machines: Mapping[str, Machine] | None = None, *, stored_history: bool = False
    ) -> None:
        self._rules = rules
        self._machines = machines
        fork = fork_named(rules.fork)
        self._fork = replace(fork, history=False) if stored_history else fork
        self._codes = CodeCache(_CODES_MAX, self._fork)

    def machines(self) -> Mapping[str, Machine]:
        """The machines beside the EVM, by name.

        Raises
        ------
        ConfigurationError
            One that the rules name isn't installed.
        """
        if self._machines is None:
            self._machines = load(self._rules.machines)
        return self._machines

    def execute(self, transaction: Transaction, block: Block, view: StateView) -> Answer:
        """Run one transaction to its end.

        The view is written to only after the end, so that `Missing` leaves nothing behind.

        Raises
        ------
        Missing
            As the view raised it.
        InvariantViolation
            If the engine failed in a way that no transaction can bring about.
        """
        rules = self._rules
        admitted = admit(transaction, rules, view, block.blob_base_fee)
        if not isinstance(admitted, Admitted):
            return admitted
        sender = transaction.sender
        journal = Journal(view)
        journal.original[nonce_key(sender)] = transaction.nonce
        journal.original[balance_key(sender)] = admitted.balance
        price = min(transaction.max_fee, rules.base_fee + transaction.max_priority_fee)
        world = World(
            rules=rules, fork=self._fork, block=block, journal=journal, codes=self._codes, origin=sender,
            gas_price=price, machines=self.machines, blob_hashes=transaction.blob_hashes)
        result = _guarded(lambda: _transact(
            world, nonce=transaction.nonce, to=transaction.to, value=transaction.value, data=transaction.data,
            gas_limit=transaction.gas_limit, intrinsic=transaction.intrinsic_gas, floor=transaction.floor_gas,
            access_list=transaction.access_list, authorizations=transaction.authorizations,
            machine=transaction.machine))
        journal.flush()
        # The code that a creation returned is in the state: a receipt needn't carry it, too.
        return result if result.contract is None else replace(result, output=b"")

    def call(self, call: Call, block: Block, view: StateView) -> Result | Rejected:
        """Run a message for its result; nothing is written to the view.

        Gas is counted as for a transaction: intrinsic gas, refunds and the floor are in `Result.gas_used`, so that the
        lowest gas limit that succeeds is the estimate.

        Returns
        -------
        Result or Rejected
            Rejected if the gas limit is below the intrinsic gas, or the sender lacks the funds.
        """
        intrinsic, floor = intrinsic_gas(
            call.data, creates=call.to is None, access_list=call.access_list, authorizations=len(call.authorizations),
            floored=self._fork.transactions.floored)
        if call.authorizations and not self._fork.delegations:
            return Rejected(reason=f"the fork {self._fork.name} has no set code transactions")
        if call.gas_limit < max(intrinsic, floor):
            return Rejected(reason=f"intrinsic gas too low: gas limit {call.gas_limit}, needed {max(intrinsic, floor)}")
        journal = Journal(view)
        cost = call.gas_limit * call.gas_price + call.value
        if cost and journal.balance(call.sender) < cost:
            return Rejected(
                reason=f"insufficient funds for gas * price + value: account 0x{call.sender.hex()} has "
                f"{journal.balance(call.sender)} wei, needs {cost}")
        world = World(
            rules=self._rules, fork=self._fork, block=block, journal=journal, codes=self._codes, origin=call.sender,
            gas_price=call.gas_price, machines=self.machines)
        return _guarded(lambda: _transact(
            world, nonce=journal.nonce(call.sender), to=call.to, value=call.value, data=call.data,
            gas_limit=call.gas_limit, intrinsic=intrinsic, floor=floor, access_list=call.access_list,
            authorizations=call.authorizations, machine=call.machine))


def _guarded(run: Callable[[], Result]) -> Result:
    """Let through what may come out of an execution, and stop the process for anything else."""
    try:
        return run()
    except (Missing, ParsecError):
        raise
    except Exception as exc:
        raise InvariantViolation(f"the engine failed: {exc!r}") from exc


def _transact(
    world: World, *, nonce: int, to: bytes | None, value: int, data: bytes, gas_limit: int, intrinsic: int, floor: int,
    access_list: AccessList, authorizations: tuple[Authorization, ...], machine: str,
) -> Result:
    """Buy gas, run the message, and settle.

    1. Take the price of the gas, burn that of the blobs, and raise the nonce.
    2. Warm what the transaction names, and apply its authorizations.
    3. Run.
    4. Refund, pay the fee recipient, burn the base fee, delete what destroyed itself.
    """
    journal, sender, price = world.journal, world.origin, world.gas_price
    # 1.
    cost = gas_limit * price + blob_gas(len(world.blob_versioned_hashes)) * world.blob_base_fee
    if cost:
        journal.set_balance(sender, journal.balance(sender) - cost)
    journal.set_nonce(sender, nonce + 1)
    # 2.
    for address in (sender, world.coinbase):
        journal.warm[address] = True
    for address, slots in access_list:
        journal.warm[address] = True
        for slot in slots:
            journal.warm_slots[slot_key(address, slot)] = True
    for authorization in authorizations:
        _authorize(journal, authorization)
    # 3.
    gas = gas_limit - intrinsic
    created = None
    if to is None:
        created = contract_address(sender, nonce)
        frame = _creation(world, created, value, data, gas, machine)
    else:
        frame = _call(world, to, value, data, gas, machine)
    # 4.
    gas_used = gas_limit - frame.gas
    gas_used = max(gas_used - min(gas_used // _REFUND_QUOTIENT, journal.refund), floor)
    if price:
        journal.credit(sender, (gas_limit - gas_used) * price)
        journal.credit(world.coinbase, gas_used * max(price - world.base_fee, 0))
    journal.destroy_doomed()
    if frame.error is not None:
        return Result(
            status=Status.FAILED, gas_used=gas_used, output=frame.output, reason=reason(frame.error, frame.output))
    return Result(
        status=Status.SUCCESS, gas_used=gas_used, output=frame.output,
        logs=tuple(journal.logs.values()), contract=created)


def _call(world: World, to: bytes, value: int, data: bytes, gas: int, machine: str) -> Frame:
    """The call of a transaction; one that names a machine calls nothing else than a contract of it."""
    journal = world.journal
    journal.warm[to] = True
    code, precompile, delegated = resolve(world, to)
    if delegated is not None:
        journal.warm[delegated] = True
    message = Message(
        sender=world.origin, storage_address=to, code=code, gas=gas, value=value, data=data, precompile=precompile)
    if machine:
        found = opened(code.bytes) if delegated is None else None
        if found is None or found[0] != machine:
            frame = Frame(world, message)
            frame.output = error_data(f"0x{to.hex()} is no {machine} contract")
            frame.fail(Revert())
            return frame
    return process(world, message)


def _creation(world: World, address: bytes, value: int, init_code: bytes, gas: int, machine: str) -> Frame:
    journal = world.journal
    journal.warm[address] = True
    if journal.collides(address):
        frame = Frame(world, Message(sender=world.origin, storage_address=address, code=EMPTY, gas=gas))
        frame.fail(ContractCreationCollision())
        return frame
    if machine:
        return process_deployment(world, Message(
            sender=world.origin, storage_address=address, code=EMPTY, gas=gas, value=value, data=init_code), machine)
    return process_creation(world, Message(
        sender=world.origin, storage_address=address, code=world.codes.analysed(init_code), gas=gas, value=value))


def _authorize(journal: Journal, authorization: Authorization) -> None:
    """Set or clear the delegation of an account, where its state allows it (EIP-7702)."""
    authority = authorization.authority
    if authority is None:
        return
    journal.warm[authority] = True
    code = journal.code(authority)
    if code and delegate(code) is None:
        return
    if journal.nonce(authority) != authorization.nonce:
        return
    if not journal.is_empty(authority):
        journal.add_refund(_DELEGATION_REFUND)
    target = authorization.address
    journal.set_code(authority, DELEGATION_PREFIX + target if any(target) else b"")
    journal.set_nonce(authority, authorization.nonce + 1)
