"""What the users of the demonstration do: they get tokens, pay each other, and trade on one market."""

import json
import random
from collections.abc import Callable
from typing import Final

from ingest.transactions import Transaction, decode_many
from schemas.errors import InvalidTransaction
from schemas.genesis import default_genesis
from schemas.keys import StateKey, balance_key, nonce_key
from schemas.rules import Rules

from .contracts import Artifact, created_address
from .wallet import Wallet

USERS: Final = 400
TRADERS: Final = 80
"""So many of the users trade, too."""
UNIT: Final = 10**18
"""Of tokens and ether: smallest units in one whole."""
PARKED_MS_MAX: Final = 120_000
"""On the chain of the demonstration a transaction waits this long for a nonce, so that a slow machine rejects none."""

_TRANSFER_GAS: Final = 80_000
_SWAP_GAS: Final = 250_000
_DEPLOY_GAS: Final = 4_000_000
_LIQUIDITY_GAS: Final = 500_000


class Traffic:
    """Two tokens, a market between them, and the accounts that use them.

    Parameters
    ----------
    rules
        Of the chain.
    scale
        About how many payments and swaps there will be: what each user is given suffices for all of them.
    """

    def __init__(self, rules: Rules, scale: int) -> None:
        self._rules = rules
        self._random = random.Random(0)
        self._grant = 10 * (scale + 100) * UNIT
        self._token, self._pool = Artifact("Token"), Artifact("Pool")
        self._owner = Wallet(0, rules.chain_id)
        self._users = [Wallet(number, rules.chain_id) for number in range(1, USERS + 1)]
        self._traders = self._users[:TRADERS]
        self.supply = 4 * USERS * self._grant
        """Of each token, in smallest units."""
        self.tokens = tuple(created_address(self._owner.address, nonce) for nonce in (0, 1))
        self.pool = created_address(self._owner.address, 2)

    # ---- the chain ----------------------------------------------------------------------------------------------

    def genesis(self) -> bytes:
        """A genesis file: the one for development, with ether for our accounts."""
        document = json.loads(default_genesis())
        document["config"]["parsec"]["parkedMsMax"] = PARKED_MS_MAX
        for wallet in (self._owner, *self._users):
            document["alloc"][f"0x{wallet.address.hex()}"] = {"balance": hex(self._grant)}
        return json.dumps(document, indent=2).encode() + b"\n"

    @property
    def accounts(self) -> list[bytes]:
        """All addresses that can hold something."""
        return [*(wallet.address for wallet in (self._owner, *self._users)), *self.tokens, self.pool]

    def nonces(self) -> dict[StateKey, int]:
        """By key, the nonce that each account has once everything is executed that was made here."""
        return {nonce_key(wallet.address): wallet.nonce for wallet in (self._owner, *self._users)}

    def supply_key(self, token: bytes) -> StateKey:
        """Where a token keeps the sum of its balances."""
        return self._token.variable(token, "totalSupply")

    def balance_key(self, token: bytes | None, account: bytes) -> StateKey:
        """Where the balance of an account is; of ether without a token."""
        return balance_key(account) if token is None else self._token.entry(token, "balanceOf", account)

    def reserves_key(self) -> StateKey:
        """Where the market keeps both reserves: the first in the lower 112 bits."""
        return self._pool.variable(self.pool, "_reserve0")

    # ---- transactions -------------------------------------------------------------------------------------------

    def beginning(self) -> list[Transaction]:
        """Deploy the contracts, fill the market, and give tokens to the users."""
        owner, token, pool = self._owner, self._token, self._pool
        raws = [
            owner.sign(None, data=token.init_code("Example Dollar", "EXD", 18, self.supply), gas=_DEPLOY_GAS),
            owner.sign(None, data=token.init_code("Example Euro", "EXE", 18, self.supply), gas=_DEPLOY_GAS),
            owner.sign(None, data=pool.init_code(*self.tokens), gas=_DEPLOY_GAS)]
        deposit = USERS * self._grant
        raws += [self._approve(owner, address) for address in self.tokens]
        raws.append(owner.sign(
            self.pool, data=pool.call("addLiquidity", deposit, deposit, 0, owner.address), gas=_LIQUIDITY_GAS))
        raws += [
            owner.sign(address, data=token.call("transfer", user.address, self._grant), gas=_TRANSFER_GAS)
            for address in self.tokens for user in self._users]
        return self._decoded(raws)

    def approvals(self) -> list[Transaction]:
        """Let the market take tokens from the traders. The tokens have to be deployed before."""
        return self._decoded([self._approve(user, address) for user in self._traders for address in self.tokens])

    def round(self, payments: int, swaps: int) -> list[Transaction]:
        """Payments and swaps, mixed; two of three payments are in tokens, the others in ether."""
        kinds: list[Callable[[], bytes]] = [self._payment] * payments + [self._swap] * swaps
        self._random.shuffle(kinds)
        return self._decoded([kind() for kind in kinds])

    def _payment(self) -> bytes:
        sender, payee = self._random.sample(self._users, 2)
        amount = self._random.randrange(1, 3 * UNIT)
        currency = self._random.choice((*self.tokens, None))
        if currency is None:
            return sender.sign(payee.address, value=amount)
        return sender.sign(currency, data=self._token.call("transfer", payee.address, amount), gas=_TRANSFER_GAS)

    def _swap(self) -> bytes:
        trader = self._random.choice(self._traders)
        amount = self._random.randrange(UNIT, 5 * UNIT)
        sold = self._random.choice(self.tokens)
        return trader.sign(self.pool, data=self._pool.call("swap", sold, amount, 0, trader.address), gas=_SWAP_GAS)

    def _approve(self, holder: Wallet, token: bytes) -> bytes:
        return holder.sign(token, data=self._token.call("approve", self.pool, 2**256 - 1), gas=_TRANSFER_GAS)

    def _decoded(self, raws: list[bytes]) -> list[Transaction]:
        decoded = []
        for transaction in decode_many(raws, self._rules):
            if isinstance(transaction, InvalidTransaction):
                raise transaction
            decoded.append(transaction)
        return decoded
