"""The list of jars, and fetching them: from a Maven repository on this machine, through jgo's own settings."""

import functools
import hashlib
import http.server
import multiprocessing
import multiprocessing.synchronize
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from cluster.kafka.cache import cache_folder
from cluster.kafka.jars import LIST, Jar, fetch, list_digest, pinned
from schemas.errors import ConfigurationError, Unavailable

_PERMISSIVE = ("apache", "mit", "bsd", "go license", "public domain")


def _jar(name: str, content: bytes) -> Jar:
    digest = hashlib.sha256(content).hexdigest()
    size = len(content)
    return Jar(group="org.example", artifact=name, version="1.0", sha256=digest, size=size, licence="MIT")


@dataclass
class _Repository:
    """A Maven repository: a folder behind an HTTP server."""

    folder: Path
    asked: Counter[str] = field(default_factory=Counter)

    def put(self, jar: Jar, content: bytes) -> None:
        path = self.folder / jar.group.replace(".", "/") / jar.artifact / jar.version / jar.filename
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[_Repository]:
    repository = _Repository(tmp_path / "repository")
    repository.folder.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments: object) -> None:
            repository.asked[self.path.rsplit("/", 1)[-1]] += 1

    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Handler, directory=str(repository.folder))
    )
    settings = tmp_path / "jgo.conf"
    settings.write_text(f"[repositories]\ncentral = http://127.0.0.1:{server.server_port}\n")
    monkeypatch.setenv("JGO_CONFIG_FILE", str(settings))
    monkeypatch.setenv("M2_REPO", str(tmp_path / "m2"))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield repository
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.skipif(sys.platform != "linux", reason="the XDG folders are for Linux")
def test_the_cache_is_where_the_user_wants_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    monkeypatch.setenv("XDG_CACHE_HOME", "/large/disk")
    assert cache_folder() == Path("/large/disk/parsec")
    for unset in ("", "relative"):
        monkeypatch.setenv("XDG_CACHE_HOME", unset)
        assert cache_folder() == Path("/home/somebody/.cache/parsec")


def test_the_committed_list() -> None:
    jars = pinned()
    assert {"kafka_2.13", "kafka-clients", "log4j-slf4j-impl", "log4j-core"} <= {jar.artifact for jar in jars}
    assert {jar.version for jar in jars if jar.group == "org.apache.kafka"} == {"4.1.0"}
    assert {jar.version for jar in jars if jar.group == "org.apache.logging.log4j"} == {"2.24.3"}
    assert len({jar.filename for jar in jars}) == len(jars) == len({jar.artifact for jar in jars})
    assert all(len(jar.sha256) == 64 and int(jar.sha256, 16) >= 0 for jar in jars)
    assert list(jars) == sorted(jars, key=lambda jar: jar.coordinate)
    lines = [line for line in LIST.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    assert [jar.line for jar in jars] == lines


@pytest.mark.parametrize("jar", pinned(), ids=lambda jar: jar.artifact)
def test_licences_are_permissive(jar: Jar) -> None:
    assert any(word in jar.licence.lower() for word in _PERMISSIVE)
    assert "gpl" not in jar.licence.lower()


def test_digest_names_the_exact_list() -> None:
    one, two = _jar("one", b"1"), _jar("two", b"2")
    assert list_digest([one, two]) == list_digest([one, two])
    assert list_digest([one, two]) != list_digest([one, replace(two, sha256="0" * 64)])


def test_fetched_once(repository: _Repository, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    jars = [_jar(f"part{number}", b"%d" % number * 1000) for number in range(9)]
    for number, jar in enumerate(jars):
        repository.put(jar, b"%d" % number * 1000)
    paths = fetch(tmp_path / "cache", jars)
    assert [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths] == [jar.sha256 for jar in jars]
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "9 files" in said
    assert fetch(tmp_path / "cache", jars) == paths
    assert capsys.readouterr().err == ""
    assert all(repository.asked[jar.filename] == 1 for jar in jars)
    assert [path.name for path in (tmp_path / "cache").iterdir() if path.is_dir()] == []


def test_a_tampered_repository_is_refused(repository: _Repository, tmp_path: Path) -> None:
    jar = _jar("part", b"what was reviewed")
    repository.put(jar, b"something else")
    with pytest.raises(ConfigurationError, match=r"org\.example:part:1\.0 .* not " + jar.sha256):
        fetch(tmp_path / "cache", [jar])
    assert not (tmp_path / "cache" / jar.filename).exists()


def test_a_tampered_cache_is_refused(repository: _Repository, tmp_path: Path) -> None:
    jar = _jar("part", b"what was reviewed")
    repository.put(jar, b"what was reviewed")
    (path,) = fetch(tmp_path / "cache", [jar])
    path.write_bytes(b"what was reviewed?")
    with pytest.raises(ConfigurationError, match=r"org\.example:part:1\.0 .*delete "):
        fetch(tmp_path / "cache", [jar])


def test_an_artifact_that_cannot_be_had(repository: _Repository, tmp_path: Path) -> None:
    here, missing = _jar("here", b"here"), _jar("missing", b"missing")
    repository.put(here, b"here")
    with pytest.raises(Unavailable, match=r"org\.example:missing:1\.0 can't be fetched .*HTTPS_PROXY.*copy "):
        fetch(tmp_path / "cache", [here, missing])
    repository.put(missing, b"missing")
    assert len(fetch(tmp_path / "cache", [here, missing])) == 2


def test_the_local_maven_repository_comes_first(repository: _Repository, tmp_path: Path) -> None:
    jar = _jar("part", b"content")
    _Repository(tmp_path / "m2").put(jar, b"content")
    (path,) = fetch(tmp_path / "cache", [jar])
    assert path.read_bytes() == b"content"
    assert not repository.asked
    assert list((tmp_path / "m2").rglob("part-1.0.jar"))


def test_a_broken_file_in_the_local_maven_repository_is_passed_over(repository: _Repository, tmp_path: Path) -> None:
    jar = _jar("part", b"content")
    _Repository(tmp_path / "m2").put(jar, b"con")
    repository.put(jar, b"content")
    (path,) = fetch(tmp_path / "cache", [jar])
    assert path.read_bytes() == b"content"


def _fetch_in_child(folder: Path, jars: list[Jar], start: multiprocessing.synchronize.Event) -> None:
    start.wait()
    fetch(folder, jars)


def test_two_processes_at_once(repository: _Repository, tmp_path: Path) -> None:
    jars = [_jar(f"part{number}", b"%d" % number * 100_000) for number in range(5)]
    for number, jar in enumerate(jars):
        repository.put(jar, b"%d" % number * 100_000)
    context = multiprocessing.get_context("spawn")
    start = context.Event()
    children = [context.Process(target=_fetch_in_child, args=(tmp_path / "cache", jars, start)) for _ in range(2)]
    for child in children:
        child.start()
    start.set()
    for child in children:
        child.join(30)
    assert [child.exitcode for child in children] == [0, 0]
    assert all(repository.asked[jar.filename] == 1 for jar in jars)
