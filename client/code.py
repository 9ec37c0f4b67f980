"""Code that can be deployed, from the files that compilers write.

============================  =========  ==============================================================================
file                          machine    content
============================  =========  ==============================================================================
``.lua``                      lua        source; its table names the functions
``.wasm``, ``.wat``           wasm       a module, as bytes or as text
``.json``                     EVM        an artifact with `bytecode` (Hardhat, and the examples of this project),
                                         `bytecode.object` (Foundry) or `evm.bytecode.object` (solc), and `abi`
``.hex``, ``.bin``            EVM        init code in hexadecimal; ``.bin`` may hold the bytes themselves
any other                             a machine has to be named, which gets the bytes as they are
============================  =========  ==============================================================================
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from executors.machine import InvalidCode
from schemas.errors import RejectedInput

from .functions import CONSTRUCTOR, Function, Functions, InvalidSignature

EVM: Final = "evm"
"""How the machine of Ethereum is named where one may be named."""
_BY_ENDING: Final = {
    ".lua": "lua", ".wasm": "wasm", ".wat": "wasm", ".json": EVM, ".hex": EVM, ".bin": EVM}
_UNLINKED: Final = re.compile(r"__\$([0-9a-fA-F]{34})\$__|__([A-Za-z_$][^\s]{0,35})__")


class InvalidCodeFile(RejectedInput):
    """A file without code that can be deployed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """Code of a machine, with what is known of its functions."""

    machine: str
    """``evm``, or the name of a machine beside it."""
    data: bytes
    """Of the EVM init code without arguments; of any other machine what its `compile` takes."""
    functions: Functions = field(default_factory=Functions)

    @classmethod
    def read(cls, path: Path | str, machine: str | None = None) -> "Code":
        """Read a file.

        Parameters
        ----------
        path
            The file; its ending tells the machine.
        machine
            Whose code it is, where the ending doesn't tell or tells wrong.

        Raises
        ------
        InvalidCodeFile
            With the file and what is wrong.
        OSError
            It can't be read.
        """
        file = Path(path)
        found = machine or _BY_ENDING.get(file.suffix.lower())
        if found is None:
            endings = ", ".join(_BY_ENDING)
            raise InvalidCodeFile(f"{file}: the ending tells no machine ({endings} do); name one")
        content = file.read_bytes()
        if found == "lua":
            return cls(machine=found, data=content, functions=_of_lua(file, content))
        if found != EVM:
            return cls(machine=found, data=content)
        if file.suffix.lower() == ".json":
            return _artifact(file, content)
        return cls(machine=EVM, data=_init_code(file, content))

    def constructor(self, named: str | Function | None, arguments: Sequence[Any]) -> Function:
        """The constructor that takes these arguments.

        Parameters
        ----------
        named
            Its signature, as ``constructor(address,uint256)``; by default what the file tells.

        Raises
        ------
        InvalidSignature
            It isn't named `constructor`, or can't be read, or its types aren't known.
        """
        if named is not None:
            found = Function.parse(named) if isinstance(named, str) else named
            if found.name != CONSTRUCTOR:
                raise InvalidSignature(f"signature {found.signature!r}: a constructor is named {CONSTRUCTOR!r}")
            return found
        known = self.functions.constructor
        if known is None and arguments:
            raise InvalidSignature(
                f"{len(arguments)} arguments for a constructor whose types aren't known: give its signature, as "
                f"'{CONSTRUCTOR}(address,uint256)'")
        return known or Function(name=CONSTRUCTOR, inputs=(), names=())


def _of_lua(file: Path, source: bytes) -> Functions:
    """The functions of a Lua contract, which its table names by their signatures."""
    from executors.lua.machine import prepared

    try:
        contract = prepared(source)
    except InvalidCode as exc:
        raise InvalidCodeFile(f"{file}: {exc}") from exc
    found = [*contract.functions.values(), *([contract.constructor] if contract.constructor else [])]
    return Functions(
        CONSTRUCTOR + "()" if each.key.decode() == CONSTRUCTOR else each.key.decode() for each in found)


def _artifact(file: Path, content: bytes) -> Code:
    try:
        artifact = json.loads(content)
    except ValueError as exc:
        raise InvalidCodeFile(f"{file}: not JSON: {exc}") from exc
    text = _bytecode(artifact)
    if text is None:
        raise InvalidCodeFile(f"{file}: an artifact with 'bytecode' is expected, as Hardhat, Foundry and solc write it")
    if not text.removeprefix("0x"):
        raise InvalidCodeFile(f"{file}: the bytecode is empty: an interface or an abstract contract can't be deployed")
    abi = artifact.get("abi")
    if abi is None:
        abi = []
    if not isinstance(abi, list) or not all(isinstance(each, Mapping) for each in abi):
        raise InvalidCodeFile(f"{file}: 'abi' is no list of objects")
    return Code(machine=EVM, data=_hexadecimal(file, text), functions=Functions(abi))


def _bytecode(artifact: Any) -> str | None:
    """The init code in an artifact, in hexadecimal."""
    if not isinstance(artifact, Mapping):
        return None
    found = artifact.get("bytecode")
    if found is None and isinstance(artifact.get("evm"), Mapping):
        found = artifact["evm"].get("bytecode")
    if isinstance(found, Mapping):
        found = found.get("object")
    return found if isinstance(found, str) else None


def _init_code(file: Path, content: bytes) -> bytes:
    try:
        text = content.decode("ascii").strip()
    except UnicodeDecodeError:
        text = ""
    if file.suffix.lower() == ".bin" and (not text or re.search(r"[^0-9a-fA-Fx\s_$]", text)):
        if not content:
            raise InvalidCodeFile(f"{file}: empty")
        return content
    if not text:
        raise InvalidCodeFile(f"{file}: hexadecimal digits are expected")
    return _hexadecimal(file, "".join(text.split()))


def _hexadecimal(file: Path, text: str) -> bytes:
    missing = _UNLINKED.search(text)
    if missing:
        raise InvalidCodeFile(f"{file}: the bytecode isn't linked: the address of library {missing[0]} is missing")
    try:
        return bytes.fromhex(text.removeprefix("0x"))
    except ValueError as exc:
        raise InvalidCodeFile(f"{file}: the bytecode is not hexadecimal: {exc}") from exc
