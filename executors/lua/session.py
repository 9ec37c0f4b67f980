"""A message to a Lua contract: what the contract asks, and what its host answers.

Every question comes with the gas that the contract has used up since it began. What is new of it is taken first, so
that the gas of the host is exact wherever anybody looks at it. An exception of the host simply passes through here: the
coroutine that waits for the answer is dropped with its runtime, and has nothing to catch.
"""

from collections.abc import Callable
from typing import Any, Final, NoReturn

from executors.machine import Halt, Host, LimitExceeded, OutOfGas, Reverted
from ingest.signatures import HALF_ORDER
from schemas.errors import InvariantViolation

from . import limits
from .abi import BadValue, decode, encode, encode_one, nested
from .arithmetic import BadNumber, computed, parsed
from .sandbox import Answer, Sandbox
from .signature import BadSignature, Signature, Type, signature_of, topic_of, types_of

_LIMITS: Final = {
    b"memory": f"memory limit: a message may allocate {limits.MEMORY_BYTES_MAX} bytes",
    b"string": f"string limit: {limits.STRING_BYTES_MAX} bytes",
    b"depth": f"call depth limit: {limits.DEPTH_MAX} levels within a contract",
}
_RECOVER: Final = (1).to_bytes(20, "big")
"""The precompiled contract that recovers signers."""
_ERROR: Final = bytes.fromhex("08c379a0")
"""Selector of ``Error(string)``."""


class Refused(Exception):
    """A question that fails as an error of the contract, at its line."""


class Session:
    """Runs a contract to its end.

    Parameters
    ----------
    host
        None while a contract is being loaded for its names: then only what is pure is answered.
    static
        Whether nothing may be changed.
    """

    def __init__(self, host: Host | None, *, static: bool = False) -> None:
        self._host = host
        self._static = static
        self._loading_gas = limits.LOADING_GAS
        self._taken = 0
        """Of the gas that the contract has reported."""

    def finish(self, sandbox: Sandbox, answer: Answer) -> Answer:
        """Answer questions until the contract has ended.

        Returns
        -------
        Answer
            Its result: tags and values, without kind and gas.

        Raises
        ------
        Halt
            If it ended otherwise.
        """
        while True:
            kind, used, *rest = answer
            if kind == b"dead":
                raise OutOfGas if rest[0] == b"gas" else LimitExceeded(_LIMITS[rest[0]])
            self._charge(used - self._taken)
            self._taken = used
            if kind in (b"result", b"names"):
                return tuple(rest)
            if kind == b"reverted":
                _revert(*rest)
            answer = self._answer(sandbox, kind, rest)

    def _answer(self, sandbox: Sandbox, kind: bytes, arguments: list[Any]) -> Answer:
        question = _QUESTIONS.get(kind)
        if question is None:
            raise InvariantViolation(f"the Lua sandbox asks for {kind!r}")
        try:
            found = question(self, *arguments)
        except (Refused, BadValue, BadNumber, BadSignature) as exc:
            return sandbox.resume(self._gas, False, str(exc).encode())
        return sandbox.resume(self._gas, True, *found)

    @property
    def _gas(self) -> int:
        return self._loading_gas if self._host is None else min(self._host.gas, 2**62)

    def _charge(self, gas: int) -> None:
        if self._host is not None:
            self._host.charge(gas)
        elif gas > self._loading_gas:
            raise OutOfGas
        else:
            self._loading_gas -= gas

    @property
    def host(self) -> Host:
        """The host, for a question that needs one."""
        if self._host is None:
            raise Refused("the host can't be asked while the contract is being loaded")
        return self._host

    # ---- pure ---------------------------------------------------------------------------------------------------

    def _arithmetic(self, what: bytes, a: bytes, b: bytes, c: bytes) -> Answer:
        self._charge(limits.ARITHMETIC)
        return (computed(what, a, b, c),)

    def _parse(self, text: bytes) -> Answer:
        self._charge(limits.ARITHMETIC)
        return (parsed(text),)

    def _text(self, number: bytes) -> Answer:
        self._charge(limits.ARITHMETIC)
        return (str(int.from_bytes(number, "big")).encode(),)

    def _signature(self, text: bytes) -> Signature:
        self._charge(limits.SIGNATURE + len(text) // 4)
        return signature_of(text.decode(errors="replace"))

    def _types(self, text: bytes) -> tuple[Type, ...]:
        self._charge(limits.SIGNATURE + len(text) // 4)
        return types_of(text.decode(errors="replace"))

    def _encoded(self, types: tuple[Type, ...], tags: bytes, values: tuple[Any, ...]) -> bytes:
        data = encode(types, nested(tags.decode(), values))
        self._charge(abi_gas(data))
        return data

    def _encode(self, types: bytes, tags: bytes, *values: Any) -> Answer:
        return (self._encoded(self._types(types), tags, values),)

    def _decode(self, types: bytes, data: bytes) -> Answer:
        parsed_types = self._types(types)
        self._charge(abi_gas(data))
        tags, values = decode(parsed_types, data)
        return (tags.encode(), *values)

    def _error(self, text: bytes, tags: bytes, *values: Any) -> Answer:
        signature = self._signature(text)
        return (signature.selector + self._encoded(signature.inputs, tags, values),)

    # ---- state --------------------------------------------------------------------------------------------------

    def _read(self, key: bytes) -> Answer:
        return (self.host.read(key),)

    def _write(self, key: bytes, value: bytes) -> Answer:
        self._forbid_static("state is written")
        self.host.write(key, value)
        return ()

    def _add(self, key: bytes, amount: bytes) -> Answer:
        self._forbid_static("state is added to")
        self.host.add(key, int.from_bytes(amount, "big"))
        return ()

    def _forbid_static(self, what: str) -> None:
        """A function that is declared as a view changes nothing, whoever calls it."""
        if self._static and not self.host.message.static:
            raise Halt(f"write protection: {what} in a view")

    # ---- events -------------------------------------------------------------------------------------------------

    def _log(self, data: bytes, *topics: bytes) -> Answer:
        self._forbid_static("an event is emitted")
        self.host.log(topics, data)
        return ()

    def _emit(self, text: bytes, tags: bytes, *values: Any) -> Answer:
        event = self._signature(text)
        given = nested(tags.decode(), values)
        if len(given) != len(event.inputs):
            raise Refused(f"{len(given)} values for {event.canonical}")
        topics = [topic_of(event.canonical)]
        plain: list[tuple[Type, Any]] = []
        for item, indexed, value in zip(event.inputs, event.indexed, given, strict=True):
            if not indexed:
                plain.append((item, value))
            elif item.kind == "bytes":
                encode_one(item, value)
                topics.append(self.host.digest("keccak256", value))
            elif item.kind == "array":
                raise Refused(f"{event.canonical}: an array that is indexed")
            else:
                topics.append(encode_one(item, value))
        data = encode([item for item, _ in plain], [value for _, value in plain])
        self._charge(abi_gas(data))
        if len(topics) > 4:
            raise Refused(f"{event.canonical}: {len(topics) - 1} inputs are indexed, limit 3")
        return self._log(data, *topics)

    # ---- accounts -----------------------------------------------------------------------------------------------

    def _balance(self, address: bytes) -> Answer:
        return (self.host.balance(_address(address)).to_bytes(32, "big"),)

    def _gas_left(self) -> Answer:
        return ()

    def _block_hash(self, number: int) -> Answer:
        block = self.host.block
        self._charge(limits.ARITHMETIC)
        known = block.number - 256 <= number < block.number and number >= 0
        return (block.ancestor(number) if known else bytes(32),)

    def _raw(self, address: bytes, data: bytes, value: bytes, gas: int) -> bytes:
        amount = int.from_bytes(value, "big")
        if amount:
            self._forbid_static("wei is sent")
        return self.host.call(
            _address(address), data, value=amount, gas=None if gas < 0 else gas, static=self._static)

    def _call(
        self, address: bytes, text: bytes, value: bytes, gas: int, tags: bytes, *values: Any,
    ) -> tuple[Signature, bytes]:
        signature = self._signature(text)
        if self._static and not signature.view:
            raise Refused(f"a view calls {signature.canonical}, which isn't declared as a view")
        data = signature.selector + self._encoded(signature.inputs, tags, values)
        output = self._raw(address, data, value, gas)
        self._charge(abi_gas(output))
        return signature, output

    def _typed_call(self, address: bytes, *arguments: Any) -> Answer:
        try:
            signature, output = self._call(address, *arguments)
        except Reverted as reverted:
            raise _explained(reverted, address) from reverted
        return _results(signature, output)

    def _try_call(self, *arguments: Any) -> Answer:
        try:
            signature, output = self._call(*arguments)
        except Reverted as reverted:
            return False, reverted.output, _message(reverted)
        return True, *_results(signature, output)

    def _call_raw(self, address: bytes, data: bytes, value: bytes, gas: int) -> Answer:
        self._forbid_untyped()
        try:
            return (self._raw(address, data, value, gas),)
        except Reverted as reverted:
            raise _explained(reverted, address) from reverted

    def _try_call_raw(self, address: bytes, data: bytes, value: bytes, gas: int) -> Answer:
        self._forbid_untyped()
        try:
            return True, self._raw(address, data, value, gas)
        except Reverted as reverted:
            return False, reverted.output

    def _forbid_untyped(self) -> None:
        if self._static:
            raise Refused("a view makes a raw call, of which nothing tells that it changes nothing")

    # ---- cryptography -------------------------------------------------------------------------------------------

    def _digest(self, algorithm: bytes, data: bytes) -> Answer:
        return (self.host.digest(algorithm.decode(), data),)

    def _verify(self, scheme: bytes, message: bytes, signature: bytes, key: bytes) -> Answer:
        return (self.host.verify(scheme.decode(errors="replace"), message, signature, key),)

    def _recover(self, message_hash: bytes, signature: bytes) -> Answer:
        """Address of the signer, or None; as in Ethereum, s has to be in the lower half."""
        if len(message_hash) != 32:
            raise Refused(f"recover: a hash of {len(message_hash)} bytes instead of 32")
        if len(signature) != 65 or int.from_bytes(signature[32:64], "big") > HALF_ORDER:
            return (None,)
        parity = signature[64] + (27 if signature[64] < 2 else 0)
        found = self.host.call(_RECOVER, message_hash + parity.to_bytes(32, "big") + signature[:64])
        return (found[12:] if found else None,)


Question = Callable[..., Answer]
_QUESTIONS: Final[dict[bytes, Question]] = {
    b"arithmetic": Session._arithmetic, b"parse": Session._parse, b"text": Session._text, b"encode": Session._encode,
    b"decode": Session._decode, b"error": Session._error, b"read": Session._read, b"write": Session._write,
    b"add": Session._add, b"log": Session._log, b"emit": Session._emit, b"balance": Session._balance,
    b"gas": Session._gas_left, b"block_hash": Session._block_hash, b"call": Session._typed_call,
    b"try_call": Session._try_call, b"call_raw": Session._call_raw, b"try_call_raw": Session._try_call_raw,
    b"digest": Session._digest, b"verify": Session._verify, b"recover": Session._recover}


def abi_gas(data: bytes) -> int:
    """Gas for encoding or decoding so much."""
    return limits.ABI_WORD * ((len(data) + 31) >> 5)


def _results(signature: Signature, output: bytes) -> Answer:
    try:
        tags, values = decode(signature.outputs, output)
    except BadValue as exc:
        raise Refused(f"{signature.canonical} returned something else: {exc}") from exc
    return tags.encode(), *values


def _address(address: bytes) -> bytes:
    if len(address) != 20:
        raise Refused(f"an address of {len(address)} bytes instead of 20")
    return address


def _revert(message: bytes | bool, data: bytes | bool) -> NoReturn:
    """The contract gave up: with words or, if there are none, with data."""
    if isinstance(data, bytes):
        raise Reverted(data)
    raise Reverted(reason=message.decode(errors="replace") if isinstance(message, bytes) else "reverted")


def _explained(reverted: Reverted, address: bytes) -> Reverted:
    """A failed call that ends its caller: with what it reverted, or words where it left none."""
    if reverted.output:
        return Reverted(reverted.output)
    return Reverted(reason=reverted.reason or f"the call of 0x{address.hex()} failed without a reason")


def _message(reverted: Reverted) -> bytes:
    """The words of ``Error(string)``, or of the host; empty if there are none."""
    output = reverted.output
    if output[:4] == _ERROR:
        try:
            _, values = decode(types_of("string"), output[4:])
        except BadValue:
            return b""
        return bytes(values[0])
    return reverted.reason.encode()
