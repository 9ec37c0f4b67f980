"""A whole pipeline for a test: all services in processes of their own, on the broker that the session shares."""

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cluster.config import load
from cluster.supervisor import Supervisor
from schemas.genesis import default_genesis


@contextmanager
def running_pipeline(
    bootstrap: str, data: Path, *, genesis: Path | None = None, lane_transactions_max: int | None = None, **cluster: int
) -> Iterator[Supervisor]:
    """A pipeline under a prefix of its own; `cluster` names executors, shards and partitions."""
    flags: dict[str, Any] = {f"cluster.{name}": number for name, number in cluster.items()}
    flags["pace.lane_transactions_max"] = lane_transactions_max
    flags |= {
        "cluster.data": data, "cluster.genesis": genesis, "kafka.bootstrap": bootstrap,
        "kafka.prefix": f"t{uuid.uuid4().hex[:10]}.", "gateway.enabled": False}
    with Supervisor(load(None, environment={}, flags=flags)) as supervisor:
        yield supervisor.start()


def genesis_file(path: Path, rules: dict[str, Any] | None = None, alloc: dict[str, Any] | None = None) -> Path:
    """The development chain with other rules and more accounts."""
    document = json.loads(default_genesis())
    document["config"]["parsec"] |= rules or {}
    document["alloc"] |= alloc or {}
    path.write_text(json.dumps(document))
    return path
