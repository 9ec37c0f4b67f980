"""The table of methods: name, parameters, and a function that says in its docstring what it does.

Dispatch, and any documentation of the methods, are made from `METHODS`.
"""

from typing import Final

from . import blocks, chain, logs, pipeline, state, transactions
from .method import REQUIRED, Method, Parameter

METHODS: Final[dict[str, Method]] = {
    method.name: method for room in (chain, state, transactions, blocks, logs, pipeline) for method in room.METHODS
}
"""All methods by name."""

__all__ = ["METHODS", "REQUIRED", "Method", "Parameter"]
