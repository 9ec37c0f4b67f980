"""The one place that knows lupa: a Lua runtime for a single message, and how it is talked to.

No object of Python is ever given to Lua, and none of Lua's is kept: strings, integers, booleans and nil go in both
directions. A contract runs in a coroutine; whatever it needs from outside it yields, and gets by being resumed.
"""

from functools import cache
from pathlib import Path
from typing import Any, Final

from lupa.lua54 import (  # type: ignore[import-untyped]  # ships no types
    LuaError,
    LuaMemoryError,
    LuaRuntime,
)

from schemas.errors import InvariantViolation

from . import limits

_PRELUDE: Final = Path(__file__).with_name("prelude")

Answer = tuple[Any, ...]
"""What a contract asks for, or how it ended; the gas that it has used up since it began; and the rest."""


class BadSource(ValueError):
    """Lua can't compile a text; in its own words."""


def _runtime() -> Any:
    return LuaRuntime(
        encoding=None, source_encoding="utf-8", register_eval=False, register_builtins=False,
        attribute_filter=_refuse, max_memory=limits.PROCESS_BYTES_MAX)


def _refuse(_object: object, name: object, _is_setting: bool) -> str:
    raise AttributeError(f"no attribute {name!r} can be reached from Lua")


def compiled(source: bytes, name: bytes = b"=contract", *, lines: bool = True) -> bytes:
    """Bytecode of a text. Only what comes from here is ever loaded as bytecode.

    Raises
    ------
    BadSource
        If it isn't Lua.
    """
    names = _runtime().globals()
    try:
        loaded = names[b"load"](source, name, b"t")
        if isinstance(loaded, tuple):
            raise BadSource(_words(loaded[1].decode(errors="replace")))
        code: bytes = names[b"string"][b"dump"](loaded, not lines)
    except LuaError as exc:
        raise BadSource(_words(str(exc))) from exc
    return code


def _words(problem: str) -> str:
    """Lua's words for a text that it can't compile, without the way to it."""
    return "too deeply nested" if "C stack overflow" in problem else problem.partition("\n")[0]


@cache
def _prelude() -> bytes:
    files = sorted(_PRELUDE.glob("*.lua"))
    return compiled(b"".join(file.read_bytes() for file in files), b"=sandbox", lines=False)


class Sandbox:
    """A runtime for one message."""

    __slots__ = ("_list", "_resume", "_start")

    def __init__(self) -> None:
        self._start, self._list, self._resume = _runtime().globals()[b"load"](_prelude(), b"=sandbox", b"b")(
            limits.INSTRUCTIONS_STEP, limits.MEMORY_BYTES_MAX, limits.STRING_BYTES_MAX, limits.DEPTH_MAX,
            limits.VALUES_MAX, limits.ALLOCATED_BYTES_PER_GAS)

    def start(self, *arguments: object) -> Answer:
        """Begin a message; `prelude/6_main.lua` has the arguments."""
        return self._run(self._start, arguments)

    def list(self, *arguments: object) -> Answer:
        """Begin to load a contract for the names of its functions."""
        return self._run(self._list, arguments)

    def resume(self, *arguments: object) -> Answer:
        """Give the contract what it has asked for."""
        return self._run(self._resume, arguments)

    @staticmethod
    def _run(function: Any, arguments: tuple[object, ...]) -> Answer:
        try:
            answer: Answer = function(*arguments)
        except LuaMemoryError:
            return b"dead", 0, b"memory"
        except LuaError as exc:
            raise InvariantViolation(f"the Lua sandbox failed: {exc}") from exc
        if answer[0] == b"broken":
            if answer[2]:
                return b"dead", 0, b"memory"
            raise InvariantViolation(f"the Lua sandbox failed: {answer[3]!r}")
        return answer
