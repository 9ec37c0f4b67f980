"""What a module has to be like to become a contract."""

from collections.abc import Mapping
from typing import Final

from executors import gas
from executors.machine import InvalidCode

from . import binary, limits
from .binary import FunctionType, Structure

MODULE: Final = "parsec"
"""Where all imports come from."""
MEMORY: Final = "memory"
CALL: Final = "call"
DEPLOY: Final = "deploy"
_ENTRY: Final = FunctionType(parameters=(), results=())


def check_size(code: bytes) -> None:
    """Look at the length of a binary module.

    Raises
    ------
    InvalidCode
        It is too long.
    """
    _at_most(len(code), gas.CODE_BYTES_MAX, "module of {} bytes")


def check(code: bytes, functions: Mapping[str, FunctionType]) -> None:
    """Look at a valid module.

    Parameters
    ----------
    functions
        What can be imported, by name.

    Raises
    ------
    InvalidCode
        It can't be a contract; the first reason is named.
    """
    structure = binary.read(code)
    _check_imports(structure, functions)
    _check_exports(structure)
    if structure.has_start:
        raise InvalidCode("a start function; what is to run once belongs into deploy")
    _check_counts(structure)
    _check_functions(structure)


def _check_imports(structure: Structure, functions: Mapping[str, FunctionType]) -> None:
    for each in structure.imports:
        name = f"{each.module}.{each.name}"
        if each.module != MODULE:
            raise InvalidCode(f"import {name}: only functions of the module {MODULE} can be imported")
        if each.type is None:
            raise InvalidCode(f"import {name} is a {each.kind}; only functions can be imported")
        if each.name not in functions:
            raise InvalidCode(f"import {name}: there is no such function; there are {', '.join(functions)}")
        if each.type != functions[each.name]:
            raise InvalidCode(f"import {name} has the type {each.type} instead of {functions[each.name]}")


def _check_exports(structure: Structure) -> None:
    exports = structure.exports
    if exports.get(MEMORY, ("", None))[0] != "memory":
        raise InvalidCode(f"no memory is exported as {MEMORY!r}")
    if CALL not in exports:
        raise InvalidCode(f"no function is exported as {CALL!r}")
    for name in (CALL, DEPLOY):
        if name in exports and exports[name] != ("function", _ENTRY):
            kind, of_function = exports[name]
            raise InvalidCode(f"export {name!r} is a {kind}{f' {of_function}' if of_function else ''} instead of a "
                              f"function {_ENTRY}")


def _check_counts(structure: Structure) -> None:
    for pages in structure.memories:
        _at_most(pages, limits.MEMORY_PAGES_MAX, "memory of {} pages at the beginning")
    _at_most(len(structure.tables), 1, "{} tables")
    for elements in structure.tables:
        _at_most(elements, limits.TABLE_ELEMENTS_MAX, "table of {} elements at the beginning")
    _at_most(len(structure.types), limits.TYPES_MAX, "{} types")
    for each in structure.types:
        _at_most(len(each.parameters), limits.PARAMETERS_MAX, "type of functions with {} parameters")
    _at_most(len(structure.functions), limits.FUNCTIONS_MAX, "{} functions")
    _at_most(structure.globals, limits.GLOBALS_MAX, "{} globals")
    _at_most(structure.data_segments, limits.SEGMENTS_MAX, "{} data segments")
    _at_most(structure.element_segments, limits.SEGMENTS_MAX, "{} element segments")


def _check_functions(structure: Structure) -> None:
    """Bound the time that compilation takes."""
    for number, each in enumerate(structure.functions):
        _at_most(each.body_bytes, limits.FUNCTION_BYTES_MAX, f"function {number} of {{}} bytes")
        _at_most(each.locals, limits.LOCALS_MAX, f"function {number} with {{}} local variables")
        _at_most(each.branches, limits.FUNCTION_BRANCHES_MAX, f"function {number} with {{}} branches")
        _at_most(each.loops, limits.FUNCTION_LOOPS_MAX, f"function {number} with {{}} loops")
    functions = structure.functions
    _at_most(sum(each.branches for each in functions), limits.BRANCHES_MAX, "{} branches")
    _at_most(sum(each.heavy for each in functions), limits.HEAVY_MAX,
             "{} indirect calls and instructions that copy, fill or grow")
    _at_most(sum(each.loops * each.locals for each in functions), limits.LOOP_LOCALS_MAX,
             "{} as the sum of loops times local variables")
    _at_most(sum(each.branches * each.locals for each in functions), limits.BRANCH_LOCALS_MAX,
             "{} as the sum of branches times local variables")


def _at_most(count: int, limit: int, words: str) -> None:
    if count > limit:
        raise InvalidCode(f"{words.format(f'{count:,}')}, limit {limit:,}")
