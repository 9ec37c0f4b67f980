"""The root of a state, over the Merkle-Patricia tries that Ethereum keeps it in: the adapter of py-trie.

The pipeline has no such tries. They are made here of whole accounts, once for each root that is asked for.

References
----------
Ethereum Yellow Paper, section 4.1 and appendix D.
"""

from collections.abc import Collection, Mapping

from trie.hexary import HexaryTrie

from ledger.tries import encode
from schemas.hashing import EMPTY_CODE_HASH, keccak

from .accounts import NOBODY, Account, Accounts


def state_root(accounts: Accounts, empties: Collection[bytes] = ()) -> bytes:
    """Root of a state, 32 bytes.

    Parameters
    ----------
    accounts
        All that there are.
    empties
        Addresses of accounts in the trie that have nothing. Since EIP-161 there are none but those that a test puts
        there and leaves untouched.
    """
    present = {address for address, account in accounts.items() if not account.empty} | {*empties}
    return secure_root({address: _leaf(accounts.get(address, NOBODY)) for address in present})


def storage_root(storage: Mapping[int, int]) -> bytes:
    """Root of the storage of an account."""
    return secure_root({slot.to_bytes(32, "big"): encode(value) for slot, value in storage.items() if value})


def secure_root(entries: Mapping[bytes, bytes]) -> bytes:
    """Root of the trie over the hashes of keys."""
    trie = HexaryTrie({})
    for key, value in entries.items():
        trie[keccak(key)] = value
    root: bytes = trie.root_hash
    return root


def _leaf(account: Account) -> bytes:
    code_hash = keccak(account.code) if account.code else EMPTY_CODE_HASH
    return encode([account.nonce, account.balance, storage_root(account.storage), code_hash])
