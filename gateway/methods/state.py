"""State at a block, calls and estimates.

State of a block older than the shards keep answers with an error that names the oldest epoch kept.
"""

from collections.abc import Mapping

from gateway import forms
from gateway.errors import InvalidParameter
from gateway.node import Node
from gateway.parameters import (
    LATEST,
    PENDING,
    AccountOverride,
    BlockId,
    CallRequest,
    address,
    block_id,
    call,
    overrides,
    slot,
)
from schemas.keys import balance_key, blob_key, code_key, generation, integer, nonce_key, slot_key, storage_key

from .method import Method, Parameter

_BLOCK = Parameter("block", block_id, LATEST)
_OVERRIDES = Parameter("stateOverrides", overrides, {})


def balance(node: Node, account: bytes, at: BlockId) -> str:
    """Balance of an account in wei."""
    return forms.quantity(integer(node.snapshots.at(node.moments.at(at).epoch).read(balance_key(account))))


def transaction_count(node: Node, account: bytes, at: BlockId) -> str:
    """Nonce of an account. `pending` also counts what is in flight through this gateway, up to the first gap."""
    moment = node.moments.at(at)
    nonce = integer(node.snapshots.at(moment.epoch).read(nonce_key(account)))
    return forms.quantity(node.submission.in_flight.next_nonce(account, nonce) if moment.pending else nonce)


def code(node: Node, account: bytes, at: BlockId) -> str:
    """Code of an account; for a delegated one it is the delegation."""
    snapshot = node.snapshots.at(node.moments.at(at).epoch)
    code_hash = snapshot.read(code_key(account))
    return forms.data(snapshot.read(blob_key(code_hash)) if code_hash else b"")


def storage_at(node: Node, account: bytes, position: int, at: BlockId) -> str:
    """Value of a storage slot, 32 bytes."""
    snapshot = node.snapshots.at(node.moments.at(at).epoch)
    key, mark = slot_key(account, position), storage_key(account)
    snapshot.prefetch([key, mark])
    value = snapshot.read(key + generation(snapshot.read(mark)))
    return forms.data(value.rjust(32, b"\0"))


def call_message(node: Node, request: CallRequest, at: BlockId, replaced: Mapping[bytes, AccountOverride]) -> str:
    """Run a message on the state at a block and give what it returns.

    The message sees number and time of that block; for `pending` the next number, and the time now. Without a gas price
    the sender needs no funds for gas.
    """
    _check_chain(node, request)
    return forms.data(node.calls.call(request, node.moments.at(at), replaced))


def estimate_gas(node: Node, request: CallRequest, at: BlockId, replaced: Mapping[bytes, AccountOverride]) -> str:
    """A gas limit at which a message succeeds, at most 1.5 % above the lowest one; `pending` by default."""
    _check_chain(node, request)
    return forms.quantity(node.calls.estimate(request, node.moments.at(at), replaced))


def _check_chain(node: Node, request: CallRequest) -> None:
    if request.chain_id not in (None, node.rules.chain_id):
        raise InvalidParameter(
            f"invalid parameter 0, transaction: chainId {request.chain_id}, this chain has {node.rules.chain_id}"
        )


METHODS = (
    Method("eth_getBalance", balance, (Parameter("address", address), _BLOCK)),
    Method("eth_getTransactionCount", transaction_count, (Parameter("address", address), _BLOCK)),
    Method("eth_getCode", code, (Parameter("address", address), _BLOCK)),
    Method("eth_getStorageAt", storage_at, (Parameter("address", address), Parameter("slot", slot), _BLOCK)),
    Method("eth_call", call_message, (Parameter("transaction", call), _BLOCK, _OVERRIDES)),
    Method(
        "eth_estimateGas",
        estimate_gas,
        (Parameter("transaction", call), Parameter("block", block_id, PENDING), _OVERRIDES),
    ),
)
