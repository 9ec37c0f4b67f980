"""The loop that runs code.

One function, because calls are what costs in Python: the frequent instructions are written out in it, in the order of
how often compiled contracts use them, with everything that they touch in local variables.
"""

from collections.abc import Mapping

from schemas.hashing import keccak

from .code import Block, Code
from .frame import Frame, grow
from .library import (
    FullStack,
    Instruction,
    InsufficientStack,
    InvalidInstruction,
    InvalidJumpDestination,
    OutOfGas,
    Revert,
)

_MASK = 2**256 - 1
_SIGN = 2**255


def run(frame: Frame, code: Code, instructions: Mapping[int, Instruction]) -> None:
    """Run a frame's code to its end.

    Parameters
    ----------
    frame
        Gas, output and everything else is left in it.
    code
        What to run.
    instructions
        The functions of the instructions that the loop doesn't run itself, by opcode.

    Raises
    ------
    VMError
        If the frame fails.
    """
    stack, memory, message = frame.stack, frame.memory, frame.msg
    push, pop, targets = stack.append, stack.pop, code.targets
    data = message.data
    gas = frame.gas
    block = code.block(0)
    while True:
        gas -= block.gas
        if gas < 0:
            raise OutOfGas
        height = len(stack)
        if height < block.height_min:
            raise InsufficientStack
        if height > block.height_max:
            raise FullStack
        for op, arg in block.steps:
            if op == 0x60:  # PUSH0 to PUSH32, PC
                push(arg)
            elif op == 0x80:  # DUP1 to DUP16
                push(stack[arg])
            elif op == 0x90:  # SWAP1 to SWAP16
                item = stack[arg]
                stack[arg] = stack[-1]
                stack[-1] = item
            elif op == 0x50:  # POP
                pop()
            elif op == 0x157:  # PUSH and JUMPI
                if pop():
                    block = targets.get(arg) or _target(code, arg)
                    break
            elif op == 0x156:  # PUSH and JUMP
                block = targets.get(arg) or _target(code, arg)
                break
            elif op < 0x20:
                if op == 0x01:  # ADD
                    push((pop() + pop()) & _MASK)
                elif op == 0x15:  # ISZERO
                    stack[-1] = 0 if stack[-1] else 1
                elif op == 0x16:  # AND
                    push(pop() & pop())
                elif op == 0x03:  # SUB
                    push((pop() - pop()) & _MASK)
                elif op == 0x14:  # EQ
                    push(1 if pop() == pop() else 0)
                elif op == 0x10:  # LT
                    push(1 if pop() < pop() else 0)
                elif op == 0x11:  # GT
                    push(1 if pop() > pop() else 0)
                elif op == 0x1C:  # SHR
                    shift = pop()
                    push(pop() >> shift if shift < 256 else pop() & 0)
                elif op == 0x1B:  # SHL
                    shift = pop()
                    push((pop() << shift) & _MASK if shift < 256 else pop() & 0)
                elif op == 0x12:  # SLT, by the order of the numbers with their signs flipped
                    push(1 if pop() ^ _SIGN < pop() ^ _SIGN else 0)
                elif op == 0x13:  # SGT
                    push(1 if pop() ^ _SIGN > pop() ^ _SIGN else 0)
                elif op == 0x17:  # OR
                    push(pop() | pop())
                elif op == 0x19:  # NOT
                    stack[-1] ^= _MASK
                elif op == 0x02:  # MUL
                    push((pop() * pop()) & _MASK)
                elif op == 0x04:  # DIV
                    item = pop()
                    divisor = pop()
                    push(item // divisor if divisor else 0)
                elif op == 0x06:  # MOD
                    item = pop()
                    divisor = pop()
                    push(item % divisor if divisor else 0)
                elif op == 0x18:  # XOR
                    push(pop() ^ pop())
                else:  # STOP
                    frame.gas = gas
                    return
            elif op == 0x56:  # JUMP
                item = pop()
                block = targets.get(item) or _target(code, item)
                break
            elif op == 0x52:  # MSTORE
                start = pop()
                if start + 32 > len(memory):
                    gas = grow(memory, start + 32, gas)
                memory[start:start + 32] = pop().to_bytes(32, "big")
            elif op == 0x51:  # MLOAD
                start = pop()
                if start + 32 > len(memory):
                    gas = grow(memory, start + 32, gas)
                push(int.from_bytes(memory[start:start + 32], "big"))
            elif op == 0x100:  # any other instruction
                frame.gas = gas
                instructions[arg](frame)
                gas = frame.gas
            elif op == 0x57:  # JUMPI
                item = pop()
                if pop():
                    block = targets.get(item) or _target(code, item)
                    break
            elif op == 0x35:  # CALLDATALOAD
                start = pop()
                push(int.from_bytes(data[start:start + 32].ljust(32, b"\0"), "big"))
            elif op == 0x20:  # KECCAK256
                start = pop()
                size = pop()
                gas -= 6 * ((size + 31) >> 5)
                if size and start + size > len(memory):
                    gas = grow(memory, start + size, gas)
                if gas < 0:
                    raise OutOfGas
                push(int.from_bytes(keccak(bytes(memory[start:start + size]) if size else b""), "big"))
            elif op == 0x33:  # CALLER
                push(int.from_bytes(message.sender, "big"))
            elif op == 0x34:  # CALLVALUE
                push(message.value)
            elif op == 0x36:  # CALLDATASIZE
                push(len(data))
            elif op == 0x30:  # ADDRESS
                push(int.from_bytes(message.storage_address, "big"))
            elif op == 0x3D:  # RETURNDATASIZE
                push(len(frame.return_data))
            elif op == 0x5A:  # GAS
                push(gas)
            elif op in (0x37, 0x39):  # CALLDATACOPY, CODECOPY
                start = pop()
                source = pop()
                size = pop()
                gas -= 3 * ((size + 31) >> 5)
                if size:
                    if start + size > len(memory):
                        gas = grow(memory, start + size, gas)
                    if gas < 0:
                        raise OutOfGas
                    copied = data if op == 0x37 else code.bytes
                    memory[start:start + size] = copied[source:source + size].ljust(size, b"\0")
            elif op == 0x38:  # CODESIZE
                push(len(code.bytes))
            elif op == 0x59:  # MSIZE
                push(len(memory))
            elif op in (0xF3, 0xFD):  # RETURN, REVERT
                start = pop()
                size = pop()
                if size and start + size > len(memory):
                    gas = grow(memory, start + size, gas)
                frame.gas = gas
                frame.output = bytes(memory[start:start + size]) if size else b""
                if op == 0xFD:
                    raise Revert
                return
            elif op == 0x1FF:  # SELFDESTRUCT
                frame.gas = gas
                instructions[arg](frame)
                return
            else:
                raise InvalidInstruction(f"invalid opcode: {arg:#04x}")
        else:
            following = block.following
            if following is None:
                following = block.following = code.block(block.next_position)
            block = following


def _target(code: Code, position: int) -> Block:
    block = code.target(position)
    if block is None:
        raise InvalidJumpDestination
    return block
