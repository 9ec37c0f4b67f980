"""What `epochs` and `votes` tell of a run: how it was cut, what conflicted, and what became of that."""

from dataclasses import dataclass, field

from schemas.chain import Tip
from schemas.codec import CODEC
from schemas.hashing import digest
from schemas.records import Exclusion, LaneOutcome, Manifest, Vote
from streams.log import Fetched


@dataclass(slots=True)
class Figures:
    """Counts that grow with every record of the two topics, each read from its begin.

    Parameters
    ----------
    tip
        Before the first record of the log.
    """

    tip: Tip
    epochs: int = 0
    """With work."""
    blocks: int = 0
    parallel: int = 0
    """Epochs in which more than one lane committed transactions."""
    repaired: int = 0
    """Lanes that replaced what they had prepared."""
    carried: int = 0
    """How often a transaction lost a conflict and moved to the next epoch."""
    waited: int = 0
    """How often a transaction waited for a nonce."""
    excluded: int = 0
    """Lanes that were late, or whose executor was replaced."""
    included: int = 0
    rejected: int = 0
    stale: int = 0
    """Keys that a lane had read in an older version than the committed one."""
    lost: int = 0
    """Keys of a lane that another one of lower rank changed in the same epoch."""
    attempts: set[bytes] = field(default_factory=set)
    """Incarnations of executors that committed something."""
    votes: dict[int, int] = field(default_factory=dict)
    """Votes on lanes by shard."""
    worked: int = 0
    """The newest epoch with work."""
    _voted: set[tuple[int, int]] = field(default_factory=set)

    def take(self, fetched: Fetched) -> None:
        """Count a record of `epochs` or `votes`."""
        record = CODEC.decode(fetched.value)
        match record:
            case Vote():
                self._vote(record)
            case Exclusion() | Manifest():
                after = self.tip.after(record, digest(fetched.value), fetched.offset)
                if after is not None:
                    self._extend(record)
                    self.tip = after
            case _:
                pass

    @property
    def vouched(self) -> bool:
        """Whether the digests of all shards after the newest epoch with work are named by the chain."""
        shards = [entry.epoch for entry in self.tip.digests]
        return bool(shards) and not self.tip.cut and min(shards) >= self.worked

    def open_input(self) -> str:
        """What the chain says of input that isn't committed, in words."""
        parts = [
            f"partition {number} at {waiting.consumed} of {waiting.offered}, {len(waiting.pending)} carried "
            f"({sum(carry.parked_ms is not None for carry in waiting.pending)} of them wait for a nonce), "
            f"{waiting.strikes} strikes"
            for number, waiting in enumerate(self.tip.inputs)]
        running = len(self.tip.cut) - len(self.tip.excluded)
        return f"epoch {self.tip.epoch} is open with {running} running lanes; " + "; ".join(parts)

    def _extend(self, record: Manifest | Exclusion) -> None:
        if isinstance(record, Exclusion):
            self.excluded += len(record.lanes)
            return
        if self.tip.cut:
            self.epochs += 1
            self.worked = self.tip.epoch
        self.blocks += Tip.includes(record.close)
        committed = [outcome for outcome in record.close if outcome is not None]
        self.parallel += sum(outcome.included > 0 for outcome in committed) > 1
        for outcome in committed:
            self._count(outcome)

    def _count(self, outcome: LaneOutcome) -> None:
        self.repaired += bool(outcome.revised)
        self.carried += sum(carry.parked_ms is None for carry in outcome.accepted)
        self.waited += sum(carry.parked_ms is not None for carry in outcome.accepted)
        self.included += outcome.included
        self.rejected += outcome.rejected
        if outcome.included:
            self.attempts.add(outcome.attempt)

    def _vote(self, vote: Vote) -> None:
        if not vote.lanes or (vote.epoch, vote.shard) in self._voted:
            return
        self._voted.add((vote.epoch, vote.shard))
        self.votes[vote.shard] = self.votes.get(vote.shard, 0) + 1
        self.stale += sum(len(judged.stale_indexes) for judged in vote.lanes)
        self.lost += sum(len(judged.lost_indexes) for judged in vote.lanes)
