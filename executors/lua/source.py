"""Contract source: what it may not contain, and how its operators are rewritten.

Lua's own operators are right for scripts and wrong for contracts: ``+`` wraps silently, ``==`` of an integer and a
256-bit number is false whatever their values, ``..`` and ``<`` take as long as their strings are, and ``#`` of a table
with holes depends on where the table happens to lie in memory. So each is rewritten, token by token, to a form that
asks a function of the sandbox. The lines stay what they are, and with them the places in error messages:

==================  ======================  ==========================================================
source              what runs               why it works
==================  ======================  ==========================================================
``a + b``           ``a +__add+ b``         the marker's metamethod gets both operands, one after the
                                            other; so for ``-``, ``*`` and ``..``
``a < b``           ``a |__lt| b``          as above; ``|`` is the lowest operator above comparisons
``#a``              ``__len^a``             ``^`` binds tighter than every other operator
``{ ... }``         ``__tab(n)^{ ... }``    as above; ``n`` is the number of fields
``function () ...`` ``__fun^function () ..`` as above
``for i = a, b``    ``for i = __int(a), …`` a loop over a string would count in floats
==================  ======================  ==========================================================
"""

import re
from dataclasses import dataclass
from typing import Final, NamedTuple

from executors.machine import InvalidCode

MARKERS: Final = (
    "__add", "__sub", "__mul", "__cat", "__eq", "__ne", "__lt", "__le", "__gt", "__ge", "__len", "__tab", "__fun",
    "__int")
"""Names that the sandbox hands to the rewritten chunk, in this order."""
HEADER: Final = f"local {','.join(MARKERS)}=...;"
"""Stands in front of the first line."""

_TOKEN: Final = re.compile(
    r"""(?P<space>[ \t\r\n\f\v]+|--(?!\[=*\[)[^\r\n]*)
    |(?P<long>(?:--)?\[(?P<level>=*)\[)
    |(?P<name>[A-Za-z_][A-Za-z0-9_]*)
    |(?P<number>\.?[0-9][A-Za-z0-9_.]*)
    |(?P<string>"(?:[^"\\]|\\z\s*|\\[\s\S])*"|'(?:[^'\\]|\\z\s*|\\[\s\S])*')
    |(?P<operator>\.\.\.|\.\.|==|~=|<=|>=|<<|>>|//|::|[-+*/%^\#&~|<>=(){}\[\];:,.])""",
    re.VERBOSE)
_KEYWORDS: Final = frozenset({
    "and", "break", "do", "else", "elseif", "end", "false", "for", "function", "goto", "if", "in", "local", "nil",
    "not", "or", "repeat", "return", "then", "true", "until", "while"})
_ARITHMETIC: Final = {"+": "+__add+", "-": "-__sub-", "*": "*__mul*", "..": "..__cat.."}
_COMPARISONS: Final = {
    "==": "|__eq|", "~=": "|__ne|", "<": "|__lt|", "<=": "|__le|", ">": "|__gt|", ">=": "|__ge|"}
_LITERALS: Final = frozenset({"nil", "true", "false"})
_FORBIDDEN: Final = {
    "...": "a variable number of arguments", "/": "division '/' gives floats; use '//'", "^": "'^' gives floats"}
_INTEGER_MAX: Final = 2**63 - 1


class _Token(NamedTuple):
    kind: str
    text: str
    line: int


_NONE: Final = _Token("", "", 0)


@dataclass(slots=True, kw_only=True)
class _Open:
    """A bracket or block that is open, with what is known of the expression in it since the last boundary."""

    kind: str
    piece: int = -1
    """Of a table: the piece of output that waits for the number of its fields."""
    fields: int = 0
    is_argument: bool = False
    """Of a table: it is the argument of a call without parentheses."""
    header: bool = False
    """Of a loop: its ``do`` is still to come."""
    counts: bool = False
    """Of a loop: it is numeric, and one of its numbers is being read."""
    compared: bool = False
    joined: bool = False


def rewritten(source: str) -> str:
    """Source that is valid Lua 5.4, rewritten on the same lines.

    Raises
    ------
    InvalidCode
        For a construct that contracts may not use, with its line.
    """
    return HEADER + _Rewriter(_tokens(source)).text()


def _tokens(source: str) -> list[_Token]:
    found: list[_Token] = []
    position, line = 0, 1
    match_at = _TOKEN.match
    while position < len(source):
        match = match_at(source, position)
        if match is None:
            raise InvalidCode(f"line {line}: unexpected symbol near {source[position]!r}")
        kind, end = match.lastgroup or "", match.end()
        if kind == "long":
            opening, level = match["long"], match["level"]
            closing = source.find(f"]{level}]", end)
            if closing < 0:
                raise InvalidCode(f"line {line}: unfinished long string")
            kind, end = "space" if opening.startswith("--") else "string", closing + len(level) + 2
        text = source[position:end]
        found.append(_Token(kind, text, line))
        if kind in ("space", "string"):
            line += text.count("\n")
        position = end
    return found


class _Rewriter:
    """One pass over the tokens. What is open is a stack, as source that Lua has parsed is well nested."""

    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens = tokens
        self._solid = [index for index, token in enumerate(tokens) if token.kind != "space"]
        self._at = 0
        """Index into the tokens that aren't space."""
        self._out: list[str] = []
        self._stack = [_Open(kind="chunk")]
        self._declares = False
        """Within the names after ``local``, where ``<`` begins an attribute."""

    def text(self) -> str:
        """The rewritten source."""
        written = 0
        while self._at < len(self._solid):
            index = self._solid[self._at]
            self._out += [token.text for token in self._tokens[written:index]]
            taken = self._token(self._tokens[index])
            written = self._solid[self._at + taken - 1] + 1
            self._at += taken
        self._out += [token.text for token in self._tokens[written:]]
        return "".join(self._out)

    def _near(self, offset: int) -> _Token:
        """The solid token so far before or after the one at hand; an empty one beyond the ends."""
        at = self._at + offset
        return self._tokens[self._solid[at]] if 0 <= at < len(self._solid) else _NONE

    def _ends_operand(self, offset: int) -> bool:
        """Whether a token near is the last one of an operand."""
        token = self._near(offset)
        if token.kind == "name":
            return token.text not in _KEYWORDS or token.text in _LITERALS or token.text == "end"
        return token.kind in ("number", "string") or token.text in (")", "]", "}")

    def _boundary(self) -> None:
        """An expression is over."""
        top = self._stack[-1]
        top.compared = top.joined = False

    def _token(self, token: _Token) -> int:
        """Write a token, and how many it took."""
        if token.kind == "name":
            if token.text in _KEYWORDS:
                return self._keyword(token)
            if token.text.startswith("__") or token.text == "_ENV":
                raise InvalidCode(f"line {token.line}: the name {token.text} is reserved")
        elif token.kind == "number":
            _check_number(token)
        elif token.kind == "operator":
            return self._operator(token)
        self._out.append(token.text)
        return 1

    # ---- keywords -----------------------------------------------------------------------------------------------

    def _keyword(self, token: _Token) -> int:
        word, stack = token.text, self._stack
        if word == "function":
            return self._function("")
        if word == "local" and self._near(1).text == "function":
            return self._function("local ")
        self._declares = word == "local"
        if word in ("if", "repeat"):
            self._boundary()
            stack.append(_Open(kind=word))
        elif word in ("while", "for"):
            self._boundary()
            stack.append(_Open(kind=word, header=True))
        elif word == "do":
            return self._do(token)
        elif word in ("end", "until"):
            stack.pop()
            if word == "until":
                self._boundary()
        elif word not in ("not", *_LITERALS):
            self._boundary()
        self._out.append(word)
        return 1

    def _do(self, token: _Token) -> int:
        top = self._stack[-1]
        if top.header:
            self._out.append(") do" if top.counts else token.text)
            top.header = top.counts = False
            self._boundary()
        else:
            self._stack.append(_Open(kind="do"))
            self._out.append(token.text)
        return 1

    def _function(self, local: str) -> int:
        """A function; one that has a name becomes an assignment, so that it is seen when it is made."""
        start = 2 if local else 1
        taken, path = start, ""
        while self._near(taken).text not in ("(", ""):
            path += self._near(taken).text
            taken += 1
        lines = self._near(taken).line - self._near(0).line
        first = self._solid[self._at]
        method = ":" in path
        path = path.replace(":", ".")
        name = path.removeprefix("local")
        for token in self._tokens[first:self._solid[min(self._at + taken, len(self._solid) - 1)]]:
            if token.kind == "name" and token.text not in _KEYWORDS and token.text.startswith("_"):
                self._check_name(token)
        written = f"local {name};{name}=__fun^function" if local else f"{name}=__fun^function"
        if name:
            self._boundary()
        else:
            written = "__fun^function"
        self._stack.append(_Open(kind="function"))
        self._stack.append(_Open(kind="("))
        self._declares = False
        self._out.append(written + "\n" * lines + "(")
        if method:
            self._out.append("self" if self._near(taken + 1).text == ")" else "self,")
        return taken + 1

    @staticmethod
    def _check_name(token: _Token) -> None:
        if token.text.startswith("__") or token.text == "_ENV":
            raise InvalidCode(f"line {token.line}: the name {token.text} is reserved")

    # ---- operators ----------------------------------------------------------------------------------------------

    def _operator(self, token: _Token) -> int:
        text = token.text
        if text in _FORBIDDEN:
            raise InvalidCode(f"line {token.line}: {_FORBIDDEN[text]}")
        if self._declares:
            if text == "<":
                if self._near(1).text != "const":
                    raise InvalidCode(f"line {token.line}: the attribute <{self._near(1).text}>")
                self._out.append(text)
                return 1
            if text == ">":
                self._out.append(text)
                return 1
            self._declares = text == ","
        if text in _COMPARISONS:
            self._compare(token)
        elif text in _ARITHMETIC and self._ends_operand(-1):
            self._out.append(_ARITHMETIC[text])
        elif text == "#":
            self._out.append("__len^")
        elif text in ("(", "[", "{", ")", "]", "}"):
            self._bracket(text)
        else:
            self._plain(token)
        return 1

    def _plain(self, token: _Token) -> None:
        top, text = self._stack[-1], token.text
        if text == "|":
            top.joined = True
            self._check_mixed(token)
        elif text in ("=", ",", ";"):
            self._boundary()
            if top.header and top.kind == "for" and (top.counts if text == "," else text == "="):
                self._out.append("),__int(" if top.counts else "=__int(")
                top.counts = True
                return
            if top.kind == "{" and text != "=":
                top.fields += 1
        self._out.append(text)

    def _compare(self, token: _Token) -> None:
        top = self._stack[-1]
        if top.compared:
            raise InvalidCode(f"line {token.line}: a comparison of a comparison; parentheses would tell what is meant")
        top.compared = True
        self._check_mixed(token)
        native = token.text in ("==", "~=") and (self._is_literal(1) or self._is_literal(-1))
        self._out.append(token.text if native else _COMPARISONS[token.text])

    def _check_mixed(self, token: _Token) -> None:
        top = self._stack[-1]
        if top.joined and top.compared:
            raise InvalidCode(f"line {token.line}: '|' beside a comparison; parentheses would tell what is meant")

    def _is_literal(self, offset: int) -> bool:
        """Whether a neighbour is something that a number never equals."""
        token = self._near(offset)
        if token.kind == "string":
            # f"text" is a call.
            return offset > 0 or not self._ends_operand(offset - 1)
        return token.kind == "name" and token.text in _LITERALS

    def _bracket(self, text: str) -> None:
        if text in "([":
            self._stack.append(_Open(kind=text))
            self._out.append(text)
        elif text == "{":
            is_argument = self._ends_operand(-1)
            self._stack.append(_Open(kind="{", piece=len(self._out), is_argument=is_argument))
            self._out.append("")
        else:
            top = self._stack.pop()
            if text == "}":
                fields = 0 if self._near(-1).text == "{" else top.fields + 1
                self._out[top.piece] = f"{'(' if top.is_argument else ''}__tab({fields})^{{"
                text += ")" if top.is_argument else ""
            self._out.append(text)


def _check_number(token: _Token) -> None:
    text = token.text.lower()
    if re.fullmatch(r"[0-9]+", text):
        value = int(text) if len(text) <= 100 else _INTEGER_MAX + 1  # Python refuses thousands of digits
    elif re.fullmatch(r"0x[0-9a-f]+", text):
        value = int(text, 16)
    else:
        raise InvalidCode(f"line {token.line}: {token.text[:100]} is no integer")
    if value > _INTEGER_MAX:
        raise InvalidCode(f'line {token.line}: {token.text[:100]} is above 2**63 - 1; u256("...") takes it')
