"""Random byte code that means something: programs built from snippets that leave the stack as it has to be.

A `Grammar` draws expressions, which push one item, and statements, which leave the stack as it was, around a few
addresses, slots and places in memory, so that contracts meet each other's accounts and values. What random bytes reach
only by chance is drawn on purpose: every kind of call and creation, reverts in the middle, jumps to nowhere, gas that
runs out, return data, and inputs that precompiled contracts accept.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

BINARY: Final = (*range(0x01, 0x08), 0x0A, 0x0B, *range(0x10, 0x15), 0x16, 0x17, 0x18, 0x1A, 0x1B, 0x1C, 0x1D)
ENVIRONMENT: Final = (0x30, 0x32, 0x33, 0x34, 0x36, 0x38, 0x3A, 0x3D, *range(0x41, 0x49), 0x4A, 0x58, 0x59, 0x5A)
CALL, CALLCODE, DELEGATECALL, STATICCALL = 0xF1, 0xF2, 0xF4, 0xFA
CONSTANTS: Final = (
    0, 1, 2, 3, 31, 32, 33, 64, 255, 256, 2**64 - 1, 2**64, 2**128, 2**160 - 1, 2**255 - 1, 2**255, 2**256 - 2, 2**256 - 1)
GAS: Final = (0, 1, 99, 700, 2_300, 2_301, 5_000, 20_000, 60_000, 2**32, 2**256 - 1)
TOP: Final = 64
"""Precompiled contracts are given inputs from here in memory."""


def push(value: int, width: int | None = None) -> bytes:
    """The shortest PUSH of a number, or one of a given width in bytes."""
    width = (value.bit_length() + 7) >> 3 if width is None else width
    return bytes((0x5F + width,)) + value.to_bytes(width, "big")


def mstore(offset: int, data: bytes) -> bytes:
    """Writes constant bytes to memory, in words; the last one is padded with zeros."""
    words = [data[start:start + 32].ljust(32, b"\0") for start in range(0, len(data), 32)]
    return b"".join(push(int.from_bytes(word, "big")) + push(offset + 32 * i) + b"\x52" for i, word in enumerate(words))


@dataclass(frozen=True, slots=True)
class Label:
    """A place in a program."""

    name: int


@dataclass(frozen=True, slots=True)
class Reference:
    """A PUSH2 of a place, less a number."""

    name: int
    less: int = 0


Part = bytes | Label | Reference


def assemble(parts: Sequence[Part]) -> bytes:
    """Byte code of parts; a label is a JUMPDEST."""
    places: dict[int, int] = {}
    position = 0
    for part in parts:
        if isinstance(part, Label):
            places[part.name] = position
        position += len(part) if isinstance(part, bytes) else 1 if isinstance(part, Label) else 3
    code = b""
    for part in parts:
        if isinstance(part, bytes):
            code += part
        elif isinstance(part, Label):
            code += b"\x5b"
        else:
            code += push(max(places[part.name] - part.less, 0) & 0xFFFF, 2)
    return code


def returning(code: bytes, *, before: bytes = b"") -> bytes:
    """Init code that returns a code, after something else."""
    size = len(code)
    start = len(before) + 13
    copy = push(size, 2) + b"\x80" + push(start, 2) + b"\x5f\x39\x5f\xf3"  # PUSH2 DUP1 PUSH2 PUSH0 CODECOPY PUSH0 RETURN
    return before + copy.rjust(13, b"\x5b") + code


class Grammar:
    """Draws programs.

    Parameters
    ----------
    rng
        Where chance comes from; the same one draws the same programs.
    addresses
        Of accounts that programs name.
    inputs
        Precompiled contracts, by number, with inputs that they accept.
    """

    def __init__(
        self, rng: random.Random, addresses: Sequence[bytes], inputs: Sequence[tuple[int, bytes]] = ()
    ) -> None:
        self.rng = rng
        self.addresses = addresses
        self.inputs = inputs
        self._labels = 0
        self._nested = 0

    # ---- operands -----------------------------------------------------------------------------------------------

    def number(self) -> int:
        """A constant, mostly one at the edge of something."""
        return self.rng.choice((
            self.rng.choice(CONSTANTS), self.rng.randrange(8), self.rng.getrandbits(16), self.rng.getrandbits(256)))

    def offset(self) -> bytes:
        """A place in memory; far out once in a while."""
        roll = self.rng.random()
        if roll < 0.985:
            return push(self.rng.choice((0, 0, 1, 31, 32, 64, 96, self.rng.randrange(160))))
        return push(self.rng.choice((4_000, 30_000, 2**32, 2**64, 2**256 - 32, 2**256 - 1)))

    def size(self) -> bytes:
        """A size of memory, calldata or code."""
        roll = self.rng.random()
        if roll < 0.985:
            return push(self.rng.choice((0, 0, 1, 4, 20, 32, 32, 33, 64, self.rng.randrange(130))))
        return push(self.rng.choice((3_000, 24_576, 24_577, 2**32, 2**256 - 1)))

    def slot(self) -> list[Part]:
        """A storage slot; there are few, so that programs meet."""
        return [push(self.rng.randrange(4))] if self.rng.random() < 0.85 else self.expression(1)

    def address(self) -> list[Part]:
        """An address: of the world, of this contract, its caller, what it created, a precompiled contract."""
        roll = self.rng.random()
        if roll < 0.6:
            return [push(int.from_bytes(self.rng.choice(self.addresses), "big"), 20)]
        if roll < 0.72:
            return [bytes((self.rng.choice((0x30, 0x32, 0x33, 0x41)),))]
        if roll < 0.82:
            return [push(self.rng.randrange(4)), b"\x54"]
        if roll < 0.9:
            return [push(self.rng.randrange(0x13))]
        if roll < 0.95:  # dirty upper bytes
            word = self.rng.getrandbits(96) << 160 | int.from_bytes(self.rng.choice(self.addresses), "big")
            return [push(word, 32)]
        return [push(32 * self.rng.randrange(2)), b"\x35"]

    def label(self) -> int:
        """A name for a place."""
        self._labels += 1
        return self._labels

    # ---- expressions --------------------------------------------------------------------------------------------

    def expression(self, depth: int) -> list[Part]:
        """Pushes one item."""
        rng = self.rng
        roll = rng.random()
        if depth <= 0 or roll < 0.2:
            return [push(self.number())]
        if roll < 0.42:
            return [*self.expression(depth - 1), *self.expression(depth - 1), bytes((rng.choice(BINARY),))]
        if roll < 0.46:
            operands = [part for _ in range(3) for part in self.expression(depth - 2)]
            return [*operands, bytes((rng.choice((0x08, 0x09)),))]
        if roll < 0.5:
            return [*self.expression(depth - 1), bytes((rng.choice((0x15, 0x19)),))]
        if roll < 0.6:
            return [bytes((rng.choice(ENVIRONMENT),))]
        if roll < 0.7:
            return [*self.address(), bytes((rng.choice((0x31, 0x31, 0x3B, 0x3F)),))]
        if roll < 0.8:
            return [*self.slot(), bytes((rng.choice((0x54, 0x54, 0x5C)),))]
        if roll < 0.83:  # BLOCKHASH of a number around the window, BLOBHASH
            if rng.random() < 0.5:
                return [push(rng.choice((0, 1, 2, 255, 256, 257))), b"\x43\x03\x40"]
            return [push(rng.randrange(3)), b"\x49"]
        if roll < 0.88:
            return [self.size(), self.offset(), b"\x20"]
        if roll < 0.92:
            return [self.offset(), b"\x51"]
        if roll < 0.95:
            return [push(rng.choice((0, 1, 32, 64, 2**256 - 1))), b"\x35"]
        if self._nested < 3:
            return self.call() if roll < 0.985 else self.create()
        return [b"\x5a"]

    def gas(self) -> list[Part]:
        """What a call asks for."""
        roll = self.rng.random()
        if roll < 0.6:
            return [b"\x5a"]
        if roll < 0.8:
            return [push(self.rng.choice(GAS))]
        return [push(self.rng.choice((2, 3, 10))), b"\x5a\x04"]

    def value(self) -> bytes:
        """Wei of a call or a creation; mostly none, and sometimes more than there is."""
        return push(self.rng.choice((0, 0, 0, 0, 1, 7, 1_000, 2**255)))

    def call(self) -> list[Part]:
        """Any call, to anything; pushes whether it succeeded."""
        rng = self.rng
        kind = rng.choice((CALL, CALL, CALL, CALLCODE, DELEGATECALL, DELEGATECALL, STATICCALL, STATICCALL))
        value = [self.value()] if kind in (CALL, CALLCODE) else []
        if self.inputs and rng.random() < 0.12:
            number, data = rng.choice(self.inputs)
            if rng.random() < 0.25:
                data = data[:rng.randrange(len(data) + 1)] + rng.randbytes(rng.choice((0, 1, 32)))
            where: list[Part] = [push(len(data)), push(TOP)]
            return [
                mstore(TOP, data), self.size(), push(rng.choice((0, 32))), *where, *value, push(number), *self.gas(),
                bytes((kind,))]
        return [
            self.size(), self.offset(), self.size(), self.offset(), *value, *self.address(), *self.gas(), bytes((kind,))]

    def create(self) -> list[Part]:
        """A creation; pushes the new address or zero."""
        rng = self.rng
        if rng.random() < 0.12:  # whatever is in memory
            parts: list[Part] = []
            operands: list[Part] = [self.size(), self.offset()]
        else:
            code = self.init_code()
            parts = [mstore(0, code)]
            operands = [push(len(code)), push(0)]
        if rng.random() < 0.5:
            return [*parts, push(rng.randrange(2)), *operands, self.value(), b"\xf5"]
        return [*parts, *operands, self.value(), b"\xf0"]

    def init_code(self) -> bytes:
        """Init code: mostly some statements, and then a code that it returns."""
        rng = self.rng
        self._nested += 1
        roll = rng.random()
        before = self.program(rng.randrange(3), ends=False) if roll < 0.5 else b""
        if roll < 0.75:
            code = returning(self.program(rng.randrange(1, 4)), before=before)
        elif roll < 0.85:
            code = self.program(rng.randrange(4))
        elif roll < 0.9:
            code = before + rng.choice((
                b"\x60\xef\x5f\x53\x60\x02\x5f\xf3",  # code that begins with 0xef
                push(24_577) + b"\x5f\xf3", push(24_576) + b"\x5f\xf3", b"\xfe", b"\x33\xff", b"\x30\xff"))
        else:
            code = rng.randbytes(rng.randrange(40))
        self._nested -= 1
        return code

    def phoenix(self) -> bytes:
        """A contract that makes another one at an address that stays the same, whenever it isn't there, and calls it.

        Without calldata that one destroys itself.
        """
        made, after = self.label(), self.label()
        parts = [part for _ in range(self.rng.randrange(2)) for part in self.statement(1)]
        grows: list[Part] = [b"\x5f\x54\x60\x01\x01\x5f\x55"]  # slot 0 counts
        child = assemble([*grows, *parts, b"\x36", Reference(after), b"\x57", *self.address(), b"\xff", Label(after)])
        code = returning(child)
        return assemble([
            b"\x60\x03\x54\x3b", Reference(made), b"\x57",
            mstore(0, code), b"\x5f", push(len(code)), b"\x5f", push(self.rng.randrange(2)), b"\xf5\x60\x03\x55",
            Label(made), b"\x5f\x5f\x36\x5f\x5f\x60\x03\x54\x5a\xf1\x60\x02\x55"])

    # ---- statements ---------------------------------------------------------------------------------------------

    def statement(self, depth: int) -> list[Part]:
        """Leaves the stack as it was, or ends the frame."""
        rng = self.rng
        table: tuple[tuple[int, Callable[[], list[Part]]], ...] = (
            (14, lambda: [*self.expression(3), *self.slot(), b"\x55"]),
            (4, lambda: [*self.expression(2), *self.slot(), b"\x5d"]),
            (9, lambda: [*self.expression(3), self.offset(), bytes((rng.choice((0x52, 0x52, 0x53)),))]),
            (7, self.log),
            (7, self.copy),
            (12, lambda: self.call_and_look()),
            (7, self.create_and_call),
            (3, lambda: [*self.expression(3), b"\x50"]),
            (3, self.juggle),
            (4, self.reentry),
            (8, lambda: self.condition(depth)),
            (3, lambda: self.loop(depth)),
            (2, self.hard_jump),
            (1, self.maybe_gone),
            (1, self.ending),
        )
        return rng.choices([draw for _, draw in table], [weight for weight, _ in table])[0]()

    def log(self) -> list[Part]:
        """An event with up to four topics."""
        topics = self.rng.randrange(5)
        operands = [part for _ in range(topics) for part in self.expression(1)]
        return [*operands, self.size(), self.offset(), bytes((0xA0 + topics,))]

    def copy(self) -> list[Part]:
        """Copies calldata, code, return data or memory into memory."""
        kind = self.rng.choice((0x37, 0x39, 0x3C, 0x3E, 0x3E, 0x5E))
        if kind == 0x3E and self.rng.random() < 0.93:
            return [b"\x3d\x5f", self.offset(), b"\x3e"]  # all there is; only some other sizes are in bounds
        source = self.offset() if self.rng.random() < 0.7 else push(self.number())
        operands: list[Part] = [self.size(), source, self.offset()]
        return [*operands, *(self.address() if kind == 0x3C else []), bytes((kind,))]

    def call_and_look(self) -> list[Part]:
        """A call, and what came of it in storage or memory."""
        after: tuple[list[Part], ...] = (
            [b"\x50"], [*self.slot(), b"\x55"], [b"\x50\x3d\x5f\x5f\x3e"], [b"\x3d\x01", *self.slot(), b"\x55"])
        return [*self.call(), *self.rng.choice(after)]

    def create_and_call(self) -> list[Part]:
        """A creation whose address is kept in a slot, and called."""
        if self._nested >= 3:
            return [b"\x5a\x50"]
        slot = push(self.rng.randrange(4))
        call: list[Part] = [b"\x5f\x5f\x5f\x5f", self.value(), slot, b"\x54\x5a\xf1\x50"]
        return [*self.create(), slot, b"\x55", *(call if self.rng.random() < 0.6 else [])]

    def juggle(self) -> list[Part]:
        """Items on the stack, duplicated and swapped."""
        rng = self.rng
        height = rng.randrange(2, 18)
        parts: list[Part] = [push(rng.randrange(256)) for _ in range(height)]
        for _ in range(rng.randrange(1, 5)):
            if rng.random() < 0.5:
                parts.append(bytes((0x80 + rng.randrange(min(height, 16)),)))
                height += 1
            else:
                parts.append(bytes((0x90 + rng.randrange(min(height - 1, 16)),)))
        return [*parts, b"\x5f\x52", b"\x50" * (height - 1)]

    def condition(self, depth: int) -> list[Part]:
        """Statements that run if an expression is zero."""
        after = self.label()
        inner = self.block(depth - 1) if depth > 0 else self.ending()
        if self.rng.random() < 0.2:
            inner = [*inner, *self.ending()]
        return [*self.expression(2), Reference(after), b"\x57", *inner, Label(after)]

    def maybe_gone(self) -> list[Part]:
        """SELFDESTRUCT, where an expression is zero."""
        after = self.label()
        return [*self.expression(1), Reference(after), b"\x57", *self.address(), b"\xff", Label(after)]

    def loop(self, depth: int) -> list[Part]:
        """Statements that run a few times."""
        start = self.label()
        inner = self.block(depth - 1) if depth > 0 else [b"\x5a\x50"]
        return [
            push(self.rng.randrange(1, 5)), Label(start), *inner, b"\x60\x01\x90\x03\x80", Reference(start), b"\x57\x50"]

    def reentry(self) -> list[Part]:
        """A call to this contract's own inner part, and a look at what it left."""
        look = self.rng.choice((b"\x5c", b"\x5c", b"\x54"))
        sizes = b"\x5f\x5f\x60\x01\x5f"  # no output, one byte of input
        gas: list[Part] = self.gas() if self.rng.random() < 0.3 else [b"\x5a"]
        return [
            sizes, push(self.rng.randrange(2)) + b"\x30", *gas, b"\xf1\x50", push(self.rng.randrange(4)), look,
            push(self.rng.randrange(4)), b"\x55"]

    def inner(self) -> list[Part]:
        """What runs where there is one byte of calldata, and ends, mostly by a revert."""
        after = self.label()
        stores: list[Part] = [
            part for _ in range(2) for part in (*self.expression(1), push(self.rng.randrange(4)), b"\x5d")]
        ending = self.rng.choice((b"\x5f\x5f\xfd", b"\x5f\x5f\xfd", b"\xfe", b"\x00"))
        return [b"\x36\x60\x01\x18", Reference(after), b"\x57", *stores, *self.block(1), ending, Label(after)]

    def hard_jump(self) -> list[Part]:
        """A jump to a computed place, which may be none."""
        after = self.label()
        if self.rng.random() < 0.93:
            return [push(3), Reference(after, 3), b"\x01\x56", self.rng.randbytes(3), Label(after)]
        return [push(self.rng.randrange(40)), b"\x56", Label(after)]

    def ending(self) -> list[Part]:
        """The end of a frame."""
        roll = self.rng.random()
        if roll < 0.35:
            return [self.size(), self.offset(), b"\xf3"]
        if roll < 0.65:
            return [self.size(), self.offset(), b"\xfd"]
        if roll < 0.8:
            return [*self.address(), b"\xff"]
        return [self.rng.choice((b"\x00", b"\x00", b"\x00", b"\x00", b"\xfe", b"\x50", self.rng.randbytes(2)))]

    def block(self, depth: int) -> list[Part]:
        """A few statements."""
        return [part for _ in range(self.rng.randrange(1, 4)) for part in self.statement(depth)]

    def program(self, statements: int, *, ends: bool = True) -> bytes:
        """A whole program."""
        parts: list[Part] = self.inner() if ends and self.rng.random() < 0.5 else []
        parts += [part for _ in range(statements) for part in self.statement(2)]
        if ends:
            # What it worked out is in its output, where a difference is seen.
            parts += self.ending() if self.rng.random() < 0.3 else [push(96), b"\x5f\xf3"]
        code = assemble(parts)
        if self.rng.random() < 0.03 and code:
            place = self.rng.randrange(len(code))
            code = code[:place] + self.rng.randbytes(self.rng.randrange(1, 4)) + code[place + 1:]
        return code
