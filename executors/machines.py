"""The machines beside the EVM: which contracts are theirs, and where the machines come from.

A package adds a machine by an entry point in the group ``parsec.vms``: the name is the machine's, the object a class
without arguments, or a function, that gives a `Machine`. The rules of a chain name the machines with their versions,
and every process of it has to have them.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import entry_points
from typing import Final

from schemas.errors import ConfigurationError

from .machine import Machine

GROUP: Final = "parsec.vms"
MAGIC: Final = b"\xefPVM"
"""How the code of a contract begins that isn't EVM code: its byte 0xef never begins code that the EVM deploys."""


def contained(machine: str, code: bytes) -> bytes:
    """Code as the account of a contract has it: magic, length of the machine's name, name, code."""
    name = machine.encode("ascii")
    return MAGIC + bytes([len(name)]) + name + code


def opened(code: bytes) -> tuple[str, bytes] | None:
    """Machine and code in a container, or None for anything else."""
    if not code.startswith(MAGIC) or len(code) <= len(MAGIC):
        return None
    start = len(MAGIC) + 1
    end = start + code[len(MAGIC)]
    name = code[start:end]
    return (name.decode("ascii"), code[end:]) if len(code) >= end and name.isascii() else None


def load(named: Sequence[str]) -> dict[str, Machine]:
    """The machines that the rules name.

    Parameters
    ----------
    named
        Each as ``name/version``.

    Raises
    ------
    ConfigurationError
        One isn't installed, or in another version.
    """
    return dict(_load(tuple(named)))


@cache
def _load(named: tuple[str, ...]) -> Mapping[str, Machine]:
    installed = {point.name: point for point in entry_points(group=GROUP)}
    machines: dict[str, Machine] = {}
    for entry in named:
        name, _, wanted = entry.partition("/")
        if name not in installed:
            raise ConfigurationError(
                f"the genesis names the machine {entry}, and no installed package has it (entry point group {GROUP}); "
                f"installed are {', '.join(sorted(installed)) or 'none'}")
        try:
            machine: Machine = installed[name].load()()
        except ImportError as exc:
            raise ConfigurationError(f"the machine {entry} can't be loaded: {exc}") from exc
        if machine.name != name or str(machine.version) != wanted:
            raise ConfigurationError(
                f"the genesis names the machine {entry}; installed is {machine.name}/{machine.version}")
        machines[name] = machine
    return machines
