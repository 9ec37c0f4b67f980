"""The audit: everything executed again, serially, in one process, by somebody who trusts nobody.

From the genesis file, `transactions`, `carries` and `epochs` alone follows what every receipt and every digest has to
be. What `receipts` and `prepares` say, and the digests and counts in the manifests, are claims that are compared with
that. The first difference ends the audit and is named.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from executors import intake
from executors.effects import Effects, effects_of
from executors.lane import list_digest
from executors.machine import Block, VirtualMachine
from executors.walk import Item, Walk
from schemas import topics
from schemas.chain import Listed, Tip
from schemas.codec import CODEC
from schemas.digests import chained
from schemas.errors import UndecodableRecord
from schemas.genesis import Genesis
from schemas.hashing import digest
from schemas.keys import describe, home, integer, minimal
from schemas.placing import placed
from schemas.records import Exclusion, LaneOutcome, Manifest, Prepare, Receipt, Revision
from schemas.topics import Topic
from streams.log import Fetched

from .feed import Feed


class Difference(Exception):
    """The log doesn't say what an honest run of it would."""


@dataclass(slots=True)
class Report:
    """What an audit found."""

    identical: bool = True
    difference: str = ""
    epochs: int = 0
    blocks: int = 0
    transactions: int = 0
    receipts: int = 0
    prepares: int = 0
    digests: int = 0
    carried: int = 0
    aborted: int = 0
    skipped_records: int = 0
    """Records on `epochs` that aren't valid, such as those of a second sequencer."""


Progress = Callable[[int, int], None]
"""Told how many records of `epochs` are done, and of how many."""


class Audit:
    """One audit of a log.

    Parameters
    ----------
    feed
        All topics of the ledger and of the claims.
    genesis
        The genesis.
    partitions, shards
        N and M.
    machine
        Executes transactions.
    """

    def __init__(self, feed: Feed, genesis: Genesis, partitions: int, shards: int, machine: VirtualMachine) -> None:
        self.report = Report()
        self.state: dict[bytes, bytes] = dict(genesis.entries())
        self._feed = feed
        self._shards = shards
        self._machine = machine
        self._tip = Tip.genesis(genesis.hash, partitions, shards, genesis.rules, genesis.timestamp_ms)
        self._rules = genesis.rules
        self._transactions: dict[tuple[int, int], Item] = {}
        """Read and not yet committed, by source."""
        self._carries: dict[tuple[int, int], tuple[bytes, Item]] = {}
        self._claims: dict[tuple[int, int, bytes, type], list[Any]] = {}
        """Prepares and revisions by epoch, shard, attempt and kind."""
        self._own: dict[tuple[int, int], bytes] = {}
        """Own digests by shard and epoch."""
        for shard in range(shards):
            mine = {key: value for key, value in self.state.items() if home(key, shards) == shard}
            self._own[shard, 0] = chained(bytes(32), 0, mine)
        self._digests = [self._own[shard, 0] for shard in range(shards)]

    @staticmethod
    def topics(partitions: int, shards: int) -> list[Topic]:
        """What has to be read."""
        return [
            topics.EPOCHS,
            *(topics.transactions(p) for p in range(partitions)),
            *(topics.carries(p) for p in range(partitions)),
            *(topics.prepares(s) for s in range(shards)),
            *(topics.receipts(s) for s in range(shards)),
        ]

    def run(self, progress: Progress = lambda _done, _total: None) -> Report:
        """Execute and compare everything."""
        try:
            while (fetched := self._feed.next(topics.EPOCHS)) is not None:
                self._follow(fetched)
                progress(fetched.offset + 1, self._feed.ends[topics.EPOCHS])
            self._nothing_left()
        except Difference as found:
            self.report.identical, self.report.difference = False, str(found)
        return self.report

    # ---- the chain ----------------------------------------------------------------------------------------------

    def _follow(self, fetched: Fetched) -> None:
        """Take a record of `epochs`; one that isn't valid is passed over, as every reader does."""
        try:
            record = CODEC.decode(fetched.value)
        except UndecodableRecord:
            record = None
        record_hash = digest(fetched.value)
        known = isinstance(record, Manifest | Exclusion)
        after = self._tip.after(record, record_hash, fetched.offset) if known else None
        if after is None:
            self.report.skipped_records += 1
            return
        if isinstance(record, Manifest):
            self._close(record, record_hash)
            self._compare_digests(record)
            self.report.epochs = record.epoch - 1
        self._tip = after

    def _close(self, manifest: Manifest, closing_hash: bytes) -> None:
        """Execute the committed lanes of the open epoch in rank order."""
        tip = self._tip
        written: list[dict[bytes, bytes]] = [{} for _ in range(self._shards)]
        published: list[list[Receipt]] = [[] for _ in range(self._shards)]
        block = Block(
            number=tip.block, timestamp_s=tip.timestamp_ms // 1000, prevrandao=tip.randomness, ancestor=tip.ancestor)
        for rank, outcome in enumerate(manifest.close):
            if outcome is None:
                self.report.aborted += 1
                continue
            listed = tip.listed(rank)
            items = [self._item(entry) for entry in listed]
            walk = self._execute(block, rank, outcome, listed, items)
            effects, totals = effects_of(walk, listed, items, tip, self._shards)
            counts = (totals.included, totals.rejected, totals.gas, totals.logs)
            claimed = (outcome.included, outcome.rejected, outcome.gas, outcome.logs)
            if counts != claimed:
                raise Difference(
                    f"epoch {tip.epoch}, lane {rank}: the close counts {claimed} (included, rejected, gas, logs), "
                    f"the execution {counts}")
            place = placed(tip, manifest.close, rank, closing_hash)
            for shard, part in enumerate(effects):
                self._compare_prepare(shard, outcome, part)
                published[shard] += map(place, part.receipts)
            self._change(walk, written)
            self._forget(listed, outcome)
        if tip.cut:
            for shard, values in enumerate(written):
                self._digests[shard] = chained(self._digests[shard], tip.epoch, values)
                self._own[shard, tip.epoch] = self._digests[shard]
        for shard, receipts in enumerate(published):
            self._compare_receipts(shard, receipts)
        self.report.blocks += Tip.includes(manifest.close)
        self._claims = {of: parts for of, parts in self._claims.items() if of[0] > tip.epoch}

    def _execute(
        self, block: Block, rank: int, outcome: LaneOutcome, listed: Sequence[Listed], items: Sequence[Item]
    ) -> Walk:
        """Run a committed lane on the serial state."""
        walk, carried = Walk(self._machine, block, self._rules.parked_ms_max), frozenset(outcome.carried)
        if list_digest(list(items)) != outcome.list_digest:
            raise Difference(f"epoch {self._tip.epoch}, lane {rank}: the list that ran is not the one on the log")
        for position, (entry, item) in enumerate(zip(listed, items, strict=True)):
            if position in carried:
                walk.runs.append(None)
                self.report.carried += 1
                continue
            run = walk.run_one(item, entry, lambda key: self.state.get(key, b""))
            if run is not None:
                if run.waits and item is not None:
                    raise Difference(
                        f"epoch {self._tip.epoch}: transaction 0x{item.hash.hex()} committed but waits for a nonce")
                walk.overlay.absorb(run)
                self.report.transactions += 1
            walk.runs.append(run)
        return walk

    def _change(self, walk: Walk, written: list[dict[bytes, bytes]]) -> None:
        """Let the state have the effects of a lane: writes, then deltas."""
        for key, value in walk.overlay.values.items():
            self.state[key] = written[home(key, self._shards)][key] = value
        for key, amount in walk.overlay.deltas.items():
            value = minimal(integer(self.state.get(key, b"")) + amount)
            self.state[key] = written[home(key, self._shards)][key] = value

    # ---- the input ----------------------------------------------------------------------------------------------

    def _item(self, listed: Listed) -> Item:
        """The transaction at a position of a list, from the log."""
        original = self._original(listed.origin.partition, listed.origin.offset)
        if listed.carry is None:
            return original
        raw, item = self._carried(listed.partition, listed.carry)
        if original is None or raw != original.raw:
            source = f"transactions [{listed.origin.partition}] offset {listed.origin.offset}"
            name = f"0x{original.hash.hex()}" if original is not None else "nothing"
            raise Difference(
                f"epoch {self._tip.epoch}: carries [{listed.partition}] offset {listed.carry} holds transaction "
                f"0x{item.hash.hex() if item is not None else ''}, but {source} is {name}")
        return item

    def _original(self, partition: int, offset: int) -> Item:
        """The record of `transactions` at an offset; None for a hole."""
        source = (partition, offset)
        topic = topics.transactions(partition)
        while source not in self._transactions:
            fetched = self._feed.peek(topic)
            if fetched is None or fetched.offset > offset:
                return None
            batch = [self._feed.next(topic)]
            while len(batch) < 256 and (more := self._feed.peek(topic)) is not None and more.offset <= offset + 256:
                batch.append(self._feed.next(topic))
            for event in intake.transactions([record for record in batch if record is not None], self._rules):
                self._transactions[partition, event.offset] = event.value
        return self._transactions[source]

    def _carried(self, partition: int, position: int) -> tuple[bytes, Item]:
        """The record of `carries` at a position."""
        topic = topics.carries(partition)
        while (partition, position) not in self._carries:
            fetched = self._feed.next(topic)
            if fetched is None or fetched.offset > position:
                raise Difference(f"epoch {self._tip.epoch}: carries [{partition}] offset {position} is not on the log")
            for event in intake.carries([fetched], self._rules):
                carry, item = event.value
                self._carries[partition, event.offset] = carry.raw, item
        return self._carries[partition, position]

    def _forget(self, listed: Sequence[Listed], outcome: LaneOutcome) -> None:
        carried = frozenset(outcome.carried)
        for position, entry in enumerate(listed):
            if position not in carried:
                self._transactions.pop((entry.origin.partition, entry.origin.offset), None)
            if entry.carry is not None and position not in carried:
                self._carries.pop((entry.partition, entry.carry), None)

    # ---- the claims ---------------------------------------------------------------------------------------------

    def _compare_digests(self, manifest: Manifest) -> None:
        for named in manifest.digests:
            own = self._own.get((named.shard, named.epoch))
            if own != named.digest:
                raise Difference(
                    f"the manifest of epoch {manifest.epoch} names digest {named.digest.hex()} of shard {named.shard} "
                    f"after epoch {named.epoch}; the execution gives {own.hex() if own else 'none'}")
            self.report.digests += 1

    def _compare_prepare(self, shard: int, outcome: LaneOutcome, own: Effects) -> None:
        """Compare what a shard was told to apply with what the execution gives."""
        kind = Revision if shard in outcome.revised else Prepare
        parts = self._claimed(shard, outcome.attempt, kind)
        name = f"the {kind.__name__.lower()} of lane {outcome.attempt.hex()[:8]}"
        where = f"epoch {self._tip.epoch}, shard {shard}: {name}"
        if parts is None:
            raise Difference(f"{where} is not on the log")
        writes = {key: value for part in parts for key, value in zip(part.write_keys, part.write_values, strict=True)}
        deltas = {key: integer(n) for part in parts for key, n in zip(part.delta_keys, part.delta_amounts, strict=True)}
        for claimed, mine, what in ((writes, own.writes, "value"), (deltas, own.deltas, "delta")):
            for key in sorted(claimed.keys() | mine.keys()):
                if claimed.get(key) != mine.get(key):
                    raise Difference(
                        f"{where} has another {what} of key {describe(key)}: {_shown(claimed.get(key))}, the execution "
                        f"gives {_shown(mine.get(key))}")
        self._compare_lists([receipt for part in parts for receipt in part.receipts], own.receipts, where)
        self.report.prepares += 1

    def _claimed(self, shard: int, attempt: bytes, kind: type) -> list[Any] | None:
        """All parts of a prepare or revision, the first of each number."""
        wanted = (self._tip.epoch, shard, attempt, kind)
        topic = topics.prepares(shard)
        while not _whole(self._claims.get(wanted, [])):
            fetched = self._feed.next(topic)
            if fetched is None:
                return None
            try:
                record = CODEC.decode(fetched.value)
            except UndecodableRecord:
                continue
            if isinstance(record, Prepare | Revision) and record.epoch >= self._tip.epoch:
                of = (record.epoch, shard, bytes(record.attempt), type(record))
                parts = self._claims.setdefault(of, [])
                if all(part.part != record.part for part in parts):
                    parts.append(record)
        return sorted(self._claims[wanted], key=lambda part: int(part.part))

    def _compare_receipts(self, shard: int, own: list[Receipt]) -> None:
        """Compare the published receipts of an epoch; they come in the order of the block."""
        expected = [replace(receipt, shard=shard, index=index) for index, receipt in enumerate(own)]
        published: list[Receipt] = []
        for _ in expected:
            fetched = self._feed.next(topics.receipts(shard))
            if fetched is None:
                break
            published.append(self._receipt(shard, fetched))
            if fetched.key != published[-1].hash:
                raise Difference(f"receipts [{shard}] offset {fetched.offset}: its key is not the transaction hash")
        self._compare_lists(published, expected, f"receipts [{shard}] of epoch {self._tip.epoch}")
        self.report.receipts += len(expected)

    @staticmethod
    def _receipt(shard: int, fetched: Fetched) -> Receipt:
        try:
            return CODEC.decode_as(Receipt, fetched.value)
        except UndecodableRecord as exc:
            raise Difference(f"receipts [{shard}] offset {fetched.offset} is no receipt: {exc}") from exc

    @staticmethod
    def _compare_lists(claimed: Sequence[Receipt], own: Sequence[Receipt], where: str) -> None:
        for theirs, mine in zip(claimed, own, strict=False):
            if theirs.hash != mine.hash:
                raise Difference(
                    f"{where}: transaction 0x{theirs.hash.hex()} has a receipt where that of transaction "
                    f"0x{mine.hash.hex()} has to be")
            for item in fields(Receipt):
                said, found = getattr(theirs, item.name), getattr(mine, item.name)
                if said != found:
                    raise Difference(
                        f"{where}: transaction 0x{mine.hash.hex()} has another {item.name}: {_shown(said)}, the "
                        f"execution gives {_shown(found)}")
        if len(claimed) < len(own):
            raise Difference(f"{where}: the receipt of transaction 0x{own[len(claimed)].hash.hex()} is missing")
        if len(claimed) > len(own):
            raise Difference(f"{where}: transaction 0x{claimed[len(own)].hash.hex()} has a receipt, but did not commit")

    def _nothing_left(self) -> None:
        """After the last valid record there must be no receipt that it does not explain."""
        for shard in range(self._shards):
            fetched = self._feed.next(topics.receipts(shard))
            if fetched is not None:
                receipt = self._receipt(shard, fetched)
                raise Difference(
                    f"receipts [{shard}] offset {fetched.offset}: transaction 0x{receipt.hash.hex()} has a receipt of "
                    f"epoch {receipt.epoch}, but the chain of manifests ends with epoch {self._tip.epoch} open after "
                    f"offset {self._tip.offset} on epochs ({self.report.skipped_records} records there are not valid)")


def _whole(parts: list[Any]) -> bool:
    return bool(parts) and len(parts) == parts[0].parts


def _shown(value: object) -> str:
    if isinstance(value, bytes):
        return f"0x{value.hex()}"
    return "none" if value is None else str(value)


