"""A gateway's node without services: state in a dictionary, sent transactions in a list, requests by a test client."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from starlette.testclient import TestClient

from gateway.dispatch import Dispatcher
from gateway.methods import METHODS
from gateway.node import Node, Progress
from gateway.server import application
from gateway.settings import GatewaySettings
from ingest.transactions import Transaction
from ledger import BlockIndex, IndexFollower
from schemas.errors import Gone, Unavailable
from schemas.hashing import keccak
from schemas.keys import balance_key, blob_key, code_key, minimal, nonce_key
from schemas.records import NEVER, Entry, version
from streams.log import MemoryLog
from tests.written_chain import WrittenChain


@dataclass
class DictState:
    """State by epoch: what was set at an epoch holds from then on."""

    applied: int | None = None
    """The newest epoch that can be read; None for any."""
    oldest: int = 0
    values: dict[bytes, list[tuple[int, bytes]]] = field(default_factory=dict)
    reads: list[tuple[int, frozenset[bytes]]] = field(default_factory=list)

    def set(self, key: bytes, value: bytes, epoch: int = 0) -> None:
        """Set a key from an epoch on."""
        self.values.setdefault(key, []).append((epoch, value))

    def fund(self, address: bytes, wei: int = 10**20, nonce: int = 0) -> None:
        """Give an account a balance and a nonce."""
        self.set(balance_key(address), minimal(wei))
        self.set(nonce_key(address), minimal(nonce))

    def deploy(self, address: bytes, code: bytes) -> None:
        """Give an account code."""
        self.set(code_key(address), keccak(code))
        self.set(blob_key(keccak(code)), code)

    def read(
        self, keys: Iterable[bytes], at: int | None = None, *, wait_ms: int = 0, deadline_s: float | None = None
    ) -> Mapping[bytes, Entry]:
        """Entries of an epoch."""
        assert at is not None, "reads are pinned"
        wanted = frozenset(keys)
        self.reads.append((at, wanted))
        if at < self.oldest:
            raise Gone(at, self.oldest)
        if self.applied is not None and at > self.applied:
            raise Unavailable(f"epoch {at} is not applied")
        found = {}
        for key in wanted:
            held = [(epoch, value) for epoch, value in self.values.get(key, ()) if epoch <= at]
            found[key] = Entry(held[-1][1], version(held[-1][0], merged=False)) if held else NEVER
        return found


@dataclass
class ListOutbox:
    """Appends to a written chain."""

    chain: WrittenChain
    sent: list[Transaction] = field(default_factory=list)
    failure: Exception | None = None

    def send(self, transaction: Transaction, timeout_s: float) -> None:
        """Append a transaction."""
        if self.failure is not None:
            raise self.failure
        self.sent.append(transaction)
        self.chain.send(transaction.raw)


class RpcNode:
    """A node with a client."""

    def __init__(self, path: Path, settings: GatewaySettings | None = None, chain: WrittenChain | None = None) -> None:
        self.settings = settings or GatewaySettings()
        self.chain = chain or WrittenChain()
        self.state = DictState()
        self.outbox = ListOutbox(self.chain)
        self.index = BlockIndex(path, self.chain.genesis, self.chain.shards)
        topics = self.chain.log.topics
        self.follower = IndexFollower(self.index, MemoryLog(topics), MemoryLog(topics))
        self.node = Node.of(
            self.index, self.state, self.outbox, self.settings, version="test/1",
            progress=lambda: Progress(caught_up=self.follower.caught_up, known_block=self.follower.known_block))
        self.follower.listen(self.node.submission.in_flight.settle)
        self.follower.start()
        self.healthy = True
        app = application(
            Dispatcher(self.node, METHODS), self.settings, lambda: (self.healthy, {"status": str(self.healthy)}))
        self.http = TestClient(app)

    def read(self) -> None:
        """Let the index read all that is there."""
        for _ in range(4):
            self.follower.step(0)

    def ask(self, method: str, *params: Any) -> dict[str, Any]:
        """The answer to a request, an object with either result or error."""
        answer: dict[str, Any] = self.http.post(
            "/", json={"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)}).json()
        assert answer.pop("jsonrpc") == "2.0"
        assert answer.pop("id") == 1
        assert len(answer) == 1
        return answer

    def result(self, method: str, *params: Any) -> Any:
        """The result of a request that has to succeed."""
        answer = self.ask(method, *params)
        assert "result" in answer, answer
        return answer["result"]

    def error(self, method: str, *params: Any) -> tuple[int, str]:
        """Code and message of a request that has to fail."""
        answer = self.ask(method, *params)
        assert "error" in answer, answer
        return answer["error"]["code"], answer["error"]["message"]

    def close(self) -> None:
        """Close the index."""
        self.http.close()
        self.index.close()


