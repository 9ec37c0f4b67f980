"""The WebAssembly machine: contracts from Rust, C, AssemblyScript, TinyGo or text form, interpreted by wasmtime.

`docs/machines-wasm.md` says what a module has to look like, and lists the functions that it may import.
"""

from .machine import Wasm

__all__ = ["Wasm"]
