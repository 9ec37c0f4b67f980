"""Tables of the instructions of all forks: fixed gas, effect on the stack, and who runs them."""

from typing import Final

from .library import instruction

SLOAD, SSTORE, TLOAD, TSTORE = 0x54, 0x55, 0x5C, 0x5D
LOG0, LOG4 = 0xA0, 0xA4
CREATE, CALL, CALLCODE, DELEGATECALL, CREATE2, STATICCALL, SELFDESTRUCT = 0xF0, 0xF1, 0xF2, 0xF4, 0xF5, 0xFA, 0xFF


def _stack() -> dict[int, tuple[int, int]]:
    """Items that each instruction takes from the stack, and puts on it."""
    binary = (*range(0x01, 0x08), 0x0A, 0x0B, *range(0x10, 0x15), *range(0x16, 0x19), *range(0x1A, 0x1E), 0x20)
    unary = (0x15, 0x19, 0x31, 0x35, 0x3B, 0x3F, 0x40, 0x49, 0x51, 0x54, 0x5C)
    constants = (
        0x30, 0x32, 0x33, 0x34, 0x36, 0x38, 0x3A, 0x3D, *range(0x41, 0x49), 0x4A, 0x58, 0x59, 0x5A, *range(0x5F, 0x80))
    effects = dict.fromkeys(binary, (2, 1)) | dict.fromkeys(unary, (1, 1)) | dict.fromkeys(constants, (0, 1))
    effects |= dict.fromkeys((0x08, 0x09), (3, 1))
    effects |= dict.fromkeys((0x37, 0x39, 0x3E, 0x5E), (3, 0))
    effects |= dict.fromkeys((0x50, 0x56, SELFDESTRUCT), (1, 0))
    effects |= dict.fromkeys((0x52, 0x53, SSTORE, 0x57, 0x5D, 0xF3, 0xFD), (2, 0))
    effects |= {0x00: (0, 0), 0x5B: (0, 0), 0x3C: (4, 0)}
    effects |= {CREATE: (3, 1), CREATE2: (4, 1)}
    effects |= {CALL: (7, 1), CALLCODE: (7, 1), DELEGATECALL: (6, 1), STATICCALL: (6, 1)}
    effects |= {0x7F + depth: (depth, depth + 1) for depth in range(1, 17)}
    effects |= {0x8F + depth: (depth + 1, depth + 1) for depth in range(1, 17)}
    effects |= {LOG0 + topics: (2 + topics, 0) for topics in range(5)}
    return effects


STACK: Final = _stack()
"""By opcode; what isn't in here isn't an instruction in any fork. `forks` says which ones a fork has."""

_OWN_GAS: Final = {
    0x00: 0, SLOAD: 0, SSTORE: 0, CREATE: 32_000, CREATE2: 32_000, CALL: 0, CALLCODE: 0, DELEGATECALL: 0, STATICCALL: 0,
    SELFDESTRUCT: 5_000, **{LOG0 + topics: 375 * (1 + topics) for topics in range(5)}}

FIXED_GAS: Final = {opcode: _OWN_GAS[opcode] if opcode in _OWN_GAS else instruction(opcode)[0] for opcode in STACK}
"""What an instruction costs at least; what depends on its operands or on state comes on top."""

INLINE: Final = frozenset({
    0x00, 0x01, 0x02, 0x03, 0x04, 0x06, 0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 0x19, 0x1B, 0x1C, 0x20,
    0x30, 0x33, 0x34, 0x35, 0x36, 0x37, 0x38, 0x39, 0x3D, 0x50, 0x51, 0x52, 0x56, 0x57, 0x59, 0x5A, 0xF3, 0xFD})
"""Run by the loop itself. Pushes, swaps, duplications, PC and JUMPDEST are, too, in forms of their own."""

FOREIGN: Final = frozenset({
    0x05, 0x07, 0x08, 0x09, 0x0A, 0x0B, 0x1A, 0x1D, 0x31, 0x32, 0x3A, 0x3B, 0x3C, 0x3E, 0x3F, *range(0x40, 0x4B), 0x53,
    0x5E})
"""Run by py-evm's functions."""
