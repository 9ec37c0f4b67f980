"""Messages to contracts of machines beside the EVM: the world that such a contract sees, and how its end counts.

A machine runs inside of the same transaction as everything else: one journal, one gas counter, one depth. What it
reports as its end becomes the end of the message, as if the EVM had run it.
"""

from collections.abc import Callable
from typing import Final

from executors import crypto, gas
from executors.machine import Halt, InvalidCode, LimitExceeded, Log, Machine, Message, OutOfGas, Reverted
from executors.machines import contained, opened
from ingest.rlp import Item, NotCanonical, read_list
from schemas.keys import StateKey, entry_key

from . import library
from .frame import Frame
from .library import Revert, VMError

_ERROR: Final = bytes.fromhex("08c379a0")
"""Selector of ``Error(string)``."""

CallFrom = Callable[[Frame, bytes, bytes, int, int | None, bool], Frame | None]
"""Makes a call from a frame: address, data, value, the most gas it may use, and whether nothing may be changed.

None if the call can't be made.
"""


class MachineHalt(VMError):
    """A message to another machine ended without success."""


def error_data(words: str) -> bytes:
    """Words as the data of a revert, encoded as ``Error(string)``."""
    text = words.encode()
    padded = text.ljust((len(text) + 31) // 32 * 32, b"\0")
    return _ERROR + (32).to_bytes(32, "big") + len(text).to_bytes(32, "big") + padded


class ContractHost:
    """`executors.machine.Host` over a frame."""

    __slots__ = ("_call_from", "_frame", "_journal", "block", "message")

    def __init__(self, frame: Frame, call_from: CallFrom, *, creates: bool = False) -> None:
        message, state = frame.msg, frame.state
        self._frame = frame
        self._journal = state.journal
        self._call_from = call_from
        self.block = state.block
        self.message = Message(
            contract=message.storage_address, caller=message.sender, origin=state.origin, value=message.value,
            data=message.data, creates=creates, static=message.is_static)

    @property
    def gas(self) -> int:
        """What remains."""
        return self._frame.gas

    def charge(self, gas: int) -> None:
        """Take gas."""
        if gas > self._frame.gas:
            raise OutOfGas
        self._frame.gas -= gas

    # ---- state --------------------------------------------------------------------------------------------------

    def read(self, key: bytes) -> bytes:
        """The value under a key."""
        state_key = self._key(key)
        self._warm(state_key)
        value = self._journal.entry(state_key)
        self.charge(gas.READ_WORD * gas.further_words(len(value)))
        return value

    def write(self, key: bytes, value: bytes) -> None:
        """Set a value."""
        self._forbid_static("write")
        state_key = self._key(key)
        if len(value) > gas.VALUE_BYTES_MAX:
            raise LimitExceeded(f"value of {len(value)} bytes, limit {gas.VALUE_BYTES_MAX}")
        self._warm(state_key)
        journal = self._journal
        before = journal.entry(state_key)
        if state_key not in journal.current:
            self.charge(gas.WRITE if before else gas.WRITE_NEW)
        self.charge(gas.WRITE_WORD * gas.further_words(len(value)))
        journal.set_entry(state_key, value)

    def add(self, key: bytes, amount: int) -> None:
        """Add to the integer under a key."""
        self._forbid_static("add")
        state_key = self._key(key)
        if not 0 <= amount < 2**256:
            raise LimitExceeded(f"{amount} is to be added; it has to be from 0 to 2**256 - 1")
        self.charge(gas.ADD)
        self._journal.add_to_entry(state_key, amount)

    def _key(self, key: bytes) -> StateKey:
        if not 1 <= len(key) <= gas.KEY_BYTES_MAX:
            raise LimitExceeded(f"key of {len(key)} bytes, it has 1 to {gas.KEY_BYTES_MAX}")
        return entry_key(self.message.contract, key)

    def _warm(self, state_key: StateKey) -> None:
        """Pay for the access to an entry."""
        warm = self._journal.warm_slots
        if state_key in warm:
            self.charge(gas.READ_WARM)
        else:
            self.charge(gas.READ_COLD)
            self._journal.put(warm, state_key, True)

    def _forbid_static(self, what: str) -> None:
        if self.message.static:
            raise Halt(f"write protection: {what} below a static call")

    # ---- accounts -----------------------------------------------------------------------------------------------

    def log(self, topics: tuple[bytes, ...], data: bytes) -> None:
        """Emit an event."""
        self._forbid_static("log")
        if len(topics) > 4 or any(len(topic) != 32 for topic in topics):
            raise LimitExceeded(f"{len(topics)} topics; there may be 4, each of 32 bytes")
        self.charge(gas.LOG + gas.LOG_TOPIC * len(topics) + gas.LOG_BYTE * len(data))
        self._journal.add_log(Log(address=self.message.contract, topics=topics, data=data))

    def balance(self, address: bytes) -> int:
        """Wei of an account."""
        self._account(address)
        return self._journal.balance(address)

    def call(
        self, address: bytes, data: bytes, *, value: int = 0, gas: int | None = None, static: bool = False
    ) -> bytes:
        """Call a contract, or pay an account."""
        self._account(address)
        if value < 0 or (gas is not None and gas < 0):
            raise LimitExceeded(f"a call with value {value} and gas {gas}; neither may be below 0")
        if value:
            self._forbid_static("value")
            if static:
                raise LimitExceeded("a static call with value")
        child = self._call_from(self._frame, address, data, value, gas, static)
        if child is None:
            raise Reverted(reason="call: too deep, or not enough funds")
        if child.error is not None:
            raise Reverted(child.output)
        return child.output

    def _account(self, address: bytes) -> None:
        """Pay for the access to an account."""
        if len(address) != 20:
            raise LimitExceeded(f"address of {len(address)} bytes instead of 20")
        self.charge(gas.ACCOUNT_COLD if self._frame.state.warm_address(address) else gas.ACCOUNT_WARM)

    # ---- cryptography -------------------------------------------------------------------------------------------

    def digest(self, algorithm: str, data: bytes) -> bytes:
        """Hash."""
        function = crypto.DIGESTS.get(algorithm)
        if function is None:
            raise LimitExceeded(f"no hash {algorithm!r}; there are {', '.join(crypto.DIGESTS)}")
        self.charge(gas.HASH + gas.HASH_WORD * gas.words(len(data)))
        return function(data)

    def verify(self, scheme: str, message_hash: bytes, signature: bytes, key: bytes) -> bool:
        """Check a signature."""
        function = crypto.SCHEMES.get(scheme)
        if function is None:
            raise LimitExceeded(f"no signature scheme {scheme!r}; there are {', '.join(crypto.SCHEMES)}")
        self.charge(gas.VERIFY[scheme] + gas.VERIFY_WORD * gas.further_words(len(message_hash)))
        return function(message_hash, signature, key)


def run_foreign(frame: Frame, name: str, code: bytes, call_from: CallFrom, *, creates: bool = False) -> None:
    """Run a message on the machine of its contract; output and gas are left in the frame.

    Raises
    ------
    VMError
        If it ends without success.
    """
    state = frame.state
    machine = _machine(frame, name)
    if state.foreign_depth >= gas.DEPTH_MAX:
        raise MachineHalt(f"more than {gas.DEPTH_MAX} nested messages of machines beside the EVM")
    state.foreign_depth += 1
    try:
        host = ContractHost(frame, call_from, creates=creates)
        host.charge(gas.MESSAGE)
        output = machine.run(code, host)
        frame.output = b"" if creates else output
    except Halt as halt:
        raise _as_vm_error(frame, halt) from halt
    finally:
        state.foreign_depth -= 1


def deploy(frame: Frame, name: str, data: bytes, call_from: CallFrom) -> None:
    """Compile what is deployed, store it as the code of the frame's contract, and run its constructor.

    Parameters
    ----------
    data
        RLP of code and arguments.

    Raises
    ------
    VMError
        If there will be no contract.
    """
    try:
        source, arguments = _two(read_list(data))
    except NotCanonical as exc:
        raise _as_vm_error(frame, Reverted(reason=f"undecodable deployment: {exc}")) from exc
    frame.msg.data = arguments
    machine = _machine(frame, name)
    try:
        host = ContractHost(frame, call_from)
        host.charge(gas.COMPILE_BYTE * len(source))
        code = machine.compile(source)
        if len(code) > gas.CODE_BYTES_MAX:
            raise LimitExceeded(f"code of {len(code)} bytes, limit {gas.CODE_BYTES_MAX}")
        host.charge(gas.CODE_BYTE * len(code))
    except InvalidCode as exc:
        raise _as_vm_error(frame, Reverted(reason=f"invalid {name} code: {exc}")) from exc
    except Halt as halt:
        raise _as_vm_error(frame, halt) from halt
    frame.state.journal.set_code(frame.msg.storage_address, contained(name, code))
    run_foreign(frame, name, code, call_from, creates=True)


def _machine(frame: Frame, name: str) -> Machine:
    """A machine by its name; a call for its result only may ask for any."""
    machines = frame.state.machines()
    if name not in machines:
        raise MachineHalt(f"this chain has no machine {name!r}; it has {', '.join(sorted(machines)) or 'none'}")
    return machines[name]


def _two(fields: list[Item]) -> tuple[bytes, bytes]:
    match fields:
        case [bytes() as source, bytes() as arguments]:
            return source, arguments
    raise NotCanonical("code and arguments are expected, two byte strings")


def foreign(frame: Frame) -> tuple[str, bytes] | None:
    """Machine and code if the frame's code belongs to another machine and to the very account that is called.

    Code that an account only borrows, by DELEGATECALL, CALLCODE or a delegation, would work on that account's storage,
    which is the EVM's.
    """
    found = opened(frame.msg.code.bytes)
    own = frame.state.journal.code(frame.msg.storage_address)
    return found if own == frame.msg.code.bytes else None


def _as_vm_error(frame: Frame, halt: Halt) -> VMError:
    """The end of a message in the terms of the EVM."""
    if isinstance(halt, Reverted):
        frame.output = halt.output or (error_data(halt.reason) if halt.reason else b"")
        return Revert(halt.reason)
    if isinstance(halt, OutOfGas):
        return library.OutOfGas()
    return MachineHalt(halt.reason)
