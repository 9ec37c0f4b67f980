"""Tips, lanes and manifests written by hand, for tests of whatever follows the chain."""

from typing import Any

from schemas.chain import Tip
from schemas.codec import CODEC
from schemas.hashing import digest
from schemas.records import Accepted, Attempt, Exclusion, Lane, LaneOutcome, Manifest, Slice
from schemas.rules import Rules
from schemas.topics import EPOCHS
from streams.events import Record

RULES = Rules(parked_ms_max=1_000)
A, B = Attempt(b"a" * 16), Attempt(b"b" * 16)


def genesis(partitions: int = 2) -> Tip:
    """A chain without records."""
    return Tip.genesis(bytes(32), partitions, 2, RULES, 1_000)


def lane(attempt: Attempt, *slices: Slice, joined: int = 0, also: tuple[int, ...] = ()) -> Lane:
    """A lane with its join."""
    named = tuple(sorted({part.partition for part in slices} | set(also)))
    return Lane(attempt=attempt, joined=joined, partitions=named, slices=slices)


def came_to(attempt: Attempt, *, included: int = 0, accepted: tuple[Accepted, ...] = (), **more: Any) -> LaneOutcome:
    """An outcome."""
    fields: dict[str, Any] = {
        "revised": (), "carried": (), "rejected": 0, "gas": 0, "logs": 0, "list_digest": bytes(32)} | more
    return LaneOutcome(attempt=attempt, included=included, accepted=accepted, **fields)


def manifest(tip: Tip, close: tuple[LaneOutcome | None, ...] = (), cut: tuple[Lane, ...] = (), **more: Any) -> Manifest:
    """A manifest that follows on a tip."""
    fields: dict[str, Any] = {
        "epoch": tip.epoch + 1, "block": tip.block_after(close), "previous": tip.hash, "timestamp_ms": tip.timestamp_ms,
        "randomness": bytes(32), "rules": RULES.hash(), "digests": (), "outcomes_read": 0,
        "offers": tuple(waiting.offered for waiting in tip.inputs)} | more
    return Manifest(close=close, cut=cut, **fields)


def after(tip: Tip, record: Manifest | Exclusion, name: bytes = b"") -> Tip:
    """The tip after a record that has to be valid."""
    following = tip.after(record, name.ljust(32, b"#") if name else bytes([tip.offset + 2]) * 32, tip.offset + 1)
    assert following is not None
    return following


def excluding(tip: Tip, *ranks: int) -> Exclusion:
    """An exclusion that follows on a tip."""
    return Exclusion(epoch=tip.epoch, previous=tip.hash, lanes=ranks)


def accepted(partition: int, position: int, origin: tuple[int, int, int], parked_ms: int | None = None) -> Accepted:
    """A carry that a close names."""
    epoch, of, offset = origin
    return Accepted(
        partition=partition, position=position, origin_epoch=epoch, origin_partition=of, origin_offset=offset,
        parked_ms=parked_ms)


def opened() -> Tip:
    """An open epoch of two lanes."""
    return after(genesis(), manifest(genesis(), (), (
        lane(A, Slice(partition=0, low=0, high=3), joined=4), lane(B, Slice(partition=1, low=0, high=2), joined=6))))


class Chain:
    """A chain that grows by hand; gives the event of each record."""

    def __init__(self, tip: Tip) -> None:
        self.tip = tip

    def adds(self, record: Manifest | Exclusion) -> Record:
        """Append a valid record; the event that tells of it."""
        data = CODEC.encode(record)
        following = self.tip.after(record, digest(data), self.tip.offset + 1)
        assert following is not None, "the record isn't valid"
        self.tip = following
        return Record(EPOCHS, following.offset, record, data)

    def manifest(self, close: tuple[LaneOutcome | None, ...] = (), cut: tuple[Lane, ...] = (), **more: Any) -> Record:
        """Append a manifest."""
        return self.adds(manifest(self.tip, close, cut, **more))

    def excluding(self, *ranks: int) -> Record:
        """Append an exclusion."""
        return self.adds(excluding(self.tip, *ranks))
