"""Hypothesis strategies that several tests share."""

import types
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, Union, get_args, get_origin, get_type_hints

from hypothesis import strategies as st

LONG = st.integers(min_value=-(2**63), max_value=2**63 - 1)
"""What an Avro long holds."""

addresses = st.binary(min_size=20, max_size=20)
hashes = st.binary(min_size=32, max_size=32)
keys = st.one_of(
    st.builds(bytes.__add__, st.sampled_from([b"b", b"n", b"c", b"r"]), addresses),
    st.builds(lambda address, slot: b"s" + address + slot, addresses, hashes),
    st.builds(bytes.__add__, st.just(b"h"), hashes))
"""Keys of the state."""
values = st.binary(max_size=40)


def of_hint(hint: Any) -> st.SearchStrategy[Any]:
    """Values of an annotation of a record's field."""
    hint = getattr(hint, "__supertype__", hint)
    if get_origin(hint) in (Union, types.UnionType):
        return st.one_of(*(st.none() if part is type(None) else of_hint(part) for part in get_args(hint)))
    if get_origin(hint) is tuple:
        return st.lists(of_hint(get_args(hint)[0]), max_size=3).map(tuple)
    if is_dataclass(hint):
        return records(hint)
    known: dict[Any, st.SearchStrategy[Any]] = {
        int: LONG, bytes: st.binary(max_size=40), bool: st.booleans(), str: st.text(max_size=20)}
    return known[hint]


def records(kind: Any) -> st.SearchStrategy[Any]:
    """Any record of a kind, whether it makes sense or not."""
    hints = get_type_hints(kind)
    return st.builds(kind, **{field.name: of_hint(hints[field.name]) for field in fields(kind)})


def sample(kind: Any, depth: int = 0) -> Any:
    """One fixed record of a kind, no field of which is empty; the same in every run."""
    hints = get_type_hints(kind)
    return kind(**{
        field.name: _sample(hints[field.name], number + 1 + 7 * depth, depth) for number, field in enumerate(fields(kind))})


def _sample(hint: Any, number: int, depth: int) -> Any:
    hint = getattr(hint, "__supertype__", hint)
    if get_origin(hint) in (Union, types.UnionType):
        return _sample(next(part for part in get_args(hint) if part is not type(None)), number, depth)
    if get_origin(hint) is tuple:
        return (_sample(get_args(hint)[0], number, depth),) * 2
    if is_dataclass(hint):
        return sample(hint, depth + 1)
    return {int: number * 1_000, bytes: bytes([number % 256]) * 5, bool: True, str: f"text {number}"}[hint]


def defaults(kind: Any) -> set[str]:
    """Names of the fields that have a default."""
    return {field.name for field in fields(kind) if field.default is not MISSING}
