"""The Ethereum virtual machine of this platform: a fork's rules over a state view, without tries, headers or blocks.

`admission` is shared by every engine. The engine in here, `PyEvm`, is pure Python and always there; it takes the
semantics of instructions and precompiled contracts from py-evm, and serves as the reference for the native one.
"""

from .admission import Admitted, admit
from .call import Call
from .pyevm import PyEvm

__all__ = ["Admitted", "Call", "PyEvm", "admit"]
