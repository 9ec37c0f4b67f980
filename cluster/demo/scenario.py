"""The demonstration from begin to end."""

import gc
import json
import shutil
import signal
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

from cluster.config import Config, KafkaConfig
from cluster.kafka.lock import FileLock, LockHeld
from cluster.supervisor import Supervisor
from executors.evm import PyEvm
from ingest.producer import TransactionProducer
from ledger.audit import Audit, Report
from ledger.feed import Feed
from schemas.errors import ConfigurationError, ParsecError
from schemas.rules import Rules
from streams.kafka import KafkaLog
from streams.reads import ShardReader
from streams.start import shard_addresses

from .checks import Checks, Tally
from .figures import Figures
from .flow import Failed, Flow, Kill, Moment, Round, ScramblingRouter
from .summary import Summary
from .traffic import PARKED_MS_MAX, Traffic
from .view import View

EXECUTORS: Final = 2
SHARDS: Final = 2
PARTITIONS: Final = 4
WINDOW: Final = 256
"""So many transactions are under way; more would only wait, and conflict more."""
QUIET: Final = 20
"""Payments that are made one at a time, for the latency of an idle pipeline."""
KILLED: Final = (("executor-0", 0.3), ("shard-1", 0.6))
"""What is killed in the second round, and after which share of it."""
HOST: Final = "127.0.0.1"
FOLDER: Final = "demo"


def run(
    config: Config,
    file: Path | None,  # noqa: ARG001 (it may hold the secrets of another cluster; this one has none)
    *,
    json_output: bool,
    scramble: bool = False,
    payments: int = 5000,
    swaps: int = 400,
    keep: bool = False,
) -> int:
    """Run the demonstration on an embedded broker, in a directory of its own.

    Parameters
    ----------
    config
        Says where the data are and how epochs are paced; the rest is the demonstration's.
    file
        Where it came from.
    json_output
        One JSON document on standard output; what happens meanwhile is told on standard error.
    scramble
        Choose partitions at random instead of by what transactions touch.
    payments, swaps
        So many in each of the two rounds.
    keep
        Leave the data where they are. They also stay where something failed.

    Returns
    -------
    int
        Exit status: 0, or 1 where something is not as it has to be.
    """
    view = View(sys.stderr if json_output else sys.stdout)
    data = config.cluster.data.absolute() / FOLDER
    try:
        with _interruptible(), _alone(data), view:
            shutil.rmtree(data, ignore_errors=True)
            try:
                summary = _Scenario(_own(config, data), view, scramble=scramble, payments=payments, swaps=swaps).run()
            except KeyboardInterrupt:
                _remove(data, keep=keep)
                raise
            _remove(data, keep=keep)
    except ParsecError as exc:
        if json_output:
            print(json.dumps({"ok": False, "reason": str(exc)}, indent=2))
        print(f"demo failed: {exc}", file=sys.stderr)
        if (data / "logs").is_dir():
            print(f"its data and logs are in {data}", file=sys.stderr)
        return 1
    if json_output:
        print(json.dumps(summary.document(), indent=2))
    else:
        view.show(summary.table())
        view.say(summary.last_line())
    return 0


class _Scenario:
    """One run of it."""

    def __init__(self, config: Config, view: View, *, scramble: bool, payments: int, swaps: int) -> None:
        if payments < 1 or swaps < 0:
            raise ConfigurationError(f"{payments} payments and {swaps} swaps: at least 1 and 0 are needed")
        self._config = config
        self._view = view
        self._scramble = scramble
        self._payments = payments
        self._swaps = swaps
        # The file that the services read is made of this traffic, so the rules cannot be read from it yet.
        self._traffic = Traffic(Rules(parked_ms_max=PARKED_MS_MAX), 2 * (payments + swaps))
        self._killed: set[str] = set()

    def run(self) -> Summary:
        """Start everything, and go through it."""
        began = time.monotonic()
        genesis_file = self._config.cluster.data / "genesis.json"
        genesis_file.parent.mkdir(parents=True, exist_ok=True)
        genesis_file.write_bytes(self._traffic.genesis())
        self._config = replace(self._config, cluster=replace(self._config.cluster, genesis=genesis_file))
        self._genesis = self._config.read_genesis()
        self._start = self._config.start(self._genesis)
        with Supervisor(self._config) as self._supervisor:
            self._supervisor.start(self._view.say)
            ready_s = time.monotonic() - began
            self._view.say(f"ready after {ready_s:.1f} s")
            try:
                return self._with_clients(began, ready_s)
            except ParsecError as exc:
                raise exc.with_traceback(None) from None  # its frames would keep clients connected
            finally:
                gc.collect()  # so do cycles; a client that outlives the broker complains on standard error

    def _with_clients(self, began: float, ready_s: float) -> Summary:
        settings = self._supervisor.config.settings
        router = ScramblingRouter(PARTITIONS)
        with (
            closing(KafkaLog(settings)) as log,
            closing(ShardReader(SHARDS, anchor=self._start.hash)) as reader,
            TransactionProducer(settings, self._genesis.rules, router) as producer,
        ):
            flow = Flow(producer, log, SHARDS, Figures(self._start), self._view, self._watch)
            checks = Checks(settings, self._genesis, self._start, SHARDS, reader, self._traffic)
            rounds = self._set_up(flow)
            router.scrambling = self._scramble
            rounds.append(self._round(flow, "first round"))
            self._checked(flow, checks, reader)
            rounds.append(self._round(flow, "second round", self._kills()))
            tally, figures = self._checked(flow, checks, reader)
            for name in self._killed:
                self._view.say(f"{name} was killed and ran again as process {self._supervisor.services[name].pid}")
            audit, audit_s = self._audited()
        return Summary(
            transactions=len(flow.delivered), receipts=tally.receipts, rounds=tuple(rounds), figures=figures,
            audit=audit, audit_s=audit_s, ready_s=ready_s, seconds=time.monotonic() - began)

    # ---- traffic ------------------------------------------------------------------------------------------------

    def _set_up(self, flow: Flow) -> list[Round]:
        """Deploy, hand out tokens, approve; then a few payments one at a time."""
        traffic = self._traffic
        flow.run("setting up", traffic.beginning(), window=WINDOW)
        flow.run("approving", traffic.approvals(), window=WINDOW)
        return [flow.run("one at a time", traffic.round(QUIET, 0), window=1)]

    def _round(self, flow: Flow, name: str, kills: Sequence[Kill] = ()) -> Round:
        self._view.say(f"{name}: signing {self._payments + self._swaps:,} transactions")
        transactions = self._traffic.round(self._payments, self._swaps)
        part = flow.run(name, transactions, window=WINDOW, kills=kills)
        self._view.say(
            f"{name}: {part.transactions:,} transactions in {part.seconds:.1f} s, {part.per_second:,.0f} a second, "
            f"p50 {part.latency_ms(0.5):,.0f} ms, p99 {part.latency_ms(0.99):,.0f} ms")
        for victim, stall in part.stalls:
            self._view.say(f"{victim} was killed: no receipt for {stall:.1f} s")
        return part

    # ---- processes ----------------------------------------------------------------------------------------------

    def _kills(self) -> list[Kill]:
        return [Kill(at=at, name=name, kill=partial(self._kill, name)) for name, at in KILLED]

    def _kill(self, name: str) -> None:
        self._killed.add(name)
        process = self._supervisor.services[name].process
        if process is not None:
            process.kill()

    def _watch(self) -> None:
        """Start again what was killed; nothing else may end."""
        for name in self._supervisor.restart_dead():
            if name not in self._killed:
                raise Failed(f"{name} ended by itself:\n{self._supervisor.last_words(name)}")
            self._view.say(f"{name} was started again")

    # ---- proof --------------------------------------------------------------------------------------------------

    def _checked(self, flow: Flow, checks: Checks, reader: ShardReader) -> tuple[Tally, Figures]:
        """Wait until all is quiet, then check receipts, balances, epochs and votes."""
        flow.settle()
        self._watch()
        with closing(KafkaLog(self._supervisor.config.settings)) as log:
            for shard, address in shard_addresses(log, SHARDS).items():
                reader.set_address(shard, address)
        tally, figures = checks.all(flow.delivered, flow.sent)
        self._view.say(
            f"checked: {tally.receipts:,} transactions have exactly one receipt each, supply is conserved; "
            f"{figures.epochs:,} epochs, {figures.repaired:,} lanes repaired, {figures.carried:,} times carried")
        return tally, figures

    def _audited(self) -> tuple[Report, float]:
        """Execute everything again, serially, and compare."""
        began = time.monotonic()

        def progress(done: int, total: int) -> None:
            self._view.update(Moment(cells={"": "audit", "epochs": f"{done:,}/{total:,}"}))

        with closing(KafkaLog(self._supervisor.config.settings)) as log:
            feed = Feed(log, Audit.topics(PARTITIONS, SHARDS))
            report = Audit(feed, self._genesis, PARTITIONS, SHARDS, PyEvm(self._genesis.rules)).run(progress)
        self._view.settle()
        if not report.identical:
            raise Failed(f"the audit found a difference: {report.difference}")
        return report, time.monotonic() - began


def _own(config: Config, data: Path) -> Config:
    """The configuration of the demonstration: its own broker, directory and port, always the same shape."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
    return replace(
        config,
        kafka=KafkaConfig(port=port),
        cluster=replace(
            config.cluster, executors=EXECUTORS, shards=SHARDS, partitions=PARTITIONS, sequencers=1, data=data,
            host=HOST, advertised=""),
        gateway=replace(config.gateway, enabled=False))


def _remove(data: Path, *, keep: bool) -> None:
    if not keep:
        shutil.rmtree(data, ignore_errors=True)


@contextmanager
def _alone(data: Path) -> Iterator[None]:
    """Only one demonstration at a time on a directory."""
    lock = FileLock(data.with_name(f"{data.name}.lock"))
    try:
        lock.acquire()
    except LockHeld as exc:
        raise ConfigurationError(
            f"process {exc.owner} runs a demonstration in {data}: wait for it, or name another --data") from exc
    with lock:
        yield


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let SIGTERM end it as Ctrl-C does: with everything cleaned up."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
