"""The client: deploy, call, send and read, in terms of a Python program."""

from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from executors.evm import Call
from ingest.accounts import deployment, sign_for_machine, sign_transfer
from schemas.errors import ConfigurationError, InvariantViolation
from schemas.genesis import Genesis, default_genesis
from schemas.keys import balance_key, integer, nonce_key
from schemas.records import Receipt
from schemas.topics import DEFAULT_PREFIX
from streams.kafka import KafkaSettings

from .addresses import AddressLike, address_of
from .arguments import InvalidArgument, calldata, result
from .chain import Chain
from .code import EVM, Code
from .contract import Contract
from .functions import Function, Functions
from .sending import Outbox, Sent

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount

TIMEOUT_S = 30.0


class Client:
    """One chain, for a program that uses its contracts. Any thread may use it; `connect` makes one.

    Parameters
    ----------
    chain
        Where to read.
    """

    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        self._outbox = Outbox(chain)

    @classmethod
    def connect(
        cls, kafka: str | KafkaSettings, *, genesis: Genesis | Path | str | None = None, prefix: str = DEFAULT_PREFIX,
        timeout_s: float = TIMEOUT_S,
    ) -> Self:
        """Find a pipeline by its brokers.

        Parameters
        ----------
        kafka
            ``host:port,…``, or settings with what security asks for.
        genesis
            What the chain has begun with, or its file; the one for development by default.
        prefix
            Of the topics; settings have one of their own.
        timeout_s
            How long brokers, shards and receipts are waited for.

        Raises
        ------
        Unavailable
            No broker answers.
        ConfigurationError
            There is no pipeline, or it has begun with another genesis.
        """
        settings = KafkaSettings(bootstrap=kafka, prefix=prefix) if isinstance(kafka, str) else kafka
        if not isinstance(genesis, Genesis):
            genesis = Genesis.parse(default_genesis() if genesis is None else Path(genesis).read_bytes())
        return cls(Chain.find(settings, genesis, timeout_s))

    # ---- reading ------------------------------------------------------------------------------------------------

    @property
    def chain_id(self) -> int:
        """What transactions are signed for."""
        return self._chain.rules.chain_id

    def balance(self, address: AddressLike) -> int:
        """Wei of an account."""
        return integer(self._chain.read(balance_key(address_of(address)))[0])

    def nonce(self, address: AddressLike) -> int:
        """Transactions that an account has sent, without those in flight."""
        return integer(self._chain.read(nonce_key(address_of(address)))[0])

    def contract(
        self, address: AddressLike, functions: Iterable[str | Mapping[str, Any] | Function] = ()
    ) -> Contract:
        """A contract that is there already.

        Parameters
        ----------
        functions
            Its signatures, or its ABI in JSON; what is in it can be called by its name.
        """
        return Contract(self, address, functions)

    def call(
        self, to: AddressLike, function: str | Function | bytes, *arguments: Any, sender: AddressLike = bytes(20),
        value: int = 0, gas: int | None = None,
    ) -> Any:
        """Run a function on the newest state and give what it returns; nothing is sent.

        Parameters
        ----------
        function
            Its signature with what it returns, as ``balanceOf(address) returns (uint256)``. Without the second part the
            result is bytes. Or calldata as it is, for a contract that isn't called as the ABI says.

        Returns
        -------
        Any
            None if the function returns nothing, a tuple if it returns several values. `client.arguments` lists what
            comes of each type.

        Raises
        ------
        InvalidArgument
            An argument doesn't fit; the message names it.
        ExecutionFailed
            The contract reverts, with its reason, or fails otherwise.
        """
        output = self._chain.output(Call(
            sender=address_of(sender), to=address_of(to), data=_data(function, arguments), value=value,
            gas_limit=self._gas_max(gas)))
        return output if isinstance(function, bytes) else result(_function(function), output)

    # ---- sending ------------------------------------------------------------------------------------------------

    def deploy(
        self, code: Code | Path | str, account: "LocalAccount", *arguments: Any,
        constructor: str | Function | None = None, functions: Iterable[str | Mapping[str, Any] | Function] = (),
        machine: str | None = None, value: int = 0, gas: int | None = None, max_fee: int | None = None,
    ) -> Contract:
        """Deploy a contract and wait until it is there.

        Parameters
        ----------
        code
            A file, whose ending tells the machine (`client.code` lists them), or what was read of one.
        account
            Who pays; the caller of the constructor.
        arguments
            Of the constructor.
        constructor
            Its signature, as ``constructor(address,uint256)``; needed for arguments unless the file tells it, as
            artifacts with an ABI and Lua contracts do.
        functions
            Signatures that the contract may be called by the names of, where the file doesn't tell them.
        machine
            Whose code it is, where the ending doesn't tell.
        value, gas, max_fee
            As in `send`.

        Raises
        ------
        InvalidArgument
            An argument of the constructor doesn't fit.
        ExecutionFailed
            It can't be deployed; the reason is that of the machine or of the constructor. Nothing was sent.
        TransactionFailed
            Sent, and failed or rejected nevertheless.
        """
        found = code if isinstance(code, Code) else Code.read(code, machine)
        payload = calldata(found.constructor(constructor, arguments), arguments)
        if found.machine == EVM:
            data, name = found.data + payload, ""
        else:
            data, name = deployment(found.data, payload), found.machine
        receipt = self._send(account, None, data, value=value, gas=gas, max_fee=max_fee, machine=name).receipt()
        if receipt.contract is None:
            raise InvariantViolation(f"the receipt of deployment 0x{receipt.hash.hex()} names no contract")
        known = Functions(functions) if functions else found.functions
        return Contract(self, receipt.contract, known, receipt=receipt)

    def send(
        self, account: "LocalAccount", to: AddressLike, function: str | Function | bytes | None = None, *arguments: Any,
        value: int = 0, gas: int | None = None, max_fee: int | None = None,
    ) -> Receipt:
        """Call a function by a transaction, or pay somebody, and wait for the receipt.

        Parameters
        ----------
        account
            Signs, and pays.
        function
            Signature of the function, or calldata as it is; None to pay only.
        value
            Wei.
        gas
            Gas limit; found by a trial on the newest state, with a margin, if it isn't given. Give it where what is
            tried needs a transaction that is still in flight.
        max_fee
            Wei per gas, the base fee by default.

        Raises
        ------
        InvalidArgument
            An argument doesn't fit; the message names it.
        ExecutionFailed
            The trial has shown that it doesn't succeed. Nothing was sent.
        TransactionFailed
            It failed or was rejected; the receipt is in it.
        Unavailable
            There is no receipt in time. It may come later.
        """
        return self.submit(account, to, function, *arguments, value=value, gas=gas, max_fee=max_fee).receipt()

    def submit(
        self, account: "LocalAccount", to: AddressLike, function: str | Function | bytes | None = None, *arguments: Any,
        value: int = 0, gas: int | None = None, max_fee: int | None = None,
    ) -> Sent:
        """As `send`, without waiting: `Sent.receipt` waits.

        Nonces count what is in flight through this client. Ask for the receipts: without that the client doesn't learn
        that one was rejected, and what it sends later waits for the nonce that is missing then.
        """
        data = _data(b"" if function is None else function, arguments)
        return self._send(account, address_of(to), data, value=value, gas=gas, max_fee=max_fee)

    def close(self) -> None:
        """Send what is queued, and disconnect."""
        self._outbox.close()
        self._chain.close()

    def __enter__(self) -> Self:
        """The client; it is closed at the end of the block."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _send(
        self, account: "LocalAccount", to: bytes | None, data: bytes, *, value: int, gas: int | None,
        max_fee: int | None, machine: str = "",
    ) -> Sent:
        """Sign and send: type 0x50 for what is deployed on a machine beside the EVM, type 2 for all else."""
        chain, sender = self._chain, address_of(account)
        names = [entry.partition("/")[0] for entry in chain.rules.machines]
        if machine and machine not in names:
            raise ConfigurationError(f"this chain has no machine {machine!r}; it has {', '.join(names) or 'none'}")
        fee = chain.rules.base_fee if max_fee is None else max_fee
        if gas is None:
            gas = chain.gas_limit(Call(
                sender=sender, to=to, data=data, value=value, gas_limit=chain.rules.transaction_gas_max,
                gas_price=min(fee, chain.rules.base_fee), machine=machine))
        # An empty recipient is how a creation is written.
        sign = (
            partial(sign_for_machine, account, machine=machine, to=to) if machine
            else partial(sign_transfer, account, to=to or b""))
        return self._outbox.send(sender, self.nonce(sender), lambda nonce: sign(
            chain_id=chain.rules.chain_id, nonce=nonce, value=value, data=data, gas_limit=gas, max_fee=fee))

    def _gas_max(self, gas: int | None) -> int:
        most = self._chain.rules.transaction_gas_max
        return most if gas is None else min(gas, most)


def _function(function: str | Function) -> Function:
    return Function.parse(function) if isinstance(function, str) else function


def _data(function: str | Function | bytes, arguments: tuple[Any, ...]) -> bytes:
    """Calldata."""
    if not isinstance(function, bytes):
        return calldata(_function(function), arguments)
    if arguments:
        raise InvalidArgument(f"{len(arguments)} arguments without a function; give its signature before them")
    return function
