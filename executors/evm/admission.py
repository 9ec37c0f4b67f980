"""The rules of admission that need state, in front of every engine.

References
----------
EIP-3607 (senders with code), EIP-7702 (delegations are no such code), EIP-1559 (funds), EIP-4844 (blobs).
"""

from typing import NamedTuple

from executors.journal import read_blob
from executors.machine import Rejected, StateView, Waits
from ingest.blobs import BASE_FEE_MIN, blob_gas
from ingest.transactions import Transaction
from schemas.keys import balance_key, code_key, integer, nonce_key
from schemas.rules import Rules

from .forks import fork_named

DELEGATION_PREFIX = b"\xef\x01\x00"
"""How the code of a delegated account begins; the address of 20 bytes follows."""


class Admitted(NamedTuple):
    """A transaction that runs. Its sender's nonce is the transaction's."""

    balance: int
    """Of the sender, wei."""


def delegate(code: bytes) -> bytes | None:
    """The address that a delegation names, or None for any other code."""
    return code[3:] if len(code) == 23 and code[:3] == DELEGATION_PREFIX else None


def admit(
    transaction: Transaction, rules: Rules, view: StateView, blob_base_fee: int = BASE_FEE_MIN,
) -> Admitted | Rejected | Waits:
    """Decide by nonce, code and funds of the sender whether a transaction runs.

    What needs no state comes first, and then the nonce, so that one which waits has read nothing else.

    Parameters
    ----------
    transaction, rules, view
        The transaction, the rules and the state.
    blob_base_fee
        Of the block, wei per blob gas.
    """
    if transaction.blob_hashes and transaction.max_fee_per_blob_gas < blob_base_fee:
        return Rejected(
            reason=f"max fee per blob gas less than block blob gas fee: {transaction.max_fee_per_blob_gas}, "
            f"blob base fee {blob_base_fee}")
    sender = transaction.sender
    nonce = integer(view.read(nonce_key(sender)))
    if transaction.nonce != nonce:
        if transaction.nonce < nonce:
            return Rejected(reason=f"nonce too low: {transaction.nonce}, account 0x{sender.hex()} is at {nonce}")
        if transaction.nonce - nonce > rules.nonce_ahead_max:
            return Rejected(
                reason=f"nonce too high: {transaction.nonce}, account 0x{sender.hex()} is at {nonce}, "
                f"at most {rules.nonce_ahead_max} ahead are kept")
        return Waits(nonce=nonce)
    code_hash = view.read(code_key(sender))
    if code_hash and not (fork_named(rules.fork).delegations and delegate(read_blob(view, code_hash))):
        return Rejected(reason=f"sender not an eoa: account 0x{sender.hex()} has code 0x{code_hash.hex()}")
    balance = integer(view.read(balance_key(sender)))
    cost = transaction.gas_limit * transaction.max_fee + transaction.value
    if transaction.blob_hashes:
        cost += blob_gas(len(transaction.blob_hashes)) * transaction.max_fee_per_blob_gas
    if balance < cost:
        return Rejected(
            reason=f"insufficient funds for gas * price + value: account 0x{sender.hex()} has {balance} wei, "
            f"needs {cost}")
    return Admitted(balance)
