"""Records go to bytes and back, and bytes that were written once stay readable."""

import json
import random
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
from fastavro import parse_schema
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import records
from schemas.codec import CODEC, HEADER_BYTES, MARKER, RECORDS, Codec, rabin, schema_name, schema_text
from schemas.errors import UndecodableRecord
from tests.strategies import defaults, sample
from tests.strategies import records as any_record

GOLDEN = Path(__file__).with_name("avro_golden.json")


@pytest.mark.parametrize("kind", RECORDS, ids=lambda kind: kind.__name__)
@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_a_record_comes_back_as_it_was(kind: type, data: st.DataObject) -> None:
    """Encoding loses nothing, down to the types."""
    record = data.draw(any_record(kind))
    decoded = CODEC.decode(CODEC.encode(record))
    assert decoded == record
    assert type(decoded) is kind
    assert CODEC.encode(decoded) == CODEC.encode(record)


@pytest.mark.parametrize("kind", RECORDS, ids=lambda kind: kind.__name__)
def test_golden_bytes_stay_readable(kind: type) -> None:
    """Bytes that today's schema wrote are committed; a later schema has to read them with the same meaning."""
    golden: dict[str, list[dict[str, Any]]] = json.loads(GOLDEN.read_text())
    assert golden[kind.__name__], "no bytes of this record are committed"
    for entry in golden[kind.__name__]:
        decoded = CODEC.decode(bytes.fromhex(entry["bytes"]))
        assert type(decoded) is kind
        shown = _plain(decoded)
        assert {name: shown[name] for name in entry["fields"]} == entry["fields"]


@pytest.mark.parametrize("kind", RECORDS, ids=lambda kind: kind.__name__)
def test_todays_schema_is_among_the_golden_bytes(kind: type) -> None:
    """Whoever changes a schema keeps the earlier one in ``avro/past`` and adds golden bytes of the new one."""
    golden = json.loads(GOLDEN.read_text())
    data = CODEC.encode(sample(kind))
    assert data.hex() in [entry["bytes"] for entry in golden[kind.__name__]], (
        f"add {{'fields': ..., 'bytes': '{data.hex()}'}} to {GOLDEN.name}, and the earlier schema to avro/past")


@pytest.mark.parametrize("kind", RECORDS, ids=lambda kind: kind.__name__)
def test_a_schema_matches_its_record(kind: type) -> None:
    """Same names in the same order, the same defaults, and a sentence about each."""
    schema = json.loads(schema_text(kind))
    seen: set[str] = set()
    _check(schema, kind, seen)
    assert schema["namespace"] == "parsec"
    assert schema_text(kind).endswith("}\n")


def _check(schema: dict[str, Any], kind: type, seen: set[str]) -> None:
    seen.add(kind.__name__)
    assert schema["name"] == kind.__name__
    assert len(schema["doc"]) > 10
    assert [entry["name"] for entry in schema["fields"]] == [field.name for field in fields(kind)]
    hints = get_type_hints(kind)
    for entry in schema["fields"]:
        assert len(entry["doc"]) > 5, f"{kind.__name__}.{entry['name']} has no doc"
        assert ("default" in entry) == (entry["name"] in defaults(kind)), f"{kind.__name__}.{entry['name']}"
        _check_type(entry["type"], hints[entry["name"]], seen)


def _check_type(avro: Any, hint: Any, seen: set[str]) -> None:
    hint = getattr(hint, "__supertype__", hint)
    if isinstance(avro, list):
        assert avro[0] == "null"
        (inner,) = [part for part in get_args(hint) if part is not type(None)]
        _check_type(avro[1], inner, seen)
    elif isinstance(avro, dict) and avro["type"] == "array":
        _check_type(avro["items"], get_args(hint)[0], seen)
    elif isinstance(avro, dict):
        _check(avro, hint, seen)
    elif is_dataclass(hint):
        name = str(getattr(hint, "__name__"))
        assert avro in (name, f"parsec.{name}")
        assert name in seen, f"{name} is named before it is defined"
    else:
        assert avro == {int: "long", bytes: "bytes", bool: "boolean", str: "string"}[hint]


def test_every_schema_belongs_to_a_record() -> None:
    """No file is left over, and each parses."""
    names = {schema_name(kind) for kind in RECORDS}
    folder = Path(records.__file__).parent / "avro"
    assert {path.stem for path in folder.glob("*.avsc")} == names
    for path in folder.glob("*.avsc"):
        parse_schema(json.loads(path.read_text(encoding="utf-8")))


def test_the_bytes_begin_as_the_specification_says() -> None:
    """Marker, then the fingerprint of the schema."""
    data = CODEC.encode(sample(records.Join))
    assert data[:2] == MARKER == b"\xc3\x01"
    assert data[2:HEADER_BYTES] == rabin(json.loads(schema_text(records.Join)))


def test_the_fingerprint_is_that_of_the_specification() -> None:
    """CRC-64-AVRO over the canonical form, computed here bit by bit as the specification states it."""
    empty = 0xC15D213AA4D7A795
    value = empty
    for byte in b'"long"':
        value ^= byte
        for _ in range(8):
            value = (value >> 1) ^ (empty & -(value & 1))
    assert rabin("long") == value.to_bytes(8, "little")  # type: ignore[arg-type]  # a schema may be a name, too


def test_an_earlier_schema_is_read_by_todays_record() -> None:
    """A field that did not exist yet has its default, and one that is gone is ignored."""
    codec = Codec()
    earlier = json.loads(schema_text(records.Envelope))
    earlier["fields"] = [entry for entry in earlier["fields"] if entry["name"] != "touched"]
    earlier["fields"].append({"name": "gone", "type": "long", "doc": "A field of former times."})
    codec.add_past(records.Envelope, earlier)
    body = bytes([2 * 3]) + b"abc" + bytes([2 * 7])  # Avro: length 3, the bytes, the long 7
    assert codec.decode(MARKER + rabin(earlier) + body) == records.Envelope(raw=b"abc", touched=())
    with pytest.raises(UndecodableRecord, match="unknown schema"):
        CODEC.decode(MARKER + rabin(earlier) + body)


@given(st.binary(max_size=60))
def test_garbage_is_refused(data: bytes) -> None:
    """Any bytes are a record or an error of ours."""
    with pytest.raises(UndecodableRecord):
        CODEC.decode(data)


@pytest.mark.parametrize("kind", RECORDS, ids=lambda kind: kind.__name__)
def test_damaged_records_are_refused_or_read(kind: type) -> None:
    """Cut off, lengthened or changed bytes behind a right header raise nothing but `UndecodableRecord`."""
    data, rng = CODEC.encode(sample(kind)), random.Random(5)
    for cut in range(len(data)):
        with pytest.raises(UndecodableRecord):
            CODEC.decode(data[:cut])
    with pytest.raises(UndecodableRecord, match="1 bytes after"):
        CODEC.decode(data + b"\x00")
    for _ in range(300):
        at = rng.randrange(HEADER_BYTES, len(data))
        damaged = data[:at] + bytes([rng.randrange(256)]) + data[at + 1:]
        try:
            assert type(CODEC.decode(damaged)) is kind
        except UndecodableRecord:
            pass


def test_another_kind_is_refused_where_one_is_expected() -> None:
    """`decode_as` names both."""
    data = CODEC.encode(sample(records.Join))
    assert CODEC.decode_as(records.Join, data) == sample(records.Join)
    with pytest.raises(UndecodableRecord, match="a Join where a Offer is expected"):
        CODEC.decode_as(records.Offer, data)


def _plain(value: Any) -> Any:
    """A record as JSON holds it."""
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value.hex() if isinstance(value, bytes) else value
