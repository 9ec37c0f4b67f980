"""Records to bytes and back, in Avro's single-object encoding.

A message is ``C3 01``, the fingerprint of the schema that wrote it (CRC-64-AVRO of its parsing canonical form, 8 bytes
little-endian), and the body. A reader finds the writer's schema by the fingerprint among the current schemas in
``avro/`` and the earlier ones in ``avro/past/``, so that no registry is needed and old bytes stay readable.

References
----------
Apache Avro 1.12 specification, "Single-object encoding" and "Schema fingerprints".
"""

import io
import json
import types
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from importlib.resources import files
from typing import Any, Final, TypeVar, Union, get_args, get_origin, get_type_hints

from fastavro import parse_schema, schemaless_reader, schemaless_writer
from fastavro.schema import fingerprint, to_parsing_canonical_form

from . import records
from .errors import UndecodableRecord

MARKER: Final = b"\xc3\x01"
HEADER_BYTES: Final = 10

R = TypeVar("R")
Convert = Callable[[Any], Any]

RECORDS: Final[tuple[type, ...]] = (
    records.Envelope,
    records.Join,
    records.Offer,
    records.Manifest,
    records.Exclusion,
    records.Prepare,
    records.Revision,
    records.Vote,
    records.Outcome,
    records.Carry,
    records.DeadLetter,
    records.Receipt,
    records.StoredTip,
    records.ReadRequest,
    records.ReadAnswer,
)
"""The records that stand alone; all others are parts of these."""


def schema_name(kind: type) -> str:
    """File name of a record's schema, without its ending: ``DeadLetter`` becomes ``dead_letter``."""
    return "".join(f"_{c.lower()}" if c.isupper() and i else c.lower() for i, c in enumerate(kind.__name__))


def schema_text(kind: type) -> str:
    """The committed schema of a record, JSON."""
    return files(__package__).joinpath("avro", f"{schema_name(kind)}.avsc").read_text(encoding="utf-8")


def _converters(kind: type) -> list[tuple[str, Convert | None, Convert | None]]:
    """For each field its name and what turns it to and from Avro's form; None where both are the same."""
    hints = get_type_hints(kind)
    return [(field.name, *_field_converters(hints[field.name])) for field in fields(kind)]


def _field_converters(hint: Any) -> tuple[Convert | None, Convert | None]:
    if get_origin(hint) in (Union, types.UnionType):
        (inner,) = [part for part in get_args(hint) if part is not type(None)]
        to, of = _field_converters(inner)
        if to is None or of is None:
            return to, of
        some_to, some_of = to, of
        return (lambda v: None if v is None else some_to(v)), (lambda v: None if v is None else some_of(v))
    if get_origin(hint) is tuple:
        to, of = _field_converters(get_args(hint)[0])
        if to is None or of is None:
            return None, tuple
        item_to, item_of = to, of
        return (lambda v: [item_to(item) for item in v]), (lambda v: tuple([item_of(item) for item in v]))
    if is_dataclass(hint):
        return _record_converters(hint)  # type: ignore[arg-type]  # a class here, never an instance
    return None, None


def _record_converters(kind: type) -> tuple[Convert, Convert]:
    convert = _converters(kind)
    of_some = [(name, of) for name, _, of in convert if of is not None]

    def to_avro(value: Any) -> dict[str, Any]:
        return {name: getattr(value, name) if to is None else to(getattr(value, name)) for name, to, _ in convert}

    def from_avro(value: dict[str, Any]) -> Any:
        for name, of in of_some:
            value[name] = of(value[name])
        return kind(**value)

    return to_avro, from_avro


class Codec:
    """All schemas, the current and the past ones."""

    def __init__(self) -> None:
        self._writers: dict[type, tuple[bytes, Any, Convert]] = {}
        self._readers: dict[bytes, tuple[Any, Any, Convert]] = {}
        root = files(__package__).joinpath("avro")
        past = root.joinpath("past")
        earlier = [json.loads(entry.read_text(encoding="utf-8")) for entry in past.iterdir()] if past.is_dir() else []
        for kind in RECORDS:
            schema = json.loads(schema_text(kind))
            parsed = parse_schema(schema)
            to_avro, from_avro = _record_converters(kind)
            mark = MARKER + rabin(schema)
            self._writers[kind] = mark, parsed, to_avro
            self._readers[mark] = parsed, None, from_avro
            for old in earlier:
                if old["name"] == schema["name"]:
                    self.add_past(kind, old)

    def add_past(self, kind: type, schema: dict[str, Any]) -> None:
        """Let bytes that an earlier schema of a record wrote be read as the record of today."""
        _, current, _ = self._writers[kind]
        _, from_avro = _record_converters(kind)
        self._readers.setdefault(MARKER + rabin(schema), (parse_schema(schema), current, from_avro))

    def encode(self, value: object) -> bytes:
        """A record as bytes."""
        mark, schema, to_avro = self._writers[type(value)]
        out = io.BytesIO()
        out.write(mark)
        schemaless_writer(out, schema, to_avro(value))
        return out.getvalue()

    def decode(self, data: bytes) -> Any:
        """The record in bytes.

        Raises
        ------
        UndecodableRecord
            No single object, an unknown schema, or a body that doesn't fit it.
        """
        reader = self._readers.get(data[:HEADER_BYTES])
        if reader is None:
            raise UndecodableRecord(_why_unknown(data))
        writer_schema, reader_schema, from_avro = reader
        body = io.BytesIO(data)
        body.seek(HEADER_BYTES)
        try:
            value = schemaless_reader(body, writer_schema, reader_schema)
            rest = len(data) - body.tell()
            if rest:
                raise UndecodableRecord(f"{rest} bytes after the end of the record")
            return from_avro(value)
        except UndecodableRecord:
            raise
        except Exception as exc:  # fastavro raises whatever its parser meets: EOFError, IndexError, UnicodeError …
            raise UndecodableRecord(f"body does not fit its schema: {type(exc).__name__} {exc}") from exc

    def decode_as(self, kind: type[R], data: bytes) -> R:
        """The record in bytes, which has to be of this kind."""
        value = self.decode(data)
        if not isinstance(value, kind):
            raise UndecodableRecord(f"a {type(value).__name__} where a {kind.__name__} is expected")
        return value


def rabin(schema: dict[str, Any]) -> bytes:
    """Fingerprint of a schema: CRC-64-AVRO, 8 bytes little-endian."""
    mark = fingerprint(to_parsing_canonical_form(schema), "CRC-64-AVRO")
    return bytes.fromhex(mark)


def _why_unknown(data: bytes) -> str:
    if data[:2] != MARKER:
        return f"not an Avro single object: it starts with 0x{data[:2].hex()}, expected 0xc301"
    return f"unknown schema fingerprint 0x{data[2:HEADER_BYTES].hex()}"


CODEC: Final = Codec()
"""The codec of this process."""
