"""Messages: calls between accounts, creations, and the instructions that make them.

References
----------
EIP-150 (63/64 rule), EIP-161, EIP-170, EIP-211, EIP-684, EIP-1014, EIP-2929, EIP-3541, EIP-3860, EIP-7610, EIP-7702.
"""

from typing import Final

from executors.machines import MAGIC
from ingest.admission import INIT_CODE_BYTES_MAX, INIT_CODE_WORD_GAS
from ingest.rlp import write, write_list
from schemas.hashing import keccak

from .admission import delegate
from .code import Code
from .foreign import deploy, foreign, run_foreign
from .frame import EMPTY, Frame, Message, World
from .instructions import (
    COLD_ACCOUNT_GAS,
    NEW_ACCOUNT_GAS,
    WARM_GAS,
    address_of,
    forbid_static,
    instructions,
)
from .interpreter import run
from .library import Instruction, OutOfGas, ReservedBytesInCode, VMError
from .opcodes import CALL, CALLCODE, CREATE, CREATE2, DELEGATECALL, STATICCALL

DEPTH_MAX: Final = 1_024
CODE_BYTES_MAX: Final = 24_576
_CODE_BYTE_GAS: Final = 200
_VALUE_GAS: Final = 9_000
_STIPEND_GAS: Final = 2_300
_HASH_WORD_GAS: Final = 6
_ACCOUNT_NONCE_MAX: Final = 2**64 - 1


def process(state: World, message: Message) -> Frame:
    """Run a message to its end; if it fails, all that it changed is taken back."""
    frame = Frame(state, message)
    journal = state.journal
    mark = journal.mark()
    if message.value and message.transfers:
        journal.move(message.sender, message.storage_address, message.value)
    try:
        if message.precompile is not None:
            message.precompile(frame)
        elif message.code is not EMPTY:
            other = foreign(frame) if message.code.bytes.startswith(MAGIC) else None
            if other is None:
                run(frame, message.code, INSTRUCTIONS)
            else:
                run_foreign(frame, *other, _call_from)
    except VMError as error:
        journal.revert(mark)
        frame.fail(error)
    return frame


def process_creation(state: World, message: Message) -> Frame:
    """Run init code at an address that is free, and store the code that it returns."""
    journal, address = state.journal, message.storage_address
    mark = journal.mark()
    journal.create(address)
    frame = process(state, message)
    if frame.error is None:
        code = frame.output
        try:
            if code[:1] == b"\xef":
                raise ReservedBytesInCode
            frame.consume_gas(_CODE_BYTE_GAS * len(code))
            if len(code) > CODE_BYTES_MAX:
                raise OutOfGas(f"max code size exceeded: {len(code)} bytes, limit {CODE_BYTES_MAX}")
        except VMError as error:
            frame.fail(error)
        else:
            if code:
                journal.set_code(address, code)
    if frame.error is not None:
        journal.revert(mark)
    return frame


def process_deployment(state: World, message: Message, machine: str) -> Frame:
    """Compile and store code of another machine at an address that is free, and run its constructor.

    Parameters
    ----------
    message
        Its data are the RLP of code and arguments.
    """
    journal, frame = state.journal, Frame(state, message)
    mark = journal.mark()
    journal.create(message.storage_address)
    if message.value:
        journal.move(message.sender, message.storage_address, message.value)
    try:
        deploy(frame, machine, message.data, _call_from)
    except VMError as error:
        journal.revert(mark)
        frame.fail(error)
    return frame


def _call_from(
    frame: Frame, address: bytes, data: bytes, value: int, gas: int | None, static: bool
) -> Frame | None:
    """A call that code of another machine makes. Access to the account is paid for."""
    state, message = frame.state, frame.msg
    journal = state.journal
    code, precompile, delegated = resolve(state, address)
    if delegated is not None:
        frame.consume_gas(COLD_ACCOUNT_GAS if state.warm_address(delegated) else WARM_GAS)
    if value:
        frame.consume_gas(_VALUE_GAS + (NEW_ACCOUNT_GAS if journal.is_empty(address) else 0))
    if message.depth >= DEPTH_MAX or (value and journal.balance(message.storage_address) < value):
        return None
    most = frame.gas - (frame.gas >> 6)
    given = most if gas is None else min(gas, most)
    frame.gas -= given
    child = process(state, Message(
        sender=message.storage_address, storage_address=address, code=code,
        gas=given + (_STIPEND_GAS if value else 0), value=value, data=data, depth=message.depth + 1,
        is_static=static or message.is_static, precompile=precompile))
    frame.gas += child.gas
    return child


def contract_address(creator: bytes, nonce: int) -> bytes:
    """Address of what an account creates with a nonce, 20 bytes."""
    return keccak(write_list((write(creator), write(nonce))))[12:]


def _salted_address(creator: bytes, salt: int, init_code: bytes) -> bytes:
    return keccak(b"\xff" + creator + salt.to_bytes(32, "big") + keccak(init_code))[12:]


def resolve(state: World, address: bytes) -> tuple[Code, Instruction | None, bytes | None]:
    """What runs when an account is called.

    Returns
    -------
    tuple
        Its code, or that of the account that it delegates to; a precompiled contract instead, which delegations don't
        reach; and the account that it delegates to.
    """
    precompile = state.precompiles.get(address)
    if precompile is not None:
        return EMPTY, precompile, None
    code = state.code_of(address)
    target = delegate(code.bytes) if state.fork.delegations else None
    return (code, None, None) if target is None else (state.code_of(target), None, target)


def _access(frame: Frame, address: bytes) -> tuple[Code, Instruction | None]:
    """Pay for the access to an account that is called, and to the one that it delegates to."""
    state = frame.state
    frame.consume_gas(COLD_ACCOUNT_GAS if state.warm_address(address) else WARM_GAS)
    precompile = state.precompiles.get(address)
    if precompile is not None:
        return EMPTY, precompile
    code = state.code_of(address)
    target = delegate(code.bytes) if state.fork.delegations else None
    if target is None:
        return code, None
    frame.consume_gas(COLD_ACCOUNT_GAS if state.warm_address(target) else WARM_GAS)
    return state.code_of(target), None


def _call(frame: Frame) -> None:
    gas, word, value, *memory = frame.stack_pop_ints(7)
    address = address_of(word)
    start, size, _, _ = memory
    _extend(frame, memory)
    code, precompile = _access(frame, address)
    extra = 0
    if value:
        forbid_static(frame)
        extra = _VALUE_GAS + (NEW_ACCOUNT_GAS if frame.state.journal.is_empty(address) else 0)
    message = frame.msg
    _run_call(frame, gas, extra, memory, Message(
        sender=message.storage_address, storage_address=address, code=code, gas=0, value=value,
        data=frame.memory_read_bytes(start, size), depth=message.depth + 1, is_static=message.is_static,
        precompile=precompile))


def _callcode(frame: Frame) -> None:
    gas, word, value, *memory = frame.stack_pop_ints(7)
    start, size, _, _ = memory
    _extend(frame, memory)
    code, precompile = _access(frame, address_of(word))
    message = frame.msg
    _run_call(frame, gas, _VALUE_GAS if value else 0, memory, Message(
        sender=message.storage_address, storage_address=message.storage_address, code=code, gas=0, value=value,
        data=frame.memory_read_bytes(start, size), depth=message.depth + 1, is_static=message.is_static,
        precompile=precompile))


def _delegatecall(frame: Frame) -> None:
    gas, word, *memory = frame.stack_pop_ints(6)
    start, size, _, _ = memory
    _extend(frame, memory)
    code, precompile = _access(frame, address_of(word))
    message = frame.msg
    _run_call(frame, gas, 0, memory, Message(
        sender=message.sender, storage_address=message.storage_address, code=code, gas=0, value=message.value,
        data=frame.memory_read_bytes(start, size), depth=message.depth + 1, is_static=message.is_static,
        transfers=False, precompile=precompile))


def _staticcall(frame: Frame) -> None:
    gas, word, *memory = frame.stack_pop_ints(6)
    address = address_of(word)
    start, size, _, _ = memory
    _extend(frame, memory)
    code, precompile = _access(frame, address)
    message = frame.msg
    _run_call(frame, gas, 0, memory, Message(
        sender=message.storage_address, storage_address=address, code=code, gas=0, value=0,
        data=frame.memory_read_bytes(start, size), depth=message.depth + 1, is_static=True, precompile=precompile))


def _extend(frame: Frame, memory: list[int]) -> None:
    """Pay for the memory of input and output of a call."""
    start, size, output_start, output_size = memory
    frame.extend_memory(start, size)
    frame.extend_memory(output_start, output_size)


def _run_call(frame: Frame, gas: int, extra: int, memory: list[int], message: Message) -> None:
    """Give a message gas, run it and take its result over.

    Parameters
    ----------
    gas
        What the instruction asks for; all but a 64th of what remains is the most that it gets.
    extra
        What the call costs besides.
    memory
        Start and size of the input, and of the place for the output.
    """
    frame.consume_gas(extra)
    gas = min(gas, frame.gas - (frame.gas >> 6))
    frame.gas -= gas
    moves = message.value if message.transfers else 0
    if moves:
        gas += _STIPEND_GAS
    frame.return_data = b""
    state = frame.state
    if message.depth > DEPTH_MAX or (moves and state.journal.balance(message.sender) < moves):
        frame.gas += gas
        frame.stack.append(0)
        return
    message.gas = gas
    child = process(state, message)
    frame.gas += child.gas
    output = child.output
    frame.return_data = output
    _, _, output_start, output_size = memory
    written = min(output_size, len(output))
    frame.memory_write(output_start, written, output[:written])
    frame.stack.append(0 if child.error else 1)


def _create(frame: Frame) -> None:
    value, start, size = frame.stack_pop_ints(3)
    _run_creation(frame, value, start, size, None)


def _create2(frame: Frame) -> None:
    value, start, size, salt = frame.stack_pop_ints(4)
    _run_creation(frame, value, start, size, salt)


def _run_creation(frame: Frame, value: int, start: int, size: int, salt: int | None) -> None:
    forbid_static(frame)
    if size > INIT_CODE_BYTES_MAX:
        raise OutOfGas(f"max initcode size exceeded: {size} bytes, limit {INIT_CODE_BYTES_MAX}")
    word_gas = INIT_CODE_WORD_GAS if salt is None else INIT_CODE_WORD_GAS + _HASH_WORD_GAS
    frame.consume_gas(word_gas * ((size + 31) >> 5))
    frame.extend_memory(start, size)
    init_code = frame.memory_read_bytes(start, size)
    message, state = frame.msg, frame.state
    journal, creator = state.journal, message.storage_address
    frame.return_data = b""
    gas = frame.gas - (frame.gas >> 6)
    nonce = journal.nonce(creator)
    if message.depth >= DEPTH_MAX or nonce >= _ACCOUNT_NONCE_MAX or (value and journal.balance(creator) < value):
        frame.stack.append(0)
        return
    frame.gas -= gas
    address = contract_address(creator, nonce) if salt is None else _salted_address(creator, salt, init_code)
    journal.set_nonce(creator, nonce + 1)
    state.warm_address(address)
    if journal.collides(address):
        frame.stack.append(0)  # with all the gas that the creation would have got
        return
    child = process_creation(state, Message(
        sender=creator, storage_address=address, code=state.codes.analysed(init_code), gas=gas, value=value,
        depth=message.depth + 1))
    frame.gas += child.gas
    if child.error:
        frame.return_data = child.output
        frame.stack.append(0)
    else:
        frame.stack.append(int.from_bytes(address, "big"))


INSTRUCTIONS: Final[dict[int, Instruction]] = instructions() | {
    CALL: _call, CALLCODE: _callcode, DELEGATECALL: _delegatecall, STATICCALL: _staticcall, CREATE: _create,
    CREATE2: _create2}
"""The function of every instruction that the loop doesn't run itself."""
