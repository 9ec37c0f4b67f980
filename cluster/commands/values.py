"""Arguments of functions as people type them, and results as they read them.

Numbers are decimal or ``0x…``, addresses ``0x…`` or ``dev:N``, bytes ``0x…``, booleans ``true`` or ``false``, arrays
and tuples JSON; a string is what was typed.
"""

import json
import re
from collections.abc import Sequence
from typing import Any

import click

from client import Function, InvalidArgument
from client.addresses import checksummed
from client.arguments import parts, places
from schemas.genesis import DEVELOPMENT_ACCOUNTS

from .account import DEVELOPMENT
from .printing import document

_NUMBER = re.compile(r"-?(0x[0-9a-fA-F]+|[0-9]+)")
_ARRAY = re.compile(r"(.+)\[\d*\]")


def typed(function: Function, texts: Sequence[str]) -> list[Any]:
    """The arguments of a function out of what was typed.

    Raises
    ------
    InvalidArgument
        There are too few or too many, or one isn't written as its type is.
    """
    return [
        _value(kind, text, where)
        for kind, text, where in zip(function.inputs, texts, places(function, len(texts)), strict=True)]


def development_address(text: str, where: str) -> str:
    """The address of a development account, ``dev:N``; any other text as it is."""
    if not text.startswith(DEVELOPMENT):
        return text
    number = text.removeprefix(DEVELOPMENT)
    if not number.isdecimal() or int(number) >= len(DEVELOPMENT_ACCOUNTS):
        raise InvalidArgument(
            f"{where}: {text}: there are {DEVELOPMENT}0 to {DEVELOPMENT}{len(DEVELOPMENT_ACCOUNTS) - 1}")
    return checksummed(DEVELOPMENT_ACCOUNTS[int(number)])


def print_values(result: Any, *, several: bool) -> None:
    """Print what a function returned, each value on a line; nothing for nothing."""
    if result is None:
        return
    for value in result if several else (result,):
        shown = document(value)
        click.echo(shown if isinstance(shown, str) else json.dumps(shown))


def _value(kind: str, given: Any, where: str) -> Any:
    """A value by its type, from text or from what JSON has made of it."""
    array = _ARRAY.fullmatch(kind)
    if array or kind.startswith("("):
        items = _list(kind, given, where)
        kinds = [array[1]] * len(items) if array else parts(kind)
        if len(kinds) != len(items):
            raise InvalidArgument(f"{where}: {len(items)} items, {kind} has {len(kinds)}")
        return [
            _value(inner, each, f"{where}, item {number}")
            for number, (inner, each) in enumerate(zip(kinds, items, strict=True))]
    if not isinstance(given, str):
        return given
    if kind == "address":
        return development_address(given, where)
    if kind == "bool":
        if given.lower() not in ("true", "false"):
            raise InvalidArgument(f"{where}: {given!r} is no bool: true or false")
        return given.lower() == "true"
    if "int" in kind:
        if not _NUMBER.fullmatch(given):
            raise InvalidArgument(f"{where}: {given!r} is no integer: decimal digits, or 0x and hexadecimal digits")
        return int(given, 16 if "0x" in given else 10)
    return given


def _list(kind: str, given: Any, where: str) -> list[Any]:
    items = given
    if isinstance(given, str):
        try:
            items = json.loads(given)
        except ValueError as exc:
            raise InvalidArgument(f"{where}: {given!r} is no JSON for {kind}: {exc}") from exc
    if not isinstance(items, list):
        raise InvalidArgument(f"{where}: {given!r} is no list for {kind}, as '[1, 2]'")
    return items
