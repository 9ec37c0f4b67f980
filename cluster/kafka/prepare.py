"""What can be done once, ahead of the first start: fetch the jars, and record the archive of classes.

``python -m cluster.kafka`` does it; so should whatever builds an image that runs the embedded broker.
"""

import contextlib
import logging
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from cluster.kafka.archive import archive_path, recording_arguments
from cluster.kafka.broker import EmbeddedBroker
from cluster.kafka.jars import fetch, jar_folder, pinned
from cluster.kafka.java import find_java
from cluster.kafka.lock import FileLock, LockHeld
from schemas.errors import Transient

__all__ = ["prepare"]

_log = logging.getLogger(__name__)

_START_TIMEOUT_S: Final = 60.0
_RECORDING_TIMEOUT_S: Final = 120.0
"""Most of the work is done after the broker has ended, before its JVM does."""


def prepare(java: str | Path | None = None) -> Path | None:
    """Have the broker's jars and, where this Java can make one, the archive that speeds its start up.

    Safe in two processes at once. Where everything is there it takes 0.1 s; recording takes about 10 s.

    Parameters
    ----------
    java
        Which Java, as :func:`cluster.kafka.java.find_java` takes it.

    Returns
    -------
    Path or None
        The archive; None where there is none. Its absence costs time and nothing else.

    Raises
    ------
    ConfigurationError, Unavailable
        As :meth:`EmbeddedBroker.start` does.
    """
    runtime = find_java(java)
    fetch()
    archive = archive_path(jar_folder(), runtime, pinned())
    if archive is None or archive.exists():
        return archive
    lock = FileLock(archive.with_suffix(".lock"))
    try:
        lock.acquire(_RECORDING_TIMEOUT_S)
    except LockHeld:
        return None
    with lock:
        if not archive.exists():
            with _told("Preparing Kafka for fast starts (once, about 10 s)"):
                _record(runtime.path, archive)
    return archive if archive.exists() else None


def _record(java: Path, archive: Path) -> None:
    """Run a broker through its start once, with the JVM taking notes."""
    with tempfile.TemporaryDirectory(prefix=".recording-", dir=archive.parent) as folder:
        fresh = Path(folder) / "classes.aot"
        arguments = recording_arguments(fresh)
        broker = EmbeddedBroker(Path(folder) / "data", port=0, java=java, jvm_arguments=arguments)
        try:
            broker.start(_START_TIMEOUT_S)
        except Transient as error:
            _log.warning("no archive of classes was recorded: %s", error)
            return
        finally:
            broker.stop(_RECORDING_TIMEOUT_S)
        if fresh.exists():
            fresh.replace(archive)
        else:
            _log.warning("%s recorded no archive of classes; starts stay slow", java)


@contextlib.contextmanager
def _told(what: str) -> Iterator[None]:
    """Say what takes so long."""
    if not sys.stderr.isatty():
        sys.stderr.write(f"{what}\n")
        yield
        return
    from rich.console import Console  # only a first start on a terminal needs it

    with Console(stderr=True).status(what):
        yield
