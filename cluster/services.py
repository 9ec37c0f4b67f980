"""One service as a process: sequencer, executor, shard or gateway, until SIGTERM or Ctrl-C.

Each imports only what it runs: a shard needs no virtual machine.
"""

import logging
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType

from schemas.errors import ConfigurationError, InvariantViolation, Transient

from .config import Config
from .supervisor import REFUSED

log = logging.getLogger(__name__)

SWITCH_INTERVAL_S = 0.0005
"""A thread that waits for the interpreter gets it sooner than the default of 5 ms, which is longer than an epoch."""


def log_to_stderr(name: str, level: int = logging.INFO) -> None:
    """Lines with time, service and level on standard error."""
    logging.basicConfig(
        level=level, stream=sys.stderr, format=f"%(asctime)s {name} %(levelname)s %(name)s: %(message)s", force=True)


def run_until_stopped(name: str, run: Callable[[threading.Event], None]) -> int:
    """Run a service; the exit status says whether it makes sense to start it again.

    Returns
    -------
    int
        0 after a stop, 1 after a failure that may pass, 2 where an operator has to change something.
    """
    stop = threading.Event()

    def ask(_signal: int, _frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, ask)
    signal.signal(signal.SIGINT, ask)
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    try:
        run(stop)
    except ConfigurationError as exc:
        log.error("%s", exc)
        return REFUSED
    except InvariantViolation as exc:
        log.critical("%s stops, as nothing may be built on this: %s", name, exc)
        return REFUSED
    except Transient as exc:
        log.error("%s ends and is to be started again: %s", name, exc)
        return 1
    except Exception:
        log.exception("%s ends", name)
        return 1
    return 0


def run_sequencer(config: Config, patience_ms: int | None) -> int:
    """Run a sequencer; one with patience is a standby."""
    from ingest.sequencer import Pace
    from ingest.service import SequencerService

    genesis = config.read_genesis()
    pace = Pace(
        interval_ms=config.pace.interval_ms,
        lane_transactions_max=config.pace.lane_transactions_max,
        lane_carries_max=config.pace.lane_carries_max,
        timeout_ms_min=config.pace.timeout_ms_min,
        patience_ms=config.pace.patience_ms if patience_ms is None else patience_ms,
    )
    service = SequencerService(config.settings, config.start(genesis), config.cluster.shards, pace)
    return run_until_stopped("sequencer", service.run)


def run_executor(config: Config, instance: str) -> int:
    """Run an executor."""
    from executors.machines import load
    from executors.service import ExecutorService, ExecutorSettings

    genesis = config.read_genesis()
    load(genesis.rules.machines)  # rather no executor than one that can't run a contract of its chain
    own = ExecutorSettings(shards=config.cluster.shards, instance=instance)
    service = ExecutorService(config.settings, config.start(genesis), own)
    return run_until_stopped("executor", service.run)


def run_shard(config: Config, shard: int, port: int) -> int:
    """Run a shard."""
    from stateshards.service import ShardService, ShardSettings

    if not 0 <= shard < config.cluster.shards:
        raise ConfigurationError(f"shard {shard}: there are {config.cluster.shards}, from 0")
    genesis = config.read_genesis()
    minutes = config.cluster.history_minutes
    own = ShardSettings(
        shard=shard,
        shards=config.cluster.shards,
        data=config.cluster.data / f"shard-{shard}",
        host=config.cluster.host,
        port=port,
        advertised=config.cluster.advertised,
        keep_history_ms=minutes * 60_000 if minutes else None,
    )
    service = ShardService(config.settings, genesis, config.start(genesis), own)
    return run_until_stopped(f"shard {shard}", service.run)


def run_gateway(config: Config) -> int:
    """Run the Ethereum JSON-RPC."""
    from executors.machines import load
    from gateway import Gateway, GatewaySettings

    origins = tuple(origin.strip() for origin in config.gateway.cors.split(",") if origin.strip())
    own = GatewaySettings(host=config.gateway.host, port=config.gateway.port, cors_origins=origins)
    start = config.start(config.read_genesis())
    load(start.rules.machines)
    service = Gateway(config.settings, start, config.cluster.shards, config.cluster.data / "gateway", own)
    return run_until_stopped("gateway", service.run)
