"""Which keys and accounts a transaction will probably touch, without looking at the state.

Hints decide where a transaction is routed and what is fetched ahead. Nothing rests on them: an executor finds out for
itself what a transaction touches.

What a call touches inside of a contract can't be known in general, but nearly all token contracts take the same calls,
and their arguments name the accounts whose balances change. In which slots those are depends on the contract's layout;
the contracts that compilers make keep a mapping at a small slot number, so `mapping_slot` can be tried with the numbers
that were right for the contract before.
"""

from typing import Final

from schemas.hashing import keccak
from schemas.keys import StateKey, balance_key, code_key, nonce_key

from .transactions import Transaction

_PARTIES: Final[dict[bytes, tuple[int, ...]]] = {
    bytes.fromhex("a9059cbb"): (0,),  # transfer(address,uint256)
    bytes.fromhex("23b872dd"): (0, 1),  # transferFrom(address,address,uint256)
    bytes.fromhex("095ea7b3"): (0,),  # approve(address,uint256)
    bytes.fromhex("40c10f19"): (0,),  # mint(address,uint256)
    bytes.fromhex("42966c68"): (),  # burn(uint256)
    bytes.fromhex("9dc29fac"): (0,),  # burn(address,uint256)
    bytes.fromhex("79cc6790"): (0,),  # burnFrom(address,uint256)
    bytes.fromhex("42842e0e"): (0, 1),  # safeTransferFrom(address,address,uint256)
}
"""By selector, the arguments that are accounts."""


def parties(transaction: Transaction) -> tuple[bytes, ...] | None:
    """Accounts of 20 bytes that the calldata of a token call names, without the sender.

    Returns
    -------
    tuple of bytes or None
        None if it is no token call that is known.
    """
    data = transaction.data
    places = _PARTIES.get(data[:4])
    if places is None or transaction.to is None or len(data) < 4 + 32 * len(places):
        return None
    words = [data[4 + 32 * place:36 + 32 * place] for place in places]
    if any(any(word[:12]) for word in words):
        return None  # no address in that place: some other call with the same selector
    return tuple(dict.fromkeys(word[12:] for word in words if word[12:] != transaction.sender))


def touched(transaction: Transaction) -> tuple[StateKey, ...]:
    """State keys that the transaction touches whatever else it does: of the sender, the recipient, and delegations."""
    sender, to = transaction.sender, transaction.to
    keys = [balance_key(sender), nonce_key(sender), code_key(sender)]
    if to is not None:
        keys.append(code_key(to))
        if transaction.value:
            keys.append(balance_key(to))
    for authorization in transaction.authorizations:
        if authorization.authority is not None:
            keys += [nonce_key(authorization.authority), code_key(authorization.authority)]
    return tuple(dict.fromkeys(keys))


def routing_keys(transaction: Transaction) -> tuple[bytes, ...]:
    """What to route by, the most telling first; transactions with one in common had better be on one partition.

    A transfer of ether or tokens touches its sender and its payees: they are 20 bytes each, for tokens with the
    contract in front (40 bytes), because balances of different tokens don't meet. The sender's own account, whose nonce
    every transaction takes, is always first. The parties of a token call don't meet each other in the contract, so it
    is left out; for a call that isn't known it comes after the sender: then it may be the hot key.
    """
    sender, to = transaction.sender, transaction.to
    if to is None:
        return (sender,)
    if not transaction.data:
        return (sender,) if to == sender else (sender, to)
    accounts = parties(transaction)
    if accounts is None:
        return (sender, to)
    return (sender, *(to + account for account in accounts))


def mapping_slot(account: bytes, position: int) -> int:
    """The slot where Solidity keeps the entry of an account in the mapping at a position, as token balances are.

    References
    ----------
    Solidity documentation, layout of state variables in storage.
    """
    return int.from_bytes(keccak(account.rjust(32, b"\0") + position.to_bytes(32, "big")), "big")
