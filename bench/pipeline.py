"""Throughput and latency of the whole pipeline on this machine, load generator included.

``python -m bench.pipeline --workload erc20 --count 20000`` floods; ``--rate 50`` sends at a rate.
"""

import argparse
import json
import logging
import shutil
import statistics
import tempfile
from pathlib import Path

from cluster.config import load
from cluster.supervisor import Supervisor

from .load import Load
from .usage import Usage, disk_bytes
from .wallets import Wallet
from .workloads import WORKLOADS, genesis


def percentile(ordered: list[float], share: float) -> float:
    """A percentile of sorted values."""
    return round(ordered[min(len(ordered) - 1, int(len(ordered) * share))], 2) if ordered else 0.0


def main() -> None:
    """Run one workload and print what was measured as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workload", choices=WORKLOADS, default="erc20")
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--warm", type=int, default=2_000)
    parser.add_argument("--accounts", type=int, default=10_000)
    parser.add_argument("--rate", type=float)
    parser.add_argument("--settle", type=float, default=0, help="seconds at the same rate before it is measured")
    parser.add_argument("--window", type=int, default=4_000)
    parser.add_argument("--executors", type=int, default=2)
    parser.add_argument("--shards", type=int, default=2)
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--sample", type=float, default=0, help="seconds between two looks at memory")
    parser.add_argument("--keep", action="store_true")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    data = Path(tempfile.mkdtemp(prefix="parsec-bench-"))
    wallets = [Wallet.numbered(number) for number in range(arguments.accounts)]
    (data / "genesis.json").write_bytes(genesis(wallets))
    config = load(None, environment={}, flags={
        "cluster.data": data, "cluster.genesis": data / "genesis.json", "cluster.executors": arguments.executors,
        "cluster.shards": arguments.shards, "cluster.partitions": arguments.partitions,
        "gateway.enabled": False, "kafka.port": 29092})
    make = WORKLOADS[arguments.workload]
    warm = list(make(wallets, arguments.warm, 1))  # in the order of sending: each takes the next nonces
    settling = list(make(wallets, int((arguments.rate or 0) * arguments.settle), 3))
    signed = list(make(wallets, arguments.count, 2))
    with Supervisor(config, lasting=True) as supervisor:
        supervisor.start(lambda _: None)
        generator = Load(supervisor.config.settings, arguments.partitions, arguments.shards)
        generator.run(warm, None, arguments.window)
        generator.run(settling, arguments.rate, arguments.window)
        warmed = set(generator.measured.received)
        generator.measured.first_ms = generator.measured.last_ms = 0
        generator.measured.sent.clear()
        usage = Usage(supervisor)
        stores = {name: data / name for name in ("kafka", *(f"shard-{n}" for n in range(arguments.shards)))}
        disk = {name: disk_bytes(folder) for name, folder in stores.items()}
        usage.sample(arguments.sample)
        seconds = generator.run(signed, arguments.rate, arguments.window)
        cpu = usage.seconds()
        generator.close()
        measured = generator.measured
        latencies = generator.latencies_ms()
        received = len(measured.received) - len(warmed)
        span = (measured.last_ms - measured.first_ms) / 1000
        print(json.dumps({
            "workload": arguments.workload, "sent": len(signed), "receipts": received, "twice": measured.twice,
            "statuses": measured.statuses, "seconds": round(seconds, 2), "tps": round(received / span if span else 0, 1),
            "latency_ms": {
                "p50": percentile(latencies, 0.5), "p90": percentile(latencies, 0.9), "p99": percentile(latencies, 0.99),
                "mean": round(statistics.fmean(latencies), 2) if latencies else 0},
            "cpu_us_per_transaction": {name: round(used / len(signed) * 1e6) for name, used in cpu.items()},
            "disk_bytes_per_transaction": {
                name: round((disk_bytes(folder) - disk[name]) / len(signed)) for name, folder in stores.items()},
            "memory_mb": usage.memory_mb(),
            "memory_mb_over_time": usage.samples,
        }, indent=1))
        if arguments.keep:
            print(data)
    if not arguments.keep:
        shutil.rmtree(data, ignore_errors=True)


if __name__ == "__main__":
    main()
