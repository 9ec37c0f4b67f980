"""The rules of the protocol that look odd: each can be taken out, to see what fails without it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final
from unittest.mock import patch

from executors import engine
from executors.engine import Executor
from executors.lane import LaneWork, Stage
from executors.view import Run
from ingest.sequencer import Sequencer
from schemas.chain import Tip
from schemas.chain import without as pending_without
from schemas.records import Exclusion, Input, Lane, LaneOutcome, Manifest, Slice, Version, version
from stateshards.store import MemoryStore
from stateshards.voting import Named, Shard
from streams.events import END

from .world import Process, World


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule, and how it is taken out."""

    step: str
    """Where `protocol.md` states it."""
    sentence: str
    without: tuple[tuple[Any, str, Any], ...]
    """Class or module, name, and what stands in its place."""


def _version(_self: Shard, epoch: int, _contributors: int) -> Version:
    return version(epoch, merged=False)


def _extended_by(_self: Tip, _record: Manifest | Exclusion) -> bool:
    return True


def _known_offers(_self: Sequencer, tip: Tip) -> list[int]:
    return [waiting.consumed for waiting in tip.inputs]


def _refuses(_self: World, _process: Process, _join: object) -> bool:
    return False


def _carries_start(_self: Executor, _partition: int) -> int:
    return END


def _joined_anew(_self: Tip, _joined: int, _waiting: Input) -> bool:
    return True


def _barred(_self: Tip, lane: Lane) -> tuple[int, ...]:
    return tuple(part.partition for part in lane.slices)


def _reads_exactly(_self: Executor, _work: LaneWork, _position: int) -> bool:
    return False


def _refresh(_self: Shard, _attempt: object, _read: object) -> list[object]:
    return []


def _lost_by(_self: Executor, work: LaneWork, run: Run) -> set[bytes]:
    return {key for key in work.lost if key in run.reads or key in run.writes or key in run.deltas}


def _may_read(_self: Executor, work: LaneWork, key: bytes) -> bool:
    overlay = work.first.overlay
    return key in work.reads or key in overlay.values or key in overlay.deltas


def _effects(self: Shard, epoch: int, outcome: LaneOutcome) -> Named | None:
    prepare = self.prepares.get((epoch, outcome.attempt))
    revision = self.revisions.get((epoch, outcome.attempt))
    whole = prepare.whole() if prepare else None
    return (revision.whole() if whole and revision else None) or whole


def _aborted(_self: Tip, waiting: Input, part: Slice) -> Input:
    return replace(waiting, pending=pending_without(waiting, part))


def _prepares_from_reached(self: Shard, epoch: int) -> int:
    needed = [offset for offset, of in self._arrived if self.published.epoch <= of <= epoch]
    return min(needed, default=self._prepares_read)


def _prepares_from_applied(self: Shard, epoch: int) -> int:
    return min([offset for offset, of in self._arrived if of > epoch], default=self._prepares_read)


_stages = engine._STAGES


def _outcome(self: Executor, work: LaneWork) -> Any:
    if not work.unacknowledged:
        self._remember(work)
    return _stages[Stage.OUTCOME](self, work)


_read_as_it_is: Callable[..., Any] = MemoryStore.read


def _read(self: MemoryStore, keys: Sequence[bytes], at: int | None) -> Any:
    return _read_as_it_is(self, keys, None if at is None or at <= self.durable.applied else at)


RULES: Final[dict[str, Rule]] = {
    "merged_version": Rule(
        step="Words", sentence="A version says whether more than one lane contributed to the key in that epoch.",
        without=((Shard, "version", _version),)),
    "one_chain": Rule(
        step="The chain", sentence="A record counts only if it names the last valid one and commits no excluded lane.",
        without=((Tip, "extended_by", _extended_by),)),
    "offers_in_manifest": Rule(
        step="The chain", sentence="A manifest holds the highest offers, so that a new sequencer knows those of the idle.",
        without=((Sequencer, "known_offers", _known_offers),)),
    "fenced_join": Rule(
        step="1 Join", sentence="The broker refuses a join for partitions that the group has given to others since.",
        without=((World, "refuses", _refuses),)),
    "carries_from_tip": Rule(
        step="1 Join", sentence="A new executor reads `carries` from the oldest pending one on, not from the end.",
        without=((Executor, "carries_start", _carries_start),)),
    "rejoin_before_cut": Rule(
        step="3 Cut", sentence="A partition that was excluded is cut only after a newer join.",
        without=((Tip, "joined_anew", _joined_anew),)),
    "exclusion_bars_join": Rule(
        step="3 Cut", sentence="An exclusion bars the join for all partitions that it named, also those without work.",
        without=((Tip, "barred", _barred),)),
    "exact_carried_reads": Rule(
        step="4 Execute", sentence="A carried transaction reads exactly the snapshot of e-1, nothing older or cached.",
        without=((Executor, "reads_exactly", _reads_exactly),)),
    "refresh": Rule(
        step="6 Vote", sentence="A vote carries the new values of e-1 of keys that the lane read lately.",
        without=((Shard, "_refresh", _refresh),)),
    "delta_no_reason": Rule(
        step="7 Repair", sentence="A delta on a lost key is no reason to carry a transaction.",
        without=((Executor, "lost_by", _lost_by),)),
    "reads_reserved": Rule(
        step="7 Repair", sentence="A re-run may read what was reserved as read or written, not as a delta only.",
        without=((Executor, "may_read", _may_read),)),
    "revised_shards": Rule(
        step="8 Outcome", sentence="The outcome names the shards with a revision, so that each knows what to wait for.",
        without=((Shard, "_effects", _effects),)),
    "carries_input_again": Rule(
        step="9 Commit", sentence="The carries that were cut into an aborted lane are input again, as its range is.",
        without=((Tip, "aborted", _aborted),)),
    "safe_offset": Rule(
        step="10 Apply", sentence="A shard stores the offset of the first prepare of an epoch > e, not the one reached.",
        without=((Shard, "prepares_from", _prepares_from_reached),)),
    "unpublished_offset": Rule(
        step="10 Apply", sentence="It also stores where the epochs begin whose receipts aren't published yet.",
        without=((Shard, "prepares_from", _prepares_from_applied),)),
    "cache_after_close": Rule(
        step="10 Apply", sentence="An executor caches its own writes after the close that names its attempt, not before.",
        without=((engine, "_STAGES", {**_stages, Stage.OUTCOME: _outcome}),)),
    "snapshot_reads": Rule(
        step="Invariant 3", sentence="A read pinned to an epoch is answered from the snapshot of exactly that epoch.",
        without=((MemoryStore, "read", _read),)),
}


@contextmanager
def without(names: Sequence[str]) -> Iterator[None]:
    """Take rules out for as long as the context lasts."""
    with ExitStack() as stack:
        for name in names:
            for owner, method, substitute in RULES[name].without:
                stack.enter_context(patch.object(owner, method, substitute))
        yield
