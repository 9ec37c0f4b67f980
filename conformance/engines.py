"""The engines that can be compared, by name."""

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from executors.evm import PyEvm
from executors.machine import Answer, Block, StateView, VirtualMachine
from ingest.transactions import Transaction
from schemas.errors import ConfigurationError
from schemas.rules import Rules


class StoredHistory(PyEvm):
    """The engine in Python with the history contract as on Ethereum.

    There a call of the system writes it in each block, and its slots are as any others. In the pipeline nobody writes
    it, and the chain of manifests answers.

    Parameters
    ----------
    rules
        Of the chain.
    """

    def __init__(self, rules: Rules) -> None:
        super().__init__(rules)
        self._fork = replace(self._fork, history=False)


def _py_evm(rules: Rules) -> VirtualMachine:
    return StoredHistory(rules)


ENGINES: Final[dict[str, Callable[[Rules], VirtualMachine]]] = {"py-evm": _py_evm}
"""What makes each of them for a set of rules."""
DEFAULT: Final = "py-evm"


def engine(name: str, rules: Rules) -> VirtualMachine:
    """An engine for a set of rules.

    Raises
    ------
    ConfigurationError
        If there is none of that name.
    """
    check_engine(name)
    return ENGINES[name](rules)


def check_engine(name: str) -> None:
    """Refuse a name that no engine has.

    Raises
    ------
    ConfigurationError
        With the names that there are.
    """
    if name not in ENGINES:
        raise ConfigurationError(f"--engine: no engine {name!r}; there are {', '.join(sorted(ENGINES))}")


class InOneBlock:
    """An engine that shows every transaction the same block, whatever epoch it runs in.

    Parameters
    ----------
    machine
        Runs them.
    block
        What they see.
    """

    def __init__(self, machine: VirtualMachine, block: Block) -> None:
        self._machine = machine
        self._block = block

    def execute(self, transaction: Transaction, block: Block, view: StateView) -> Answer:  # noqa: ARG002 - as the protocol has it
        """Run one transaction to its end."""
        return self._machine.execute(transaction, self._block, view)
