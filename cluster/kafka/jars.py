"""The broker's jars: pinned, fetched once, checked at every start.

``jars.txt`` lists every artifact with its SHA-256, so that nothing is resolved at run time and nothing else than what
was reviewed ever runs. Fetching goes through jgo, which finds the Maven repositories: its settings (a mirror in the
``[repositories]`` section of its configuration file, ``M2_REPO``) and the usual proxy variables are honoured.
"""

import concurrent.futures
import contextlib
import functools
import hashlib
import logging
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cluster.kafka.cache import cache_folder
from cluster.kafka.lock import FileLock, LockHeld
from schemas.errors import ConfigurationError, Unavailable

if TYPE_CHECKING:
    from jgo.maven import MavenContext

__all__ = ["KAFKA_VERSION", "LIST", "Jar", "fetch", "jar_folder", "list_digest", "maven", "pinned", "sha256"]

_log = logging.getLogger(__name__)

KAFKA_VERSION: Final = "4.1.0"
LIST: Final = Path(__file__).with_name("jars.txt")
"""The list; ``python -m cluster.kafka.resolve`` writes it."""

_FETCHERS: Final = 6
_LOCK_TIMEOUT_S: Final = 600.0
_TIMEOUT_S: Final = 30

Progress = Callable[[int], None]
"""Takes the number of bytes that have come in since the last call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Jar:
    """One artifact of the list."""

    group: str
    artifact: str
    version: str
    sha256: str
    """64 hexadecimal digits."""
    size: int
    """Bytes."""
    licence: str
    """As its project file states it."""

    @property
    def coordinate(self) -> str:
        """Maven's name for it."""
        return f"{self.group}:{self.artifact}:{self.version}"

    @property
    def filename(self) -> str:
        """Name of the file; unique within the list."""
        return f"{self.artifact}-{self.version}.jar"

    @property
    def line(self) -> str:
        """How the list writes it."""
        return f"{self.coordinate} {self.sha256} {self.size} {self.licence}"

    @classmethod
    def parse(cls, line: str) -> "Jar":
        """Read a line of the list."""
        coordinate, digest, size, licence = line.split(maxsplit=3)
        group, artifact, version = coordinate.split(":")
        return cls(group=group, artifact=artifact, version=version, sha256=digest, size=int(size), licence=licence)


def pinned(listed: Path = LIST) -> tuple[Jar, ...]:
    """The artifacts of a list, in the order of the class path."""
    lines = listed.read_text(encoding="utf-8").splitlines()
    return tuple(Jar.parse(line) for line in lines if line and not line.startswith("#"))


def list_digest(jars: Sequence[Jar]) -> str:
    """Short name of exactly these artifacts; 16 hexadecimal digits."""
    return hashlib.sha256("\n".join(jar.line for jar in jars).encode()).hexdigest()[:16]


def jar_folder() -> Path:
    """The folder in the user's cache that holds the jars."""
    return cache_folder() / f"kafka-{KAFKA_VERSION}"


def sha256(path: Path) -> str:
    """SHA-256 of a file in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def maven(cache: Path) -> "tuple[MavenContext, Path]":
    """Access to the Maven repositories that jgo knows, its settings included.

    Parameters
    ----------
    cache
        Folder for what comes in.

    Returns
    -------
    tuple of MavenContext and Path
        The repositories, and the folder of the user's own Maven repository, which needn't exist.
    """
    # Importing jgo takes a third of a second, and only the first start needs it.
    from jgo.config import GlobalSettings
    from jgo.maven import MavenContext

    settings = GlobalSettings.load()
    remote = MavenContext().remote_repos | settings.repositories
    return MavenContext(repo_cache=cache, remote_repos=remote, timeout=_TIMEOUT_S), settings.repo_cache


def fetch(folder: Path | None = None, jars: Sequence[Jar] | None = None) -> tuple[Path, ...]:
    """The jars on this machine, fetched where they are missing, every one checked.

    Two processes may do this at once: one fetches, the other waits and finds everything there. A file appears under
    its name only once it is complete and its checksum right.

    Parameters
    ----------
    folder
        Where they are kept; :func:`jar_folder` where it is None.
    jars
        The artifacts; those of the committed list where it is None.

    Returns
    -------
    tuple of Path
        One path for each artifact, in the same order.

    Raises
    ------
    Unavailable
        An artifact can't be had; the message names it and says what to do.
    ConfigurationError
        A repository or a copied cache holds a file with another checksum.
    """
    folder = folder or jar_folder()
    jars = pinned() if jars is None else jars
    if _missing(folder, jars):
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock")
        try:
            lock.acquire(_LOCK_TIMEOUT_S)
        except LockHeld as error:
            raise Unavailable(
                f"process {error.owner} has been fetching jars into {folder} for {_LOCK_TIMEOUT_S:.0f} s"
            ) from error
        with lock:
            _fetch_missing(folder, _missing(folder, jars))
    paths = tuple(folder / jar.filename for jar in jars)
    for jar, path in zip(jars, paths, strict=True):
        _refuse_other(jar, path, f"delete {path}, so that it is fetched again, or copy the cache anew")
    return paths


def _missing(folder: Path, jars: Sequence[Jar]) -> list[Jar]:
    return [jar for jar in jars if not (folder / jar.filename).exists()]


def _refuse_other(jar: Jar, path: Path, advice: str) -> None:
    found = sha256(path)
    if found != jar.sha256:
        raise ConfigurationError(
            f"{jar.coordinate} ({path}) has SHA-256 {found}, not {jar.sha256} as pinned; it was not used: {advice}"
        )


def _fetch_missing(folder: Path, missing: Sequence[Jar]) -> None:
    if not missing:  # another process was faster
        return
    with (
        tempfile.TemporaryDirectory(prefix=".incoming-", dir=folder) as incoming,
        _progress(sum(jar.size for jar in missing), len(missing)) as advance,
        concurrent.futures.ThreadPoolExecutor(_FETCHERS, "fetch-jar") as pool,
    ):
        context, local = maven(Path(incoming))
        tasks = [pool.submit(_fetch_one, context, local, jar, folder, advance) for jar in missing]
        try:
            for task in concurrent.futures.as_completed(tasks):
                task.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _fetch_one(context: "MavenContext", local: Path, jar: Jar, folder: Path, advance: Progress) -> None:
    artifact = context.project(jar.group, jar.artifact).at_version(jar.version).artifact()
    found = local / artifact.component.path_prefix / jar.filename
    if not (found.exists() and sha256(found) == jar.sha256):
        repositories = ", ".join(context.remote_repos.values())
        try:
            found = artifact.resolve()
        except (OSError, RuntimeError, AssertionError) as error:  # what jgo raises; its HTTP errors are OSErrors
            raise Unavailable(
                f"{jar.coordinate} can't be fetched from {repositories}: {error}. Behind a proxy set HTTPS_PROXY; a "
                "mirror is named in the [repositories] section of jgo's configuration file; without internet copy "
                f"{folder} from a machine that has it"
            ) from error
        _refuse_other(jar, found, f"{repositories} holds another file under this name")
    # Complete first, then under its name. A file of the user's own Maven repository stays where it is.
    fresh = Path(tempfile.mkdtemp(dir=context.repo_cache)) / jar.filename
    shutil.copyfile(found, fresh)
    fresh.replace(folder / jar.filename)
    advance(jar.size)
    _log.debug("fetched %s", jar.coordinate)


@contextlib.contextmanager
def _progress(total: int, count: int) -> Iterator[Progress]:
    """Show how far a download is: a bar on a terminal, else one line."""
    what = f"Fetching Apache Kafka {KAFKA_VERSION} ({count} files, {total / 1e6:.0f} MB, once)"
    if not sys.stderr.isatty():
        sys.stderr.write(f"{what}\n")
        yield functools.partial(_ignore)
        return
    from rich.console import Console  # only a first start on a terminal needs it
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(what, total=total)
        yield functools.partial(bar.advance, task)


def _ignore(_bytes: int) -> None:
    """Nobody watches."""
