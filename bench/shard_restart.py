"""How long a shard with a million keys is away after SIGKILL: until its read service answers again.

``python -m bench.shard_restart --keys 1000000``
"""

import argparse
import json
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from cluster.config import load
from cluster.supervisor import Supervisor
from schemas.digests import chained
from schemas.errors import Transient
from schemas.hashing import digest
from schemas.keys import home
from schemas.records import ShardDigest
from stateshards.layout import Identity
from stateshards.rocks import RocksStore
from stateshards.store import Durable
from streams.kafka import KafkaLog
from streams.reads import ShardReader
from streams.start import shard_addresses

SHARDS = 2


def entries(genesis: dict[bytes, bytes], keys: int) -> Iterator[tuple[bytes, bytes]]:
    """The genesis of the shard and filler that no transaction touches."""
    yield from genesis.items()
    for number in range(keys):
        yield b"s" + digest(b"%d" % number)[:20] + number.to_bytes(32, "big"), b"\x01" + number.to_bytes(8, "big")


def main() -> None:
    """Fill, start, kill, wait, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--times", type=int, default=3)
    arguments = parser.parse_args()
    data = Path(tempfile.mkdtemp(prefix="parsec-bench-"))
    config = load(None, environment={}, flags={
        "cluster.data": data, "cluster.shards": SHARDS, "gateway.enabled": False, "kafka.port": 29092})
    genesis = config.read_genesis()
    start = config.start(genesis)
    mine: dict[bytes, bytes] = {key: value for key, value in genesis.entries() if home(key, SHARDS) == 0}
    first = ShardDigest(shard=0, epoch=0, digest=chained(bytes(32), 0, mine))
    durable = Durable(tip=start, published=start, prepares_from=0, digest=first)
    RocksStore.create(
        data / "shard-0", entries(mine, arguments.keys), durable,
        identity=Identity(anchor=start.hash, shard=0, shards=SHARDS), keep_history_ms=3_600_000).close()
    away = []
    with Supervisor(config) as supervisor:
        supervisor.start(lambda _: None)
        kafka, reader = KafkaLog(supervisor.config.settings), ShardReader(SHARDS, anchor=start.hash)
        for _ in range(arguments.times):
            before = shard_addresses(kafka, SHARDS)[0]
            pid = supervisor.services["shard-0"].pid
            if pid is None:
                raise SystemExit("shard-0 does not run")
            os.kill(pid, signal.SIGKILL)
            begin = time.perf_counter()
            while (address := shard_addresses(kafka, SHARDS)[0]) == before:
                supervisor.restart_dead()
                time.sleep(0.02)
            reader.set_address(0, address)
            try:
                reader.tip(0, deadline_s=10)
            except Transient as exc:
                raise SystemExit(f"shard-0 does not answer: {exc}") from exc
            away.append(round(time.perf_counter() - begin, 2))
        reader.close()
        kafka.close()
    print(json.dumps({"keys": arguments.keys, "away_s": away}))
    shutil.rmtree(data, ignore_errors=True)


if __name__ == "__main__":
    main()
