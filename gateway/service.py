"""The gateway as a process: index, addresses of the shards, and HTTP, each in a thread of its own."""

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import TimeoutError as FutureTimeout
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

from ingest.producer import TransactionProducer
from ingest.routing import Router
from ingest.transactions import Transaction
from ledger import BlockIndex, IndexFollower
from schemas.chain import Tip
from schemas.errors import ConfigurationError, InvariantViolation, Unavailable
from streams.kafka import KafkaLog, KafkaSettings
from streams.reads import ShardReader

from .addresses import AddressBook
from .dispatch import Dispatcher
from .methods import METHODS
from .node import Node, Progress
from .server import application, server
from .settings import GatewaySettings

log = logging.getLogger(__name__)

DISTRIBUTION: Final = "parsec-streams"
START_TIMEOUT_S: Final = 30.0
STOP_TIMEOUT_S: Final = 10.0


class ProducerOutbox:
    """Sends by a producer of transactions."""

    def __init__(self, producer: TransactionProducer) -> None:
        self._producer = producer

    def send(self, transaction: Transaction, timeout_s: float) -> None:
        """Append a transaction and wait until the broker has stored it."""
        future = self._producer.send_decoded(transaction, timeout_s=0)
        try:
            future.result(timeout_s)
        except FutureTimeout as exc:
            raise Unavailable(
                f"the broker did not acknowledge transaction 0x{transaction.hash.hex()} within {timeout_s:g} s; "
                "it may be stored all the same"
            ) from exc


class Gateway:
    """Ethereum JSON-RPC for one chain.

    Parameters
    ----------
    kafka
        The cluster.
    genesis
        The tip before the first manifest; it holds N and the rules.
    shards
        M.
    data
        Directory of the index; it is built from the topics where it is empty.
    own
        Addresses and limits.
    """

    def __init__(
        self, kafka: KafkaSettings, genesis: Tip, shards: int, data: Path, own: GatewaySettings | None = None
    ) -> None:
        self._kafka = kafka
        self._genesis = genesis
        self._shards = shards
        self._data = data
        self._own = own or GatewaySettings()
        self._stopping = threading.Event()
        self._failure: BaseException | None = None
        self._threads: list[threading.Thread] = []
        self._closers: list[Callable[[], None]] = []
        self._index: BlockIndex | None = None
        self._follower: IndexFollower | None = None
        self._node: Node | None = None
        self._server: Any = None

    @property
    def url(self) -> str:
        """Where it listens, once it has started."""
        for listening in self._server.servers if self._server is not None else ():
            for each in listening.sockets:
                return f"http://{self._own.host}:{each.getsockname()[1]}"
        raise Unavailable("the gateway does not listen")

    def run(self, stop: threading.Event) -> None:
        """Serve until `stop` is set.

        Raises
        ------
        ConfigurationError
            The address is taken, or the index belongs to another chain.
        InvariantViolation
            The topics contradict each other.
        """
        try:
            self.start()
            while not stop.wait(0.1):
                self.check()
        finally:
            self.stop()

    def serve(self) -> None:
        """Serve until another thread calls `stop`."""
        self.run(self._stopping)

    def start(self) -> None:
        """Start everything, and return once HTTP is served."""
        self._index = index = BlockIndex(self._data, self._genesis, self._shards)
        self._closers.append(index.close)
        committed = self._connection(committed_only=True)
        uncommitted = self._connection(committed_only=False)
        reader = ShardReader(self._shards, anchor=self._genesis.hash, deadline_s=self._own.read_timeout_s)
        self._closers.append(reader.close)
        addresses = AddressBook(self._connection(committed_only=True), reader, self._shards)
        producer = TransactionProducer(self._kafka, self._genesis.rules, Router(len(self._genesis.inputs)))
        self._closers.append(producer.close)
        self._follower = follower = IndexFollower(index, committed, uncommitted)
        self._node = Node.of(
            index, reader, ProducerOutbox(producer), self._own, version=_version(), progress=self._progress
        )
        follower.listen(self._node.submission.in_flight.settle)
        self._begin("gateway-index", lambda: follower.run(self._stopping))
        self._begin("gateway-addresses", lambda: addresses.run(self._stopping))
        self._server = server(application(Dispatcher(self._node, METHODS), self._own, self.health), self._own)
        self._begin("gateway-http", self._serve_http)
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._server.started:
            self.check()
            if time.monotonic() > deadline:
                raise Unavailable(f"the gateway did not start to listen within {START_TIMEOUT_S:g} s")
            time.sleep(0.01)
        log.info("gateway listens at %s", self.url)

    def stop(self) -> None:
        """Stop in reverse order, within a bound."""
        self._stopping.set()
        if self._server is not None:
            self._server.should_exit = True
        deadline = time.monotonic() + STOP_TIMEOUT_S
        for thread in reversed(self._threads):
            thread.join(max(0.0, deadline - time.monotonic()))
            if thread.is_alive():
                log.warning("thread %s does not end within %g s", thread.name, STOP_TIMEOUT_S)
        self._threads = []
        while self._closers:
            self._closers.pop()()
        # A producer is disconnected only when nothing refers to it any more.
        self._node = self._follower = self._server = None

    def check(self) -> None:
        """Raise what has ended one of the threads."""
        if self._failure is not None:
            raise self._failure

    def health(self) -> tuple[bool, dict[str, Any]]:
        """Whether requests can be answered, and how far the index is."""
        index, follower, node = self._index, self._follower, self._node
        if index is None or follower is None or node is None:
            return False, {"status": "starting"}
        head = index.head
        report = {
            "status": "ok" if follower.caught_up else "syncing",
            "epoch": head.epoch,
            "block": head.block,
            "epochsWaiting": follower.epochs_waiting,
            "inFlight": len(node.submission.in_flight),
        }
        well = self._failure is None and all(thread.is_alive() for thread in self._threads)
        if not well:
            report["status"] = "failed"
        return well, report

    def _progress(self) -> Progress:
        follower = self._follower
        if follower is None:
            return Progress(caught_up=False, known_block=0)
        return Progress(caught_up=follower.caught_up, known_block=follower.known_block)

    def _connection(self, *, committed_only: bool) -> KafkaLog:
        kafka = KafkaLog(self._kafka, committed_only=committed_only)
        self._closers.append(kafka.close)
        return kafka

    def _serve_http(self) -> None:
        try:
            asyncio.run(self._server.serve())
        except SystemExit as exc:  # how uvicorn says that it cannot listen
            raise ConfigurationError(f"cannot listen at {self._own.host}:{self._own.port}") from exc
        if not self._stopping.is_set():
            raise InvariantViolation("the HTTP server ended by itself")

    def _begin(self, name: str, work: Callable[[], None]) -> None:
        def guarded() -> None:
            try:
                work()
            except BaseException as exc:
                log.error("%s ends: %s", name, exc)
                self._failure = self._failure or exc

        thread = threading.Thread(target=guarded, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()


def _version() -> str:
    try:
        return f"parsec-streams/{version(DISTRIBUTION)}"
    except PackageNotFoundError:
        return "parsec-streams/unknown"
