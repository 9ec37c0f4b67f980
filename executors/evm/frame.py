"""Call frames: what an instruction works on.

`Frame` is what py-evm's functions get in place of its computation, `World` in place of its state; the methods and
attributes under names of py-evm are there for them.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from executors.journal import Journal
from executors.machine import Block, Log, Machine
from schemas.keys import StateKey, slot_key
from schemas.rules import Rules

from .code import Code, CodeCache
from .forks import PRAGUE, Fork
from .history import HISTORY_ADDRESS, history_slot
from .library import Instruction, OutOfGas, VMError

EMPTY: Final = Code(b"", PRAGUE)
"""Of accounts without code, in any fork: it never runs."""


class World:
    """Everything outside of a frame: accounts, block, rules and the transaction."""

    def __init__(
        self, *, rules: Rules, fork: Fork, block: Block, journal: Journal, codes: CodeCache, origin: bytes,
        gas_price: int, machines: Callable[[], Mapping[str, Machine]], blob_hashes: tuple[bytes, ...] = (),
    ) -> None:
        self.fork = fork
        self.precompiles = fork.precompiles
        self.journal = journal
        self.codes = codes
        self.origin = origin
        self.gas_price = gas_price
        self.chain_id = rules.chain_id
        self.coinbase = rules.coinbase
        self.base_fee = rules.base_fee
        self.gas_limit = rules.block_gas_limit
        self.blob_base_fee = block.blob_base_fee
        self.blob_versioned_hashes = blob_hashes
        self.timestamp = block.timestamp_s
        self.block_number = block.number
        self.mix_hash = block.prevrandao
        self.machines = machines
        """The machines beside the EVM by name; asked only where a contract of one is called."""
        self.foreign_depth = 0
        """So many of their messages are nested at the moment."""
        self.block = block

    @property
    def execution_context(self) -> "World":
        """Where py-evm looks for the chain id."""
        return self

    def code_of(self, address: bytes) -> Code:
        """The analysed code of an account."""
        code_hash = self.journal.code_hash(address)
        return self.codes.find(code_hash, self.journal.blob(code_hash)) if code_hash else EMPTY

    def slot(self, address: bytes, slot: int) -> int:
        """The value of a slot. Those of the history contract are virtual: they answer from the chain."""
        if address == HISTORY_ADDRESS and self.fork.history:
            return history_slot(slot, self.block)
        return self.journal.slot(self.stored_key(address, slot_key(address, slot)), address)

    def stored_key(self, address: bytes, key: StateKey) -> StateKey:
        """Where the value of a slot is: under its key, until a contract at the address was deleted."""
        return key if self.fork.destroys_created_only else self.journal.renewed_key(address, key)

    def warm_address(self, address: bytes) -> bool:
        """Note an access to an account; whether it was the first one."""
        warm = self.journal.warm
        if address in warm or address in self.precompiles:
            return False
        self.journal.put(warm, address, True)
        return True

    # For py-evm.

    def get_balance(self, address: bytes) -> int:
        """The balance in wei."""
        return self.journal.balance(address)

    def get_code(self, address: bytes) -> bytes:
        """The code as it is, delegations included."""
        return self.journal.code(address)

    def get_code_hash(self, address: bytes) -> bytes:
        """The code hash of an account that isn't empty."""
        return self.journal.visible_code_hash(address)

    def account_is_empty(self, address: bytes) -> bool:
        """Whether the account is empty (EIP-161)."""
        return self.journal.is_empty(address)

    def is_address_warm(self, address: bytes) -> bool:
        """Whether the transaction accessed the account before."""
        return address in self.journal.warm or address in self.precompiles

    def mark_address_warm(self, address: bytes) -> None:
        """Note an access to the account."""
        self.journal.put(self.journal.warm, address, True)

    def get_ancestor_hash(self, number: int) -> bytes:
        """Hash of one of the last 256 blocks, zero for any other number."""
        return self.block.ancestor(number) if self.block_number - 256 <= number < self.block_number else bytes(32)


class Message:
    """What a frame is called with."""

    __slots__ = (
        "code", "data", "depth", "gas", "is_static", "precompile", "sender", "storage_address", "transfers", "value")

    def __init__(
        self, *, sender: bytes, storage_address: bytes, code: Code, gas: int, value: int = 0, data: bytes = b"",
        depth: int = 0, is_static: bool = False, transfers: bool = True, precompile: Instruction | None = None,
    ) -> None:
        self.sender = sender
        self.storage_address = storage_address
        """Whose storage and balance the code works on."""
        self.code = code
        self.gas = gas
        self.value = value
        self.data = data
        self.depth = depth
        self.is_static = is_static
        self.transfers = transfers
        """Whether `value` moves, which it doesn't in a DELEGATECALL."""
        self.precompile = precompile

    @property
    def data_as_bytes(self) -> bytes:
        """The same, for py-evm."""
        return self.data


class Frame:
    """The running state of one message."""

    __slots__ = ("error", "gas", "memory", "msg", "output", "return_data", "stack", "state")

    def __init__(self, state: World, msg: Message) -> None:
        self.state = state
        self.msg = msg
        self.gas = msg.gas
        """What remains. The loop keeps it in a local variable and brings it here before it calls an instruction."""
        self.stack: list[int] = []
        self.memory = bytearray()
        self.return_data = b""
        """Of the last call that this frame made."""
        self.output = b""
        self.error: VMError | None = None

    @property
    def transaction_context(self) -> World:
        """Where py-evm looks for what concerns the transaction."""
        return self.state

    def fail(self, error: VMError) -> None:
        """End with an error: all gas is lost and no data returned, except after REVERT."""
        self.error = error
        if error.burns_gas:
            self.gas = 0
            self.output = b""

    def consume_gas(self, amount: int, reason: str = "") -> None:
        """Take gas.

        Raises
        ------
        OutOfGas
            If there is less.
        """
        if amount > self.gas:
            raise OutOfGas(reason)
        self.gas -= amount

    # The stack: blocks were checked for what they need of it.

    def stack_pop1_int(self) -> int:
        """Take one item."""
        return self.stack.pop()

    def stack_pop1_bytes(self) -> bytes:
        """Take one item as 32 bytes."""
        return self.stack.pop().to_bytes(32, "big")

    def stack_pop_ints(self, count: int) -> Sequence[int]:
        """Take several, the top first."""
        items = self.stack[:-count - 1:-1]
        del self.stack[-count:]
        return items

    def stack_push_int(self, value: int) -> None:
        """Put an item."""
        self.stack.append(value)

    def stack_push_bytes(self, value: bytes) -> None:
        """Put an item given as up to 32 bytes."""
        self.stack.append(int.from_bytes(value, "big"))

    # Memory.

    def extend_memory(self, start: int, size: int) -> None:
        """Pay for memory up to ``start + size`` and make it."""
        if size and start + size > len(self.memory):
            self.gas = grow(self.memory, start + size, self.gas)

    def memory_write(self, start: int, size: int, value: bytes) -> None:
        """Write to memory that was paid for."""
        if size:
            self.memory[start:start + size] = value

    def memory_read_bytes(self, start: int, size: int) -> bytes:
        """Read from memory that was paid for."""
        return bytes(self.memory[start:start + size]) if size else b""

    def memory_copy(self, destination: int, source: int, length: int) -> None:
        """Copy within memory that was paid for."""
        if length:
            self.memory[destination:destination + length] = self.memory[source:source + length]

    def add_log(self, topics: Sequence[int], data: bytes) -> None:
        """Emit an event."""
        self.state.journal.add_log(Log(
            address=self.msg.storage_address, topics=tuple(topic.to_bytes(32, "big") for topic in topics), data=data))


def grow(memory: bytearray, end: int, gas: int) -> int:
    """Lengthen memory to whole words, and pay for it.

    Returns
    -------
    int
        The gas that remains.

    Raises
    ------
    OutOfGas
        If there is too little.
    """
    before, after = len(memory) >> 5, (end + 31) >> 5
    gas -= 3 * (after - before) + (after * after >> 9) - (before * before >> 9)
    if gas < 0:
        raise OutOfGas("memory")
    memory.extend(bytes((after - before) << 5))
    return gas
