"""What `eth_call` and gas estimates run: a message without signature, nonce and fee checks."""

from dataclasses import dataclass

from ingest.admission import AccessList
from ingest.transactions import Authorization


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A message to run for its result only."""

    sender: bytes = bytes(20)
    to: bytes | None = None
    """20 bytes, or None to create a contract."""
    data: bytes = b""
    value: int = 0
    """Wei; the sender has to have them."""
    gas_limit: int
    gas_price: int = 0
    """Wei per gas, effective. If it is above zero the sender has to be able to pay for the gas."""
    access_list: AccessList = ()
    authorizations: tuple[Authorization, ...] = ()
    machine: str = ""
    """A machine beside the EVM, as in a transaction of type 0x50; empty for an ordinary message."""
