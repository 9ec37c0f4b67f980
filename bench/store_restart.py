"""What a shard's store costs: loading, reading, applying, and coming back after a kill.

A child process fills a store and applies epochs until it is killed; then the store is opened again and measured. Prints
one JSON object; times are wall time of one thread.

    python -m bench.store_restart --keys 1000000
"""

import argparse
import json
import os
import platform
import random
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.metadata import version as installed
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from schemas.chain import ANCESTORS, Tip
from schemas.hashing import digest
from schemas.keys import slot_key
from schemas.records import Entry, Input, ShardDigest, version
from schemas.rules import Rules
from stateshards.layout import Identity
from stateshards.reads import ReadService
from stateshards.rocks import RocksStore
from stateshards.store import Durable
from streams.reads import ShardReader

RULES = Rules()
PARTITIONS = 16
GENESIS = Tip.genesis(digest(b"bench"), PARTITIONS, 1, RULES, 0)
IDENTITY = Identity(anchor=GENESIS.hash, shard=0, shards=1)
EPOCH_MS = 20
KEEP_MS = 60_000


def key_of(number: int) -> bytes:
    """A storage slot of a token."""
    return slot_key(b"\x11" * 20, int.from_bytes(digest(number.to_bytes(8, "big")), "big"))


def following(durable: Durable) -> Durable:
    """What a shard stores with the next epoch, when publishing is one epoch behind."""
    before = durable.tip
    closing = digest(before.hash)
    tip = replace(
        before,
        hash=closing,
        offset=before.offset + 1,
        epoch=before.epoch + 1,
        block=before.block + 1,
        timestamp_ms=before.timestamp_ms + EPOCH_MS,
        inputs=(Input(consumed=before.offset),) * PARTITIONS,
        ancestors=(*before.ancestors, closing)[-ANCESTORS:],
    )
    shard_digest = ShardDigest(shard=0, epoch=before.epoch, digest=closing)
    return Durable(tip=tip, published=before, prepares_from=tip.offset, digest=shard_digest)


def apply(store: RocksStore, keys: list[bytes]) -> float:
    """Apply an epoch that writes these keys; seconds of the call alone."""
    durable = following(store.durable)
    epoch = durable.applied
    values = {key: Entry(epoch.to_bytes(16, "big"), version(epoch, merged=False)) for key in keys} if epoch else {}
    start = time.perf_counter()
    store.apply(values, durable)
    return time.perf_counter() - start


def fill(path: str, keys: int, epochs: int, changed: int, pipe: Connection) -> None:
    """Body of the process that is killed: load, apply the epochs, report, and apply on."""
    start = Durable(
        tip=GENESIS, published=GENESIS, prepares_from=0, digest=ShardDigest(shard=0, epoch=0, digest=bytes(32))
    )

    def entries() -> Iterator[tuple[bytes, bytes]]:
        for number in range(keys):
            yield key_of(number), number.to_bytes(16, "big")

    begun = time.perf_counter()
    store = RocksStore.create(path, entries(), start, identity=IDENTITY, keep_history_ms=KEEP_MS)
    load_s = time.perf_counter() - begun
    pick = random.Random(7)
    apply(store, [])
    times = [apply(store, [key_of(pick.randrange(keys)) for _ in range(changed)]) for _ in range(epochs)]
    empty = [apply(store, []) for _ in range(200)]
    pipe.send((load_s, times, empty))
    while True:
        apply(store, [key_of(pick.randrange(keys)) for _ in range(changed)])


def opened(path: Path) -> tuple[RocksStore, float]:
    """The store, and the seconds that it took to open it."""
    start = time.perf_counter()
    store = RocksStore.open(path, identity=IDENTITY, rules=RULES, keep_history_ms=KEEP_MS)
    return store, time.perf_counter() - start


def per_call_us(call: Callable[[], Any], times: int) -> float:
    """Median microseconds of a call."""
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    return round(statistics.median(taken) * 1e6, 2)


def reads(store: RocksStore, keys: int) -> dict[str, float]:
    """Reads of the store itself, in microseconds."""
    pick = random.Random(8)

    def some(count: int) -> list[bytes]:
        return [key_of(pick.randrange(keys)) for _ in range(count)]

    ones, batches = iter([some(1) for _ in range(4_000)]), [some(1_000) for _ in range(20)]
    absent = [key_of(keys + n) for n in range(1_000)]
    applied = store.durable.applied
    cold = iter(batches[:10])
    result = {
        "first_read_per_key_of_1000": per_call_us(lambda: store.entries(next(cold)), 10) / 1_000,
        "entry_of_1": per_call_us(lambda: store.entries(next(ones)), 2_000),
        "read_newest_of_1": per_call_us(lambda: store.read(next(ones), None), 2_000),
    }
    for name, at in (("newest", None), ("10_epochs_ago", applied - 10), ("oldest", store.oldest)):
        turns = iter(batches)
        result[f"read_{name}_per_key_of_1000"] = per_call_us(lambda a=at, t=turns: store.read(next(t), a), 20) / 1_000  # type: ignore[misc]  # mypy cannot infer lambdas with defaults
    hot = some(1_000)
    for _ in range(20):
        apply(store, hot)
    at = store.durable.applied - 10
    result["read_changed_since_per_key_of_1000"] = per_call_us(lambda: store.read(hot, at), 20) / 1_000
    result["absent_per_key_of_1000"] = per_call_us(lambda: store.entries(absent), 20) / 1_000
    return {name: round(value, 3) for name, value in result.items()}


def served(store: RocksStore, keys: int) -> dict[str, float]:
    """Reads through the service in this process, in microseconds."""
    service = ReadService(store, identity=IDENTITY)
    reader = ShardReader(1, anchor=GENESIS.hash)
    reader.set_address(0, service.start())
    some = [key_of(n * 7 % keys) for n in range(1_000)]
    try:
        reader.read(some)
        return {
            f"call_of_{count}": per_call_us(lambda c=count: reader.read(some[:c]), times)  # type: ignore[misc]  # mypy cannot infer lambdas with defaults
            for count, times in ((1, 300), (100, 200), (1_000, 50))
        }
    finally:
        reader.close()
        service.stop()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keys", type=int, default=1_000_000, help="keys in the store")
    parser.add_argument("--epochs", type=int, default=300, help="epochs that are applied")
    parser.add_argument("--changed", type=int, default=1_000, help="keys that an epoch writes")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="store-restart-") as folder:
        path = Path(folder) / "store"
        context = get_context("spawn")
        ours, theirs = context.Pipe()
        child = context.Process(
            target=fill, args=(str(path), options.keys, options.epochs, options.changed, theirs), daemon=True
        )
        child.start()
        theirs.close()
        try:
            load_s, times, empty = ours.recv()
            time.sleep(1.0)  # so that it is killed in the middle of applying
        finally:
            child.kill()
            child.join()
        store, killed_s = opened(path)
        start_s = time.perf_counter()
        first = store.read([key_of(1)], None)
        first_s = time.perf_counter() - start_s
        start_s = time.perf_counter()
        store.close()
        close_s = time.perf_counter() - start_s
        del first
        store, clean_s = opened(path)
        store_reads = reads(store, options.keys)
        service_reads = served(store, options.keys)
        start_s = time.perf_counter()
        store.checkpoint(Path(folder) / "checkpoint")
        checkpoint_s = time.perf_counter() - start_s
        size = sum(file.stat().st_size for file in path.iterdir())
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        store.close()
        per_key = sorted(1e6 * taken / options.changed for taken in times)
        result = {
            "keys": options.keys,
            "epochs": options.epochs,
            "changed_per_epoch": options.changed,
            "load_s": round(load_s, 2),
            "open_after_kill_s": round(killed_s, 3),
            "first_read_s": round(first_s, 4),
            "open_after_close_s": round(clean_s, 3),
            "close_s": round(close_s, 3),
            "checkpoint_s": round(checkpoint_s, 3),
            "apply_us_per_key": {
                "p50": round(statistics.median(per_key), 2),
                "p99": round(per_key[int(0.99 * len(per_key))], 2),
                "max": round(per_key[-1], 2),
            },
            "apply_without_values_us": round(1e6 * statistics.median(empty), 1),
            "store_us": store_reads,
            "service_us": service_reads,
            "disk_bytes": size,
            "rss_max_bytes": memory * (1 if sys.platform == "darwin" else 1024),
            "machine": {"cpus": os.cpu_count(), "arch": platform.machine(), "python": platform.python_version()},
            "rocksdict": installed("rocksdict"),
            "grpcio": installed("grpcio"),
        }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
