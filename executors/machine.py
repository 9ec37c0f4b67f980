"""What virtual machines are to the rest, and the rest to them.

`VirtualMachine` is all that the epoch engine knows: a transaction goes in, an answer comes out, state is reached
through a `StateView` alone. The one that is there runs the EVM (`executors.evm`), and hands messages to contracts of
other kinds over to a `Machine` each: Lua, WebAssembly, and whatever a package registers under the entry point group
``parsec.vms``. Such a machine gets the code, and a `Host` for everything else.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from ingest.transactions import Transaction
from schemas.keys import StateKey


class StateView(Protocol):
    """The only way of a transaction to state. Whatever it reads is recorded, and stays recorded if the call reverts.

    `read` may raise `Missing`; a machine lets it pass and keeps nothing of the unfinished run.
    """

    def read(self, key: StateKey) -> bytes:
        """The value now, with what this transaction and earlier ones of its list changed; empty if there is none."""

    def write(self, key: StateKey, value: bytes) -> None:
        """Set a value."""

    def add(self, key: StateKey, amount: int) -> None:
        """Add an amount >= 0 to an integer without reading it."""


class Missing(Exception):
    """Values that have to be fetched from a shard before the transaction can run."""

    def __init__(self, keys: frozenset[StateKey]) -> None:
        super().__init__(f"{len(keys)} keys")
        self.keys = keys


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """What a transaction sees of the epoch that it runs in."""

    number: int
    timestamp_s: int
    prevrandao: bytes
    """32 bytes, from the manifest."""
    ancestor: Callable[[int], bytes]
    """Hash of one of the last 256 blocks by number; 32 zero bytes for any other."""
    blob_base_fee: int = 1
    """Wei per blob gas; the lowest there is where blobs aren't sold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """An event that a contract emitted."""

    address: bytes
    topics: tuple[bytes, ...]
    """Up to four of 32 bytes."""
    data: bytes


class Status(Enum):
    """How an included transaction ended."""

    SUCCESS = "success"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """An included transaction."""

    status: Status
    gas_used: int
    """After refunds."""
    output: bytes = b""
    """What the call returned, or the data of its revert."""
    logs: tuple[Log, ...] = ()
    contract: bytes | None = None
    """Address of the contract that a creating transaction made."""
    reason: str = ""
    """Why it failed, in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """A transaction that the state makes invalid. Whatever it wrote is dropped; what it read is validated as ever."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Waits:
    """A transaction whose nonce is ahead of its account's."""

    nonce: int
    """The account's."""


Answer = Result | Rejected | Waits


class VirtualMachine(Protocol):
    """What runs transactions."""

    def execute(self, transaction: Transaction, block: Block, view: StateView) -> Answer:
        """Run one transaction to its end; deterministic in its arguments and the rules."""


# ---- machines beside the EVM ------------------------------------------------------------------------------------


class Halt(Exception):  # a base
    """A message ends without success: all that it changed is taken back, and all its gas is taken."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
        """In words, for the receipt."""


class OutOfGas(Halt):
    """The gas of the message is used up."""

    def __init__(self) -> None:
        super().__init__("out of gas")


class LimitExceeded(Halt):
    """A limit other than gas was reached; the reason names it."""


class Reverted(Halt):
    """The code gave up by itself: what it changed is taken back, and the gas that remains is its caller's.

    Parameters
    ----------
    output
        What the caller gets, by convention encoded as the errors of Solidity are.
    reason
        In words; without it the output tells.
    """

    def __init__(self, output: bytes = b"", reason: str = "") -> None:
        super().__init__(reason)
        self.output = output


class InvalidCode(Exception):
    """Code that cannot be deployed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What a contract is called with."""

    contract: bytes
    """Whose code runs and whose state it works on, 20 bytes."""
    caller: bytes
    """The account or contract that calls, 20 bytes."""
    origin: bytes
    """The account that signed the transaction, 20 bytes."""
    value: int
    """Wei that came with the call."""
    data: bytes
    """The arguments, as the two agree on; between machines by convention as in the ABI of Solidity."""
    creates: bool = False
    """Whether the contract is being deployed: then the data are the arguments of its constructor."""
    static: bool = False
    """Whether nothing may be changed."""


class Host(Protocol):
    """The world of a contract of a `Machine`: its own state, its gas, other contracts.

    Every method takes its gas first, as `executors.gas` lists it. All may raise `OutOfGas`, and `Missing` where a value
    has to be fetched: a machine lets these through, whatever the code tries to catch, and keeps nothing of the run.
    """

    message: Message
    block: Block

    @property
    def gas(self) -> int:
        """What remains."""

    def charge(self, gas: int) -> None:
        """Take gas for what the machine has done itself."""

    def read(self, key: bytes) -> bytes:
        """The value under a key of the contract's own state, empty if there is none."""

    def write(self, key: bytes, value: bytes) -> None:
        """Set a value; an empty one removes it."""

    def add(self, key: bytes, amount: int) -> None:
        """Add to the integer under a key (big-endian, unsigned) without reading it, so that adders don't conflict."""

    def log(self, topics: tuple[bytes, ...], data: bytes) -> None:
        """Emit an event with up to four topics of 32 bytes."""

    def balance(self, address: bytes) -> int:
        """Wei of an account."""

    def call(
        self, address: bytes, data: bytes, *, value: int = 0, gas: int | None = None, static: bool = False
    ) -> bytes:
        """Call a contract of whatever machine, or pay an account; what it returns.

        Parameters
        ----------
        static
            Whether what is called may change nothing; below a static message it may not in any case.
        gas
            What the call gets at most; all but a 64th of what remains is the limit.

        Raises
        ------
        Reverted
            If the call failed in whatever way; what it changed is taken back then.
        """

    def digest(self, algorithm: str, data: bytes) -> bytes:
        """Hash: ``keccak256``, ``sha256`` or ``blake2b256``."""

    def verify(self, scheme: str, message_hash: bytes, signature: bytes, key: bytes) -> bool:
        """Check a signature: ``secp256k1`` (ECDSA), ``ed25519`` or ``bip340`` (Schnorr).

        Parameters
        ----------
        message_hash
            32 bytes; for ``ed25519`` the message itself, of any length.
        signature
            64 bytes.
        key
            The public key: 33 or 65 bytes for ``secp256k1``, else 32.
        """


class Machine(Protocol):
    """A virtual machine beside the EVM.

    One object serves all contracts; nothing may stay from one run to the next that changes a result.
    """

    name: str
    """Of 1 to 16 characters of ``a-z0-9_``: it stands in transactions and in front of every code."""
    version: int
    """Raised whenever the same code could give another result."""

    def compile(self, code: bytes) -> bytes:
        """Check code that is being deployed.

        Returns
        -------
        bytes
            What is stored, and given to `run`.

        Raises
        ------
        InvalidCode
            With the place and what is wrong there.
        """

    def run(self, code: bytes, host: Host) -> bytes:
        """Run a message on code that `compile` gave; what it returns to its caller.

        Raises
        ------
        Halt
            If it ends without success.
        """
