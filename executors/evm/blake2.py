"""The compression function of BLAKE2b as a contract, with as many rounds as its caller pays for.

A round costs one gas, so that a transaction can ask for tens of millions of them; written in Python that would be
minutes. The function is written here as a WebAssembly module, which wasmtime compiles to machine code when it is needed
first.

References
----------
EIP-152. RFC 7693, section 3 (the function, its permutations and its initial vector).
"""

import atexit
import ctypes
import threading
import weakref
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from .library import VMError

if TYPE_CHECKING:
    from wasmtime import Engine, Func, Module

_INPUT_BYTES: Final = 213
_ROUNDS, _STATE, _MESSAGE, _OFFSETS, _LAST = 0, 4, 68, 196, 212
"""Where each part of the input begins."""
_INITIAL: Final = (
    0x6A09E667F3BCC908, 0xBB67AE8584CAA73B, 0x3C6EF372FE94F82B, 0xA54FF53A5F1D36F1, 0x510E527FADE682D1,
    0x9B05688C2B3E6C1F, 0x1F83D9ABFB41BD6B, 0x5BE0CD19137E2179)
_PERMUTATIONS: Final = (
    (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15), (14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3),
    (11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4), (7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8),
    (9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13), (2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9),
    (12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11), (13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10),
    (6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5), (10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0))
_MIXED: Final = (
    (0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15), (0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13),
    (3, 4, 9, 14))
"""The words of the state that are mixed together, in the order of a round."""


def _mix(a: int, b: int, c: int, d: int, x: int, y: int) -> str:
    """One mixing of four words of the state with two of the message."""
    def half(message: int, first: int, second: int) -> str:
        return f"""
        (local.set $v{a} (i64.add (i64.add (local.get $v{a}) (local.get $v{b})) (local.get $m{message})))
        (local.set $v{d} (i64.rotr (i64.xor (local.get $v{d}) (local.get $v{a})) (i64.const {first})))
        (local.set $v{c} (i64.add (local.get $v{c}) (local.get $v{d})))
        (local.set $v{b} (i64.rotr (i64.xor (local.get $v{b}) (local.get $v{c})) (i64.const {second})))"""
    return half(x, 32, 24) + half(y, 16, 63)


def _source() -> str:
    """The module as text: ``compress()``, with the input of the contract in memory, the output over its state.

    Ten rounds, one with each permutation, are written out, and leave the loop where the rounds end.
    """
    def word(offset: int) -> str:
        return f"(i64.load (i32.const {offset}))"

    start = [f"(local.set $m{index} {word(_MESSAGE + 8 * index)})" for index in range(16)]
    start += [f"(local.set $v{index} {word(_STATE + 8 * index)})" for index in range(8)]
    start += [f"(local.set $v{index + 8} (i64.const {initial:#x}))" for index, initial in enumerate(_INITIAL)]
    start += [
        f"(local.set $v{index} (i64.xor (local.get $v{index}) {other}))" for index, other in (
            (12, word(_OFFSETS)), (13, word(_OFFSETS + 8)),
            (14, f"(i64.sub (i64.const 0) (i64.load8_u (i32.const {_LAST})))"))]
    rounds = []
    for permutation in _PERMUTATIONS:
        rounds.append("""
        (br_if $done (i32.eqz (local.get $rounds)))
        (local.set $rounds (i32.sub (local.get $rounds) (i32.const 1)))""")
        rounds += [
            _mix(*words, permutation[2 * index], permutation[2 * index + 1]) for index, words in enumerate(_MIXED)]
    end = [
        f"(i64.store (i32.const {_STATE + 8 * index}) (i64.xor {word(_STATE + 8 * index)} "
        f"(i64.xor (local.get $v{index}) (local.get $v{index + 8}))))" for index in range(8)]
    return f"""(module (memory (export "memory") 1 1) (func (export "compress")
        (local $rounds i32) {' '.join(f'(local $v{index} i64) (local $m{index} i64)' for index in range(16))}
        (local.set $rounds (i32.load (i32.const {_ROUNDS}))) {' '.join(start)}
        (block $done (loop $again {' '.join(rounds)} (br $again)))
        {' '.join(end)}))"""


@cache
def _compiled() -> "tuple[Engine, Module]":
    from wasmtime import Engine, Module  # a tenth of a second, for a contract that few ever call

    engine = Engine()
    module = Module(engine, _source())
    atexit.register(_close, module, engine)
    return engine, module


def _close(*objects: Any) -> None:
    """Free what the library holds, at the end of the process at the latest: after it, its own clean-up fails."""
    for each in objects:
        each.close()


class _Instance:
    """The module with a memory of its own."""

    def __init__(self) -> None:
        from wasmtime import Instance, Store

        engine, module = _compiled()
        self._store = Store(engine)
        exports: Any = Instance(self._store, module, []).exports(self._store)
        self._compress: Func = exports["compress"]
        # The memory never grows, so that it stays where it is.
        self._memory = ctypes.cast(exports["memory"].data_ptr(self._store), ctypes.c_void_p).value or 0
        weakref.finalize(self, _close, self._store)

    def compress(self, data: bytes) -> bytes:
        """Run the module; the number of rounds is little-endian here, too."""
        ctypes.memmove(self._memory, data, _INPUT_BYTES)
        self._compress(self._store)
        return ctypes.string_at(self._memory + _STATE, 64)


class _Own(threading.local):
    """An instance for each thread: one may be used by one thread at a time, and a call may take a while."""

    def __init__(self) -> None:
        self.instance = _Instance()


@cache
def _own() -> _Own:
    return _Own()


def compress(data: bytes) -> bytes:
    """The compression function.

    Parameters
    ----------
    data
        Rounds (4 bytes, big-endian), state (8 words of 8 bytes, little-endian as all that follow), message (16 words),
        offsets (2 words), and one byte: 1 for the last block, otherwise 0.

    Returns
    -------
    bytes
        The new state, 64 bytes.
    """
    return _own().instance.compress(data[3::-1] + data[4:])


def contract(frame: Any) -> None:
    """The contract."""
    data: bytes = frame.msg.data
    if len(data) != _INPUT_BYTES:
        raise VMError(f"BLAKE2: {len(data)} bytes of input instead of {_INPUT_BYTES}")
    frame.consume_gas(int.from_bytes(data[:4], "big"))
    if data[-1] > 1:
        raise VMError(f"BLAKE2: flag {data[-1]}; it is 0 or 1")
    frame.output = compress(data)
