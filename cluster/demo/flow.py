"""Sends rounds of transactions and follows them to their receipts, with a bound on how many are under way."""

import itertools
import random
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Final

from ingest.producer import Delivery, TransactionProducer
from ingest.routing import Router
from ingest.transactions import Transaction
from schemas.errors import ParsecError
from schemas.topics import EPOCHS, VOTES, TopicName, receipts
from streams.log import Log

from .figures import Figures
from .view import View

POLL_S: Final = 0.01
WATCH_S: Final = 0.1
PAUSE_S: Final = 0.5
"""No receipt for longer than this counts as a stall."""
STUCK_S: Final = 90.0
"""No receipt for so long means that none will come."""
RECENT: Final = 1_000
"""Latency and throughput on the way are those of so many receipts."""


class Failed(ParsecError):
    """The demonstration found something that is not as it has to be."""


class ScramblingRouter(Router):
    """Routes by keys, or to any partition: then nonces of a sender come in any order, and neighbours are torn apart."""

    scrambling = False
    _random = random.Random(1)

    def route(self, keys: Sequence[bytes]) -> int:
        """The partition of a transaction."""
        return self._random.randrange(self.partitions) if self.scrambling else super().route(keys)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kill:
    """A process to be killed in the middle of a round."""

    at: float
    """Once this share of the round has its receipts."""
    name: str
    kill: Callable[[], None]


@dataclass(slots=True, kw_only=True)
class Round:
    """How a round went."""

    name: str
    transactions: int
    seconds: float = 0.0
    latencies_s: list[float] = field(default_factory=list)
    """From produce to receipt, in the order of the receipts."""
    stalls: list[tuple[str, float]] = field(default_factory=list)
    """What was killed, and for how many seconds no receipt came because of that."""
    arrivals: list[float] = field(default_factory=list)
    """When the receipts came, on a monotonic clock."""

    @property
    def per_second(self) -> float:
        """Transactions a second."""
        return self.transactions / self.seconds if self.seconds else 0.0

    def latency_ms(self, share: float) -> float:
        """A quantile of all latencies."""
        return quantile_ms(self.latencies_s, share)


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """Where a round is."""

    cells: dict[str, str]


class Flow:
    """All that is sent, and what came of it.

    Parameters
    ----------
    producer
        Sends.
    log
        Reads receipts, manifests and votes; nobody else may use it.
    shards
        M.
    figures
        Takes manifests and votes.
    watch
        Called again and again: starts again what has died.
    """

    def __init__(
        self, producer: TransactionProducer, log: Log, shards: int, figures: Figures, view: View,
        watch: Callable[[], None],
    ) -> None:
        self.figures = figures
        self.sent: dict[bytes, Transaction] = {}
        """All transactions by their hashes."""
        self.delivered: dict[tuple[int, int], bytes] = {}
        """By partition and offset, from the reports of the broker, the hash of what was stored there."""
        self._producer = producer
        self._log = log
        self._view = view
        self._watch = watch
        self._watched_s = 0.0
        self._under_way: dict[bytes, float] = {}
        self._reports: list[Future[Delivery]] = []
        log.follow(dict.fromkeys([EPOCHS, VOTES, *(receipts(shard) for shard in range(shards))], 0))

    def run(
        self, name: str, transactions: Sequence[Transaction], *, window: int, kills: Sequence[Kill] = ()
    ) -> Round:
        """Send transactions, `window` of them under way at most, and wait for all receipts.

        Raises
        ------
        Failed
            No receipt came for a long time.
        """
        waiting, to_kill = deque(transactions), deque(kills)
        killed: list[tuple[str, float]] = []
        going = Round(name=name, transactions=len(transactions))
        started = time.monotonic()
        while waiting or self._under_way:
            while waiting and len(self._under_way) < window:
                self._send(waiting.popleft())
            self._receive(going)
            if to_kill and len(going.arrivals) >= to_kill[0].at * len(transactions):
                victim = to_kill.popleft()
                victim.kill()
                killed.append((victim.name, time.monotonic()))
                self._view.say(f"killed {victim.name} (SIGKILL)")
            if time.monotonic() - max([started, *going.arrivals[-1:]]) > STUCK_S:
                raise Failed(
                    f"{len(self._under_way)} transactions of {name!r} got no receipt for {STUCK_S:g} s; "
                    f"{self.figures.open_input()}")
            self._view.update(self._moment(going))
        going.seconds = time.monotonic() - started
        going.stalls = stalls(killed, going.arrivals)
        for report in self._reports:
            delivery = report.result(STUCK_S)
            self.delivered[delivery.partition, delivery.offset] = delivery.hash
        self._reports = []
        self._view.settle()
        return going

    def settle(self, timeout_s: float = 20.0) -> None:
        """Wait until the chain vouches for the last epoch.

        Raises
        ------
        Failed
            It doesn't.
        """
        deadline = time.monotonic() + timeout_s
        while not self.figures.vouched:
            if time.monotonic() > deadline:
                named = {entry.shard: entry.epoch for entry in self.figures.tip.digests}
                raise Failed(
                    f"{timeout_s:g} s after the last receipt the newest digests on the chain are of epochs {named} by "
                    f"shard, the last epoch with work is {self.figures.worked}")
            self._receive(None)

    def _send(self, transaction: Transaction) -> None:
        self.sent[transaction.hash] = transaction
        self._under_way[transaction.hash] = time.monotonic()
        self._reports.append(self._producer.send_decoded(transaction))

    def _receive(self, going: Round | None) -> None:
        """Take what has come, and look after the processes."""
        fetched = self._log.poll(POLL_S)
        now = time.monotonic()
        for record in fetched:
            if record.topic.name is not TopicName.RECEIPTS:
                self.figures.take(record)
                continue
            sent_s = self._under_way.pop(record.key or b"", None)
            if sent_s is not None and going is not None:
                going.latencies_s.append(now - sent_s)
                going.arrivals.append(now)
        if now - self._watched_s > WATCH_S:
            self._watched_s = now
            self._watch()

    def _moment(self, going: Round) -> Moment:
        recent, figures = going.arrivals[-RECENT:], self.figures
        elapsed = time.monotonic() - recent[0] if recent else 0.0
        latencies = going.latencies_s[-RECENT:]
        return Moment(cells={
            "": going.name,
            "receipts": f"{len(going.arrivals):,}/{going.transactions:,}",
            "tx/s": f"{len(recent) / elapsed:,.0f}" if elapsed else "-",
            "p50 ms": f"{quantile_ms(latencies, 0.5):,.0f}",
            "p99 ms": f"{quantile_ms(latencies, 0.99):,.0f}",
            "epochs": f"{figures.epochs:,}",
            "repaired": f"{figures.repaired:,}",
            "carried": f"{figures.carried:,}",
            "excluded": f"{figures.excluded:,}",
        })


def quantile_ms(latencies_s: Sequence[float], share: float) -> float:
    """A quantile in ms; 0 where there are none."""
    ordered = sorted(latencies_s)
    return 1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def stalls(killed: Sequence[tuple[str, float]], arrivals: Sequence[float]) -> list[tuple[str, float]]:
    """For how many seconds after each kill, until the next one, no receipt came: the sum of the pauses."""
    found = []
    for index, (name, at) in enumerate(killed):
        until = killed[index + 1][1] if index + 1 < len(killed) else float("inf")
        times = [at, *(arrival for arrival in arrivals if at < arrival <= until)]
        pauses = [late - early for early, late in itertools.pairwise(times)]
        found.append((name, sum(pause for pause in pauses if pause > PAUSE_S)))
    return found
