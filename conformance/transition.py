"""From one state to the next, as a block of Ethereum does it: calls of the system, transactions, withdrawals, requests.

The transactions are run by `Transition.run` on one overlay, in their order, each within what the gas limit of the block
leaves. `protocol` runs them otherwise; what comes before and after is the same.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from executors.machine import Log, Rejected, Result, Status, VirtualMachine
from executors.walk import Refused
from ingest.blobs import GAS_PER_BLOB
from ingest.transactions import Transaction
from schemas.errors import InvariantViolation

from .environment import Environment
from .serial import SerialRun, item_of
from .system import BEACON_ROOTS, HISTORY, call, requests

_GWEI: Final = 10**9


@dataclass(frozen=True, slots=True, kw_only=True)
class Included:
    """A transaction of the block."""

    transaction: Transaction
    succeeded: bool
    gas_used: int
    logs: tuple[Log, ...]
    contract: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What came of the transactions."""

    included: tuple[Included, ...]
    rejected: tuple[tuple[int, str], ...]
    """Places in the list that was given, with the reasons."""
    state: dict[bytes, bytes]

    @property
    def logs(self) -> tuple[Log, ...]:
        """Of all transactions."""
        return tuple(log for each in self.included for log in each.logs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A state after a block, and the requests that the block carries."""

    state: dict[bytes, bytes]
    requests: tuple[bytes, ...]


def begin(environment: Environment, machine: VirtualMachine, state: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    """The state in which the first transaction runs: the contracts of the system know the parent."""
    run = SerialRun(machine, environment.block(), state)
    if environment.parent_beacon_root is not None:
        call(run, BEACON_ROOTS, environment.parent_beacon_root)
    if environment.parent_hash is not None:
        call(run, HISTORY, environment.parent_hash)
    return run.state()


def apply(
    environment: Environment, machine: VirtualMachine, state: Mapping[bytes, bytes], raws: Sequence[bytes],
) -> Applied:
    """Run signed transactions in their order on one overlay."""
    rules = environment.rules()
    run = SerialRun(machine, environment.block(), state)
    gas = blob_gas = 0
    included: list[Included] = []
    rejected: list[tuple[int, str]] = []
    for index, raw in enumerate(raws):
        item = item_of(raw, rules)
        if isinstance(item, Transaction):
            excess = _beyond(item, environment, gas, blob_gas)
            if excess:
                item = Refused(excess, raw, item.hash, dead=False)
        done = run.run(item)
        answer = None if done is None else done.answer
        if isinstance(answer, Result) and isinstance(item, Transaction):
            included.append(included_as(item, answer))
            gas += answer.gas_used
            blob_gas += GAS_PER_BLOB * len(item.blob_hashes)
        elif isinstance(answer, Rejected):
            rejected.append((index, answer.reason))
        else:
            raise InvariantViolation(f"transaction {index} was neither included nor rejected: {answer}")
    return Applied(included=tuple(included), rejected=tuple(rejected), state=run.state())


def included_as(transaction: Transaction, result: Result) -> Included:
    """An included transaction with its result."""
    return Included(
        transaction=transaction, succeeded=result.status is Status.SUCCESS, gas_used=result.gas_used, logs=result.logs,
        contract=result.contract)


def _beyond(transaction: Transaction, environment: Environment, gas: int, blob_gas: int) -> str:
    """Why a transaction doesn't fit into what is left of the block; empty if it does."""
    left = environment.gas_limit - gas
    if transaction.gas_limit > left:
        return f"gas limit reached: the transaction has {transaction.gas_limit}, {left} are left in the block"
    wanted, most = blob_gas + GAS_PER_BLOB * len(transaction.blob_hashes), environment.fork.blob_gas_max
    if wanted > most:
        return f"blob gas limit reached: {wanted} with this transaction, the block has at most {most}"
    return ""


def end(
    environment: Environment, machine: VirtualMachine, state: Mapping[bytes, bytes], logs: Sequence[Log],
) -> Ended:
    """Withdrawals, and the requests that contracts have collected.

    Raises
    ------
    InvalidBlock
        If the requests can't be told.
    """
    run = SerialRun(machine, environment.block(), state)
    for withdrawal in environment.withdrawals:
        run.credit(withdrawal.address, withdrawal.amount_gwei * _GWEI)
    found = requests(run, logs) if environment.fork.requests else ()
    return Ended(state=run.state(), requests=found)
