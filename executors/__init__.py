"""Running: the epoch engine, the view that transactions have of the state, and the virtual machines.

`engine` is a pure state machine; `service` moves its bytes.
"""

from .engine import Executor
from .machine import Block, Rejected, Result, StateView, VirtualMachine, Waits

__all__ = ["Block", "Executor", "Rejected", "Result", "StateView", "VirtualMachine", "Waits"]
