"""Containers of code, and the machines that the rules name."""

from collections.abc import Iterator
from importlib.metadata import EntryPoint
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from executors import machines
from executors.machines import GROUP, MAGIC, contained, load, opened
from schemas.errors import ConfigurationError

names = st.text("abcdefghijklmnopqrstuvwxyz0123456789_", min_size=1, max_size=16)


class One:
    """A machine as far as loading is concerned."""

    name = "one"
    version = 3


class Misnamed:
    """One that is registered under another name than its own."""

    name = "other"
    version = 3


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Entry points of this file."""
    points = [EntryPoint(name, f"{__name__}:{target}", GROUP) for name, target in (("one", "One"), ("two", "Misnamed"))]

    def entry_points(**wanted: Any) -> list[EntryPoint]:
        assert wanted == {"group": "parsec.vms"}
        return points

    monkeypatch.setattr(machines, "entry_points", entry_points)
    # A fixture's module isn't importable by its name; what the points name is looked up in here.
    monkeypatch.setattr(EntryPoint, "load", lambda point: globals()[point.attr])
    machines._load.cache_clear()
    yield
    machines._load.cache_clear()


@given(names, st.binary(max_size=100))
def test_a_container_gives_back_what_is_in_it(name: str, code: bytes) -> None:
    """Whatever the code is, another container included."""
    stored = contained(name, code)
    assert stored == b"\xefPVM" + bytes([len(name)]) + name.encode() + code
    assert opened(stored) == (name, code)
    assert opened(contained(name, stored)) == (name, stored)


@given(st.binary(max_size=60))
def test_anything_may_be_opened(code: bytes) -> None:
    """What is no container is none; nothing raises, and what is one closes to the same bytes."""
    for data in (code, MAGIC + code):
        found = opened(data)
        if found is not None:
            assert data.startswith(MAGIC)
            assert contained(*found) == data


@pytest.mark.parametrize("code", [
    b"", b"\xef", MAGIC[:-1], MAGIC, MAGIC + b"\x04lua", MAGIC + b"\x03lu", MAGIC + b"\x03l\xfcx", b"\xef\x01\x00" + bytes(20),
    b"\x60" + MAGIC + b"\x03lua", b"\xefPVm\x03lua"])
def test_what_is_no_container(code: bytes) -> None:
    """Cut off, another beginning, a name that isn't ASCII."""
    assert opened(code) is None


def test_a_name_has_to_be_ascii() -> None:
    """A machine with another name cannot be stored."""
    with pytest.raises(UnicodeEncodeError):
        contained("lüa", b"")


@pytest.mark.usefixtures("installed")
def test_loading() -> None:
    """By name and version, each machine once."""
    loaded = load(("one/3",))
    assert set(loaded) == {"one"}
    assert isinstance(loaded["one"], One)
    assert load(["one/3"])["one"] is loaded["one"]
    loaded.clear()
    assert set(load(("one/3",))) == {"one"}
    assert load(()) == {}


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(("named", "message"), [
    ("three/1", r"names the machine three/1, and no installed package has it .*parsec\.vms.*installed are one, two"),
    ("one/2", "names the machine one/2; installed is one/3"),
    ("one", "names the machine one; installed is one/3"),
    ("one/03", "names the machine one/03; installed is one/3"),
    ("two/3", "names the machine two/3; installed is other/3"),
])  # fmt: skip
def test_a_machine_that_is_not_there(named: str, message: str) -> None:
    """Not installed, in another version, or under another name: the message says what was found."""
    with pytest.raises(ConfigurationError, match=message):
        load((named,))


@pytest.mark.usefixtures("installed")
def test_nothing_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says so."""
    monkeypatch.setattr(machines, "entry_points", lambda **_: [])
    with pytest.raises(ConfigurationError, match="installed are none"):
        load(("one/3",))
