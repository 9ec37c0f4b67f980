"""What goes wrong in a world, and how often: drawn once per seed, so that worlds differ in what they stress."""

from dataclasses import dataclass
from random import Random

from ingest.sequencer import Pace

P_TWICE = 0.05
"""Of an append."""
P_HOLE = 0.02
"""Of a hole after an append."""
P_GARBAGE = 0.02
"""Of bytes on a topic that nobody can read, per burst of transactions."""
P_LATE = 0.5
"""Of what a dead process had sent: that it arrives all the same, some time later."""
JUMP_MS = 150_000
"""So far a clock runs ahead where a time-out comes early: beyond any time-out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """Chances per turn, if nothing else is said."""

    partitions: int
    shards: int
    p_send: float
    """Of a burst of transactions."""
    p_crash: dict[str, float]
    """By role."""
    p_disk: float
    """Of a crash of a shard: that it loses its disk, too."""
    p_rebalance: float
    p_early: float
    """Of a time-out that comes early, per tick."""
    turns_untold: int
    """Before a member hears of a rebalance, at most."""
    part_bytes: int | None
    """Size from which prepares are split."""
    cache_entries_max: int | None
    poisons: int
    pace: Pace
    patience_ms: float
    """Of the second sequencer."""

    @property
    def peaceful(self) -> bool:
        """Whether nothing but poison ever ends an executor or excludes a lane."""
        return not (self.p_crash["executor"] or self.p_rebalance or self.p_early)


def drawn(rng: Random) -> Faults:
    """The faults of a world."""
    role_chances = (0.0, 0.001, 0.004)
    peaceful = rng.random() < 0.15
    return Faults(
        partitions=rng.choice((2, 4, 4, 4, 5)),
        shards=rng.choice((1, 2, 2, 3)),
        p_send=rng.choice((0.003, 0.008, 0.04)),
        p_crash={
            "executor": 0.0 if peaceful else rng.choice(role_chances),
            "sequencer": rng.choice(role_chances),
            "shard": rng.choice(role_chances)},
        p_disk=rng.choice((0.0, 0.3)),
        p_rebalance=0.0 if peaceful else rng.choice((0.0, 0.0005, 0.003)),
        p_early=0.0 if peaceful else rng.choice((0.0, 0.003, 0.02)),
        turns_untold=rng.choice((1, 20, 150)),
        part_bytes=rng.choice((None, 200, 700)),
        cache_entries_max=rng.choice((None, None, 9)),
        poisons=rng.choice((0, 0, 0, 1, 2)),
        pace=Pace(
            interval_ms=rng.choice((0, 10, 100)),
            lane_transactions_max=rng.choice((3, 8, 256)),
            lane_carries_max=rng.choice((2, 6, 256)),
            timeout_ms_min=rng.choice((600, 1500))),
        patience_ms=rng.choice((0, 50, 400)),
    )
