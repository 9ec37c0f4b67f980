"""Contract code, cut into basic blocks when it first runs there.

A block is a run of instructions that is entered at its start only. Its fixed gas and its need of stack are checked
once, at its entry. That is exact in everything that can be observed: a frame which fails inside of a block loses all
its gas and changes nothing, wherever in the block it fails, and a block ends after each instruction that sees the
remaining gas.
"""

import re
from typing import Any, Final

from .forks import Fork
from .opcodes import FIXED_GAS, INLINE

STACK_LIMIT: Final = 1024

Step = tuple[int, Any]
"""An operation of the loop and its argument."""

RUN: Final = 0x100
"""Run the function behind an instruction; the argument is its opcode."""
RUN_LAST: Final = 0x1FF
"""The same, and the frame ends."""
STATIC_JUMP: Final = 0x156
STATIC_JUMPI: Final = 0x157
"""Jumps whose destination is the constant pushed just before; the argument is the destination."""

_STOP, _JUMP, _JUMPI, _PC, _JUMPDEST = 0x00, 0x56, 0x57, 0x58, 0x5B
_PUSH0, _PUSH1, _PUSH32, _DUP1, _SWAP1, _LOG0 = 0x5F, 0x60, 0x7F, 0x80, 0x90, 0xA0
_INVALID: Final = 0xFE
_LAST: Final = frozenset({_STOP, _JUMP, 0xF3, 0xFD, _INVALID, 0xFF})
"""Nothing follows these."""
_SEES_GAS: Final = frozenset({0x55, 0x5A, 0xF0, 0xF1, 0xF2, 0xF4, 0xF5, 0xFA})
"""SSTORE, GAS, creations and calls."""

_SCAN: Final = re.compile(b"|".join(
    [rb"\x%02x[\x00-\xff]{0,%d}" % (_PUSH1 + index, index + 1) for index in range(32)] + [rb"(\x5b)"]))
"""Finds the pushes with their data, and between them the jump destinations."""


class Block:
    """A basic block."""

    __slots__ = ("following", "gas", "height_max", "height_min", "next_position", "steps")

    def __init__(self, steps: tuple[Step, ...], gas: int, height_min: int, height_max: int, next_position: int) -> None:
        self.steps = steps
        self.gas = gas
        """Fixed gas of all its instructions."""
        self.height_min = height_min
        """Items that have to be on the stack at the entry."""
        self.height_max = height_max
        """Items that may be on the stack at the entry so that the limit holds within."""
        self.next_position = next_position
        """Where the code goes on if no jump is taken."""
        self.following: Block | None = None
        """The block there, once it was needed."""


class Code:
    """The code of a contract with its blocks, shared by all frames that run it.

    Parameters
    ----------
    code
        The bytes.
    fork
        Knows which of them are instructions.
    """

    __slots__ = ("_blocks", "_destinations", "_stack", "bytes", "targets")

    def __init__(self, code: bytes, fork: Fork) -> None:
        self.bytes = code
        self._stack = fork.stack
        self.targets: dict[int, Block] = {}
        """Blocks that were jumped to, by position."""
        self._blocks: dict[int, Block] = {}
        self._destinations: frozenset[int] | None = None

    def block(self, position: int) -> Block:
        """The block that begins at a position, which has to be that of an instruction."""
        block = self._blocks.get(position)
        if block is None:
            block = self._blocks[position] = self._build(position)
        return block

    def target(self, position: int) -> Block | None:
        """The block at a jump destination, or None if there is no JUMPDEST instruction."""
        if self._destinations is None:
            self._destinations = frozenset(match.start() for match in _SCAN.finditer(self.bytes) if match.lastindex)
        if position not in self._destinations:
            return None
        block = self.targets[position] = self.block(position)
        return block

    def _build(self, position: int) -> Block:
        """Decode from a position to the end of its block."""
        code, size, stack = self.bytes, len(self.bytes), self._stack
        steps: list[Step] = []
        first = position
        gas = height = lowest = highest = 0
        while True:
            opcode = code[position] if position < size else _STOP
            if opcode == _JUMPDEST and position != first:
                break
            effect = stack.get(opcode)
            if effect is None:
                steps.append((_INVALID, opcode))
                break
            pops, pushes = effect
            lowest = max(lowest, pops - height)
            height += pushes - pops
            highest = max(highest, height)
            gas += FIXED_GAS[opcode]
            width = opcode - _PUSH0 if _PUSH1 <= opcode <= _PUSH32 else 0
            _add(steps, opcode, code[position + 1:position + 1 + width], position)
            position += 1 + width
            if opcode in _LAST or opcode in _SEES_GAS or opcode == _JUMPI:
                break
        return Block(tuple(steps), gas, lowest, STACK_LIMIT - highest, position)


def _add(steps: list[Step], opcode: int, data: bytes, position: int) -> None:
    """Append an instruction in the form that the loop takes."""
    if _PUSH0 <= opcode <= _PUSH32:
        # Data that the end of the code cuts off counts as zeros.
        width = opcode - _PUSH0
        steps.append((_PUSH1, int.from_bytes(data.ljust(width, b"\0"), "big")))
    elif _DUP1 <= opcode < _SWAP1:
        steps.append((_DUP1, _DUP1 - opcode - 1))
    elif _SWAP1 <= opcode < _LOG0:
        steps.append((_SWAP1, _SWAP1 - opcode - 2))
    elif opcode in (_JUMP, _JUMPI) and steps and steps[-1][0] == _PUSH1:
        _, destination = steps.pop()
        steps.append((STATIC_JUMP if opcode == _JUMP else STATIC_JUMPI, destination))
    elif opcode == _PC:
        steps.append((_PUSH1, position))
    elif opcode != _JUMPDEST:
        steps.append((opcode, None) if opcode in INLINE else (RUN_LAST if opcode in _LAST else RUN, opcode))


class CodeCache:
    """Analysed codes by hash; the least recently used go first."""

    __slots__ = ("_codes", "_fork", "_limit")

    def __init__(self, limit: int, fork: Fork) -> None:
        self._codes: dict[bytes, Code] = {}
        self._limit = limit
        self._fork = fork

    def analysed(self, code: bytes) -> Code:
        """The analysis of a code that runs once."""
        return Code(code, self._fork)

    def find(self, code_hash: bytes, code: bytes) -> Code:
        """The analysis of a code whose Keccak-256 is known."""
        found = self._codes.pop(code_hash, None)
        if found is None:
            found = Code(code, self._fork)
            if len(self._codes) >= self._limit:
                del self._codes[next(iter(self._codes))]
        self._codes[code_hash] = found  # the dictionary keeps insertion order: the last is the most recently used
        return found
