"""The read service of a shard: entries of one epoch, the tip of the chain and a status, over gRPC.

No code is generated: requests and answers are Avro records, as on the topics; `streams.reads` has the names and the
client. A read that is pinned to an epoch which isn't applied yet waits in a thread of the service, so that the number
of waiting reads is bounded below the number of threads.
"""

import json
import logging
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self

import grpc

from schemas.codec import CODEC
from schemas.errors import ConfigurationError, Gone, ParsecError, Unavailable, UndecodableRecord
from schemas.keys import describe, home
from schemas.records import Entry, ReadAnswer, ReadRequest
from streams.reads import (
    ANCHOR_FIELD,
    KEEPALIVE_MS,
    MESSAGE_BYTES,
    OLDEST_FIELD,
    READ,
    SERVICE,
    SHARD_FIELD,
    STATUS,
    TIP,
)

from .layout import Identity
from .store import Store

log = logging.getLogger(__name__)

KEYS_MAX = 20_000
"""Keys in one request."""
WAIT_MS_MAX = 10_000
"""How long a read waits for its epoch, whatever it asks for."""
WORKERS = 16
"""Threads that answer."""
FREE_WORKERS = 4
"""So many threads never wait for an epoch, and answer other calls."""
QUEUED_CALLS = 1_000
"""Calls under way, queued ones included; further ones are refused at once."""
PART_KEYS = 1_000
"""Keys that are read in one step, so that an answer that is too large is found out before it is all in memory."""
ENTRY_BYTES = 20
"""Upper bound of what an entry takes in an answer besides its value."""

_SERVER_OPTIONS = (
    ("grpc.max_send_message_length", MESSAGE_BYTES),
    ("grpc.max_receive_message_length", MESSAGE_BYTES),
    ("grpc.so_reuseport", 0),  # or two services could share a port, and each would get some of the calls
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", KEEPALIVE_MS // 2),
    ("grpc.http2.max_ping_strikes", 0),
)

CODES = {
    Gone: grpc.StatusCode.OUT_OF_RANGE,
    Unavailable: grpc.StatusCode.UNAVAILABLE,
    UndecodableRecord: grpc.StatusCode.INVALID_ARGUMENT,
}
"""Errors and what a client sees of them; all others are `INTERNAL`."""


class _Refused(Exception):
    """A call that is answered with a status."""

    def __init__(self, code: Any, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class ReadService:
    """Serves the store of one shard.

    Parameters
    ----------
    store
        What is served; another thread may apply to it.
    identity
        Whose state that is; a call that means another shard or chain is refused.
    host, port
        Where to listen; port 0 takes a free one.
    advertised_host
        What others are to call, if it isn't `host`.
    status
        What else `Status` is to tell.
    """

    def __init__(
        self,
        store: Store,
        *,
        identity: Identity,
        host: str = "127.0.0.1",
        port: int = 0,
        advertised_host: str | None = None,
        status: Callable[[], Mapping[str, object]] = dict,
    ) -> None:
        self._store = store
        self._identity = identity
        self._host, self._port = host, port
        self._advertised_host = advertised_host or host
        self._status = status
        self._progress = threading.Condition()
        self._applied = store.durable.applied
        self._waiting = 0
        self._stopping = False
        self._workers = ThreadPoolExecutor(WORKERS, thread_name_prefix="read")
        self._server = grpc.server(self._workers, options=_SERVER_OPTIONS, maximum_concurrent_rpcs=QUEUED_CALLS)
        handlers = {
            READ: self._handler(self._read),
            TIP: self._handler(self._tip),
            STATUS: self._handler(self._tell_status),
        }
        by_name = {method.rpartition("/")[2]: handler for method, handler in handlers.items()}
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, by_name),))

    def start(self) -> str:
        """Listen; the address that others are to call, ``host:port``.

        Raises
        ------
        ConfigurationError
            The address cannot be listened on.
        """
        try:
            port = self._server.add_insecure_port(_address(self._host, self._port))
        except RuntimeError as exc:
            raise ConfigurationError(f"cannot listen on {_address(self._host, self._port)}: {exc}") from exc
        self._server.start()
        address = _address(self._advertised_host, port)
        log.info("%s answers reads at %s", self._identity, address)
        return address

    def applied(self, epoch: int) -> None:
        """The store has applied this epoch: whoever waits for it goes on."""
        with self._progress:
            self._applied = epoch
            if self._waiting:
                self._progress.notify_all()

    def stop(self, deadline_s: float = 5.0) -> None:
        """Take no more calls, let those under way end, and cut off what takes longer than the deadline."""
        with self._progress:
            self._stopping = True
            self._progress.notify_all()
        self._server.stop(deadline_s).wait(deadline_s + 1.0)
        self._workers.shutdown(wait=False, cancel_futures=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    # ---- the methods --------------------------------------------------------------------------------------------

    def _read(self, data: bytes, context: Any) -> bytes:
        """Entries in the order of the keys, all of one epoch."""
        request = CODEC.decode_as(ReadRequest, data)
        self._check_keys(request.keys)
        if request.at is not None:
            self._await(request.at, request.wait_ms, context)
        epoch, entries = self._entries(request)
        return CODEC.encode(
            ReadAnswer(
                epoch=epoch,
                values=tuple([entry.value for entry in entries]),
                versions=tuple([entry.version for entry in entries]),
            )
        )

    def _tip(self, _data: bytes, _context: Any) -> bytes:
        """The tip after the last applied epoch, with the hashes of the newest blocks."""
        return CODEC.encode(self._store.durable.tip.stored())

    def _tell_status(self, _data: bytes, _context: Any) -> bytes:
        """How the shard is, JSON."""
        durable = self._store.durable
        status = {
            "shard": self._identity.shard,
            "shards": self._identity.shards,
            "anchor": self._identity.anchor.hex(),
            "applied": durable.applied,
            "published": durable.published.epoch - 1,
            "block": durable.tip.block - 1,
            "timestamp_ms": durable.tip.timestamp_ms,
            "digest": durable.digest.digest.hex(),
            "digest_epoch": durable.digest.epoch,
            "waiting_reads": self._waiting,
            **self._status(),
        }
        return json.dumps(status).encode()

    # ---- how they work ------------------------------------------------------------------------------------------

    def _handler(self, method: Callable[[bytes, Any], bytes]) -> Any:
        """The method for gRPC, with its errors turned into statuses."""

        def answer(data: bytes, context: Any) -> bytes:
            try:
                self._check_meant(dict(context.invocation_metadata()))
                return method(data, context)
            except _Refused as exc:
                code, reason = exc.code, str(exc)
            except ParsecError as exc:
                code, reason = CODES.get(type(exc), grpc.StatusCode.INTERNAL), str(exc)
                if isinstance(exc, Gone):
                    context.set_trailing_metadata(((OLDEST_FIELD, str(exc.oldest)),))
                if code is grpc.StatusCode.INTERNAL:
                    log.exception("a call failed")
            context.abort(code, reason)
            return b""  # never: abort raises

        return grpc.unary_unary_rpc_method_handler(answer)

    def _check_meant(self, fields: Mapping[str, str]) -> None:
        """Refuse a call that means another shard or chain: its address is stale."""
        identity = self._identity
        this = f"{identity.shard}/{identity.shards}"
        meant = fields.get(SHARD_FIELD, this)
        if meant != this:
            raise _Refused(grpc.StatusCode.FAILED_PRECONDITION, f"this is shard {this}, not {meant}")
        anchor = fields.get(ANCHOR_FIELD, identity.anchor.hex())
        if anchor != identity.anchor.hex():
            reason = f"this shard has anchor 0x{identity.anchor.hex()}, not 0x{anchor}"
            raise _Refused(grpc.StatusCode.FAILED_PRECONDITION, reason)

    def _check_keys(self, keys: tuple[bytes, ...]) -> None:
        if len(keys) > KEYS_MAX:
            raise _Refused(grpc.StatusCode.INVALID_ARGUMENT, f"{len(keys)} keys; the limit is {KEYS_MAX}")
        shard, shards = self._identity.shard, self._identity.shards
        for key in keys:
            at = home(key, shards)
            if at != shard:
                reason = f"{describe(key)} lives at shard {at} of {shards}; this is shard {shard}"
                raise _Refused(grpc.StatusCode.INVALID_ARGUMENT, reason)

    def _await(self, epoch: int, wait_ms: int, context: Any) -> None:
        """Wait until an epoch is applied, as long as the call wants and we allow.

        Raises
        ------
        Unavailable
            It isn't applied by then, too many calls wait already, or the service stops.
        """
        with self._progress:
            if self._applied >= epoch:
                return
            if self._waiting >= WORKERS - FREE_WORKERS:
                raise Unavailable(f"{self._waiting} reads wait for an epoch already, and no more may")
            until = time.monotonic() + min(max(wait_ms, 0), WAIT_MS_MAX) / 1000
            context.add_callback(self._wake)  # so that a caller who has gone holds no thread
            self._waiting += 1
            try:
                while self._applied < epoch and not self._stopping and context.is_active():
                    left = until - time.monotonic()
                    if left <= 0:
                        break
                    self._progress.wait(left)
            finally:
                self._waiting -= 1
            if self._applied < epoch:
                raise Unavailable(f"epoch {epoch} is not applied yet; the newest is {self._applied}")

    def _wake(self) -> None:
        with self._progress:
            self._progress.notify_all()

    def _entries(self, request: ReadRequest) -> tuple[int, list[Entry]]:
        """The entries, part by part at the epoch of the first part."""
        keys = request.keys
        epoch, entries = self._store.read(keys[:PART_KEYS], request.at)
        size = _size(entries)
        for start in range(PART_KEYS, len(keys), PART_KEYS):
            if size > MESSAGE_BYTES:
                break
            try:
                part = self._store.read(keys[start : start + PART_KEYS], epoch)[1]
            except Gone as exc:
                if request.at is None:
                    raise Unavailable(f"epoch {epoch} was pruned while {len(keys)} keys were read") from exc
                raise
            size += _size(part)
            entries += part
        if size > MESSAGE_BYTES:
            reason = f"the answer has more than {MESSAGE_BYTES} bytes; ask for fewer than {len(keys)} keys"
            raise _Refused(grpc.StatusCode.RESOURCE_EXHAUSTED, reason)
        return epoch, entries


def _size(entries: list[Entry]) -> int:
    """Upper bound of the bytes that entries take in an answer."""
    return sum([len(entry.value) for entry in entries]) + ENTRY_BYTES * len(entries)


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
