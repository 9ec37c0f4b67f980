"""Instructions that touch state, written so that they read no more of it than the rules need.

Whatever isn't in `INSTRUCTIONS` as a function of ours is py-evm's.

References
----------
EIP-150, EIP-161, EIP-1153, EIP-2200, EIP-2929, EIP-3529 (gas and refunds), EIP-6780 (SELFDESTRUCT).
"""

from collections.abc import Sequence
from typing import Final

from schemas.keys import slot_key

from .frame import Frame
from .history import HISTORY_ADDRESS
from .library import Instruction, OutOfGas, WriteProtection, instruction
from .opcodes import FOREIGN, LOG0, SELFDESTRUCT, SLOAD, SSTORE, TLOAD, TSTORE

COLD_ACCOUNT_GAS: Final = 2_600
WARM_GAS: Final = 100
NEW_ACCOUNT_GAS: Final = 25_000
_COLD_SLOT_GAS: Final = 2_100
_SET_GAS: Final = 20_000
_RESET_GAS: Final = 2_900
_CLEAR_REFUND: Final = 4_800
_SSTORE_SENTRY_GAS: Final = 2_300
"""SSTORE doesn't run on the stipend of a call."""


def address_of(word: int) -> bytes:
    """The lowest 20 bytes of an item of the stack."""
    return word.to_bytes(32, "big")[12:]


def forbid_static(frame: Frame) -> None:
    """Refuse a change below a STATICCALL.

    Raises
    ------
    WriteProtection
        If the frame is static.
    """
    if frame.msg.is_static:
        raise WriteProtection


def _sload(frame: Frame) -> None:
    slot = frame.stack.pop()
    address, state = frame.msg.storage_address, frame.state
    journal = state.journal
    key = slot_key(address, slot)
    if key in journal.warm_slots:
        frame.consume_gas(WARM_GAS)
    else:
        frame.consume_gas(_COLD_SLOT_GAS)
        journal.put(journal.warm_slots, key, True)
    if state.fork.destroys_created_only and address != HISTORY_ADDRESS:
        frame.stack.append(journal.slot(key, address))
    else:
        frame.stack.append(state.slot(address, slot))


def _sstore(frame: Frame) -> None:
    slot, value = frame.stack.pop(), frame.stack.pop()
    if frame.gas <= _SSTORE_SENTRY_GAS:
        raise OutOfGas
    forbid_static(frame)
    address, state = frame.msg.storage_address, frame.state
    journal = state.journal
    key = slot_key(address, slot)
    gas = 0
    if key not in journal.warm_slots:
        gas = _COLD_SLOT_GAS
        journal.put(journal.warm_slots, key, True)
    if not state.fork.destroys_created_only:
        key = state.stored_key(address, key)
    original, now = journal.original_slot(key, address), journal.slot(key, address)
    if original == now != value:
        gas += _RESET_GAS if original else _SET_GAS
    else:
        gas += WARM_GAS
    frame.consume_gas(gas)
    if now != value:
        refund = 0
        if original:
            if now and not value:
                refund = _CLEAR_REFUND
            elif value and not now:
                refund = -_CLEAR_REFUND
        if original == value:
            refund += (_RESET_GAS if original else _SET_GAS) - WARM_GAS
        if refund:
            journal.add_refund(refund)
        journal.put(journal.current, key, value)


def _tload(frame: Frame) -> None:
    stack = frame.stack
    stack.append(frame.state.journal.transient.get((frame.msg.storage_address, stack.pop()), 0))


def _tstore(frame: Frame) -> None:
    forbid_static(frame)
    slot, value = frame.stack.pop(), frame.stack.pop()
    journal = frame.state.journal
    journal.put(journal.transient, (frame.msg.storage_address, slot), value)


def _log(topic_count: int) -> Instruction:
    def log(frame: Frame) -> None:
        forbid_static(frame)
        start, size = frame.stack.pop(), frame.stack.pop()
        topics: Sequence[int] = frame.stack_pop_ints(topic_count) if topic_count else ()
        frame.consume_gas(8 * size)
        frame.extend_memory(start, size)
        frame.add_log(topics, frame.memory_read_bytes(start, size))
    return log


def _selfdestruct(frame: Frame) -> None:
    forbid_static(frame)
    beneficiary = address_of(frame.stack.pop())
    address, state = frame.msg.storage_address, frame.state
    journal = state.journal
    if state.warm_address(beneficiary):
        frame.consume_gas(COLD_ACCOUNT_GAS)
    balance = journal.balance(address)
    if balance and journal.is_empty(beneficiary):
        frame.consume_gas(NEW_ACCOUNT_GAS)
    journal.move(address, beneficiary, balance)
    if address in journal.created or not state.fork.destroys_created_only:
        journal.set_balance(address, 0)  # burned where it is its own beneficiary
        journal.put(journal.doomed, address, True)


def instructions() -> dict[int, Instruction]:
    """The functions behind the instructions that the loop doesn't run itself, creations and calls aside."""
    own: dict[int, Instruction] = {
        SLOAD: _sload, SSTORE: _sstore, TLOAD: _tload, TSTORE: _tstore, SELFDESTRUCT: _selfdestruct}
    own |= {LOG0 + count: _log(count) for count in range(5)}
    return {opcode: instruction(opcode)[1] for opcode in FOREIGN} | own
