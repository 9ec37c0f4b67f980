"""Runs everything on one machine: the embedded broker and all services, each in a process, restarted when it dies.

Processes start in the order in which they depend on each other and stop in reverse. Each hangs on a guardian, so that
none outlives the supervisor, however that ends.
"""

import json
import logging
import os
import socket
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Self

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from schemas.errors import ConfigurationError, Unavailable
from streams.kafka import KafkaLog
from streams.start import shard_addresses

from .config import Config, variable_name
from .guardian import Guarded
from .kafka import EmbeddedBroker, prepare
from .kafka.lock import FileLock, LockHeld, process_exists
from .provision import provide_topics

log = logging.getLogger(__name__)

RESTART_MS_MIN: Final = 100
RESTART_MS_MAX: Final = 5_000
QUIET_S: Final = 30.0
"""A process that ran for so long is restarted without delay again."""
READY_S: Final = 60.0
STOP_S: Final = 15.0
FORMER_S: Final = 15.0
"""How long the services of a supervisor that was killed may take to end; their guardians give them 10 s."""
REFUSED: Final = 2
"""Exit status of a service that needs an operator; it isn't started again."""
RUN_FILE: Final = "run.json"
"""In the data directory: how to reach what is running."""


@dataclass(slots=True)
class Service:
    """One process of ours and how often it had to be started."""

    name: str
    arguments: list[str]
    process: Guarded | None = None
    started_s: float = 0.0
    due_s: float = 0.0
    delay_ms: int = RESTART_MS_MIN
    output: IO[bytes] | None = field(default=None, repr=False)

    @property
    def pid(self) -> int | None:
        """Its process id while it runs."""
        return self.process.pid if self.process is not None and self.process.alive else None


class Supervisor:
    """Everything on one machine.

    Parameters
    ----------
    config
        What to run. Without ``kafka.bootstrap`` the embedded broker runs too.
    file
        The configuration file, which the services read again for what the environment cannot carry.
    lasting
        Whether it is to run for long: then the embedded broker's code is optimised fully, which takes CPU in its first
        minute.
    """

    def __init__(self, config: Config, file: Path | None = None, *, lasting: bool = False) -> None:
        self.data = config.cluster.data.absolute()
        genesis = config.cluster.genesis
        # Services and commands run in other directories than this process does.
        absolute = replace(config.cluster, data=self.data, genesis=None if genesis is None else genesis.absolute())
        self.config = replace(config, cluster=absolute)
        self.broker: EmbeddedBroker | None = None
        self.services: dict[str, Service] = {}
        self._file = file
        self._lasting = lasting
        self._lock = FileLock(self.data / "lock")

    # ---- starting -----------------------------------------------------------------------------------------------

    def start(self, report: Callable[[str], None] = log.info) -> Self:
        """Start everything and wait until it is ready.

        Raises
        ------
        ConfigurationError
            Something has to be changed first.
        Unavailable
            It did not get ready in time.
        """
        self._take_data()
        try:
            self.config.read_genesis()  # one that can't be read is refused before anything runs
            if not self.config.kafka.bootstrap:
                prepare()
                report("starting the broker")
                self.broker = EmbeddedBroker(
                    self.data / "kafka", port=self.config.kafka.port, full_jit=self._lasting).start()
                kafka = replace(self.config.kafka, bootstrap=self.broker.bootstrap, port=self.broker.port)
                self.config = replace(self.config, kafka=kafka)
            report(f"topics on {self.config.kafka.bootstrap}")
            provide_topics(self.config)
            self._write_run_file()
            report("starting the services")
            for name, arguments in self._commands().items():
                self.services[name] = Service(name, arguments)
                self._launch(self.services[name])
            self.wait_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def _take_data(self) -> None:
        """Have the data directory for ourselves, once the services of a supervisor that was killed have ended."""
        try:
            self._lock.acquire(FORMER_S, outwait_living=False)
        except LockHeld as exc:
            owner = "another process" if exc.owner is None else f"process {exc.owner}"
            raise ConfigurationError(f"{owner} runs on {self.data} already: stop it, or use another --data") from exc

    def _commands(self) -> dict[str, list[str]]:
        """The command lines of all services, in the order in which they are started."""
        cluster = self.config.cluster
        commands = {f"shard-{number}": ["shard", "--shard", str(number)] for number in range(cluster.shards)}
        for number in range(cluster.sequencers):
            patience = ["--patience-ms", str(500 * number)] if number else []
            commands[f"sequencer-{number}"] = ["sequencer", *patience]
        for number in range(cluster.executors):
            commands[f"executor-{number}"] = ["executor", "--instance", f"executor-{number}"]
        if self.config.gateway.enabled:
            commands["gateway"] = ["gateway"]
        return commands

    def _launch(self, service: Service) -> None:
        logs = self.data / "logs"
        logs.mkdir(exist_ok=True)
        if service.output is None:
            service.output = (logs / f"{service.name}.log").open("ab")
        argv = [sys.executable, "-m", "cluster", *service.arguments]
        if self._file is not None:
            argv += ["--config", str(self._file.absolute())]
        service.process = Guarded(
            argv,
            pid_file=self.data / f"{service.name}.pid",
            output=service.output,
            env=os.environ | self.environment(),
            cwd=self.data,
            pass_fds=(self._lock.fileno,),  # the directory is free once the last service has ended
        )
        service.started_s = time.monotonic()

    def environment(self) -> Mapping[str, str]:
        """The configuration as the services read it."""
        variables = {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        for section, entries in self.config.shown().items():
            for name, value in entries.items():
                if isinstance(value, Mapping) or value is None or value == "":
                    continue
                variables[variable_name(f"{section}.{name}")] = str(value)
        return variables

    def wait_ready(self, timeout_s: float = READY_S) -> None:
        """Wait until every shard serves, every executor is a member of the group, and the gateway listens."""
        deadline = time.monotonic() + timeout_s
        kafka = KafkaLog(self.config.settings)
        missing = "nothing answered"
        try:
            while time.monotonic() < deadline:
                self.restart_dead()
                missing = self._missing(kafka)
                if not missing:
                    return
                time.sleep(0.1)
        finally:
            kafka.close()
        raise Unavailable(f"not ready after {timeout_s:.0f} s: {missing}; the logs are in {self.data / 'logs'}")

    def _missing(self, kafka: KafkaLog) -> str:
        """What is not ready yet, in words."""
        shards = self.config.cluster.shards
        known = shard_addresses(kafka, shards)
        if len(known) < shards:
            return f"{shards - len(known)} of {shards} shards have not announced themselves"
        admin = AdminClient(self.config.settings.client())
        group = f"{self.config.kafka.prefix}executors"
        try:
            described = admin.describe_consumer_groups([group])[group].result(10)
        except KafkaException as exc:
            return f"the executors' group is not there yet: {exc}"
        joined = sum(bool(member.assignment.topic_partitions) for member in described.members)
        if joined < self.config.cluster.executors:
            return f"{joined} of {self.config.cluster.executors} executors have partitions"
        gateway = self.config.gateway
        if gateway.enabled and not _listens(gateway.host, gateway.port):
            return f"the gateway does not listen at {gateway.host}:{gateway.port} yet"
        return ""

    # ---- watching -----------------------------------------------------------------------------------------------

    def restart_dead(self) -> list[str]:
        """Start again what has ended; the names of those.

        Raises
        ------
        ConfigurationError
            A service says that an operator has to change something.
        """
        again = []
        if self.broker is not None and not self.broker.alive:
            log.warning("the broker has ended; starting it again")
            self.broker.start()
            again.append("broker")
        now = time.monotonic()
        for service in self.services.values():
            process = service.process
            if process is None or process.alive:
                continue
            if process.returncode == REFUSED:
                raise ConfigurationError(f"{service.name} refuses to run: {self.last_words(service.name)}")
            if not service.due_s:
                calm = now - service.started_s > QUIET_S
                service.delay_ms = RESTART_MS_MIN if calm else min(RESTART_MS_MAX, service.delay_ms * 2)
                service.due_s = now + service.delay_ms / 1000
                log.warning("%s has ended with status %s", service.name, process.returncode)
            if now >= service.due_s:
                service.due_s = 0.0
                self._launch(service)
                again.append(service.name)
        return again

    def last_words(self, name: str) -> str:
        """The last lines of a service's log, from its last error on."""
        try:
            text = (self.data / "logs" / f"{name}.log").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""
        lines = text.strip().splitlines()[-20:]
        errors = [number for number, line in enumerate(lines) if " ERROR " in line or line.startswith("parsec: ")]
        return "\n".join(lines[errors[-1]:] if errors else lines[-5:])

    def _write_run_file(self) -> None:
        path = self.data / RUN_FILE
        draft = path.with_suffix(".tmp")
        draft.write_text(json.dumps({"pid": os.getpid(), "config": self.config.shown()}, indent=2), encoding="utf-8")
        draft.replace(path)

    # ---- stopping -----------------------------------------------------------------------------------------------

    def stop(self, timeout_s: float = STOP_S) -> None:
        """Stop everything in reverse order, with one deadline."""
        deadline = time.monotonic() + timeout_s
        running = [service for service in reversed(self.services.values()) if service.process is not None]
        for service in running:
            if service.process is not None:
                service.process.terminate()
        for service in running:
            if service.process is not None:
                service.process.stop(max(0.5, deadline - time.monotonic()))
            if service.output is not None:
                service.output.close()
                service.output = None
        if self.broker is not None:
            self.broker.stop(max(2.0, deadline - time.monotonic()))
        if self._lock.held:
            (self.data / RUN_FILE).unlink(missing_ok=True)
            self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def running(data: Path) -> dict[str, Any]:
    """The configuration of what runs on a data directory, by section; empty if nothing is known to run."""
    try:
        document = json.loads((data / RUN_FILE).read_text(encoding="utf-8"))
        config: dict[str, Any] = document["config"]
        alive = process_exists(int(document["pid"]))
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return config if alive else {}


def _listens(host: str, port: int) -> bool:
    """Whether somebody accepts connections; a server that listens everywhere is asked on the loopback."""
    try:
        with socket.create_connection(("127.0.0.1" if host in ("", "0.0.0.0") else host, port), timeout=1):
            return True
    except OSError:
        return False


__all__ = ["Service", "Supervisor", "running"]
