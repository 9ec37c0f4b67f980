"""What happens to a block's state besides its transactions: calls of the system, and requests to the consensus layer.

Nothing of this is in the pipeline; a block of Ethereum has it, so that its roots can only be compared with it.

References
----------
EIP-4788 (beacon roots), EIP-2935 (history), EIP-6110 (deposits), EIP-7002 (withdrawals by contract), EIP-7251
(consolidations), EIP-7685 (requests).
"""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Final

from executors.machine import Log, Result, Status
from ingest.transactions import Transaction
from schemas.errors import ConfigurationError
from schemas.keys import code_key, integer, nonce_key

from .fields import hexadecimal
from .serial import SerialRun

SYSTEM: Final = bytes.fromhex("fffffffffffffffffffffffffffffffffffffffe")
"""Who calls."""
BEACON_ROOTS: Final = bytes.fromhex("000f3df6d732807ef1319fb7b8bb8522d0beac02")
HISTORY: Final = bytes.fromhex("0000f90827f1c53a10cb7a02335b175320002935")
DEPOSITS: Final = bytes.fromhex("00000000219ab540356cbb839cbe05303d7705fa")
WITHDRAWALS: Final = bytes.fromhex("00000961ef480eb55e80d19ad83579a64c007002")
CONSOLIDATIONS: Final = bytes.fromhex("0000bbddc7ce488642fb579f8b00f3a590007251")
GAS: Final = 30_000_000
_DEPOSIT_TOPIC: Final = bytes.fromhex("649bbc62d0e31342afea4e5cd82d4049e7e1ee912fc0889aa790803be39038c5")
_DEPOSIT_BYTES: Final = 576
_DEPOSIT_FIELDS: Final = ((160, 48), (256, 32), (320, 8), (384, 96), (512, 8))
"""Where the five byte strings of a deposit stand in its log, and how long they are: key, credentials, amount, signature
and index."""


class InvalidBlock(ConfigurationError):
    """No block can have these transactions: what has to happen at its end fails."""


def call(run: SerialRun, contract: bytes, data: bytes) -> Result | None:
    """Call a contract of the system.

    The call takes no gas from anybody and raises no nonce.

    Returns
    -------
    Result or None
        None if there is no code at the address.
    """
    if not run.value(code_key(contract)):
        return None
    nonce = nonce_key(SYSTEM)
    message = Transaction(
        raw=b"", hash=bytes(32), type=2, chain_id=None, nonce=integer(run.value(nonce)), sender=SYSTEM, to=contract,
        value=0, data=data, gas_limit=GAS, gas_price=None, max_fee=0, max_priority_fee=0, access_list=(),
        authorizations=(), v=0, r=0, s=0, intrinsic_gas=0, floor_gas=0)
    answer = run.call(message, lambda key: key == nonce).answer
    if not isinstance(answer, Result):
        raise InvalidBlock(f"the call of {hexadecimal(contract)} by the system can't run: {answer}")
    return answer


def requests(run: SerialRun, logs: Iterable[Log]) -> tuple[bytes, ...]:
    """The requests of a block by their types, without those that are empty: type (1 byte) and data.

    Parameters
    ----------
    run
        After all transactions and withdrawals; the contracts of the queues are called on it.
    logs
        Of all transactions.

    Raises
    ------
    InvalidBlock
        If a log of the deposit contract has another form, or a call fails.
    """
    deposits = b"".join(
        _deposit(log.data) for log in logs if log.address == DEPOSITS and log.topics[:1] == (_DEPOSIT_TOPIC,))
    found = [(0, deposits)]
    for kind, contract in ((1, WITHDRAWALS), (2, CONSOLIDATIONS)):
        result = call(run, contract, b"")
        if result is not None:
            if result.status is not Status.SUCCESS:
                raise InvalidBlock(f"the queue of requests at {hexadecimal(contract)} fails: {result.reason}")
            found.append((kind, result.output))
    return tuple(bytes((kind,)) + data for kind, data in found if data)


def requests_hash(listed: Sequence[bytes]) -> bytes:
    """What a header says of the requests: SHA-256 over the SHA-256 of each, 32 bytes."""
    return hashlib.sha256(b"".join(hashlib.sha256(request).digest() for request in listed)).digest()


def _deposit(data: bytes) -> bytes:
    """A deposit, from the log of the contract."""
    start = 32 * len(_DEPOSIT_FIELDS)
    for index, (at, size) in enumerate(_DEPOSIT_FIELDS):
        head, length = data[32 * index:32 * index + 32], data[at:at + 32]
        if len(data) != _DEPOSIT_BYTES or integer(head) != at or integer(length) != size:
            raise InvalidBlock(f"a log of the deposit contract has another form: {hexadecimal(data[:start])}…")
    return b"".join(data[at + 32:at + 32 + size] for at, size in _DEPOSIT_FIELDS)
