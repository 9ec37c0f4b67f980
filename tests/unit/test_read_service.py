"""The read service and its client, over real connections on the loopback interface."""

import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest

from schemas.chain import Tip
from schemas.codec import CODEC
from schemas.errors import ConfigurationError, Gone, ParsecError, Unavailable
from schemas.hashing import digest
from schemas.keys import balance_key, blob_key, home
from schemas.records import NEVER, Entry, ReadAnswer, ReadRequest, ShardDigest, Version, version
from schemas.rules import Rules
from stateshards.layout import Identity
from stateshards.reads import FREE_WORKERS, KEYS_MAX, WORKERS, ReadService
from stateshards.rocks import RocksStore
from stateshards.store import Durable
from streams.reads import OLDEST_FIELD, READ, SHARD_FIELD, ShardReader

SHARDS = 2
RULES = Rules()
GENESIS = Tip.genesis(digest(b"genesis"), 1, SHARDS, RULES, 1_000)
KEYS = [bytes(balance_key(n.to_bytes(20, "big"))) for n in range(40)]


class Running:
    """A shard: a store that the test applies to, and its service."""

    def __init__(self, path: Path, shard: int) -> None:
        self.path, self.shard = path, shard
        self.identity = Identity(anchor=GENESIS.hash, shard=shard, shards=SHARDS)
        start = Durable(
            tip=GENESIS,
            published=GENESIS,
            prepares_from=0,
            digest=ShardDigest(shard=shard, epoch=0, digest=bytes(32)),
        )
        entries = [(key, b"genesis") for key in KEYS if home(key, SHARDS) == shard]
        self.store = RocksStore.create(path, entries, start, identity=self.identity, keep_history_ms=50)
        self.service, self.address = self._serve()

    def _serve(self, port: int = 0) -> tuple[ReadService, str]:
        service = ReadService(
            self.store, identity=self.identity, port=port, status=lambda: {"oldest": self.store.oldest}
        )
        return service, service.start()

    def apply(self, *keys: bytes, value: bytes = b"") -> int:
        """Apply an epoch that writes these keys, 10 ms after the last one; its number is the value by default."""
        now = self.store.durable
        epoch = now.tip.epoch
        closing = digest(b"%d" % epoch)
        tip = replace(
            now.tip,
            hash=closing,
            epoch=epoch + 1,
            block=now.tip.block + 1,
            timestamp_ms=now.tip.timestamp_ms + 10,
            ancestors=(*now.tip.ancestors, closing)[-256:],
        )
        values = {key: Entry(value or b"%d" % epoch, version(epoch, merged=False)) for key in keys}
        self.store.apply(values, replace(now, tip=tip))
        self.service.applied(epoch)
        return epoch

    def restart(self, *, port: int = 0) -> None:
        """Stop, and come back from the disk."""
        self.close()
        self.store = RocksStore.open(self.path, identity=self.identity, rules=RULES, keep_history_ms=50)
        self.service, self.address = self._serve(port)

    def close(self) -> None:
        """Stop service and store."""
        self.service.stop(2.0)
        self.store.close()

    def raw(self, payload: bytes, *, method: str = READ, metadata: tuple[tuple[str, str], ...] = ()) -> bytes:
        """Call the service without the client."""
        with grpc.insecure_channel(self.address, options=(("grpc.enable_http_proxy", 0),)) as channel:
            answer: bytes = channel.unary_unary(method)(payload, metadata=metadata, timeout=10)
            return answer

    def homed(self, count: int) -> list[bytes]:
        """So many keys of this shard."""
        found = [
            key for n in range(4 * count + 50) if home(key := blob_key(n.to_bytes(32, "big")), SHARDS) == self.shard
        ]
        return [bytes(key) for key in found[:count]]


@pytest.fixture
def shards(tmp_path: Path) -> Iterator[list[Running]]:
    """Two shards that have applied epoch 0."""
    running = [Running(tmp_path / str(shard), shard) for shard in range(SHARDS)]
    for shard in running:
        shard.apply()
    yield running
    for shard in running:
        shard.close()


@pytest.fixture
def reader(shards: list[Running]) -> Iterator[ShardReader]:
    """A client that knows both."""
    client = ShardReader(SHARDS, anchor=GENESIS.hash, deadline_s=5.0)
    for shard in shards:
        client.set_address(shard.shard, shard.address)
    yield client
    client.close()


def refusal(call: Any, *args: Any, **kwargs: Any) -> tuple[Any, str, dict[str, str]]:
    """How a call without the client is refused."""
    with pytest.raises(grpc.RpcError) as raised:
        call(*args, **kwargs)
    error: Any = raised.value
    return error.code(), error.details(), dict(error.trailing_metadata())


# ---- reads ------------------------------------------------------------------------------------------------------


def test_reads_keys_of_all_shards(shards: list[Running], reader: ShardReader) -> None:
    """Newest and pinned, keys that were never written included."""
    mine = [[key for key in KEYS if home(key, SHARDS) == shard.shard] for shard in shards]
    assert all(len(some) > 5 for some in mine)
    for shard, some in zip(shards, mine, strict=True):
        assert shard.apply(*some[:3]) == 1
        assert shard.apply(some[0]) == 2
    missing = bytes(blob_key(bytes(32)))
    expected = {key: Entry(b"genesis", Version(0)) for key in KEYS} | {missing: NEVER}
    assert reader.read([*KEYS, missing, missing], 0) == expected
    expected |= {key: Entry(b"1", version(1, merged=False)) for some in mine for key in some[:3]}
    assert reader.read([*KEYS, missing], 1) == expected
    expected |= {some[0]: Entry(b"2", version(2, merged=False)) for some in mine}
    assert reader.read([*KEYS, missing], 2) == reader.read([*KEYS, missing]) == expected
    assert reader.read([]) == {}


def test_a_pinned_read_waits_for_its_epoch(shards: list[Running], reader: ShardReader) -> None:
    """And is answered as soon as the last shard has applied it."""
    results: list[Any] = []
    done = threading.Event()

    def ended(result: Any) -> None:
        results.append(result)
        done.set()

    reader.submit(KEYS, 1, ended, wait_ms=5_000)
    shards[0].apply(*[key for key in KEYS if home(key, SHARDS) == 0])
    assert not done.wait(0.2)
    assert results == []
    shards[1].apply(*[key for key in KEYS if home(key, SHARDS) == 1])
    assert done.wait(0.5)
    assert results == [{key: Entry(b"1", version(1, merged=False)) for key in KEYS}]


def test_an_epoch_that_does_not_come_is_unavailable(shards: list[Running], reader: ShardReader) -> None:
    """After the deadline, not before, and the message says what is missing."""
    start = time.monotonic()
    with pytest.raises(Unavailable, match="gave no answer within 0.4 s: .*epoch 7 is not applied yet; the newest is 0"):
        reader.read(KEYS[:1], 7, wait_ms=50, deadline_s=0.4)
    assert 0.35 < time.monotonic() - start < 1.5


def test_an_epoch_that_is_not_kept_is_gone(shards: list[Running], reader: ShardReader) -> None:
    """With the oldest one that is."""
    key = next(key for key in KEYS if home(key, SHARDS) == 0)
    for _ in range(20):
        shards[0].apply(key)
    assert shards[0].store.oldest == 15
    with pytest.raises(Gone, match="epoch 3 is not kept any more; the oldest kept epoch is 15") as gone:
        reader.read([key], 3)
    assert gone.value.oldest == 15
    code, _, fields = refusal(shards[0].raw, CODEC.encode(ReadRequest(keys=(key,), at=3)))
    assert code is grpc.StatusCode.OUT_OF_RANGE
    assert fields[OLDEST_FIELD] == "15"
    assert reader.read([key], 15) == {key: Entry(b"15", version(15, merged=False))}


def test_reads_more_than_one_call_and_one_message_hold(shards: list[Running], reader: ShardReader) -> None:
    """Keys are asked for in parts, and parts whose answer is too large in halves."""
    large = shards[0].homed(60)
    shards[0].apply(*large, value=bytes(1024 * 1024))
    code, text, _ = refusal(shards[0].raw, CODEC.encode(ReadRequest(keys=tuple(large), at=None)))
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "fewer than 60 keys" in text
    many = shards[1].homed(25_000)
    entries = reader.read([*large, *many], deadline_s=20)
    assert len(entries) == len(large) + len(many)
    assert all(entries[key].value == bytes(1024 * 1024) for key in large)
    assert all(entries[key] == NEVER for key in many)


def test_concurrent_readers_see_whole_epochs(shards: list[Running], reader: ShardReader) -> None:
    """While epochs are applied."""
    some = shards[0].homed(1_500)
    shards[0].apply(*some)
    errors: list[BaseException] = []
    ending = threading.Event()

    def read() -> None:
        try:
            while not ending.is_set():
                epochs = {entry.version for entry in reader.read(some).values()}
                assert len(epochs) == 1, epochs
        except BaseException as exc:  # looked at below
            errors.append(exc)

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(30):
        shards[0].apply(*some)
        time.sleep(0.01)
    ending.set()
    for thread in threads:
        thread.join(10)
    assert errors == []


# ---- what is refused --------------------------------------------------------------------------------------------


def test_refuses_wrong_requests_with_value_and_limit(shards: list[Running], reader: ShardReader) -> None:
    """All of them are the caller's fault, and say what is wrong."""
    invalid = grpc.StatusCode.INVALID_ARGUMENT
    code, text, _ = refusal(shards[0].raw, b"nonsense")
    assert code is invalid
    assert "0x6e6f" in text
    code, text, _ = refusal(shards[0].raw, CODEC.encode(ReadAnswer(epoch=1, values=(), versions=())))
    assert code is invalid
    assert "ReadAnswer" in text
    many = CODEC.encode(ReadRequest(keys=(b"k",) * (KEYS_MAX + 1), at=None))
    code, text, _ = refusal(shards[0].raw, many)
    assert (code, text) == (invalid, "20001 keys; the limit is 20000")
    foreign = shards[1].homed(1)[0]
    code, text, _ = refusal(shards[0].raw, CODEC.encode(ReadRequest(keys=(foreign,), at=None)))
    assert code is invalid
    assert "lives at shard 1 of 2; this is shard 0" in text
    with pytest.raises(ConfigurationError, match="shard 9 at x:1 is none of 2 shards"):
        reader.set_address(9, "x:1")


def test_a_stale_address_is_no_wrong_answer(shards: list[Running]) -> None:
    """A port that another shard or chain has taken over refuses, and the new address ends the wait."""
    request = CODEC.encode(ReadRequest(keys=(), at=None))
    code, text, _ = refusal(shards[0].raw, request, metadata=((SHARD_FIELD, "0/3"),))
    assert code is grpc.StatusCode.FAILED_PRECONDITION
    assert text == "this is shard 0/2, not 0/3"
    other = ShardReader(SHARDS, anchor=bytes(32))
    other.set_address(0, shards[0].address)
    with pytest.raises(Unavailable, match="this shard has anchor 0x"):
        other.read(shards[0].homed(1), deadline_s=0.2)
    other.close()
    client = ShardReader(SHARDS, anchor=GENESIS.hash)
    client.set_address(0, shards[1].address)
    timer = threading.Timer(0.3, client.set_address, (0, shards[0].address))
    timer.start()
    key = shards[0].homed(1)[0]
    assert client.read([key], deadline_s=5) == {key: NEVER}
    timer.join()
    client.close()


def test_waiting_reads_leave_threads_for_others(shards: list[Running], reader: ShardReader) -> None:
    """However many wait for an epoch, one that need not wait is answered, and so are all once it is there."""
    key = shards[0].homed(1)[0]
    done: list[Any] = []
    for _ in range(3 * WORKERS):
        reader.submit([key], 1, done.append, wait_ms=8_000, deadline_s=8.0)
    until = time.monotonic() + 5
    while reader.status(0)["waiting_reads"] < WORKERS - FREE_WORKERS and time.monotonic() < until:
        time.sleep(0.01)
    start = time.monotonic()
    assert reader.read([key], 0, deadline_s=2) == {key: NEVER}
    assert time.monotonic() - start < 1
    assert reader.status(0)["waiting_reads"] <= WORKERS - FREE_WORKERS
    assert done == []
    shards[0].apply(key)
    until = time.monotonic() + 5
    while len(done) < 3 * WORKERS and time.monotonic() < until:
        time.sleep(0.01)
    assert done == [{key: Entry(b"1", version(1, merged=False))}] * (3 * WORKERS)
    assert reader.status(0)["waiting_reads"] == 0


def test_a_caller_who_has_gone_holds_no_thread(shards: list[Running]) -> None:
    """Its wait ends with the call."""
    channel = grpc.insecure_channel(shards[0].address, options=(("grpc.enable_http_proxy", 0),))
    call = channel.unary_unary(READ).future(CODEC.encode(ReadRequest(keys=(), at=9, wait_ms=9_000)), timeout=9)
    client = ShardReader(SHARDS)
    client.set_address(0, shards[0].address)
    assert within(2, lambda: client.status(0)["waiting_reads"] == 1)
    call.cancel()
    assert within(2, lambda: client.status(0)["waiting_reads"] == 0)
    channel.close()
    client.close()


def within(seconds: float, condition: Any) -> bool:
    """Whether something comes true in time."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if condition():
            return True
        time.sleep(0.01)
    return False


# ---- tip, status, start and stop --------------------------------------------------------------------------------


def test_tells_tip_and_status(shards: list[Running], reader: ShardReader) -> None:
    """The tip with all hashes is where a reader of the chain can start."""
    for _ in range(300):
        shards[1].apply()
    stored = reader.tip(1)
    assert Tip.restored(stored, RULES) == shards[1].store.durable.tip
    assert len(stored.ancestors) == 256
    assert reader.tip(0).epoch == 1
    alone = ShardReader(SHARDS)
    alone.set_address(1, shards[1].address)
    assert alone.tip() == stored
    alone.close()
    status = reader.status(1)
    assert (status["shard"], status["shards"], status["applied"], status["published"]) == (1, 2, 300, -1)
    assert status["anchor"] == GENESIS.hash.hex()
    assert status["oldest"] == shards[1].store.oldest


def test_reads_go_on_after_a_restart(shards: list[Running], reader: ShardReader) -> None:
    """At the same address by themselves, at another one as soon as it is known, those under way included."""
    key = shards[0].homed(1)[0]
    shards[0].apply(key)
    port = int(shards[0].address.rpartition(":")[2])
    shards[0].restart(port=port)
    assert reader.read([key]) == {key: Entry(b"1", version(1, merged=False))}
    done: list[Any] = []
    reader.submit([key], 2, done.append, wait_ms=4_000, deadline_s=4.0)
    assert within(2, lambda: reader.status(0)["waiting_reads"] == 1)
    shards[0].restart()
    shards[0].apply(key)
    reader.set_address(0, shards[0].address)
    assert within(2, lambda: bool(done))
    assert done == [{key: Entry(b"2", version(2, merged=False))}]
    assert reader.addresses() == {0: shards[0].address, 1: shards[1].address}


def test_an_unknown_address_is_waited_for(shards: list[Running]) -> None:
    """Within the deadline."""
    key = shards[0].homed(1)[0]
    client = ShardReader(SHARDS)
    with pytest.raises(Unavailable, match="shard 0 gave no answer within 0.2 s: its address is not known"):
        client.read([key], deadline_s=0.2)
    timer = threading.Timer(0.2, client.set_address, (0, shards[0].address))
    timer.start()
    assert client.read([key], deadline_s=5) == {key: NEVER}
    timer.join()
    client.close()


def test_an_unreachable_shard_is_unavailable(shards: list[Running], reader: ShardReader) -> None:
    """A port where nothing listens, and one where nothing answers."""
    key = shards[0].homed(1)[0]
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        for address in (f"127.0.0.1:{silent.getsockname()[1]}", "127.0.0.1:1"):
            reader.set_address(0, address)
            start = time.monotonic()
            with pytest.raises(Unavailable, match=f"shard 0 at {address} gave no answer within 0.3 s"):
                reader.read([key], deadline_s=0.3)
            assert time.monotonic() - start < 1.5


def test_closing_the_client_ends_what_is_under_way(shards: list[Running]) -> None:
    """Each read gets its one result."""
    client = ShardReader(SHARDS)
    client.set_address(0, shards[0].address)
    done: list[ParsecError | dict[bytes, Entry]] = []
    client.submit(shards[0].homed(1), 5, done.append, wait_ms=9_000, deadline_s=9)  # waits at the service
    client.submit(shards[1].homed(1), 5, done.append, wait_ms=9_000, deadline_s=9)  # waits for an address
    time.sleep(0.1)
    client.close()
    assert within(2, lambda: len(done) == 2)
    assert all(isinstance(result, Unavailable) for result in done)
    with pytest.raises(Unavailable, match="closed"):
        client.read(shards[0].homed(1))


def test_stops_within_its_deadline(shards: list[Running], reader: ShardReader) -> None:
    """Also while reads wait."""
    done: list[Any] = []
    for _ in range(5):
        reader.submit(shards[0].homed(1), 3, done.append, wait_ms=9_000, deadline_s=0.8)
    assert within(2, lambda: reader.status(0)["waiting_reads"] == 5)
    start = time.monotonic()
    shards[0].service.stop(2.0)
    assert time.monotonic() - start < 1
    assert within(3, lambda: len(done) == 5)
    assert all(isinstance(result, Unavailable) for result in done)


def test_a_port_in_use_is_refused(shards: list[Running]) -> None:
    """Rather than shared."""
    port = int(shards[0].address.rpartition(":")[2])
    second = ReadService(shards[1].store, identity=shards[1].identity, port=port)
    with pytest.raises(ConfigurationError, match=f"cannot listen on 127.0.0.1:{port}"):
        second.start()
    second.stop(0.1)


def test_advertises_another_host(shards: list[Running]) -> None:
    """Where it listens on all interfaces, say."""
    service = ReadService(shards[0].store, identity=shards[0].identity, advertised_host="shard-0.example")
    address = service.start()
    assert address.startswith("shard-0.example:")
    service.stop(0.1)
