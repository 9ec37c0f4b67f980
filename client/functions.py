"""Functions of contracts by their signatures, as people write them or as an artifact's ABI lists them.

People write them as in Solidity: ``transfer(address to, uint256 amount) returns (bool)``. Names of parameters, the word
``function`` in front, and words such as ``view``, ``external`` or ``memory`` may stand there or not.

References
----------
Solidity documentation, contract ABI specification.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from schemas.errors import RejectedInput
from schemas.hashing import keccak

CONSTRUCTOR: Final = "constructor"
_TOKEN: Final = re.compile(r"\s*([A-Za-z_$][\w$]*|\d+|[(),\[\]])")
_NAME: Final = re.compile(r"[A-Za-z_$][\w$]*")
_ELEMENTARY: Final = re.compile(r"(u?int)(\d{0,3})|address|bool|string|function|bytes(\d{0,2})")
_PASSED_OVER: Final = frozenset({
    "calldata", "constant", "external", "indexed", "memory", "nonpayable", "payable", "private", "public", "pure",
    "storage", "view", "virtual"})


class InvalidSignature(RejectedInput):
    """A signature that can't be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """A function, or a constructor."""

    name: str
    inputs: tuple[str, ...]
    """Types of the arguments as the ABI writes them, ``uint256`` and not ``uint``."""
    names: tuple[str, ...]
    """Names of the arguments, each empty if it isn't known."""
    outputs: tuple[str, ...] | None = None
    """Types of what it returns; None if that isn't known."""

    @property
    def signature(self) -> str:
        """Name and types of the arguments: what the selector is made of."""
        return f"{self.name}({','.join(self.inputs)})"

    @property
    def selector(self) -> bytes:
        """What calldata begins with, 4 bytes; nothing for a constructor."""
        return b"" if self.name == CONSTRUCTOR else keccak(self.signature.encode())[:4]

    @classmethod
    def parse(cls, text: str) -> "Function":
        """Read a signature that people write.

        Raises
        ------
        InvalidSignature
            With the place and what is wrong there.
        """
        return _Parser(text).function()

    @classmethod
    def of_abi(cls, entry: Mapping[str, Any]) -> "Function":
        """Read an entry of an ABI in JSON, of type ``function`` or ``constructor``."""
        inputs = entry.get("inputs", ())
        return cls(
            name=str(entry.get("name", CONSTRUCTOR)),
            inputs=tuple(map(_json_type, inputs)), names=tuple(str(each.get("name", "")) for each in inputs),
            outputs=tuple(map(_json_type, entry.get("outputs", ()))))


class Functions:
    """The functions that are known of a contract, to be found by name or signature.

    Parameters
    ----------
    known
        Each as a signature, an entry of an ABI in JSON, or a `Function`.
    """

    def __init__(self, known: Iterable[str | Mapping[str, Any] | Function] = ()) -> None:
        self._by_name: dict[str, list[Function]] = {}
        for function in _read(known):
            self._by_name.setdefault(function.name, []).append(function)

    def find(self, text: str) -> Function:
        """The function that is meant by a name or a signature; a signature needn't be known.

        Raises
        ------
        InvalidSignature
            It is neither, or there are several functions of that name.
        """
        if not _NAME.fullmatch(text.strip()):
            asked = Function.parse(text)
            known = [each for each in self._by_name.get(asked.name, ()) if each.inputs == asked.inputs]
            return known[0] if known and asked.outputs is None else asked
        found = self._by_name.get(text.strip(), [])
        if len(found) == 1:
            return found[0]
        if found:
            signatures = ", ".join(each.signature for each in found)
            raise InvalidSignature(f"there are several functions {text}: {signatures}; give the signature")
        names = ", ".join(sorted(self._by_name)) or "none"
        raise InvalidSignature(f"no function {text} is known ({names}); give its signature, as '{text}(uint256)'")

    @property
    def constructor(self) -> Function | None:
        """The constructor, if it is known."""
        return next(iter(self._by_name.get(CONSTRUCTOR, ())), None)


def _read(known: Iterable[str | Mapping[str, Any] | Function]) -> Iterator[Function]:
    for each in known:
        if isinstance(each, Function):
            yield each
        elif isinstance(each, str):
            yield Function.parse(each)
        elif each.get("type", "function") in ("function", CONSTRUCTOR):
            yield Function.of_abi(each)


class _Parser:
    """Reads one signature, token by token."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._ahead = self._next()

    def function(self) -> Function:
        name = self._name()
        if name == "function":
            name = self._name()
        inputs = self._parameters()
        outputs: tuple[str, ...] | None = None
        while self._ahead:
            word = self._name()
            if word == "returns" and outputs is None:
                outputs = tuple(kind for kind, _ in self._parameters())
            elif word not in _PASSED_OVER:
                self._fail(f"unexpected {word!r}")
        return Function(
            name=name, inputs=tuple(kind for kind, _ in inputs), names=tuple(name for _, name in inputs),
            outputs=outputs)

    def _parameters(self) -> list[tuple[str, str]]:
        """Types and names between parentheses."""
        self._take("(")
        found: list[tuple[str, str]] = []
        while self._ahead != ")":
            if found:
                self._take(",")
            kind, name = self._type(), ""
            while _NAME.fullmatch(self._ahead):
                word = self._name()
                if word not in _PASSED_OVER:
                    if name:
                        self._fail(f"unexpected {word!r}")
                    name = word
            found.append((kind, name))
        self._take(")")
        return found

    def _type(self) -> str:
        if self._ahead == "tuple":
            self._name()
        kind = f"({','.join(inner for inner, _ in self._parameters())})" if self._ahead == "(" else self._elementary()
        while self._ahead == "[":
            self._take("[")
            size = self._name(digits=True) if self._ahead.isdecimal() else ""
            self._take("]")
            kind += f"[{size}]"
        return kind

    def _elementary(self) -> str:
        word = self._name()
        match = _ELEMENTARY.fullmatch(word)
        if match is None:
            self._fail(f"{word!r} is no type")
        number, bits, size = match.groups()
        if number and not bits:
            return f"{number}256"
        if number and (int(bits) % 8 or not 8 <= int(bits) <= 256 or bits[0] == "0"):
            self._fail(f"{word!r} is no type: the bits of an integer are 8, 16 … 256")
        if size and (not 1 <= int(size) <= 32 or size[0] == "0"):
            self._fail(f"{word!r} is no type: there are bytes1 to bytes32, and bytes")
        return word

    def _name(self, *, digits: bool = False) -> str:
        token = self._ahead
        if not (token.isdecimal() if digits else _NAME.fullmatch(token)):
            self._fail(f"a name is expected, found {token!r}" if token else "it ends too early")
        self._ahead = self._next()
        return token

    def _take(self, token: str) -> None:
        if self._ahead != token:
            self._fail(f"{token!r} is expected, found {self._ahead!r}" if self._ahead else f"{token!r} is missing")
        self._ahead = self._next()

    def _next(self) -> str:
        match = _TOKEN.match(self._text, self._at)
        if match is None:
            if self._text[self._at:].strip():
                self._fail(f"unexpected {self._text[self._at:].strip()[0]!r}")
            return ""
        self._at = match.end()
        return match[1]

    def _fail(self, what: str) -> NoReturn:
        raise InvalidSignature(f"signature {self._text!r}: {what}; an example is 'transfer(address,uint256)'")


def _json_type(entry: Mapping[str, Any]) -> str:
    """The type of a parameter in JSON, with the types in a tuple written out."""
    kind = str(entry.get("type", ""))
    if not kind.startswith("tuple"):
        return kind
    return f"({','.join(map(_json_type, entry.get('components', ())))}){kind.removeprefix('tuple')}"
