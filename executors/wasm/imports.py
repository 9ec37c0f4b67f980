"""The functions that a contract can import, and the world behind them.

All pointers are addresses in the exported memory; one that leads out of it ends the message. Whatever the host raises
ends the instance at once, and comes out of `Environment.run` as it is.
"""

from collections.abc import Callable
from functools import wraps
from typing import Annotated, Any, Final, get_type_hints

from executors import gas
from executors.machine import Halt, Host, LimitExceeded, Reverted

from . import limits
from .binary import FunctionType
from .deployment import CALL, DEPLOY
from .library import Imported, Instance, Module

I32 = Annotated[int, "i32"]
I64 = Annotated[int, "i64"]

_PAGE_BITS: Final = 16
_FUEL_MAX: Final = 2**62
_NO_LIMIT: Final = 2**64 - 1
_ADDRESS: Final = 20
_WORD: Final = 32
DIGESTS: Final = ("keccak256", "sha256", "blake2b256")
"""By the number that `Environment.digest` takes."""
SCHEMES: Final = ("secp256k1", "ed25519", "bip340")
"""By the number that `Environment.verify` takes."""


class Environment:
    """What a contract sees during one message; the methods with types of WebAssembly are its imports.

    Fuel is turned into gas where somebody could see the gas: in `gas_left`, before a call and at the end. Until then a
    contract may run further than its gas goes, at most as long again as its gas would have let it; then it fails all
    the same.
    """

    __slots__ = ("_granted", "_host", "_instance", "_output", "_pages", "_returned", "charge")

    def __init__(self, module: Module, host: Host) -> None:
        self._host = host
        self.charge = host.charge
        self._instance = Instance(module, self)
        self._granted = 0
        self._pages = 0
        self._output = b""
        self._returned = b""
        """By the last call that the contract made."""

    def run(self) -> bytes:
        """Run the message; what the contract returns.

        Raises
        ------
        Halt
            If it ends without success.
        """
        message = self._host.message
        with self._instance as instance:
            self._resume()
            instance.start()
            self._pay_for_memory()
            called = instance.call(DEPLOY if message.creates else CALL)
            self._settle()
        if not called and message.data:
            raise Reverted(reason=f"{len(message.data)} bytes of arguments for a module without {DEPLOY!r}")
        return self._output

    # ---- gas ----------------------------------------------------------------------------------------------------

    def _resume(self) -> None:
        """Give the instance as much fuel as the gas is worth, and one unit more.

        The library looks at fuel at loops and calls only, and doesn't count below zero. Where that unit is gone, too
        much has run, and it can't be paid.
        """
        self._granted = self._instance.fuel = min(self._host.gas * limits.FUEL_PER_GAS, _FUEL_MAX) + 1

    def _settle(self) -> None:
        """Pay for memory, and for what has run since the last time, rounded up to whole gas.

        Raises
        ------
        OutOfGas
            If there is too little.
        """
        left = self._instance.fuel
        self.charge(-((left - self._granted) // limits.FUEL_PER_GAS))
        self._granted = left
        self._pay_for_memory()

    def _pay_for_memory(self) -> None:
        """Pay for what the memory has grown by since the last time."""
        pages = self._instance.measure() >> _PAGE_BITS
        self.charge((pages - self._pages) * limits.PAGE_GAS)
        self._pages = pages

    # ---- memory -------------------------------------------------------------------------------------------------

    def _load(self, what: str, start: int, size: int) -> bytes:
        """Copy out of the memory."""
        self._check(what, start, size)
        return bytes(self._instance.memory[start:start + size])

    def _store(self, what: str, start: int, data: bytes) -> None:
        """Copy into the memory."""
        size = len(data)
        self._check(what, start, size)
        self._instance.memory[start:start + size] = data

    def _check(self, what: str, start: int, size: int) -> None:
        """Check bounds, and pay for copying."""
        if start + size > len(self._instance.memory):
            self._pay_for_memory()
            memory = len(self._instance.memory)
            if start + size > memory:
                raise Halt(f"{what}: {size:,} bytes at {start:,} are outside of the memory of {memory:,} bytes")
        self.charge(limits.COPY_WORD_GAS * ((size + 31) >> 5))

    def _part(self, what: str, to: int, data: bytes, offset: int, size: int) -> None:
        """Copy a part of something into the memory."""
        if offset + size > len(data):
            raise Halt(f"{what}: bytes {offset:,} to {offset + size:,} of {len(data):,}")
        self._store(what, to, data[offset:offset + size])

    def _short(self, what: str, start: int, size: int) -> bytes:
        """Copy something out of the memory that leaves the contract."""
        if size > limits.OUTPUT_BYTES_MAX:
            raise LimitExceeded(f"{what} of {size:,} bytes, limit {limits.OUTPUT_BYTES_MAX:,}")
        return self._load(what, start, size)

    # ---- the message --------------------------------------------------------------------------------------------

    def input_size(self) -> I32:
        """Bytes of the call's data."""
        return len(self._host.message.data)

    def input(self, to: I32, offset: I32, size: I32) -> None:
        """Copy a part of the call's data."""
        self._part("input", to, self._host.message.data, offset, size)

    def output(self, start: I32, size: I32) -> None:
        """Set what the call returns; the contract goes on, and the last one counts."""
        self._output = self._short("output", start, size)

    def revert(self, start: I32, size: I32) -> None:
        """End without success: give the caller these bytes and the gas that remains, and take all changes back."""
        output = self._short("revert", start, size)
        self._settle()
        raise Reverted(output)

    def caller(self, to: I32) -> None:
        """The account or contract that calls, 20 bytes."""
        self._store("caller", to, self._host.message.caller)

    def origin(self, to: I32) -> None:
        """The account that signed the transaction, 20 bytes."""
        self._store("origin", to, self._host.message.origin)

    def contract(self, to: I32) -> None:
        """The contract's own address, 20 bytes."""
        self._store("contract", to, self._host.message.contract)

    def value(self, to: I32) -> None:
        """Wei that came with the call, 32 bytes, the highest first."""
        self._store("value", to, self._host.message.value.to_bytes(_WORD, "big"))

    def block_number(self) -> I64:
        """Number of the block."""
        return self._host.block.number

    def block_timestamp(self) -> I64:
        """Its time in seconds since 1970."""
        return self._host.block.timestamp_s

    def gas_left(self) -> I64:
        """Gas that remains."""
        self._settle()
        return min(self._host.gas, _NO_LIMIT)

    # ---- state --------------------------------------------------------------------------------------------------

    def read_size(self, key: I32, key_size: I32) -> I32:
        """Bytes of the value under a key, 0 if there is none."""
        return len(self._host.read(self._key("read_size", key, key_size)))

    def read(self, key: I32, key_size: I32, to: I32, most: I32) -> I32:
        """Copy the value under a key, or as much of it as fits; the result is its whole size, 0 if there is none."""
        value = self._host.read(self._key("read", key, key_size))
        self._store("read", to, value[:most])
        return len(value)

    def write(self, key: I32, key_size: I32, start: I32, size: I32) -> None:
        """Set the value under a key; one of 0 bytes removes it."""
        name = self._key("write", key, key_size)
        if size > gas.VALUE_BYTES_MAX:
            raise LimitExceeded(f"write: value of {size:,} bytes, limit {gas.VALUE_BYTES_MAX:,}")
        self._host.write(name, self._load("write", start, size))

    def add(self, key: I32, key_size: I32, amount: I32) -> None:
        """Add to the integer under a key without reading it; the amount has 32 bytes, the highest first."""
        name = self._key("add", key, key_size)
        self._host.add(name, int.from_bytes(self._load("add", amount, _WORD), "big"))

    def _key(self, what: str, start: int, size: int) -> bytes:
        if not 1 <= size <= gas.KEY_BYTES_MAX:
            raise LimitExceeded(f"{what}: key of {size:,} bytes, it has 1 to {gas.KEY_BYTES_MAX}")
        return self._load(what, start, size)

    # ---- others -------------------------------------------------------------------------------------------------

    def log(self, topics: I32, count: I32, start: I32, size: I32) -> None:
        """Emit an event with up to 4 topics of 32 bytes, one after the other."""
        if count > 4:
            raise LimitExceeded(f"log with {count:,} topics, limit 4")
        joined = self._load("log", topics, _WORD * count)
        data = self._short("log", start, size)
        self._host.log(tuple(joined[at:at + _WORD] for at in range(0, len(joined), _WORD)), data)

    def balance(self, address: I32, to: I32) -> None:
        """Wei of the account with an address of 20 bytes, as 32 bytes, the highest first."""
        wei = self._host.balance(self._load("balance", address, _ADDRESS))
        self._store("balance", to, wei.to_bytes(_WORD, "big"))

    def call(self, address: I32, value: I32, start: I32, size: I32, gas_limit: I64) -> I32:
        """Call a contract of whatever machine, or pay an account: 1 if it succeeded, 0 if what it did was taken back.

        The value has 32 bytes. The called one gets at most all but a 64th of the gas; a limit of -1 asks for no less.
        """
        to = self._load("call", address, _ADDRESS)
        wei = int.from_bytes(self._load("call", value, _WORD), "big")
        data = self._short("call", start, size)
        self._settle()
        try:
            self._returned = self._host.call(
                to, data, value=wei, gas=None if gas_limit == _NO_LIMIT else gas_limit)
        except Reverted as reverted:
            self._returned = reverted.output
            return 0
        else:
            return 1
        finally:
            self._resume()

    def return_size(self) -> I32:
        """Bytes that the last call returned, or the data of its revert."""
        return len(self._returned)

    def return_data(self, to: I32, offset: I32, size: I32) -> None:
        """Copy a part of them."""
        self._part("return_data", to, self._returned, offset, size)

    def digest(self, algorithm: I32, start: I32, size: I32, to: I32) -> None:
        """Hash to 32 bytes: 0 is Keccak-256, 1 SHA-256, 2 BLAKE2b-256."""
        if algorithm >= len(DIGESTS):
            raise LimitExceeded(f"digest: no algorithm {algorithm:,}; there are 0 to {len(DIGESTS) - 1}")
        self._store("digest", to, self._host.digest(DIGESTS[algorithm], self._load("digest", start, size)))

    def verify(self, scheme: I32, start: I32, size: I32, signature: I32, key: I32, key_size: I32) -> I32:
        """Check a signature of 64 bytes: 1 if it is right, else 0.

        Schemes are 0 for secp256k1 (ECDSA), 1 for Ed25519, 2 for BIP-340 (Schnorr). What is signed is a hash of 32
        bytes, for Ed25519 the message itself. The key has 33 or 65 bytes for secp256k1, else 32.
        """
        if scheme >= len(SCHEMES):
            raise LimitExceeded(f"verify: no scheme {scheme:,}; there are 0 to {len(SCHEMES) - 1}")
        if key_size > 65:
            return 0
        signed = self._load("verify", start, size)
        right = self._host.verify(
            SCHEMES[scheme], signed, self._load("verify", signature, 64), self._load("verify", key, key_size))
        return int(right)


def _paid(method: Callable[..., int | None]) -> Callable[..., int | None]:
    """A method with the price that all imports have."""
    @wraps(method)
    def run(environment: Environment, *arguments: int) -> int | None:
        environment.charge(limits.IMPORT_GAS)
        return method(environment, *arguments)

    return run


def _type(method: Callable[..., Any]) -> FunctionType:
    """The type in WebAssembly of a method that is imported."""
    hints = get_type_hints(method, include_extras=True)
    result = hints.pop("return")
    return FunctionType(
        parameters=tuple(hint.__metadata__[0] for hint in hints.values()),
        results=() if result is type(None) else (result.__metadata__[0],))


IMPORTS: Final = {
    name: Imported(name=name, type=_type(method), run=_paid(method)) for name, method in vars(Environment).items()
    if callable(method) and not name.startswith("_") and name not in {"run", "charge"}}
"""By name."""
