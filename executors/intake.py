"""From bytes on a topic to what the engine takes: decoding and signatures, ahead of the epoch (step 2)."""

from collections.abc import Callable, Sequence

from ingest.transactions import Transaction, decode_many
from schemas.codec import CODEC
from schemas.errors import InvalidTransaction, UndecodableRecord
from schemas.hashing import keccak
from schemas.records import Carry, Envelope
from schemas.rules import Rules
from streams.events import Record
from streams.log import Fetched

from .walk import Refused

HINTS_MAX = 64
"""So many hints of a client are looked at."""
HINT_BYTES_MAX = 128

DecodeMany = Callable[[Sequence[bytes], Rules], Sequence[Transaction | InvalidTransaction]]


def transactions(
    fetched: Sequence[Fetched], rules: Rules, decode: DecodeMany = decode_many, touched: set[bytes] | None = None
) -> list[Record]:
    """The events for records of `transactions`; whatever is wrong with one becomes its rejection.

    Parameters
    ----------
    touched
        Takes the state keys that the clients say will be touched; a client may say anything.
    """
    raws: list[bytes] = []
    wrong: dict[int, Refused] = {}
    for index, record in enumerate(fetched):
        try:
            envelope = CODEC.decode_as(Envelope, record.value)
            raws.append(envelope.raw)
            if touched is not None:
                touched.update(key for key in envelope.touched[:HINTS_MAX] if len(key) <= HINT_BYTES_MAX)
        except UndecodableRecord as exc:
            wrong[index] = Refused(f"undecodable record: {exc}", record.value, keccak(record.value), dead=True)
            raws.append(b"")
    events = []
    for index, (record, item) in enumerate(zip(fetched, decode(raws, rules), strict=True)):
        value: Transaction | Refused
        if index in wrong:
            value = wrong[index]
        elif isinstance(item, InvalidTransaction):
            value = Refused(item.reason, raws[index], keccak(raws[index]), dead=False)
        else:
            value = item
        events.append(Record(record.topic, record.offset, value, b""))
    return events


def carries(fetched: Sequence[Fetched], rules: Rules, decode: DecodeMany = decode_many) -> list[Record]:
    """The events for records of `carries`: each with its transaction."""
    kept: list[tuple[Fetched, Carry]] = []
    for record in fetched:
        try:
            kept.append((record, CODEC.decode_as(Carry, record.value)))
        except UndecodableRecord:
            continue  # no executor wrote it, so no close names it
    items = decode([carry.raw for _, carry in kept], rules)
    return [
        Record(record.topic, record.offset, (carry, item), b"")
        for (record, carry), item in zip(kept, items, strict=True) if not isinstance(item, InvalidTransaction)]
