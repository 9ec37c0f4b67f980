"""A real Kafka broker of one node, as a child process that needs nothing installed.

For development, tests and demonstrations, and for what one machine may run. The data folder holds::

    kafka/              Kafka's log and metadata, kept between runs
    server.properties   written anew at every start
    broker.log          Kafka's log file, at most five times 10 MB
    java.out            what the JVM itself says
    lock                names the process that runs a broker on this folder
"""

import base64
import logging
import os
import re
import socket
import subprocess
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from cluster.guardian import Guarded
from cluster.kafka.archive import archive_path, using_arguments
from cluster.kafka.jars import fetch, jar_folder, pinned
from cluster.kafka.java import Java, find_java
from cluster.kafka.lock import FileLock, LockHeld
from cluster.kafka.readiness import await_ready
from cluster.kafka.settings import HOST, render, server_settings
from schemas.errors import ConfigurationError, Unavailable

__all__ = ["DEFAULT_PORT", "EmbeddedBroker"]

_log = logging.getLogger(__name__)

DEFAULT_PORT: Final = 9092

_LOG4J: Final = Path(__file__).with_name("log4j2.properties")
_FORMAT_TIMEOUT_S: Final = 60.0
_FORMER_TIMEOUT_S: Final = 20.0
"""How long the broker of a killed process may take to end: its guardian's grace and more."""
_GRACE_S: Final = 10.0
_PORT_ATTEMPTS: Final = 3
_TAIL_LINES: Final = 8
_TELLING: Final = re.compile(r" (ERROR|FATAL) |^[\w.$]+(Exception|Error): |^Caused by: ")


class EmbeddedBroker:
    """Apache Kafka on this machine's loopback interface.

    It ends with the process that started it, also when that is killed.

    Parameters
    ----------
    data
        Folder for everything that it writes; made where it is missing.
    port
        The port that is wanted. Where it is taken, a free one serves instead; 0 takes any. A later start of the same
        object keeps it where it can, so that clients find the broker again; the data don't care.
    java
        Which Java, as :func:`cluster.kafka.java.find_java` takes it.
    heap_mb
        The largest heap, in MiB.
    full_jit
        Whether the JVM may optimise fully. It costs 4 s of CPU in the first 20 s, and takes a fifth off a broker that
        has been busy for minutes.
    jvm_arguments
        More for the JVM, behind the others.
    """

    def __init__(
        self,
        data: Path,
        *,
        port: int = DEFAULT_PORT,
        java: str | Path | None = None,
        heap_mb: int = 512,
        full_jit: bool = False,
        jvm_arguments: Sequence[str] = (),
    ) -> None:
        self._data = data.absolute()
        self._java = java
        self._heap_mb = heap_mb
        self._full_jit = full_jit
        self._jvm_arguments = tuple(jvm_arguments)
        self._lock = FileLock(self._data / "lock")
        self._guarded: Guarded | None = None
        self._port = port
        self._cluster_id = ""
        self._log_bytes = 0
        """Size of the log file when the JVM was started."""

    @property
    def data(self) -> Path:
        """The data folder."""
        return self._data

    @property
    def port(self) -> int:
        """The port it listens on; before the start the one that is wanted."""
        return self._port

    @property
    def bootstrap(self) -> str:
        """What clients take as ``bootstrap.servers``."""
        return f"{HOST}:{self._port}"

    @property
    def cluster_id(self) -> str:
        """Id of the cluster, kept with the data; empty before the first start."""
        return self._cluster_id

    @property
    def log_file(self) -> Path:
        """Kafka's log file."""
        return self._data / "broker.log"

    @property
    def pid(self) -> int | None:
        """Process id of the JVM; None while there is none."""
        return None if self._guarded is None else self._guarded.pid

    @property
    def alive(self) -> bool:
        """Whether the JVM runs; False when it was stopped, crashed or was killed."""
        return self._guarded is not None and self._guarded.alive

    def start(self, timeout_s: float = 60.0) -> Self:
        """Start it, and wait until it serves. A broker that runs is left alone; one that died is started again.

        Fetching jars, which a machine does once, has no part in the time.

        Raises
        ------
        ConfigurationError
            Another process runs a broker on this folder, there is no Java, or a jar isn't the pinned one.
        Unavailable
            A jar can't be fetched, or the broker didn't get ready in time; the message holds the end of its log.
        """
        if self.alive:
            return self
        self.stop()
        self._refuse_path()
        # 1. One broker for a folder. The guardian and the JVM inherit the lock: it is free when they are gone.
        self._take_lock()
        try:
            # 2. What it is made of.
            java, jars = find_java(self._java), fetch()
            begun = time.monotonic()
            self._cluster_id = self._cluster_id_kept()
            # 3. A port may be lost between the choice and the start: then another one is taken.
            for attempt in range(_PORT_ATTEMPTS):
                controller_port = self._choose_ports()
                if not self._cluster_id:
                    self._cluster_id = self._format(java, jars)
                self._launch(java, jars)
                try:
                    self._await(timeout_s - (time.monotonic() - begun))
                    break
                except Unavailable:
                    lost = not self.alive and not (_is_free(self._port) and _is_free(controller_port))
                    self._end(0.0)
                    if not lost or attempt + 1 == _PORT_ATTEMPTS:
                        raise
        except BaseException:
            self.stop(0.0)
            raise
        _log.info("Kafka at %s is ready after %.1f s (process %s)", self.bootstrap, time.monotonic() - begun, self.pid)
        return self

    def stop(self, timeout_s: float = 15.0) -> None:
        """End it in order, after `timeout_s` seconds by force. The data stay. Nothing happens where none runs."""
        self._end(timeout_s)
        self._lock.release()

    def __enter__(self) -> Self:
        """Start it."""
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop it."""
        self.stop()

    def _refuse_path(self) -> None:
        if "," in str(self._data):
            raise ConfigurationError(f"{self._data} has a comma, which Kafka takes for the end of a folder's name")

    def _take_lock(self) -> None:
        self._data.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            self._lock.acquire(_FORMER_TIMEOUT_S, outwait_living=False)
        except LockHeld as error:
            owner = "another process" if error.owner is None else f"process {error.owner}"
            raise ConfigurationError(
                f"{owner} runs a broker on {self._data} already: connect to that one, stop it, or name another folder"
            ) from error

    def _choose_ports(self) -> int:
        """Settle the broker's port, write the settings; the controller's port."""
        wanted, self._port = self._port, _free_port(self._port)
        if wanted not in (0, self._port):
            _log.warning("port %d is taken; the broker listens on %d", wanted, self._port)
        controller_port = _free_port(0)
        settings = server_settings(self._data / "kafka", port=self._port, controller_port=controller_port)
        self._properties.write_text(render(settings), encoding="ascii")
        return controller_port

    @property
    def _properties(self) -> Path:
        return self._data / "server.properties"

    def _cluster_id_kept(self) -> str:
        """The cluster id that the data hold, empty where they aren't formatted."""
        try:
            lines = (self._data / "kafka" / "meta.properties").read_text(encoding="ascii").splitlines()
        except FileNotFoundError:
            return ""
        return next((line.partition("=")[2].strip() for line in lines if line.startswith("cluster.id=")), "")

    def _format(self, java: Java, jars: Sequence[Path]) -> str:
        cluster_id = _fresh_cluster_id()
        tool = ["kafka.tools.StorageTool", "format", "--cluster-id", cluster_id, "--config", str(self._properties)]
        try:
            subprocess.run(
                [*self._jvm(java, jars), *tool],
                check=True,
                capture_output=True,
                text=True,
                timeout=_FORMAT_TIMEOUT_S,
                stdin=subprocess.DEVNULL,
            )
        except (OSError, subprocess.SubprocessError) as error:
            said = getattr(error, "stderr", None) or ""
            raise ConfigurationError(f"{self._data} can't be formatted for the broker: {error} {said}") from error
        return cluster_id

    def _jvm(self, java: Java, jars: Sequence[Path]) -> list[str]:
        return [
            str(java.path),
            "-Xms64m",
            f"-Xmx{self._heap_mb}m",
            "-XX:+UseSerialGC",
            *([] if self._full_jit else ["-XX:TieredStopAtLevel=1"]),
            *using_arguments(archive_path(jar_folder(), java, pinned())),
            "-XX:+ExitOnOutOfMemoryError",  # rather no broker than half a one
            "-XX:-UsePerfData",
            "-Djava.awt.headless=true",
            f"-Dlog4j2.configurationFile={_LOG4J.as_uri()}",
            f"-Dparsec.broker.log={self.log_file}",
            "-cp",
            os.pathsep.join(map(str, jars)),
        ]

    def _launch(self, java: Java, jars: Sequence[Path]) -> None:
        *jvm, class_path, paths = self._jvm(java, jars)
        argv = [*jvm, *self._jvm_arguments, class_path, paths, "kafka.Kafka", str(self._properties)]
        self._log_bytes = self.log_file.stat().st_size if self.log_file.exists() else 0
        with (self._data / "java.out").open("wb") as output:
            self._guarded = Guarded(
                argv,
                pid_file=self._data / "broker.pid",
                grace_s=_GRACE_S,
                output=output,
                cwd=self._data,
                pass_fds=(self._lock.fileno,),
            )

    def _await(self, timeout_s: float) -> None:
        try:
            await_ready(HOST, self._port, cluster_id=self._cluster_id, timeout_s=timeout_s, alive=lambda: self.alive)
        except Unavailable as error:
            raise Unavailable(f"{error}; from {self.log_file}:\n{self._last_words()}") from error

    def _last_words(self) -> str:
        """What the JVM said, and Kafka's errors since this start, or else its last lines."""
        jvm, kafka = _lines(self._data / "java.out", 0), _lines(self.log_file, self._log_bytes)
        telling = [line for line in kafka if _TELLING.search(line)]
        return "\n".join([*jvm[-_TAIL_LINES:], *(telling[:_TAIL_LINES] or kafka[-_TAIL_LINES:])])

    def _end(self, timeout_s: float) -> None:
        if self._guarded is not None:
            status = self._guarded.stop(timeout_s)
            _log.info("Kafka at %s has ended with status %d", self.bootstrap, status)
            self._guarded = None


def _lines(path: Path, begin: int) -> list[str]:
    """The lines of a file from a position on; all of them where it has become shorter since."""
    try:
        content = path.read_bytes()
    except OSError:
        return []
    return content[begin if begin <= len(content) else 0 :].decode("utf-8", "replace").splitlines()


def _fresh_cluster_id() -> str:
    """16 random bytes in Kafka's way of writing them: 22 characters, none that looks like an option."""
    while (made := base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")).startswith("-"):
        pass
    return made


def _free_port(wanted: int) -> int:
    if wanted and _is_free(wanted):
        return wanted
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        if os.name == "posix":  # as the broker does it: connections that are being forgotten don't count
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True
