"""The Lua machine: contracts in, results out."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from executors.machine import Halt, Host, InvalidCode, Message, Reverted

from . import limits
from .abi import BadValue, decode, encode, nested
from .sandbox import BadSource, Sandbox, compiled
from .session import Session, abi_gas
from .signature import BadSignature, Signature, signature_of
from .source import rewritten

_PLACE: Final = re.compile(r"contract:([0-9]+): ?")
_SPECIAL: Final = ("constructor", "fallback", "receive")


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """A function of a contract."""

    key: bytes
    """Under which the contract's table has it."""
    signature: Signature


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """Source that has been checked, ready to run."""

    bytecode: bytes
    load_gas: int
    functions: dict[bytes, Function]
    """By selector."""
    constructor: Function | None
    fallback: Function | None
    receive: Function | None


class Lua:
    """Contracts that are Lua 5.4 source. See `executors.machine.Machine`."""

    name = "lua"
    version = 1

    def compile(self, code: bytes) -> bytes:
        """Check a contract; it is stored as it came.

        Raises
        ------
        InvalidCode
            With the line, where there is one, and what is wrong there.
        """
        prepared(code)
        return code

    def run(self, code: bytes, host: Host) -> bytes:
        """Run a message: a constructor, the function that the selector names, or what stands in for it.

        Raises
        ------
        Halt
            If it ends without success.
        """
        contract, message = prepared(code), host.message
        host.charge(contract.load_gas)
        function = _called(contract, message)
        if function is None:
            return b""
        signature = function.signature
        if message.value and not signature.payable:
            raise Reverted(reason=f"{signature.canonical} takes no wei")
        raw = signature.name == "fallback" and not message.creates
        host.charge(abi_gas(message.data))
        tags, values = ("s", [message.data]) if raw else _arguments(signature, message)
        sandbox, block = Sandbox(), host.block
        session = Session(host, static=message.static or signature.view)
        found = session.finish(sandbox, sandbox.start(
            min(host.gas, 2**62), contract.bytecode, function.key, message.contract, message.caller, message.origin,
            message.value.to_bytes(32, "big"), message.data, block.number, block.timestamp_s, block.prevrandao,
            tags.encode(), *values))
        output = _output(signature, nested(found[0].decode(), found[1:]), raw=raw)
        host.charge(abi_gas(output))
        return output


def _called(contract: Contract, message: Message) -> Function | None:
    """The function that a message is for; None for a deployment without constructor."""
    data = message.data
    if message.creates:
        if contract.constructor is None and (data or message.value):
            raise Reverted(reason="the contract has no constructor: it takes neither arguments nor wei")
        return contract.constructor
    function = contract.functions.get(data[:4]) if len(data) >= 4 else None
    if function is None:
        function = contract.fallback if data or contract.receive is None else contract.receive
    if function is None:
        raise Reverted(reason=f"no function has the selector 0x{data[:4].hex()}" if data else "receive: there is none")
    return function


def _arguments(signature: Signature, message: Message) -> tuple[str, list[Any]]:
    try:
        return decode(signature.inputs, message.data if message.creates else message.data[4:])
    except BadValue as exc:
        raise Reverted(reason=f"arguments of {signature.canonical}: {exc}") from exc


def _output(signature: Signature, values: list[Any], *, raw: bool) -> bytes:
    if raw:
        if values and values != [None] and not (len(values) == 1 and isinstance(values[0], bytes)):
            raise Reverted(reason="the fallback returned something else than a string")
        return values[0] if values and values[0] is not None else b""
    try:
        return encode(signature.outputs, values)
    except BadValue as exc:
        raise Reverted(reason=f"result of {signature.canonical}: {exc}") from exc


@lru_cache(maxsize=1_024)
def prepared(code: bytes) -> Contract:
    """Check source and find its functions. It depends on nothing but the source, so that it may be kept.

    Raises
    ------
    InvalidCode
        With the line, where there is one, and what is wrong there.
    """
    if len(code) > limits.SOURCE_BYTES_MAX:
        raise InvalidCode(f"a source of {len(code)} bytes, limit {limits.SOURCE_BYTES_MAX}")
    if code[:1] == b"\x1b":
        raise InvalidCode("bytecode; a contract is deployed as source")
    try:
        source = code.decode()
    except UnicodeDecodeError as exc:
        line = code.count(b"\n", 0, exc.start) + 1
        raise InvalidCode(f"line {line}: byte {exc.start} isn't UTF-8") from exc
    try:
        compiled(code)
        bytecode = compiled(rewritten(source).encode())
    except BadSource as exc:
        raise InvalidCode(_located(str(exc))) from exc
    sandbox = Sandbox()
    try:
        names = Session(None).finish(sandbox, sandbox.list(limits.LOADING_GAS, bytecode))
    except Halt as halt:
        raise InvalidCode(f"it can't be loaded: {_located(halt.reason)}") from halt
    return _contract(bytecode, len(code), names)


def _contract(bytecode: bytes, size: int, names: Iterable[bytes]) -> Contract:
    functions: dict[bytes, Function] = {}
    special: dict[str, Function] = {}
    for key in names:
        text = key.decode(errors="replace")
        try:
            signature = signature_of(f"{text}()" if text in _SPECIAL else text)
        except BadSignature as exc:
            raise InvalidCode(f"a key of the contract's table is no signature: {exc}") from exc
        function = Function(key=key, signature=signature)
        if signature.name in _SPECIAL:
            _check_special(signature)
            if special.setdefault(signature.name, function) is not function:
                raise InvalidCode(f"two functions {signature.name}")
        else:
            other = functions.setdefault(signature.selector, function)
            if other is not function:
                raise InvalidCode(f"{text!r} and {other.key.decode()!r} have the same selector")
    return Contract(
        bytecode=bytecode, load_gas=size // limits.LOAD_BYTES_PER_GAS, functions=functions,
        constructor=special.get("constructor"), fallback=special.get("fallback"), receive=special.get("receive"))


def _check_special(signature: Signature) -> None:
    name = signature.name
    if signature.outputs or (signature.inputs and name != "constructor") or signature.view:
        raise InvalidCode(f"{name} returns nothing, is no view, and only a constructor has parameters")
    if name == "receive" and not signature.payable:
        raise InvalidCode('receive takes wei: its key is "receive() payable"')


def _located(words: str) -> str:
    """Words of Lua with the line as in our own."""
    return _PLACE.sub(lambda match: f"line {match[1]}: ", words)
