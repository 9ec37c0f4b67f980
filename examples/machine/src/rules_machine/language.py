"""The language: from source to rules.

The parser is our own on purpose. The one of Python would change what is valid with each version of Python, and a
contract that one process accepts and another refuses breaks the chain.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, NoReturn

from executors.machine import InvalidCode
from schemas.hashing import keccak

SOURCE_BYTES_MAX: Final = 16_384
DEPTH_MAX: Final = 16
"""Expressions in one another."""
TOKENS_MAX: Final = 100
"""Of a line. With the depth this bounds how deep the functions of the machine call themselves."""
DIGITS_MAX: Final = 100
NAME_BYTES_MAX: Final = 32
GIVEN: Final = ("caller", "origin", "value", "now", "block", "self")
"""What a rule finds besides its parameters and the state: a rule may not name anything so."""
CONSTRUCTOR: Final = "constructor"

_KEYWORDS: Final = frozenset({"state", "rule", "require", "emit", "return", "pay", "to", "and", "or", "not", *GIVEN})
_TOKEN: Final = re.compile(
    r"""[ \t]*(?:(?P<number>0x[0-9a-fA-F]+|[0-9]+)|(?P<name>[a-z_][a-z0-9_]*)|(?P<event>[A-Z][A-Za-z0-9]*)
    |(?P<words>"[^"]*")|(?P<operator>\+=|==|!=|<=|>=|[-+*/%<>=(),\[\]])|(?P<comment>\#.*))""", re.VERBOSE | re.ASCII)
_LEVELS: Final = (("or",), ("and",), ("==", "!=", "<", "<=", ">", ">="), ("+", "-"), ("*", "/", "%"))
"""Operators, those that bind least first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """A constant."""

    value: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Name:
    """A parameter, something given, or an entry of the state."""

    name: str
    index: "Expression | None" = None
    """Of an entry of the state: ``spent[caller]``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """Two expressions and what is to be done with them; ``not`` has only the right one."""

    operator: str
    left: "Expression | None"
    right: "Expression"


Expression = Number | Name | Operation


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """One line of a rule."""

    line: int
    kind: str
    """``require``, ``=``, ``+=``, ``emit``, ``return`` or ``pay``."""
    values: tuple[Expression, ...]
    target: Name | None = None
    words: str = ""
    """Of ``require``, or the name of an event."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What a call of one function does."""

    name: str
    parameters: tuple[str, ...]
    body: list[Statement] = field(default_factory=list)

    @property
    def selector(self) -> bytes:
        """How a call names it, as in the ABI of Solidity: all parameters are uint256."""
        return keccak(f"{self.name}({','.join('uint256' for _ in self.parameters)})".encode())[:4]


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A contract."""

    rules: Mapping[bytes, Rule]
    """By selector; the constructor isn't called by one."""
    constructor: Rule | None


@lru_cache(maxsize=256)
def program(source: bytes) -> Program:
    """Read a contract. What is kept depends on nothing but the source.

    Raises
    ------
    InvalidCode
        With the line and what is wrong there.
    """
    if len(source) > SOURCE_BYTES_MAX:
        raise InvalidCode(f"a source of {len(source)} bytes, limit {SOURCE_BYTES_MAX}")
    try:
        lines = source.decode("ascii").split("\n")
    except UnicodeDecodeError as exc:
        line = source.count(b"\n", 0, exc.start) + 1
        raise InvalidCode(f"line {line}: only ASCII") from exc
    return _Reader().read(lines)


class _Reader:
    """Reads line by line; a line is a statement."""

    def __init__(self) -> None:
        self._line = 0
        self._tokens: Iterator[str] = iter(())
        self._ahead = ""
        self._state: set[str] = set()
        self._rules: dict[str, Rule] = {}
        self._rule: Rule | None = None

    def read(self, lines: list[str]) -> Program:
        for number, text in enumerate(lines, 1):
            self._line = number
            self._tokens = self._split(text.rstrip())
            self._ahead = ""
            self._take()
            if self._ahead:
                self._statement()
                if self._ahead:
                    self._fail(f"unexpected {self._ahead!r}")
        rules: dict[bytes, Rule] = {}
        for rule in self._rules.values():
            other = rules.setdefault(rule.selector, rule)
            if other is not rule:
                self._fail(f"rules {other.name} and {rule.name} have the same selector")
        constructor = self._rules.get(CONSTRUCTOR)
        if constructor is not None:
            del rules[constructor.selector]
        return Program(rules=rules, constructor=constructor)

    # ---- statements ---------------------------------------------------------------------------------------------

    def _statement(self) -> None:
        if self._skip("state"):
            self._state.update(self._names())
        elif self._skip("rule"):
            name = self._name()
            if name in self._rules:
                self._fail(f"rule {name} stands there twice")
            self._expect("(")
            parameters = () if self._ahead == ")" else self._names()
            self._expect(")")
            if len(set(parameters)) < len(parameters) or self._state & set(parameters):
                self._fail("a parameter has the name of another one, or of a state")
            self._rule = self._rules[name] = Rule(name=name, parameters=parameters)
        elif self._rule is None:
            self._fail("a statement before the first rule")
        else:
            self._rule.body.append(self._action())

    def _action(self) -> Statement:
        line = self._line
        if self._skip("require"):
            condition = self._expression()
            self._expect(",")
            return Statement(line=line, kind="require", values=(condition,), words=self._words())
        if self._skip("return"):
            return Statement(line=line, kind="return", values=(self._expression(),))
        if self._skip("pay"):
            amount = self._expression()
            self._expect("to")
            return Statement(line=line, kind="pay", values=(amount, self._expression()))
        if self._skip("emit"):
            event = self._take()
            if not event[:1].isupper():
                self._fail("an event has a name that begins with a capital letter")
            self._expect("(")
            values = () if self._ahead == ")" else self._listed()
            self._expect(")")
            return Statement(line=line, kind="emit", values=values, words=event)
        target = self._variable()
        if target.name not in self._state:
            self._fail(f"{target.name} is no state: name it in a line 'state {target.name}'")
        kind = self._take()
        if kind not in ("=", "+="):
            self._fail("a statement is expected: require, emit, return, pay, or a state followed by = or +=")
        return Statement(line=line, kind=kind, values=(self._expression(),), target=target)

    # ---- expressions --------------------------------------------------------------------------------------------

    def _expression(self, level: int = 0, depth: int = 0) -> Expression:
        if depth > DEPTH_MAX:
            self._fail(f"more than {DEPTH_MAX} expressions in one another")
        if level == len(_LEVELS):
            return self._operand(depth + 1)
        found = self._expression(level + 1, depth)
        while self._ahead in _LEVELS[level]:
            operator = self._take()
            found = Operation(operator=operator, left=found, right=self._expression(level + 1, depth))
        return found

    def _operand(self, depth: int) -> Expression:
        if self._skip("not"):
            return Operation(operator="not", left=None, right=self._expression(len(_LEVELS), depth))
        if self._skip("("):
            found = self._expression(depth=depth)
            self._expect(")")
            return found
        if self._ahead[:1].isdigit():
            text = self._take()
            # Python refuses to read a decimal number of thousands of digits, and how many depends on a setting.
            number = int(text, 16 if text.startswith("0x") else 10) if len(text) <= DIGITS_MAX else 2**256
            if number >= 2**256:
                self._fail("a number above 2**256 - 1")
            return Number(value=number)
        found = self._variable(depth)
        known = {*self._state, *GIVEN, *(self._rule.parameters if self._rule else ())}
        if found.name not in known:
            self._fail(f"{found.name} is neither a parameter nor a state")
        return found

    def _variable(self, depth: int = 0) -> Name:
        if self._ahead in GIVEN:
            return Name(name=self._take())
        name = self._name()
        if not self._skip("["):
            return Name(name=name)
        if name not in self._state:
            self._fail(f"{name} is no state, only these have entries")
        index = self._expression(depth=depth)
        self._expect("]")
        return Name(name=name, index=index)

    def _listed(self) -> tuple[Expression, ...]:
        found = [self._expression()]
        while self._skip(","):
            found.append(self._expression())
        return tuple(found)

    # ---- tokens -------------------------------------------------------------------------------------------------

    def _names(self) -> tuple[str, ...]:
        found = [self._name()]
        while self._skip(","):
            found.append(self._name())
        return tuple(found)

    def _name(self) -> str:
        name = self._take()
        if not re.fullmatch(r"[a-z_][a-z0-9_]*", name) or name in _KEYWORDS:
            self._fail(f"a name is expected, found {name!r}")
        if len(name) > NAME_BYTES_MAX:
            self._fail(f"a name of {len(name)} letters, limit {NAME_BYTES_MAX}")
        return name

    def _words(self) -> str:
        text = self._take()
        if not text.startswith('"'):
            self._fail("words in quotation marks are expected")
        return text[1:-1]

    def _skip(self, token: str) -> bool:
        if self._ahead != token:
            return False
        self._take()
        return True

    def _expect(self, token: str) -> None:
        if not self._skip(token):
            self._fail(f"{token!r} is expected, found {self._ahead!r}")

    def _take(self) -> str:
        """The token that comes next; the one after it is looked at."""
        token, self._ahead = self._ahead, next(self._tokens, "")
        return token

    def _split(self, text: str) -> Iterator[str]:
        at = tokens = 0
        while at < len(text):
            match = _TOKEN.match(text, at)
            if match is None:
                self._fail(f"unexpected {text[at:].strip()[:1]!r}")
            at = match.end()
            if match.lastgroup != "comment":
                tokens += 1
                if tokens > TOKENS_MAX:
                    self._fail(f"more than {TOKENS_MAX} words and signs in a line")
                yield match[match.lastgroup or 0]

    def _fail(self, what: str) -> NoReturn:
        raise InvalidCode(f"line {self._line}: {what}")
