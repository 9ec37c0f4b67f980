"""What has to hold, read from the log and from the shards in a pass of its own.

Receipts are counted by where the brokers stored the transactions. What the receipts tell (logs of tokens, gas) is added
up, and compared with what the shards hold, key by key and in sum.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ingest.transactions import Transaction
from ledger.feed import Feed
from schemas.chain import Tip
from schemas.codec import CODEC
from schemas.genesis import Genesis
from schemas.keys import integer
from schemas.records import Receipt
from schemas.topics import EPOCHS, VOTES, receipts
from streams.kafka import KafkaLog, KafkaSettings
from streams.reads import ShardReader

from .contracts import TRANSFER_TOPIC
from .figures import Figures
from .flow import Failed
from .traffic import Traffic

PROBLEMS_MAX = 5
READ_WAIT_MS = 2_000

Currency = bytes | None
"""A token's address, or None for ether."""


@dataclass(slots=True, kw_only=True)
class Tally:
    """What the receipts add up to."""

    receipts: int = 0
    last_epoch: int = 0
    balances: dict[Currency, Counter[bytes]] = field(default_factory=dict)
    """By currency and account."""

    def add(self, receipt: Receipt, transaction: Transaction, coinbase: bytes) -> None:
        """Count a receipt: what its logs move of tokens, and the value and the fee of its transaction."""
        self.receipts += 1
        self.last_epoch = max(self.last_epoch, receipt.epoch)
        ether = self.balances.setdefault(None, Counter())
        fee = receipt.gas_used * integer(receipt.gas_price)
        ether[transaction.sender] -= fee + transaction.value
        ether[coinbase] += fee
        if transaction.value:
            ether[transaction.to or b""] += transaction.value
        for event in receipt.logs:
            if event.topics[0] == TRANSFER_TOPIC and len(event.topics) == 3:
                token, amount = self.balances.setdefault(event.address, Counter()), integer(event.data)
                giver, taker = event.topics[1][12:], event.topics[2][12:]
                if any(giver):  # or else they are minted
                    token[giver] -= amount
                token[taker] += amount


class Checks:
    """Checks a drained pipeline.

    Parameters
    ----------
    settings
        The cluster.
    genesis, start
        Of the chain.
    shards
        M.
    reader
        Knows all shards.
    traffic
        Knows all accounts.
    """

    def __init__(
        self, settings: KafkaSettings, genesis: Genesis, start: Tip, shards: int, reader: ShardReader, traffic: Traffic
    ) -> None:
        self._settings = settings
        self._genesis = genesis
        self._start = start
        self._shards = shards
        self._reader = reader
        self._traffic = traffic

    def all(
        self, delivered: Mapping[tuple[int, int], bytes], sent: Mapping[bytes, Transaction]
    ) -> tuple[Tally, Figures]:
        """Check everything.

        Raises
        ------
        Failed
            With the first few things that are wrong.
        """
        problems: list[str] = []
        with _reading(self._settings) as log:
            tally = self._receipts(log, delivered, sent, problems)
        with _reading(self._settings) as log:
            figures = self._figures(log, problems)
        if not problems:
            self._state(tally, problems)
        if problems:
            more = f"\n  and {len(problems) - PROBLEMS_MAX} more" if len(problems) > PROBLEMS_MAX else ""
            raise Failed("these things are wrong:\n  " + "\n  ".join(problems[:PROBLEMS_MAX]) + more)
        return tally, figures

    # ---- receipts -----------------------------------------------------------------------------------------------

    def _receipts(
        self,
        log: KafkaLog,
        delivered: Mapping[tuple[int, int], bytes],
        sent: Mapping[bytes, Transaction],
        problems: list[str],
    ) -> Tally:
        """Exactly one receipt for each transaction, a success at that."""
        tally = Tally()
        seen: Counter[tuple[int, int]] = Counter()
        topics = [receipts(shard) for shard in range(self._shards)]
        feed = Feed(log, topics)
        if len(delivered) != len(sent):
            problems.append(f"{len(sent)} transactions were sent, the brokers report {len(delivered)} places")
        for topic in topics:
            while (fetched := feed.next(topic)) is not None:
                receipt = CODEC.decode_as(Receipt, fetched.value)
                place = (receipt.partition, receipt.offset)
                name = f"transactions [{place[0]}] offset {place[1]}"
                seen[place] += 1
                if delivered.get(place) != receipt.hash or receipt.hash not in sent:
                    problems.append(f"the receipt of {name} is of 0x{receipt.hash.hex()}, which was not stored there")
                elif seen[place] > 1:
                    problems.append(f"{name} has {seen[place]} receipts")
                elif receipt.status != "success":
                    problems.append(f"0x{receipt.hash.hex()} ({name}): {receipt.status}: {receipt.reason}")
                else:
                    tally.add(receipt, sent[receipt.hash], self._genesis.rules.coinbase)
        problems += [
            f"transactions [{partition}] offset {offset} has no receipt"
            for partition, offset in delivered if (partition, offset) not in seen]
        return tally

    # ---- epochs and votes ---------------------------------------------------------------------------------------

    def _figures(self, log: KafkaLog, problems: list[str]) -> Figures:
        """Both lanes committed, all shards voted, and there were conflicts."""
        figures = Figures(self._start)
        feed = Feed(log, (EPOCHS, VOTES))
        for topic in (EPOCHS, VOTES):
            while (fetched := feed.next(topic)) is not None:
                figures.take(fetched)
        expected: tuple[tuple[bool, str], ...] = (
            (figures.parallel > 0, "in no epoch more than one lane committed"),
            (len(figures.votes) == self._shards, f"only shards {sorted(figures.votes)} of {self._shards} voted"),
            (figures.stale + figures.lost > 0, "no vote found anything stale or lost"),
            (figures.repaired > 0, "no lane was repaired"),
            (figures.carried > 0, "no transaction was carried"),
            (figures.rejected == 0, f"{figures.rejected} transactions were rejected"),
        )
        problems += [text for holds, text in expected if not holds]
        return figures

    # ---- state --------------------------------------------------------------------------------------------------

    def _state(self, tally: Tally, problems: list[str]) -> None:
        """The shards hold what the receipts tell, and neither tokens nor ether came from or went nowhere."""
        traffic = self._traffic
        accounts = {*traffic.accounts, self._genesis.rules.coinbase}
        accounts.update(account.address for account in self._genesis.accounts)
        currencies: tuple[Currency, ...] = (None, *traffic.tokens)
        places = {
            (currency, account): traffic.balance_key(currency, account)
            for currency in currencies for account in accounts}
        nonces = traffic.nonces()
        supplies = {token: traffic.supply_key(token) for token in traffic.tokens}
        entries = self._reader.read(
            [*places.values(), *nonces, *supplies.values(), traffic.reserves_key()], tally.last_epoch,
            wait_ms=READ_WAIT_MS, deadline_s=30.0)
        held = {place: integer(entries[key].value) for place, key in places.items()}
        ether = {account.address: account.balance for account in self._genesis.accounts}
        for (currency, account), amount in held.items():
            moved = tally.balances.get(currency, Counter[bytes]())[account]
            expected = moved + (ether.get(account, 0) if currency is None else 0)
            if amount != expected:
                problems.append(
                    f"0x{account.hex()} has {amount} of {_name(currency)}, its receipts add up to {expected}")
        for key, nonce in nonces.items():
            found = integer(entries[key].value)
            if found != nonce:
                problems.append(f"0x{key[1:].hex()} has nonce {found}; it sent {nonce} transactions")
        total: Callable[[Currency], int] = lambda of: sum(n for (currency, _), n in held.items() if currency == of)
        _equal(problems, "ether", total(None), sum(ether.values()))
        for token in traffic.tokens:
            _equal(problems, _name(token), total(token), traffic.supply)
            _equal(problems, f"{_name(token)} (totalSupply)", integer(entries[supplies[token]].value), traffic.supply)
        reserves = integer(entries[traffic.reserves_key()].value)
        for index, token in enumerate(sorted(traffic.tokens)):
            reserve = reserves >> (112 * index) & (1 << 112) - 1
            if held[token, traffic.pool] != reserve:
                problems.append(
                    f"the market holds {held[token, traffic.pool]} of {_name(token)}, its reserve is {reserve}")


class _reading:  # noqa: N801 (reads like a function)
    """A log of what is committed, closed at the end."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._log = KafkaLog(settings, committed_only=True)

    def __enter__(self) -> KafkaLog:
        return self._log

    def __exit__(self, *_: object) -> None:
        self._log.close()


def _equal(problems: list[str], what: str, found: int, supply: int) -> None:
    if found != supply:
        problems.append(f"the supply of {what} is {found} instead of {supply}")


def _name(currency: Currency) -> str:
    return "ether" if currency is None else f"token 0x{currency.hex()}"
