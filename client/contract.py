"""A contract at an address, whatever machine it is of."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from schemas.records import Receipt

from .addresses import AddressLike, address_of, checksummed
from .functions import Function, Functions

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount

    from .client import Client
    from .sending import Sent


class Contract:
    """A contract, as `Client.deploy` and `Client.contract` give it.

    Functions are named by their signatures, as ``"transfer(address,uint256)"``; where the functions of the contract are
    known, from an artifact or because they were given, the name alone will do. Bytes are calldata as it is.

    Parameters
    ----------
    client
        Where it is.
    address
        Its address.
    functions
        What is known of its functions: signatures, or entries of an ABI in JSON.
    receipt
        Of its deployment, if this client deployed it.
    """

    def __init__(
        self, client: "Client", address: AddressLike,
        functions: "Functions | Iterable[str | Mapping[str, Any] | Function]" = (), *, receipt: Receipt | None = None,
    ) -> None:
        self._client = client
        self._functions = functions if isinstance(functions, Functions) else Functions(functions)
        self.address: Final = checksummed(address_of(address))
        """As text, with its checksum."""
        self.receipt: Final = receipt

    def __repr__(self) -> str:
        return f"Contract({self.address})"

    def call(
        self, function: str | bytes, *arguments: Any, sender: AddressLike = bytes(20), value: int = 0,
        gas: int | None = None,
    ) -> Any:
        """Run a function on the newest state and give what it returns; nothing is sent. See `Client.call`."""
        return self._client.call(
            self, self._meant(function), *arguments, sender=sender, value=value, gas=gas)

    def send(
        self, account: "LocalAccount", function: str | bytes, *arguments: Any, value: int = 0, gas: int | None = None,
        max_fee: int | None = None,
    ) -> Receipt:
        """Call a function by a transaction and wait for its receipt. See `Client.send`."""
        return self.submit(account, function, *arguments, value=value, gas=gas, max_fee=max_fee).receipt()

    def submit(
        self, account: "LocalAccount", function: str | bytes, *arguments: Any, value: int = 0, gas: int | None = None,
        max_fee: int | None = None,
    ) -> "Sent":
        """Call a function by a transaction without waiting. See `Client.submit`."""
        return self._client.submit(
            account, self, self._meant(function), *arguments, value=value, gas=gas, max_fee=max_fee)

    def _meant(self, function: str | bytes) -> Function | bytes:
        return function if isinstance(function, bytes) else self._functions.find(function)
