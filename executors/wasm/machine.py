"""The machine: modules in, compiled once, an instance for each message."""

import threading
from collections import OrderedDict
from functools import cache
from typing import Final

from executors import gas
from executors.machine import Host, InvalidCode

from . import binary, limits
from .deployment import check, check_size
from .imports import IMPORTS, Environment
from .library import Module, Sandbox, to_binary

_MODULE_BYTES_MIN: Final = 4_096
"""So much a kept module counts at least: compiled it has a size, too."""


class Wasm:
    """WebAssembly contracts.

    Raises
    ------
    ConfigurationError
        The installed wasmtime isn't the one that version 1 stands for.
    """

    name = "wasm"
    version = 1

    def __init__(self) -> None:
        self._sandbox = _sandbox()
        self._modules = _Modules(self._sandbox)

    def compile(self, code: bytes) -> bytes:
        """Check a module, in binary or in text form.

        Returns
        -------
        bytes
            The binary module.

        Raises
        ------
        InvalidCode
            With what is wrong, and the limit if it is one.
        """
        if not code.startswith(binary.MAGIC):
            if len(code) > limits.TEXT_BYTES_MAX:
                raise InvalidCode(f"text of {len(code):,} bytes, limit {limits.TEXT_BYTES_MAX:,}")
            code = to_binary(code)
        check_size(code)
        self._sandbox.validate(code)
        check(code, {name: each.type for name, each in IMPORTS.items()})
        self._modules.find(code)
        return code

    def run(self, code: bytes, host: Host) -> bytes:
        """Run a message in an instance of its own.

        Raises
        ------
        Halt
            If it ends without success.
        """
        host.charge(limits.CODE_WORD_GAS * gas.words(len(code)))
        return Environment(self._modules.find(code), host).run()


@cache
def _sandbox() -> Sandbox:
    """The one of this process."""
    return Sandbox(IMPORTS.values())


class _Modules:
    """The compiled modules that were used last."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._lock = threading.Lock()
        self._modules: OrderedDict[bytes, Module] = OrderedDict()
        self._bytes = 0

    def find(self, code: bytes) -> Module:
        """The module, compiled if need be."""
        with self._lock:
            module = self._modules.get(code)
            if module is None:
                module = self._modules[code] = self._sandbox.compile(code)
                self._bytes += max(len(code), _MODULE_BYTES_MIN)
                while len(self._modules) > limits.MODULES_MAX or self._bytes > limits.MODULES_BYTES_MAX:
                    oldest, _ = self._modules.popitem(last=False)
                    self._bytes -= max(len(oldest), _MODULE_BYTES_MIN)
            else:
                self._modules.move_to_end(code)
            return module
