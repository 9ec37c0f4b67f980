"""The engines that can be compared, by name."""

from collections.abc import Callable
from typing import Final

from executors.evm import PyEvm
from executors.machine import Answer, Block, StateView, VirtualMachine
from ingest.transactions import Transaction
from schemas.errors import ConfigurationError
from schemas.rules import Rules


def _py_evm(rules: Rules) -> VirtualMachine:
    # A call of the system writes the history contract in each block, as on Ethereum.
    return PyEvm(rules, stored_history=True)


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
