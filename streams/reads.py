"""The client of the shards' read service, and what client and service agree on.

A service answers three methods with plain bytes: `READ` takes a `ReadRequest` and gives a `ReadAnswer`, `TIP` gives a
`StoredTip`, `STATUS` gives JSON. A call names in its metadata the shard that it means, and the chain: addresses change
when a shard restarts, and a stale one may lead to anything that has taken over the port. Such a shard refuses, and the
client asks again until it has learnt the new address or its time is up.
"""

import heapq
import json
import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import grpc

from schemas.codec import CODEC
from schemas.errors import ConfigurationError, Gone, ParsecError, Unavailable, UndecodableRecord
from schemas.keys import home
from schemas.records import Entry, ReadAnswer, ReadRequest, StoredTip, Version

log = logging.getLogger(__name__)

T = TypeVar("T")

SERVICE: Final = "parsec.Shard"
READ: Final = f"/{SERVICE}/Read"
TIP: Final = f"/{SERVICE}/Tip"
STATUS: Final = f"/{SERVICE}/Status"

SHARD_FIELD: Final = "parsec-shard"
"""Metadata of a call: which shard is meant, ``3/16`` for number 3 of 16."""
ANCHOR_FIELD: Final = "parsec-anchor"
"""Metadata of a call: the anchor of the chain in hexadecimal digits."""
OLDEST_FIELD: Final = "parsec-oldest"
"""Metadata of the answer `OUT_OF_RANGE`: the oldest epoch that can be read."""

MESSAGE_BYTES: Final = 32 * 1024 * 1024
"""Largest message in either direction."""
CALL_KEYS: Final = 10_000
"""Keys that this client asks for in one call; services take 20,000."""
ATTEMPT_SECONDS: Final = 3.0
"""How long one call may take, besides the time that it asks the service to wait."""
BACKOFF_SECONDS: Final = 0.01
"""Pause before the second call; it doubles from call to call …"""
BACKOFF_SECONDS_MAX: Final = 0.5
"""… up to this."""
SLACK_SECONDS: Final = 5.0
"""How long after its deadline a caller stops to believe in a result."""
KEEPALIVE_MS: Final = 10_000
"""Pause between signs of life on an idle connection; services allow half of it."""

_CHANNEL_OPTIONS: Final = (
    ("grpc.max_send_message_length", MESSAGE_BYTES),
    ("grpc.max_receive_message_length", MESSAGE_BYTES),
    ("grpc.enable_http_proxy", 0),  # shards are reached directly, whatever the environment says of proxies
    ("grpc.keepalive_time_ms", KEEPALIVE_MS),
    ("grpc.keepalive_timeout_ms", 3_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1_000),  # this one is the time that an attempt to connect has
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.use_local_subchannel_pool", 1),  # a new channel doesn't inherit the backoff of an old one
)

Callback = Callable[[dict[bytes, Entry] | ParsecError], None]
"""What a read came to: the entries, or why there are none."""


@dataclass(frozen=True, slots=True)
class _Peer:
    """The connection to one shard."""

    address: str
    channel: Any
    metadata: tuple[tuple[str, str], ...]


@dataclass(slots=True, eq=False, kw_only=True)
class _Call:
    """A call that is repeated until it is answered, refused or late."""

    shard: int
    method: str
    payload: bytes
    until: float
    limit_s: float
    answered: Callable[[bytes], None]
    failed: Callable[[ParsecError], None]
    wanted: Callable[[], bool]
    too_large: Callable[[], bool] = lambda: False
    """Called when the answer has no room in a message; True if smaller calls take over."""
    wait_s: float = 0.0
    """How long the service waits for an epoch."""
    at: int = 0
    """The epoch, if the call is about one."""
    backoff_s: float = BACKOFF_SECONDS
    last: str = "its address is not known"
    """Why it wasn't answered the last time."""
    told: bool = False
    """Whether that are the words of the shard, which tell more than that time was up."""


@dataclass(slots=True, eq=False)
class _Reading:
    """A read under way at several shards: the first failure or the last answer ends it."""

    callback: Callback
    lock: threading.Lock = field(default_factory=threading.Lock)
    entries: dict[bytes, Entry] = field(default_factory=dict)
    open: int = 0
    ended: bool = False

    def add(self, entries: Mapping[bytes, Entry], *, more: int = 0) -> None:
        """One call is answered, or replaced by `more` others."""
        with self.lock:
            self.entries.update(entries)
            self.open += more - 1
            if self.open or self.ended:
                return
            self.ended = True
        self._tell(self.entries)

    def fail(self, error: ParsecError) -> None:
        """One call has failed."""
        with self.lock:
            if self.ended:
                return
            self.ended = True
        self._tell(error)

    def wanted(self) -> bool:
        """Whether anybody still waits for it."""
        return not self.ended

    def _tell(self, result: dict[bytes, Entry] | ParsecError) -> None:
        try:
            self.callback(result)
        except Exception:  # it is the caller's; the threads that run it here have to live on
            log.exception("the callback of a read failed")


class ShardReader:
    """Reads from all shards. Any thread may use it.

    Parameters
    ----------
    shards
        Their number.
    anchor
        Of the chain; a shard of another one refuses. Empty to ask any.
    deadline_s
        How long a read is tried unless the call says otherwise.
    """

    def __init__(self, shards: int, *, anchor: bytes = b"", deadline_s: float = 10.0) -> None:
        self._shards = shards
        self._anchor = anchor.hex()
        self._deadline_s = deadline_s
        self._peers: dict[int, _Peer] = {}
        self._wake = threading.Condition()
        self._waiting: list[tuple[float, int, _Call]] = []
        self._count = 0
        self._closed = False
        self._retrying: threading.Thread | None = None

    # ---- addresses ----------------------------------------------------------------------------------------------

    def set_address(self, shard: int, address: str) -> None:
        """Ask this shard at ``host:port`` from now on, also for reads that are under way.

        Raises
        ------
        ConfigurationError
            There is no such shard.
        """
        if not 0 <= shard < self._shards:
            raise ConfigurationError(f"shard {shard} at {address} is none of {self._shards} shards")
        with self._wake:
            known = self._peers.get(shard)
            if self._closed or (known is not None and known.address == address):
                return
            metadata = ((SHARD_FIELD, f"{shard}/{self._shards}"), (ANCHOR_FIELD, self._anchor))
            channel = grpc.insecure_channel(address, options=_CHANNEL_OPTIONS)
            self._peers[shard] = _Peer(address, channel, metadata if self._anchor else metadata[:1])
            # What was waiting for this shard is tried at once.
            self._waiting = [(0.0 if call.shard == shard else due, n, call) for due, n, call in self._waiting]
            heapq.heapify(self._waiting)
            self._wake.notify_all()
        log.info("shard %d is at %s", shard, address)
        if known is not None:
            known.channel.close()  # ends the calls on it, which are then repeated at the new address

    def addresses(self) -> dict[int, str]:
        """The addresses by shard, as far as they are known."""
        with self._wake:
            return {shard: self._peers[shard].address for shard in sorted(self._peers)}

    # ---- reads --------------------------------------------------------------------------------------------------

    def read(
        self, keys: Iterable[bytes], at: int | None = None, *, wait_ms: int = 0, deadline_s: float | None = None
    ) -> dict[bytes, Entry]:
        """The entries of these keys, pinned to an epoch or at whatever each shard has applied.

        Parameters
        ----------
        wait_ms
            How long a shard is to wait for an epoch that it hasn't applied, before it is asked again.

        Raises
        ------
        Gone
            A shard doesn't keep the epoch any more.
        Unavailable
            A shard gave no answer until the deadline.
        ConfigurationError
            A shard says that the request is wrong.
        """
        done = threading.Event()
        results: list[dict[bytes, Entry] | ParsecError] = []

        def ended(result: dict[bytes, Entry] | ParsecError) -> None:
            results.append(result)
            done.set()

        limit_s = self._deadline_s if deadline_s is None else deadline_s
        self.submit(keys, at, ended, wait_ms=wait_ms, deadline_s=limit_s)
        if not done.wait(limit_s + SLACK_SECONDS):
            raise Unavailable(f"a read gave no result within {limit_s + SLACK_SECONDS:g} s")
        return _raised(results[0])

    def submit(
        self,
        keys: Iterable[bytes],
        at: int | None,
        callback: Callback,
        *,
        wait_ms: int = 0,
        deadline_s: float | None = None,
    ) -> None:
        """Start a read; `callback` gets exactly one result, as a rule in another thread, where it must not block."""
        homes: dict[int, list[bytes]] = {}
        for key in dict.fromkeys(keys):
            homes.setdefault(home(key, self._shards), []).append(key)
        chunks = [
            (shard, some[start : start + CALL_KEYS])
            for shard, some in homes.items()
            for start in range(0, len(some), CALL_KEYS)
        ]
        reading = _Reading(callback, open=max(1, len(chunks)))
        if not chunks:
            reading.add({})
        limit_s = self._deadline_s if deadline_s is None else deadline_s
        until = time.monotonic() + limit_s
        for shard, chunk in chunks:
            self._send(self._reading_call(reading, shard, chunk, at, wait_ms, until, limit_s))

    def tip(self, shard: int | None = None, *, deadline_s: float | None = None) -> StoredTip:
        """The tip of the chain after the last epoch that a shard has applied; of the first that answers by default.

        Raises
        ------
        Unavailable
            No shard answered.
        """
        return CODEC.decode_as(StoredTip, self._ask(TIP, shard, deadline_s))

    def status(self, shard: int, *, deadline_s: float | None = None) -> dict[str, Any]:
        """How a shard is, for people."""
        status: dict[str, Any] = json.loads(self._ask(STATUS, shard, deadline_s))
        return status

    def close(self) -> None:
        """Let go of all connections; what is under way fails."""
        with self._wake:
            self._closed = True
            waiting, self._waiting = self._waiting, []
            peers = list(self._peers.values())
            thread = self._retrying
            self._wake.notify_all()
        for peer in peers:
            peer.channel.close()
        for _, _, call in waiting:
            call.failed(Unavailable("the reader of the shards is closed"))
        if thread is not None and thread is not threading.current_thread():
            thread.join(ATTEMPT_SECONDS)

    # ---- calls --------------------------------------------------------------------------------------------------

    def _reading_call(
        self,
        reading: _Reading,
        shard: int,
        keys: list[bytes],
        at: int | None,
        wait_ms: int,
        until: float,
        limit_s: float,
    ) -> _Call:
        def answered(data: bytes) -> None:
            try:
                answer = CODEC.decode_as(ReadAnswer, data)
                entries = {
                    key: Entry(value, Version(version))
                    for key, value, version in zip(keys, answer.values, answer.versions, strict=True)
                }
            except (UndecodableRecord, ValueError) as exc:
                reading.fail(ConfigurationError(f"shard {shard} answers what cannot be read: {exc}"))
                return
            reading.add(entries)

        def halved() -> bool:
            if len(keys) < 2:
                return False
            half = len(keys) // 2
            reading.add({}, more=2)
            for some in (keys[:half], keys[half:]):
                self._send(self._reading_call(reading, shard, some, at, wait_ms, until, limit_s))
            return True

        return _Call(
            shard=shard,
            method=READ,
            payload=CODEC.encode(ReadRequest(keys=tuple(keys), at=at, wait_ms=wait_ms)),
            until=until,
            limit_s=limit_s,
            answered=answered,
            failed=reading.fail,
            wanted=reading.wanted,
            too_large=halved,
            wait_s=wait_ms / 1000,
            at=at or 0,
        )

    def _ask(self, method: str, shard: int | None, deadline_s: float | None) -> bytes:
        """The answer of one shard; of the first that answers if none is named."""
        limit_s = self._deadline_s if deadline_s is None else deadline_s
        until = time.monotonic() + limit_s
        done = threading.Event()
        answers: list[bytes] = []
        errors: list[ParsecError] = []
        asked = range(self._shards) if shard is None else (shard,)

        def answered(data: bytes) -> None:
            answers.append(data)
            done.set()

        def failed(error: ParsecError) -> None:
            errors.append(error)
            if len(errors) == len(asked):
                done.set()

        for one in asked:
            self._send(
                _Call(
                    shard=one,
                    method=method,
                    payload=b"",
                    until=until,
                    limit_s=limit_s,
                    answered=answered,
                    failed=failed,
                    wanted=lambda: not answers,
                )
            )
        if not done.wait(limit_s + SLACK_SECONDS):
            raise Unavailable(f"{method} gave no result within {limit_s + SLACK_SECONDS:g} s")
        return answers[0] if answers else _raised(errors[0])

    def _send(self, call: _Call) -> None:
        """Make a call once; it is made again later where that may help."""
        if not call.wanted():
            return
        with self._wake:
            peer, closed = self._peers.get(call.shard), self._closed
        if closed:
            call.failed(Unavailable("the reader of the shards is closed"))
            return
        left = call.until - time.monotonic()
        if left <= 0:
            where = f" at {peer.address}" if peer else ""
            call.failed(Unavailable(f"shard {call.shard}{where} gave no answer within {call.limit_s:g} s: {call.last}"))
            return
        if peer is None:
            self._again(call, call.last)
            return
        try:
            future = peer.channel.unary_unary(call.method).future(
                call.payload,
                timeout=min(left, ATTEMPT_SECONDS + call.wait_s),
                metadata=peer.metadata,
                wait_for_ready=True,  # a shard that is just starting is reached as soon as it listens
            )
        except ValueError:  # closed since, as the address has changed
            self._again(call, "its address has changed")
            return
        future.add_done_callback(lambda done: self._finished(call, done))

    def _finished(self, call: _Call, future: Any) -> None:
        """A call has ended."""
        code = future.code()
        try:
            if code is grpc.StatusCode.OK:
                call.answered(future.result())
            elif code is grpc.StatusCode.OUT_OF_RANGE:
                call.failed(Gone(call.at, int(dict(future.trailing_metadata())[OLDEST_FIELD])))
            elif code is grpc.StatusCode.INVALID_ARGUMENT:
                call.failed(ConfigurationError(f"shard {call.shard} refuses the request: {future.details()}"))
            elif code is not grpc.StatusCode.RESOURCE_EXHAUSTED or not call.too_large():
                late = code is grpc.StatusCode.DEADLINE_EXCEEDED
                reason = call.last if late and call.told else f"{code.name} {future.details()}"
                call.told = call.told or not late
                self._again(call, reason)
        except Exception as exc:  # in a thread of grpc's it would be lost, and the caller would wait in vain
            log.exception("the answer %s of shard %d could not be taken", code, call.shard)
            call.failed(Unavailable(f"the answer {code} of shard {call.shard} could not be taken: {exc!r}"))

    def _again(self, call: _Call, reason: str) -> None:
        """Make a call again after a pause."""
        call.last = reason
        with self._wake:
            closed = self._closed
            if not closed:
                due = min(time.monotonic() + call.backoff_s, call.until)
                call.backoff_s = min(2 * call.backoff_s, BACKOFF_SECONDS_MAX)
                self._count += 1
                heapq.heappush(self._waiting, (due, self._count, call))
                if self._retrying is None:
                    self._retrying = threading.Thread(target=self._retry, name="read-retry", daemon=True)
                    self._retrying.start()
                self._wake.notify_all()
        if closed:
            call.failed(Unavailable("the reader of the shards is closed"))

    def _retry(self) -> None:
        """Make calls again when their pause is over."""
        while True:
            with self._wake:
                while not self._closed and (not self._waiting or self._waiting[0][0] > time.monotonic()):
                    self._wake.wait(self._waiting[0][0] - time.monotonic() if self._waiting else None)
                if self._closed:
                    return
                _, _, call = heapq.heappop(self._waiting)
            self._send(call)


def _raised(result: T | ParsecError) -> T:
    if isinstance(result, ParsecError):
        raise result
    return result
