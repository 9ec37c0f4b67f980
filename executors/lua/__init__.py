"""The Lua machine: contracts that are Lua 5.4 source, called by the ABI of Solidity, in a sandbox without a way out.

``source`` checks a contract and rewrites its operators, ``sandbox`` runs it, ``session`` answers what it asks of its
host, ``abi`` encodes, and ``machine`` puts them together. ``prelude`` holds what of the sandbox is written in Lua.
"""

from .machine import Lua

__all__ = ["Lua"]
