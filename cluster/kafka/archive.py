"""An archive of the broker's classes, loaded and linked: it halves the time to start and the CPU that a start takes.

The JVM checks by itself that an archive fits (its own build, the jars and their times), and starts without it where
it doesn't.

References
----------
JEP 514, Ahead-of-Time Command-Line Ergonomics.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from cluster.kafka.jars import Jar, list_digest
from cluster.kafka.java import Java

__all__ = ["archive_path", "recording_arguments", "using_arguments"]

_JAVA_VERSION_MIN: Final = 25
"""The first Java that records an archive in one run."""


_NO_CODE: Final = (
    # Classes only. Java 25 takes one of its archived call adapters for another, notices it, and warns each time.
    "-XX:+UnlockDiagnosticVMOptions",
    "-XX:+IgnoreUnrecognizedVMOptions",
    "-XX:-AOTAdapterCaching",
    "-XX:-AOTStubCaching",
)


def archive_path(folder: Path, java: Java, jars: Sequence[Jar]) -> Path | None:
    """Where the archive for this Java and these jars is kept; None where this Java has none."""
    if java.version < _JAVA_VERSION_MIN:
        return None
    return folder / f"classes-java{java.version}-{list_digest(jars)}.aot"


def recording_arguments(archive: Path) -> tuple[str, ...]:
    """What the JVM is told to write an archive when it ends."""
    return (f"-XX:AOTCacheOutput={archive}", *_NO_CODE)


def using_arguments(archive: Path | None) -> tuple[str, ...]:
    """What the JVM is told to use an archive, where there is one."""
    return () if archive is None or not archive.exists() else (f"-XX:AOTCache={archive}", *_NO_CODE)
