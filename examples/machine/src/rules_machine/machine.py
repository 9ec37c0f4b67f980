"""The machine: what rules do when they are called."""

import operator
from collections.abc import Callable, Mapping
from typing import Final

from executors.machine import Host, LimitExceeded, Reverted

from .language import Expression, Name, Number, Operation, Rule, Statement, program

SOURCE_BYTES_PER_GAS: Final = 8
"""Bytes of source for which a message pays one gas. It is paid whether or not the parsed rules are at hand."""
STEP_GAS: Final = 5
"""A statement, or a part of an expression."""
_WORD: Final = 32
_LIMIT: Final = 2**256


class Rules:
    """Contracts that are lists of rules. See `executors.machine.Machine`."""

    name = "rules"
    version = 1

    def compile(self, code: bytes) -> bytes:
        """Check a contract; it is stored as it came.

        Raises
        ------
        InvalidCode
            With the line and what is wrong there.
        """
        program(code)
        return code

    def run(self, code: bytes, host: Host) -> bytes:
        """Run the rule that the calldata name; its result, 32 bytes, or nothing.

        Raises
        ------
        Halt
            If it ends without success.
        """
        host.charge(len(code) // SOURCE_BYTES_PER_GAS)
        found, message = program(code), host.message
        if message.creates:
            rule, data = found.constructor, message.data
            if rule is None:
                if data or message.value:
                    raise Reverted(reason="the contract has no constructor: it takes neither arguments nor wei")
                return b""
        else:
            rule, data = found.rules.get(message.data[:4]), message.data[4:]
            if rule is None:
                raise Reverted(reason=f"no rule has the selector 0x{message.data[:4].hex()}")
        return _Run(rule, _arguments(rule, data), host).run()


def _arguments(rule: Rule, data: bytes) -> dict[str, int]:
    if len(data) != _WORD * len(rule.parameters):
        raise Reverted(reason=f"{rule.name} takes {len(rule.parameters)} numbers of 32 bytes, found {len(data)} bytes")
    return {
        name: int.from_bytes(data[_WORD * place:_WORD * (place + 1)], "big")
        for place, name in enumerate(rule.parameters)}


class _Run:
    """One rule at work. It holds nothing of the state: every access is the host's, which knows what was touched."""

    def __init__(self, rule: Rule, arguments: Mapping[str, int], host: Host) -> None:
        message = host.message
        self._rule = rule
        self._host = host
        self._known = {
            "caller": int.from_bytes(message.caller, "big"), "origin": int.from_bytes(message.origin, "big"),
            "self": int.from_bytes(message.contract, "big"), "value": message.value, "now": host.block.timestamp_s,
            "block": host.block.number, **arguments}
        self._line = 0

    def run(self) -> bytes:
        for statement in self._rule.body:
            self._host.charge(STEP_GAS)
            self._line = statement.line
            if statement.kind == "return":
                return self._value(statement.values[0]).to_bytes(_WORD, "big")
            self._do(statement)
        return b""

    def _do(self, statement: Statement) -> None:
        host, values = self._host, [self._value(each) for each in statement.values]
        if statement.kind == "require":
            if not values[0]:
                raise Reverted(reason=statement.words)
        elif statement.kind == "emit":
            signature = f"{statement.words}({','.join('uint256' for _ in values)})"
            topic = host.digest("keccak256", signature.encode())
            host.log((topic,), b"".join(value.to_bytes(_WORD, "big") for value in values))
        elif statement.kind == "pay":
            amount, to = values
            if to >= 2**160:
                raise Reverted(reason=f"line {self._line}: {to:#x} is no address")
            # If it can't be paid this raises, and all of our message is taken back.
            host.call(to.to_bytes(20, "big"), b"", value=amount)
        elif statement.target is not None:
            key = self._key(statement.target)
            if statement.kind == "+=":
                host.add(key, values[0])
            else:
                host.write(key, values[0].to_bytes((values[0].bit_length() + 7) // 8, "big"))

    def _value(self, expression: Expression) -> int:
        self._host.charge(STEP_GAS)
        if isinstance(expression, Number):
            return expression.value
        if isinstance(expression, Operation):
            return self._operation(expression)
        known = self._known.get(expression.name) if expression.index is None else None
        if known is not None:
            return known
        stored = int.from_bytes(self._host.read(self._key(expression)), "big")
        if stored >= _LIMIT:  # += doesn't look at the sum
            raise LimitExceeded(f"line {self._line}: {expression.name} is above 2**256 - 1")
        return stored

    def _operation(self, expression: Operation) -> int:
        sign = expression.operator
        left = self._value(expression.left) if expression.left is not None else 0
        # The right side of "and" and "or" runs only where it decides.
        if sign == "and":
            return int(bool(left) and bool(self._value(expression.right)))
        if sign == "or":
            return int(bool(left) or bool(self._value(expression.right)))
        right = self._value(expression.right)
        if sign in ("/", "%") and not right:
            raise Reverted(reason=f"line {self._line}: division by zero")
        result = _OPERATIONS[sign](left, right)
        if not 0 <= result < _LIMIT:
            raise Reverted(reason=f"line {self._line}: {sign} leaves the numbers from 0 to 2**256 - 1")
        return int(result)

    def _key(self, name: Name) -> bytes:
        key = name.name.encode()
        if name.index is None:
            return key
        # No name has a "[" in it: no two entries have one key.
        return key + b"[" + self._value(name.index).to_bytes(_WORD, "big")


_OPERATIONS: Final[Mapping[str, Callable[[int, int], int]]] = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.floordiv, "%": operator.mod,
    "==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
    "not": lambda _, value: not value}
