"""CPU time and memory of the processes of a running pipeline, from /proc."""

import os
import threading
import time
from pathlib import Path

from cluster.supervisor import Supervisor

TICKS = os.sysconf("SC_CLK_TCK")


class Usage:
    """CPU seconds since it was made."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._pids = {name: service.pid for name, service in supervisor.services.items() if service.pid is not None}
        if supervisor.broker is not None and supervisor.broker.pid is not None:
            self._pids["broker"] = supervisor.broker.pid
        self._pids["load"] = os.getpid()
        self._before = {name: cpu_seconds(pid) for name, pid in self._pids.items()}

        self.samples: list[dict[str, int]] = []

    def sample(self, every_s: float) -> None:
        """Look at the memory from time to time, in the background."""

        def look() -> None:
            while True:
                time.sleep(every_s)
                self.samples.append(self.memory_mb())

        if every_s:
            threading.Thread(target=look, daemon=True).start()

    def seconds(self) -> dict[str, float]:
        """By process."""
        return {name: cpu_seconds(pid) - self._before[name] for name, pid in self._pids.items()}

    def memory_mb(self) -> dict[str, int]:
        """Resident memory by process."""
        return {name: resident_mb(pid) for name, pid in self._pids.items()}


def cpu_seconds(pid: int) -> float:
    """User and system time of a process."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / TICKS


def resident_mb(pid: int) -> int:
    """Resident set."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE") // 2**20


def disk_bytes(folder: Path) -> int:
    """What the files below a folder take on disk; Kafka reserves more for its indexes than it has written."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_blocks * 512 if path.is_file() else 0
        except OSError:
            continue
    return total
