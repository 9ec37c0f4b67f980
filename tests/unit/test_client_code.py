"""Code out of the files that compilers write."""

import json
from pathlib import Path
from typing import Any

import pytest

from client.code import Code, InvalidCodeFile
from client.functions import Function, InvalidSignature

ARTIFACTS = Path(__file__).parents[2] / "examples" / "contracts" / "artifacts"


def written(folder: Path, name: str, content: Any) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return path


def test_an_artifact_of_this_project() -> None:
    code = Code.read(ARTIFACTS / "Token.json")
    assert (code.machine, code.data[:2]) == ("evm", b"\x60\x80")
    assert code.functions.find("transfer").outputs == ("bool",)
    assert code.constructor(None, ("a", "b", 1, 2)).inputs == ("string", "string", "uint8", "uint256")


@pytest.mark.parametrize("artifact", [
    {"bytecode": "0x6001", "abi": []},
    {"bytecode": "6001"},
    {"bytecode": {"object": "0x6001", "linkReferences": {}}, "abi": []},
    {"evm": {"bytecode": {"object": "6001"}}, "abi": []},
])
def test_layouts_of_artifacts(artifact: dict[str, Any], tmp_path: Path) -> None:
    assert Code.read(written(tmp_path, "x.json", artifact)).data == b"\x60\x01"


@pytest.mark.parametrize(("name", "content", "machine", "data"), [
    ("x.lua", b"return {}", "lua", b"return {}"),
    ("x.wasm", b"\0asm\1\0\0\0", "wasm", b"\0asm\1\0\0\0"),
    ("x.WAT", b"(module)", "wasm", b"(module)"),
    ("x.hex", b"0x6001\n", "evm", b"\x60\x01"),
    ("x.bin", b"6001\n", "evm", b"\x60\x01"),
    ("x.bin", b"\x60\x01\xff", "evm", b"\x60\x01\xff"),
    ("x.bin", b"\x60\x01", "evm", b"\x60\x01"),
])
def test_other_files(name: str, content: bytes, machine: str, data: bytes, tmp_path: Path) -> None:
    code = Code.read(written(tmp_path, name, content))
    assert (code.machine, code.data) == (machine, data)


def test_a_machine_may_be_named(tmp_path: Path) -> None:
    path = written(tmp_path, "rules.txt", b"count += 1")
    code = Code.read(path, "rules")
    assert (code.machine, code.data) == ("rules", b"count += 1")
    assert Code.read(written(tmp_path, "x.lua", b"6001"), "evm").data == b"\x60\x01"
    with pytest.raises(InvalidCodeFile, match=r"rules.txt: the ending tells no machine \(\.lua, "):
        Code.read(path)


@pytest.mark.parametrize(("name", "content", "fault"), [
    ("x.json", b"{", "not JSON"),
    ("x.json", [], "an artifact with 'bytecode' is expected"),
    ("x.json", {"abi": []}, "an artifact with 'bytecode' is expected"),
    ("x.json", {"bytecode": "0x"}, "an interface or an abstract contract"),
    ("x.json", {"bytecode": "0xzz"}, "the bytecode is not hexadecimal"),
    ("x.json", {"bytecode": "0x60__$1234567890123456789012345678901234$__60"}, "isn't linked: the address of library __$1234"),
    ("x.json", {"bytecode": "0x60", "abi": {}}, "'abi' is no list"),
    ("x.hex", b"", "hexadecimal digits are expected"),
    ("x.hex", b"\xff", "hexadecimal digits are expected"),
    ("x.bin", b"", "empty"),
])
def test_files_without_code(name: str, content: Any, fault: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidCodeFile) as caught:
        Code.read(written(tmp_path, name, content))
    assert fault in str(caught.value)
    assert name in str(caught.value)


def test_the_constructor() -> None:
    code = Code(machine="lua", data=b"x")
    assert code.constructor(None, ()) == Function(name="constructor", inputs=(), names=())
    assert code.constructor("constructor(uint)", (1,)).inputs == ("uint256",)
    with pytest.raises(InvalidSignature, match="give its signature"):
        code.constructor(None, (1,))
    with pytest.raises(InvalidSignature, match="a constructor is named 'constructor'"):
        code.constructor("construct(uint)", (1,))
